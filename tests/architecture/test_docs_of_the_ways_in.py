"""The programs in docs/ingest/ are, to the letter, the ones whose requests are recorded in the corpus."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAKE = ROOT / "tests" / "corpus" / "make"
SHOWN = {
    "opentelemetry-python.md": ["python/orders.py"],
    "opentelemetry-java.md": ["java/Orders.java"],
    "opentelemetry-javascript.md": ["js/orders.mjs"],
    "opentelemetry-go.md": ["go/orders.go"],
    "collector.md": ["collector/config.yaml"],
    "python-sdk.md": ["python/sdk_orders.py"],
    "curl.md": ["curl/events.sh"],
    "cloudevents.md": ["python/cloudevents_orders.py", "js/cloudevents_orders.mjs", "java/CloudEventsOrders.java"],
}


@pytest.mark.parametrize(("page", "program"), [(page, one) for page, programs in SHOWN.items() for one in programs])
def test_a_page_shows_the_program_that_was_recorded(page: str, program: str):
    text = (ROOT / "docs" / "ingest" / page).read_text()

    assert f"\n{(MAKE / program).read_text()}```" in text


def test_every_recording_that_an_sdk_made_has_a_line_in_record_and_every_line_a_recording():
    lines = {
        line.split("record ", 1)[1].split()[0]
        for line in (MAKE / "record").read_text().splitlines()
        if "record " in line and '"' in line and not line.startswith("#")
    }

    assert lines == {path.name for path in (MAKE.parent / "recorded").iterdir()}
