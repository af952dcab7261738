"""Whatever happens to messages, in whatever order, the counters say what counting everything again says; and a look costs what was touched."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alerts.models import Objective
from alerts.objectives import counting, searches
from messages.models import Message, MessageStatus
from tests.objectives.searching import counted_anew, counters, on_search
from tests.objectives.stored import DAY, HOUR, MINUTE, NOW, looked, message
from tests.services.reconciling import flow

pytestmark = pytest.mark.django_db
NEXT = timedelta(seconds=15)

minutes_ago = st.integers(-5, 3 * 1440)
pick = st.integers(0, 99)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("made"), minutes_ago, st.sampled_from(["big", "small"]), st.integers(0, 59)),
        st.tuples(st.just("status"), pick, st.sampled_from(list(MessageStatus)), st.integers(0, 200)),
        st.tuples(st.just("keys"), pick, st.sampled_from(["big", "small"])),
        st.tuples(st.just("earlier"), pick, st.integers(1, 300)),
        st.tuples(st.just("look")),
        st.tuples(st.just("look")),
        st.tuples(st.just("wait"), st.integers(1, 180)),
        st.tuples(st.just("no time")),
    ),
    max_size=25,
)


class Estate:
    """Messages to which things happen while looks count them."""

    def __init__(self) -> None:
        self.now = NOW
        self.uids: list[UUID] = []
        self.promises = [
            on_search("size:big", name="success", days=3),
            on_search("size:big", name="latency", kind="latency", limit_ms=600_000, days=3),
            on_search("size:big", name="fresh", kind="freshness", limit_minutes=15, days=3),
        ]

    def do(self, what: str, *how: Any) -> None:
        match what:
            case "made":
                ago, size, second = how
                at = (self.now - ago * MINUTE).replace(second=second)
                self.uids.append(message(at, keys={"size": size}))
            case "wait":
                self.now += how[0] * MINUTE
            case "look":
                self.now += NEXT
                counting.count(self.now)
            case "no time":
                searches.count_searches(self.now, look_s=0)
            case _ if self.uids:
                self.change(Message.objects.get(id=self.uids[how[0] % len(self.uids)]), what, *how[1:])

    def change(self, one: Message, what: str, *how: Any) -> None:
        rows = Message.objects.filter(id=one.id)
        match what:
            case "status":
                decided = one.first_seen_at + how[1] * MINUTE
                rows.update(status=how[0], decided_at=decided, failed_at=one.first_seen_at)
            case "keys":
                rows.update(keys={"size": how[0]})
            case "earlier":
                rows.update(started_at=one.first_seen_at - how[0] * MINUTE)


@pytest.fixture
def without_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """No minute is counted only because it is its turn: that would hide a touch that was missed."""
    monkeypatch.setattr(searches, "minute_again", lambda one, now: now.replace(second=0, microsecond=0))


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(before=operations, after=operations)
def test_the_counters_say_what_counting_everything_again_says(without_turns: None, before: list[Any], after: list[Any]):
    with transaction.atomic():
        estate = Estate()
        for one in before:
            estate.do(*one)
        looked(estate.now)
        for one in after:
            estate.do(*one)
        estate.now += NEXT
        counting.count(estate.now)
        said = {one.name: counters(one) for one in estate.promises}
        truth = {one.name: counted_anew(one, estate.now) for one in estate.promises}
        transaction.set_rollback(True)

    assert said == truth


STORE = """
INSERT INTO messaging_message (first_seen_on, id, environment_id, flow_id, message_id, first_seen_at, started_at, last_seen_at, decided_at, status,
                               event_count, keys)
SELECT (at AT TIME ZONE 'UTC')::date, gen_random_uuid(), %s, %s, 'm' || n, at, at, at, at, 1, 2, '{"size": "big"}'
FROM generate_series(1, %s) AS g(n) CROSS JOIN LATERAL (SELECT %s::timestamptz + n * (%s::interval / %s) AS at) t
"""


def store(count: int, since: datetime, within: timedelta) -> None:
    """Store so many messages, evenly over a time, and let the planner know."""
    of = flow()
    with connection.cursor() as cursor:
        cursor.execute(STORE, [of.environment_id, of.pk, count, since, within, count])
        cursor.execute("ANALYZE")


def rows_read() -> int:
    """Return how many rows of messages this transaction has read, by whatever way, from whatever partition."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0) FROM pg_stat_xact_all_tables "
            "WHERE relname LIKE 'messaging_message%%' AND relname NOT LIKE 'messaging_message_text%%'"
        )
        return int(cursor.fetchone()[0])


def rows_of_a_look(now: datetime) -> int:
    before = rows_read()
    counting.count(now)
    return rows_read() - before


def test_a_look_reads_the_messages_of_the_touched_minutes_whatever_is_stored(without_turns: None):
    quiet, busy = NOW - 2 * DAY, NOW - DAY
    store(1_000, busy, 10 * HOUR)
    one = on_search(days=3)
    looked()

    def touch(now: datetime) -> int:
        for number in range(3):
            message(quiet + number * HOUR, took=MINUTE, keys={"size": "big"})
        message(busy + HOUR, took=MINUTE, keys={"size": "big"})
        return rows_of_a_look(now)

    few = touch(NOW + NEXT)
    store(20_000, busy + 2 * HOUR, 8 * HOUR)  # in other minutes than the touched ones
    counting.count(NOW + 2 * NEXT)
    for number in range(2, 6):
        store(5_000, NOW - number * DAY + 5 * HOUR, 10 * HOUR)
    counting.count(NOW + 3 * NEXT)
    many = touch(NOW + 4 * NEXT)

    assert 0 < few < 20
    assert many <= few + 4  # those that were added to the touched minutes themselves
    assert counters(one) == counted_anew(one, NOW + 4 * NEXT)
    assert Message.objects.count() > 40_000


def test_objectives_on_searches_read_each_touched_minute_once(without_turns: None):
    store(1_000, NOW - DAY, 10 * HOUR)
    on_search(days=3)
    looked()
    message(NOW - DAY + HOUR, took=MINUTE, keys={"size": "big"})
    one = rows_of_a_look(NOW + NEXT)
    for number in range(4):
        on_search(name=f"promise {number}", days=3)
    looked(NOW + 2 * NEXT)
    message(NOW - DAY + 2 * HOUR, took=MINUTE, keys={"size": "big"})

    five = rows_of_a_look(NOW + 3 * NEXT)

    assert Objective.objects.count() == 5
    assert five <= 5 * (one + 1)
