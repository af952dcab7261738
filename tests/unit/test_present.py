"""The waterfall of a journey."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from messages.journeys.present import fall_of
from messages.journeys.stitch import Journey, Step
from messages.models import DeadLetter, Event

SENT_AT = datetime(2026, 11, 25, 19, 39, 19, tzinfo=UTC)


@pytest.mark.parametrize(
    ("died_before_s", "rows", "last_tick"),
    [
        (23, [("dead letter erp.orders.dlq", "0.00%"), ("waybill send erp.orders", "99.40%")], "17.2 s"),
        (0.4, [("waybill send erp.orders", "0.00%"), ("dead letter erp.orders.dlq", "0.00%")], ""),
    ],
    ids=["long before the first event", "within what a broker rounds away"],
)
def test_time_begins_with_the_death_when_it_came_long_before_the_first_event(died_before_s, rows, last_tick):
    """A message without traces: its first event is the replay's own send."""
    event = Event(operation=2, destination="erp.orders", occurred_at=SENT_AT)
    step = Step(
        event=event, at=SENT_AT, system="waybill", label="waybill send", offset_us=0, duration_us=0, queue_us=None, outcome="ok", tie="message id"
    )  # fmt: skip
    letter = DeadLetter(queue="erp.orders.dlq", failed_at=SENT_AT - timedelta(seconds=died_before_s))

    fall = fall_of(Journey(steps=[step], dead_letters=[letter], started_at=SENT_AT), letter=letter)

    assert [(row.label, row.x) for row in fall.rows] == rows
    assert fall.ticks[-1] == last_tick
