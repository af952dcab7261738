"""Counters: what each kind of objective counts, history, late events, what dies and what runs twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from alerts.models import Objective, ObjectiveMinutes, ObjectiveSum
from alerts.objectives import counting
from alerts.objectives.counters import COLUMNS, forget_old, hour_of, minute_of
from alerts.objectives.counting import DAY_HOURS, EVERY, WEEK_HOURS, hour_of_the_late, hours_again
from alerts.objectives.services import change_objective
from alerts.objectives.wishes import NewObjective, ObjectiveInvalid
from messages.models import DeadLetter, Message, MessageStatus, RetentionPolicy
from messages.queries import Freshness, fresh_minutes
from messages.retention import policies
from messages.retention.rules import Policy
from tests.factories import ROOT, environment, stored_letter
from tests.objectives.searching import counters, on_search
from tests.objectives.stored import DAY, HOUR, MINUTE, NOW, looked, message, promised, rolled, totals
from tests.services.reconciling import flow

pytestmark = pytest.mark.django_db
BIG = {"size": "big"}


def test_success_counts_processed_against_failed_and_takes_history_along():
    rolled(NOW - 20 * DAY, 10, 1)
    rolled(NOW - 2 * MINUTE, 5, 2)
    rolled(NOW - 31 * DAY, 1_000)  # before its window
    rolled(NOW, 7, of=flow("another"))

    one = promised()
    looked()

    assert totals(one) == totals(one, 24) == (15, 0, 3)
    one.refresh_from_db()
    assert one.progress == 1.0
    assert one.filled_since == one.fill_from


def test_latency_parts_at_the_bound_of_a_bucket():
    rolled(NOW, 3, bucket=9)  # under 512 ms
    rolled(NOW, 4, bucket=10)
    rolled(NOW, 5, 9, bucket=11)

    one = promised(kind="latency", limit_ms=1024)
    looked()

    assert totals(one) == (7, 5, 0)
    with pytest.raises(ObjectiveInvalid, match=r"512 or 1,024 ms instead of 1,000"):
        promised("Another", kind="latency", limit_ms=1000)
    with pytest.raises(
        ObjectiveInvalid, match=r"up to 2\.3 hours"
    ):  # the last bucket has no bound: nothing would be late
        promised("Slow", kind="latency", limit_ms=2**24)
    assert promised("Slowest", kind="latency", limit_ms=2**23).limit_ms == 2**23


def test_freshness_keeps_good_late_and_lost_apart():
    began = NOW - 2 * HOUR
    message(began, took=5 * MINUTE)  # in time
    message(began, took=15 * MINUTE)  # just
    message(began, took=16 * MINUTE)  # late
    message(began)  # still waits
    message(began, status=MessageStatus.DEAD)
    message(began - 30 * HOUR, took=25 * HOUR)  # too late to be late
    message(NOW - 10 * MINUTE)  # its time is not up
    message(began, took=MINUTE, of=flow("another"))

    one = promised(kind="freshness", limit_minutes=15)
    looked()

    assert totals(one) == (2, 1, 3)
    due = ObjectiveMinutes.objects.get(objective=one, hour=hour_of(began + 15 * MINUTE))
    assert due.good[(began + 15 * MINUTE).minute] == 2


def test_a_message_is_counted_when_its_time_is_up_and_again_when_it_came_after_all():
    one = promised(kind="freshness", limit_minutes=15)
    uid = message(NOW)

    looked(NOW + 14 * MINUTE)
    before = totals(one)
    looked(NOW + 16 * MINUTE)
    waiting = totals(one)
    from messages.models import Message

    Message.objects.filter(id=uid).update(status=MessageStatus.DELIVERED, decided_at=NOW + 20 * MINUTE)
    looked(NOW + 21 * MINUTE)

    assert (before, waiting, totals(one)) == ((0, 0, 0), (0, 0, 1), (0, 1, 0))


def test_a_message_whose_beginning_was_told_hours_later_is_in_one_minute():
    of = flow()
    for began in (5.5, 7):  # the receiver told of both at once, and the sender told later when they had begun
        uid = message(NOW - 5 * HOUR, took=timedelta())
        Message.objects.filter(id=uid).update(started_at=NOW - began * HOUR)
    promise = Freshness(key=1, environment_id=of.environment_id, flow_id=of.pk, limit=15 * MINUTE, recover=DAY)

    hours = [hour_of(NOW) - number * HOUR for number in range(12)]
    found = [row for hour in hours for row in fresh_minutes([promise], hour, hour + HOUR)]

    assert [sum(column) for column in zip(*((row.good, row.late, row.lost) for row in found), strict=True)] == [0, 2, 0]


@pytest.mark.parametrize("about", ["flow", "search"])
def test_what_a_replay_proved_is_late_and_not_lost(about: str):
    from console.core.ids import uuid7
    from messages.models import Replay
    from tests.factories import memory_connection

    said = {"kind": "freshness", "limit_minutes": 15}
    one = promised(**said) if about == "flow" else on_search("flow:orders", **said)
    letter = stored_letter(origin="orders")
    uid = message(NOW - HOUR, took=5 * MINUTE, failed=True)  # a replay brought it within its time: late all the same
    message(NOW - HOUR, took=5 * MINUTE, failed=True)  # the receiver tried again by itself: in time
    DeadLetter.objects.filter(pk=letter.pk).update(message_uid=uid)
    Replay.objects.create(
        dead_letter=letter, environment=letter.environment, connection=memory_connection(), destination="orders", state="processed",
        requested_by="ada", reason="", proof_event_at=NOW, proof_event_id=uuid7(),
    )  # fmt: skip

    looked()

    at = minute_of(NOW - HOUR + 15 * MINUTE)
    assert counters(one)[at] == (1, 1, 0)


def test_the_age_of_dead_letters_is_judged_minute_by_minute():
    letter = stored_letter(origin="orders")
    DeadLetter.objects.filter(pk=letter.pk).update(failed_at=NOW - 5 * HOUR, received_at=NOW - 5 * HOUR)
    closed = stored_letter(origin="orders")
    DeadLetter.objects.filter(pk=closed.pk).update(
        failed_at=NOW - 10 * HOUR,
        received_at=NOW - 10 * HOUR,
        state="closed",
        resolution="processed",
        closed_at=NOW - 7 * HOUR,
    )

    one = promised(kind="dead_letter_age", limit_minutes=120, days=1)
    looked()

    good, late, lost = totals(one)
    assert late == 0
    assert (
        lost == 3 * 60 + 60
    )  # since three hours ago, and between eight and seven hours ago: at the beginning of each minute
    assert good + lost == 24 * 60 + 31


def test_the_age_of_letters_is_not_known_before_closed_ones_are_let_go():
    """A quarter is longer than closed letters are kept: what waited then is not known."""
    one = promised(kind="dead_letter_age", limit_minutes=120, unit="quarter")

    looked()

    assert totals(one) == (30 * 1440 + 31, 0, 0)


def test_an_hour_of_history_is_counted_whole_though_old_minutes_are_forgotten_meanwhile():
    rolled(NOW - 120 * DAY - 2 * HOUR, 1, minutes=240)
    one = promised(days=180)
    while one.is_filling:
        counting._count_back(one, NOW)
        forget_old(NOW)
        one.refresh_from_db()

    assert totals(one) == (240, 0, 0)


def test_a_late_event_lands_in_its_minute():
    one = promised()
    looked()
    rolled(NOW - 5 * MINUTE, 3)  # ten minutes back are looked at every time
    rolled(NOW - 20 * HOUR, 4)

    looked(NOW + 15 * MINUTE / 60)
    soon = totals(one)
    for number in range(DAY_HOURS):
        counting.count(NOW + number * timedelta(seconds=15))

    assert soon == (3, 0, 0)
    assert totals(one) == (7, 0, 0)


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_each_hour_of_the_week_has_its_turn_also_when_looks_take_longer_than_they_are_apart(step: int):
    day, week = set(), set()
    for number in range(EVERY * (WEEK_HOURS - DAY_HOURS)):
        first, *more = hours_again(NOW + number * step * timedelta(seconds=15))
        day.add(first)
        week.update(more)

    assert day == set(range(DAY_HOURS))
    assert week == set(range(DAY_HOURS, WEEK_HOURS))


def test_a_worker_that_was_away_catches_up():
    one = promised()
    looked()
    for hours in range(1, 50, 7):
        rolled(NOW + hours * HOUR, 1)

    counting.count(NOW + 60 * HOUR)

    assert totals(one) == (7, 0, 0)
    one.refresh_from_db()
    assert one.counted_to == (NOW + 60 * HOUR).replace(second=0) + MINUTE


def test_counting_twice_counts_once():
    rolled(NOW - HOUR, 5, 1)
    one = promised()
    looked()

    looked()
    looked()

    assert totals(one) == (5, 0, 1)


def test_history_is_counted_bit_by_bit():
    rolled(NOW - 29 * DAY, 5)
    one = promised()

    counting.count(NOW, history_s=0)
    one.refresh_from_db()
    assert one.progress == 0.0
    counting.count(NOW, history_s=0.001)
    one.refresh_from_db()
    assert 0 < one.progress < 1
    looked()

    assert totals(one) == (5, 0, 0)


def test_time_slices_are_folded_and_folded_anew():

    rolled(NOW - HOUR, 9, 1, minutes=3)
    rolled(NOW - 2 * HOUR, 10)
    one = promised(method="timeslices", slice_minutes=1, slice_target=0.95)
    looked()
    first = list(ObjectiveSum.objects.filter(objective=one, span=24).values_list("slices", "slices_good"))

    change_objective(
        one, NewObjective(name="x", kind="success", target="0.99", method="ratio_timeslices"), by=ROOT, now=NOW
    )

    assert first == [(4, 1.0)]
    [(slices, good)] = ObjectiveSum.objects.filter(objective=one, span=24).values_list("slices", "slices_good")
    assert (slices, round(good, 6)) == (4, 3.7)


def test_a_message_that_is_processed_after_weeks_is_late_when_it_may_be():
    one = promised(kind="freshness", limit_minutes=60, recover_minutes=30 * 1440, days=60, now=NOW - 13 * DAY)
    began = NOW - 12 * DAY
    pk = message(began)
    looked(NOW - 11 * DAY)
    assert totals(one) == (0, 0, 1)
    Message.objects.filter(id=pk).update(status=MessageStatus.DELIVERED, decided_at=NOW - HOUR, last_seen_at=NOW - HOUR)

    at = NOW
    while hour_of_the_late([one], at) != (hour_of(at) - hour_of(began + HOUR)) // HOUR:
        at += timedelta(seconds=15)
    counting.count(at)

    assert totals(one) == totals(one, 24) == (0, 1, 0)
    assert at - NOW < timedelta(hours=48)


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_each_hour_in_which_a_message_may_become_late_has_its_turn_also_when_looks_take_longer(step: int):
    one = promised(
        kind="freshness", limit_minutes=60, recover_minutes=14 * 1440 - 60
    )  # of 168 hours, which two and three divide
    longest = counting._late_for(one)

    looks = [NOW + number * step * timedelta(seconds=15) for number in range(EVERY * (longest - WEEK_HOURS + 6))]

    assert {hour_of_the_late([one], at) for at in looks} >= set(range(WEEK_HOURS, longest))


def test_only_a_freshness_that_waits_longer_than_a_week_is_counted_further_back():
    short, success = promised(kind="freshness", limit_minutes=60), promised("Another")
    looks = [NOW + number * timedelta(seconds=15) for number in range(40)]

    assert {hour_of_the_late([short, success], at) for at in looks} == {None}


def test_a_promise_that_is_removed_during_a_look_costs_the_others_that_look_alone(
    committed: None, monkeypatch: pytest.MonkeyPatch
):
    rolled(NOW - 2 * MINUTE, 5)
    gone, kept = promised("Gone"), promised("Kept")
    counts_of = counting.counts_of

    def remove() -> None:
        Objective.objects.filter(pk=gone.pk).delete()
        connection.close()

    def removing(*said: Any) -> Any:
        with ThreadPoolExecutor(1) as other:
            other.submit(remove).result()
        return counts_of(*said)

    monkeypatch.setattr(counting, "counts_of", removing)
    looked()
    monkeypatch.undo()
    looked(NOW + MINUTE)

    assert totals(kept) == (5, 0, 0)


@pytest.mark.parametrize("kind", ["freshness", "dead_letter_age"])
def test_what_retention_let_go_stays_as_it_was_counted(kind: str, monkeypatch: pytest.MonkeyPatch):
    """A promise of two days counts messages that were first seen two days before the hour; letters go by days of their own."""
    days = asdict(Policy(metadata_days=7, payload_days=7, letter_days=3))
    of_letters = kind == "dead_letter_age"
    one = promised(kind=kind, limit_minutes=60 if of_letters else 2880)
    RetentionPolicy.objects.create(environment=environment(), changed_at=NOW - DAY, **days)
    policies.forget()
    message(NOW - 7.5 * DAY, took=HOUR)
    message(NOW - 7.5 * DAY)
    begun = NOW - 5.5 * DAY
    DeadLetter.objects.filter(pk=stored_letter(origin="orders").pk).update(
        failed_at=begun, received_at=begun, state="closed", resolution="processed", closed_at=begun + 3 * HOUR
    )
    looked()
    before = counters(one)

    Message.objects.all().delete(), DeadLetter.objects.all().delete()
    monkeypatch.setattr(counting, "hours_again", lambda now: range(WEEK_HOURS))
    counting.count(NOW)

    assert sum(lost for _, _, lost in before.values()) == (120 if of_letters else 1)
    assert {at: counts for at, counts in counters(one).items() if at in before} == before


def test_hours_of_sums_go_by_whole_days():
    """A day of which some were gone would be summed up without them, after what does not count of it was changed."""
    one, midnight = promised(), hour_of(NOW - 400 * DAY).replace(hour=0)
    sums = dict.fromkeys(COLUMNS, 1)
    hours = [midnight + number * HOUR for number in range(-24, 24)]
    ObjectiveSum.objects.bulk_create([ObjectiveSum(objective=one, span=1, at=at, **sums) for at in hours])

    forget_old(NOW)

    assert ObjectiveSum.objects.filter(objective=one, at__gte=midnight).count() == 24
    assert not ObjectiveSum.objects.filter(objective=one, at__lt=midnight).exists()
