"""What a volume counts: processings on a flow, messages on a saved search; the words say which."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from alerts.models import Objective
from alerts.objectives.present import promise_words
from messages.models import Flow, Message
from messages.queries import flow_minutes
from tests.factories import agent_key, event, push
from tests.objectives.stored import HOUR


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"flow": Flow(name="orders")}, "the messages of orders are processed at least 1,000 times"),
        ({"q": "flow:orders"}, "at least 1,000 messages that “flow:orders” finds are processed"),
    ],
    ids=["flow", "search"],
)
def test_a_volume_says_whether_it_counts_processings_or_messages(about, said):
    one = Objective(kind="volume", target=0.99, at_least=1_000, limit_minutes=60, until_minute=1440, **about)

    assert promise_words(one).startswith(f"in 99 % of the periods {said}; a period is each 1 h of")


@pytest.mark.django_db
def test_on_a_flow_every_station_counts_that_processes_a_message():
    key, now = agent_key(), datetime.now(UTC)
    for number in range(5):
        told = [event(message_id=f"m-{number}", system=system, operation="process") for system in ("erp", "wms")]
        push("/ingest/v1/events", [event(message_id=f"m-{number}"), *told], key=key)

    rows = flow_minutes([Flow.objects.get().pk], now - HOUR, now + HOUR)

    assert (Message.objects.count(), sum(row.processed for row in rows)) == (5, 10)
