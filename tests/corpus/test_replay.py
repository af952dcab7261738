"""What a release must not break: the requests of real exporters, replayed byte for byte, give the rows that they must give.

expected.txt beside a recording is what the console must hold after it. `ACCEPT=1 pytest tests/corpus` writes it anew: read the
difference before it is committed, for each line of it is what a user would see changed.
"""

from __future__ import annotations

import os

import pytest
import time_machine

from messages.ingest.exceptions import attach_exceptions
from messages.models import LedgerEntry
from tests.corpus.rows import described_answers, described_rows
from tests.corpus.wire import RECORDED, Recording, recording, send
from tests.factories import agent_key

pytestmark = pytest.mark.django_db
NAMES = sorted(path.parent.name for path in RECORDED.glob("*/about.json"))
CENTURY = 60 * 24 * 365 * 100  # minutes: the database's clock is not set back
MOST_BYTES = 300_000


@pytest.fixture(params=NAMES)
def recorded(request: pytest.FixtureRequest):
    found = recording(request.param)
    with time_machine.travel(found.recorded_at, tick=False):
        yield found


def replay(recorded: Recording, key: str, *, backwards: bool = False) -> list:
    """Send every request; return the answers, and let logged exceptions find their events as the worker does."""
    requests = reversed(recorded.requests) if backwards else recorded.requests
    answers = [send(raw, key) for raw in requests]
    attach_exceptions(CENTURY)
    return answers


def test_a_recorded_request_is_answered_in_its_own_encoding_and_gives_the_rows_it_must(recorded: Recording):
    answers = replay(recorded, agent_key())

    said = f"{recorded.sender}\n\n{described_answers(answers)}\n{described_rows()}"
    if os.environ.get("ACCEPT"):
        recorded.expected.write_text(said)
    assert said == recorded.expected.read_text()
    assert {a.status for a in answers} == {200}
    assert [a.content_type for a in answers if a.path.startswith("/v1/")] == [
        a.sent_as for a in answers if a.path.startswith("/v1/")
    ]


def test_the_same_requests_again_store_nothing_twice(recorded: Recording):
    key = agent_key()
    replay(recorded, key)
    before = described_rows()

    LedgerEntry.objects.all().delete()  # else the ledger alone would answer
    replay(recorded, key)

    assert described_rows() == before


def test_requests_that_come_in_the_other_order_give_the_same_rows(recorded: Recording):
    replay(recorded, agent_key(), backwards=True)

    said = recorded.expected.read_text()
    assert described_rows() == said[said.index("systems\n") :]


def test_the_corpus_stays_small_enough_to_read():
    assert sum(path.stat().st_size for path in RECORDED.rglob("*")) < MOST_BYTES
