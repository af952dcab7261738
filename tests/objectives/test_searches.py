"""Objectives on saved searches: counted where messages were written, at the next look, and what they mean counted again when it changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, connection

from alerts.models import FoundMinutes, Objective, ObjectiveMinutes, ObjectiveSum, Standing, Uncounted
from alerts.objectives import assess, counting, searches
from alerts.objectives import counters as counters_of
from alerts.objectives.asking import SEARCH_S
from alerts.objectives.counters import forget_old, hour_of, minute_of
from alerts.objectives.queries import minutes_waiting
from alerts.objectives.services import remove_objective
from alerts.objectives.windows import Span, portions
from console.identity.models import Environment
from messages.ingest.messages_sql import set_status
from messages.models import Flow, Message, MessageStatus, RetentionPolicy, TouchedMinutes
from messages.reconcile.services import remove_reconciliation
from messages.retention import policies
from messages.search.query import BadQuery
from tests.factories import ROOT, agent_key, environment, event, push
from tests.objectives.searching import counted_anew, counters, old_flow, on_search, total, triggers
from tests.objectives.stored import DAY, HOUR, MINUTE, NOW, looked, message
from tests.reports.stored import cause
from tests.services.reconciling import compared, flow, operator

pytestmark = pytest.mark.django_db
BIG = {"size": "big"}
NEXT = timedelta(seconds=15)
WEEK_OLD = NOW - 6 * DAY - 7 * HOUR


def test_what_comes_of_last_week_is_counted_at_the_next_look():
    one = on_search()
    looked()
    uid = message(WEEK_OLD, keys=BIG)
    counting.count(NOW + NEXT)
    moving = total(one)
    set_status(uid, MessageStatus.FAILED)
    counting.count(NOW + 2 * NEXT)
    failed = total(one)
    set_status(uid, MessageStatus.DELIVERED)  # a replay was proved

    counting.count(NOW + 3 * NEXT)

    assert (moving, failed, total(one)) == ((0, 0, 0), (0, 0, 1), (1, 0, 0))
    assert list(counters(one)) == [minute_of(WEEK_OLD)]


def test_events_of_last_week_are_counted_at_the_next_look_after_ingest():
    now = datetime.now(UTC)
    one = on_search("order_no:4711", now=now)
    looked(now)
    old = now - 5 * DAY
    sent = event(occurred_at=old.isoformat(), keys={"order_no": "4711"})
    processed = sent | {
        "id": "received",
        "operation": "process",
        "occurred_at": (old + MINUTE).isoformat(),
        "outcome": "ok",
    }
    key = agent_key()

    assert push("/ingest/v1/events", [sent, processed], key=key).json()["accepted"] == 2
    counting.count(now + NEXT)

    assert counters(one) == counted_anew(one, now) == {minute_of(old): (1, 0, 0)}


@pytest.mark.parametrize(
    ("change", "q"),
    [
        ({"keys": {"size": "small"}}, "size:big"),
        ({"error_type": "Timeout"}, "size:big -class:Timeout"),
        ({"group_id": 7}, "size:big -group:*"),
        ({"last_seen_at": WEEK_OLD + HOUR}, "size:big duration:<1min"),
        ({"correlation_id": "other"}, "size:big -correlation:other"),
    ],
    ids=["keys", "class", "group", "duration", "correlation"],
)
def test_whatever_changes_a_message_so_that_a_search_finds_it_no_more_is_seen(change: dict[str, object], q: str):
    uid = message(WEEK_OLD, took=timedelta(seconds=5), keys=BIG, failed=True)
    one = on_search(q)
    looked()
    before = total(one)
    if "group_id" in change:
        cause("Timeout", Message.objects.select_related("flow__environment").get(id=uid).flow, pk=7)

    Message.objects.filter(id=uid).update(**change)
    counting.count(NOW + NEXT)

    assert before == (1, 0, 0)
    assert total(one) == (0, 0, 0)


def test_an_earlier_event_leaves_a_message_in_its_minute_and_makes_it_late():
    one = on_search(kind="latency", limit_ms=60_000)
    looked()
    uid = message(NOW - 3 * DAY, took=timedelta(seconds=30), keys=BIG)
    counting.count(NOW + NEXT)
    before = counters(one)

    Message.objects.filter(id=uid).update(started_at=NOW - 3 * DAY - 2 * HOUR)
    counting.count(NOW + 2 * NEXT)

    at = minute_of(NOW - 3 * DAY)
    assert (before, counters(one)) == ({at: (1, 0, 0)}, {at: (0, 1, 0)})


def test_what_is_undelivered_counts_when_its_time_is_up_and_is_late_when_it_came_after_all():
    one = on_search(kind="freshness", limit_minutes=15)
    looked()
    uid = message(NOW, keys=BIG)

    counting.count(NOW + 15 * MINUTE)
    before = total(one)
    counting.count(NOW + 16 * MINUTE)
    waiting = counters(one)
    Message.objects.filter(id=uid).update(status=MessageStatus.DELIVERED, decided_at=NOW + 20 * MINUTE)
    counting.count(NOW + 5 * HOUR)

    due = minute_of(NOW + 15 * MINUTE)
    assert (before, waiting, counters(one)) == ((0, 0, 0), {due: (0, 0, 1)}, {due: (0, 1, 0)})


def test_a_sender_whose_clock_is_ahead_is_counted_when_the_minute_comes():
    one = on_search()
    looked()
    message(NOW + 3 * MINUTE, took=timedelta(), keys=BIG)
    counting.count(NOW + NEXT)
    before = total(one)

    counting.count(NOW + 3 * MINUTE)

    assert (before, total(one)) == ((0, 0, 0), (1, 0, 0))


def test_a_volume_is_judged_by_the_minutes_of_its_period():
    day = NOW.replace(hour=0, minute=0, second=0) - 2 * DAY
    for number in range(4):
        message(day + (3 + number) * HOUR, took=MINUTE, keys=BIG)
    one = on_search(
        kind="volume", at_least=5, limit_minutes=0, days=7, work_days=[2], from_minute=120, until_minute=1080
    )  # Tuesdays, 02:00 to 18:00
    looked()
    before = counters(one)
    message(day + 17 * HOUR, took=MINUTE, keys=BIG)
    message(day + 20 * HOUR, took=MINUTE, keys=BIG)  # after hours

    counting.count(NOW + NEXT)

    last = day + 18 * HOUR - MINUTE
    assert (before, counters(one)) == ({last: (0, 0, 1)}, {last: (1, 0, 0)})
    assert sum(sum(row.found) for row in FoundMinutes.objects.filter(objective=one)) == 6


def test_messages_that_retention_let_go_are_no_missed_period():
    """A quarter is longer than messages are kept."""
    for number in range(1, 30):
        message(NOW - number * DAY, took=MINUTE, keys=BIG)
    one = on_search(kind="volume", at_least=1, limit_minutes=0, unit="quarter")

    looked()

    assert total(one) == (29, 0, 0)
    assert Objective.objects.get().progress == 1.0


def test_what_a_compensation_undid_did_not_succeed():
    uid = message(WEEK_OLD, status=MessageStatus.DEAD, keys=BIG)
    one = on_search()
    looked()
    dead = total(one)

    set_status(uid, MessageStatus.COMPENSATED)
    counting.count(NOW + NEXT)

    assert dead == total(one) == (0, 0, 1)


def test_a_period_of_working_time_is_judged_when_it_is_over():
    closes = NOW.replace(hour=18, minute=0, second=0)
    one = on_search(kind="volume", at_least=1, limit_minutes=0, from_minute=480, until_minute=1080, days=1)
    looked(closes - HOUR)
    message(closes - 2 * HOUR, took=MINUTE, keys=BIG)

    counting.count(closes - NEXT)
    before = counters(one)
    counting.count(closes + NEXT)

    assert before == {}
    assert counters(one) == {closes - MINUTE: (1, 0, 0)}


def test_nobody_is_called_by_a_part_of_the_history_of_a_search_nor_while_it_is_counted_anew():
    """The guard needs a share of the events of the whole period: until they are counted, of as many as there would be at that rate."""
    one = on_search(now=NOW - 10 * MINUTE)
    for number in range(20):
        message(NOW - 5 * DAY + number * MINUTE, took=MINUTE, keys=BIG)
    for number in range(50):
        status = MessageStatus.FAILED if number < 5 else None
        message(NOW - (1 + number % 5) * MINUTE, took=timedelta(), status=status, keys=BIG)

    def needs() -> tuple[str, float, str]:
        held = {str(told.severity): str(told.holds) for told in assess.assess(NOW)}
        found = Standing.objects.get(objective=one)
        return found.state, next(rule["needs"] for rule in found.rules if rule["rule"] == "1h-5m"), held["page"]

    counting.count(NOW, history_s=0)
    part = needs()
    looked()
    whole = needs()
    Objective.objects.update(filled_since=NOW, kept_before=None)  # it was changed: the old figures stand
    anew = needs()

    assert part == ("filling", 14, "no")  # 2 % of 1 % of what 50 messages in 10 min 20 s are in 10 days, 13.9, and no 3
    assert whole == ("spent", 3, "yes")
    assert anew == ("filling", 3, "yes")


def test_nothing_is_noted_unless_something_is_promised_about_a_search():
    assert triggers() == 0
    one = on_search()
    counting.count(NOW)
    made = triggers()
    message(NOW, keys=BIG)
    assert TouchedMinutes.objects.count() == 1

    remove_objective(one, by=ROOT)
    counting.count(NOW + NEXT)

    assert (made, triggers(), TouchedMinutes.objects.count()) == (2, 0, 0)


def test_a_look_without_anything_new_reads_no_message():
    one = on_search()
    message(NOW - HOUR, took=MINUTE, keys=BIG)
    looked()
    quiet = NOW + timedelta(seconds=20)
    assert searches.minute_again(one, quiet) >= one.fill_from

    with connection.execute_wrapper(reads := Reads()):
        counting.count(quiet)

    assert reads.of_messages == 1  # the minute whose turn it is


class Reads:
    """How many queries read messages."""

    def __init__(self) -> None:
        self.of_messages = 0

    def __call__(self, execute, sql, params, many, context):  # type: ignore[no-untyped-def]
        self.of_messages += 'FROM "messaging_message"' in sql
        return execute(sql, params, many, context)


def keep_for(days: int, where: Environment) -> None:
    columns = dict.fromkeys(("payload_days", "metadata_days", "letter_days", "settled_reject_days"), days)
    RetentionPolicy.objects.create(
        environment=where, rollup_days=400, waiting_reject_days=days, changed_by="ada", changed_at=NOW, **columns
    )
    policies.forget()


def test_what_is_older_than_messages_are_kept_stays_as_it_was_counted():
    now = datetime.now(UTC)
    old, gone = old_flow("letters"), now - 9 * DAY
    message(gone, took=MINUTE, of=old)
    one = on_search("flow:letters", now=now)
    looked(now)
    Message.objects.all().delete()  # as retention lets a day go

    Flow.objects.filter(pk=old.pk).update(name="parcels")
    keep_for(7, old.environment)
    looked(now + NEXT)
    policies.forget()

    assert counters(one) == {minute_of(gone): (1, 0, 0)}
    assert Objective.objects.get().progress == 1.0


def test_an_hour_whose_minutes_are_gone_is_not_folded_anew_from_one_of_them():
    old = NOW - 120 * DAY
    uid = message(old, took=MINUTE, keys=BIG)
    message(old + MINUTE, took=MINUTE, keys=BIG)
    keep_for(400, environment())
    one = on_search(days=180)
    looked()
    sums = ObjectiveSum.objects.filter(objective=one).values_list("good", "lost")
    before = list(sums)

    forget_old(NOW)
    set_status(uid, MessageStatus.FAILED)
    counting.count(NOW + NEXT)
    policies.forget()

    assert before == [(2, 0), (2, 0)]  # of its hour and of its day
    assert list(sums) == before
    assert total(one) == (0, 0, 0)


def test_whoever_waits_for_the_counters_waits_longer_than_a_look_has_them():
    with counters_of.one_writer(), connection.cursor() as cursor:
        cursor.execute("SHOW lock_timeout")
        assert cursor.fetchone() == (f"{counters_of.WAIT_S}s",)

    assert counters_of.WAIT_S > searches.LOOK_S + SEARCH_S


def test_a_look_that_an_objective_vanishes_from_is_taken_back_and_stops_nothing_else(monkeypatch: pytest.MonkeyPatch):
    def vanished(now: datetime) -> None:
        raise IntegrityError

    monkeypatch.setattr(counting, "count_searches", vanished)

    assert counting.count(NOW)


def test_what_was_touched_while_a_search_could_not_be_asked_is_counted_afterwards():
    one = on_search()
    looked()
    maker = one.owner
    Objective.objects.update(owner=None)
    message(WEEK_OLD, took=MINUTE, keys=BIG)
    for number in range(1, 5):
        counting.count(NOW + number * MINUTE)
    message(NOW + 3 * MINUTE, took=MINUTE, keys=BIG)
    words = Standing.objects.get().problem
    assert minutes_waiting() == {"production": 5}  # four, and that of last week; not those whose turn it was

    Objective.objects.update(owner=maker)
    counting.count(NOW + 5 * MINUTE)

    assert words.startswith("its search is asked with the rights")
    assert (total(one), Standing.objects.get().problem) == ((2, 0, 0), "")
    assert not Uncounted.objects.exists()


def test_a_promise_on_a_set_of_a_reconciliation_that_is_gone_says_so_and_counts_nothing_more():
    listed = compared("1\n")
    one = on_search(f"size:big -reconciled:{listed.pk}.failed")
    looked()
    remove_reconciliation(listed, by=operator())
    message(NOW - HOUR, took=MINUTE, keys=BIG)

    counting.count(NOW + MINUTE)

    assert Standing.objects.get().problem.startswith("its search cannot be asked: there is no such reconciliation here")
    assert total(one) == (0, 0, 0)


def test_what_there_is_no_time_for_is_counted_at_the_next_look():
    one = on_search()
    looked()
    for number in range(30):
        message(NOW - number * 5 * HOUR, took=MINUTE, keys=BIG)

    searches.count_searches(NOW + NEXT, look_s=0)
    before = total(one)
    counting.count(NOW + 2 * NEXT)

    assert (before, total(one)) == ((0, 0, 0), (30, 0, 0))


def test_a_minute_that_had_its_turn_when_there_was_no_time_does_not_wait():
    on_search()
    looked()

    for number in range(1, 9):
        searches.count_searches(NOW + number * NEXT, look_s=0)

    assert min(Uncounted.objects.get().since) > NOW - HOUR


def test_a_text_that_moves_with_the_clock_is_refused():
    for q in ("size:big age:<1h", "size:big failed:>now-1h", "size:big at:[now-1h TO now]", "size:big OR -at:>now/d"):
        with pytest.raises(BadQuery, match="moves with the clock"):
            on_search(q)
    assert on_search("size:big at:>2026-11-01").pk


def test_every_minute_has_its_turn_while_it_is_less_than_a_week_old():
    one = on_search()

    seen = {searches.minute_again(one, NOW + n * NEXT) for n in range(searches.WEEK_MINUTES)}

    two_days = {minute_of(NOW) - n * MINUTE for n in range(1, 5 * 1440)}
    assert two_days <= seen
    assert all(one_minute < minute_of(NOW) + 2 * DAY for one_minute in seen)


def test_a_set_that_changes_without_a_message_is_found_in_its_turn():
    one = on_search()
    looked()
    message(NOW - DAY, took=MINUTE, keys=BIG)
    TouchedMinutes.objects.all().delete()  # as if nothing had said so
    at = minute_of(NOW - DAY)
    turns = (NOW + number * NEXT for number in range(1, 20_000))
    turn = next(now for now in turns if searches.minute_again(one, now) == at)

    counting.count(turn)

    assert counters(one) == {at: (1, 0, 0)}


def test_portions_are_of_one_day_the_newest_first_and_hold_everything_once():
    midnight = NOW.replace(hour=0, minute=0, second=0)
    spans = [
        Span(since=midnight - 90 * MINUTE, until=midnight + 10 * MINUTE),
        Span(since=NOW.replace(second=0), until=NOW.replace(second=0) + MINUTE),
    ]

    parts = list(portions(spans, most=60))

    assert [sum(span.length // MINUTE for span in part) for part in parts] == [11, 30, 60]
    assert all(len({span.since.date() for span in part}) == 1 for part in parts)
    assert parts[0][0] == spans[1]


def test_an_environment_without_such_a_promise_keeps_nothing():
    on_search()
    counting.count(NOW)
    elsewhere = flow("orders", slug="staging")
    message(NOW, of=elsewhere)
    assert {row.environment_id for row in TouchedMinutes.objects.all()} == {Environment.objects.get(slug="staging").pk}

    counting.count(NOW + NEXT)

    assert not TouchedMinutes.objects.exists()
    assert not ObjectiveMinutes.objects.filter(hour=hour_of(NOW)).exists()
