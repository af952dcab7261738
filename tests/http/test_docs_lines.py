"""The curl lines of docs/ingest.md work when pasted."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from messages.models import DeadLetter, Event
from tests.factories import agent_key

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_pasted_lines_store_an_event_and_a_dead_letter(committed, live_server):
    lines = re.findall(r"```sh\n(curl .*?)```", (DOCS / "ingest.md").read_text(), re.S)
    environ = {**os.environ, "WAYBILL": live_server.url, "WAYBILL_AGENT_KEY": agent_key()}

    said = [
        subprocess.run(["sh", "-c", line], env=environ, capture_output=True, text=True, check=True).stdout
        for line in lines
    ]

    assert said == ['{"accepted": 1, "duplicates": 0, "rejected": []}'] * 2
    assert (Event.objects.filter(message_id="order-4711-message").exists(), DeadLetter.objects.get().message_id) == (
        True,
        "order-4711-message",
    )
