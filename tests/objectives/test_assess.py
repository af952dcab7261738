"""Assessment: figures, rules, the guard of low traffic, exclusions, silence, two at once."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction

from alerts.models import Standing
from alerts.objectives import assess, counting
from alerts.objectives.queries import attained, budget_line, what_if_of, window_at
from alerts.objectives.services import change_objective, remove_objective
from alerts.objectives.wishes import NewObjective, ObjectiveInvalid
from console.core.errors import Conflict, Invalid
from tests.factories import ROOT
from tests.objectives.stored import (
    DAY,
    HOUR,
    MINUTE,
    NOW,
    a_month_of_traffic,
    looked,
    message,
    promised,
    rolled,
    standing,
)
from tests.services.reconciling import flow

pytestmark = pytest.mark.django_db


def rules(name: str = "Orders arrive") -> dict[str, bool]:
    return {rule["rule"]: rule["holds"] for rule in standing(name).rules}


def test_a_calm_flow_keeps_its_promise():
    rolled(NOW - 10 * DAY, 985, 5)
    rolled(NOW - HOUR, 10)
    promised()

    held = looked()

    found = standing()
    assert held == {"Orders arrive: page": "no", "Orders arrive: ticket": "no"}
    assert (found.state, found.good, found.late, found.lost, found.out) == ("kept", 995, 0, 5, 0)
    assert (found.attained, found.adjusted) == (0.995, 0.995)
    assert (round(found.budget, 6), found.spent, round(found.left, 6)) == (10, 5, 0.5)
    assert found.gone_at is None
    assert found.last_event_at == (NOW - HOUR).replace(second=0)


def test_an_outage_pages_and_says_how_much():
    a_month_of_traffic()
    rolled(NOW - 60 * MINUTE, 0, 20, minutes=61)
    one = promised()

    held = looked()

    found = standing()
    assert held == {"Orders arrive: page": "yes", "Orders arrive: ticket": "yes"}
    assert rules() == {
        "1h-5m": True,
        "6h-30m": True,
        "1d-2h": True,
        "3d-6h": True,
        "sustained": False,
        "exhausted": False,
    }
    assert (found.state, found.severity) == ("burning", "page")
    assert round(found.burn) == 100
    assert found.gone_at is not None
    page, _ = assess.assess(NOW)
    assert page.summary.startswith("1,200 bad in the last hour, 100 times what 99 % allows; ")
    assert (page.source, page.key, page.flow_ids, page.url) == (
        "objective",
        str(one.pk),
        (flow().pk,),
        f"/objectives/{one.pk}/",
    )
    assert page.labels["rule"] == "1h-5m,6h-30m"


def test_an_outage_that_is_over_stops_paging_within_the_short_window():
    a_month_of_traffic()
    rolled(NOW - 60 * MINUTE, 0, 20, minutes=60)
    rolled(NOW, 20, minutes=40)
    promised(exhausted=False)

    assert looked(NOW)["Orders arrive: page"] == "yes"
    assert looked(NOW + 31 * MINUTE)["Orders arrive: page"] == "no"


def test_one_failure_of_a_quiet_night_wakes_nobody():
    rolled(NOW - 20 * DAY, 1, minutes=600)
    rolled(NOW - MINUTE, 0, 2)  # two of two
    promised(target="0.999")
    promised("Unguarded", target="0.999", guarded=False)

    held = looked()

    assert held["Orders arrive: page"] == "no"
    assert held["Unguarded: page"] == "yes"
    [fast] = [rule for rule in standing().rules if rule["rule"] == "1h-5m"]
    assert (fast["words"], fast["bad"], fast["needs"]) == ("held back: 3 bad are needed", 2, 3)


def test_a_trickle_of_failures_becomes_a_ticket():
    rolled(NOW - 20 * DAY, 1000, minutes=100)
    for hours in range(6):
        rolled(NOW - hours * HOUR, 6, 2)
    promised(target="0.99", exhausted=False)

    looked()

    assert rules()["sustained"]
    assert not any(holds for name, holds in rules().items() if "-" in name and name != "6h-30m")


def sustained() -> dict[str, Any]:
    found: dict[str, Any] = next(rule for rule in standing().rules if rule["rule"] == "sustained")
    return found


def test_failures_that_leave_every_slice_good_are_no_ticket():
    rolled(NOW - 6 * HOUR, 98, 2, minutes=361)
    promised(method="timeslices", slice_minutes=1, slice_target=0.9)

    looked()

    assert (standing().adjusted, standing().state) == (1, "kept")
    assert not sustained()["holds"]


@pytest.mark.parametrize("unit", ["rolling", "month"])
@pytest.mark.parametrize("slice_minutes", [1, 5, 60])
def test_a_slice_is_judged_when_it_is_over(slice_minutes: int, unit: str):
    begins = NOW.replace(hour=12, minute=0, second=0)
    rolled(begins - 6 * HOUR, 20, minutes=6 * 60)
    rolled(begins, 10, 10)
    said: dict[str, Any] = {"method": "timeslices", "slice_minutes": slice_minutes, "slice_target": 0.95, "unit": unit}
    one = promised(target="0.9", **said)
    last = begins + (slice_minutes - 1) * MINUTE + timedelta(seconds=59)

    def bad_at(now: datetime) -> set[float]:
        looked(now)
        row, window = standing(), window_at(one, now)
        assert (row.lost, row.attained) == (10, attained(one, window, now=now).attained)
        spent = {row.spent, attained(one, window, now=now).budget.spent}
        left = budget_line(one, row, now=now).left[-1]
        return spent | {round((1 - left) * row.budget, 6)} | {rule["bad"] for rule in row.rules}

    assert bad_at(last) == {0}
    assert bad_at(last + MINUTE) == {1}
    assert attained(one, window_at(one, last), now=last).attained == 1


def test_a_slice_that_ends_well_pages_nobody_while_it_runs():
    begins = NOW.replace(hour=6, minute=0, second=0)
    rolled(begins, 20, minutes=6 * 60)
    rolled(begins + 5 * HOUR, 0, 200, minutes=25)  # five bad slices in the long window
    rolled(begins + 6 * HOUR, 16, 4)
    rolled(begins + 6 * HOUR + MINUTE, 20, minutes=4)
    one = promised(target="0.99", method="timeslices", slice_minutes=5, slice_target=0.95, guarded=False, now=begins)
    paged = []

    for minute in range(5 * 60, 6 * 60 + 10):
        now = begins + minute * MINUTE + timedelta(seconds=50)
        if looked(now)["Orders arrive: page"] == "yes":
            paged.append(minute)

    assert (paged[0], paged[-1]) == (310, 354)  # from the end of the second to half an hour after the last
    assert [found.pages for found in what_if_of(one, now=now) if found.now] == [1]


@pytest.mark.parametrize("slice_minutes", [1, 60])
def test_a_slice_is_in_one_of_six_hours(slice_minutes: int):
    for hours in (1, 2, 3):
        rolled(NOW.replace(minute=0) - hours * HOUR, 1, 5)
    promised(target="0.5", method="timeslices", slice_minutes=slice_minutes, slice_target=0.9)

    looked()

    assert (sustained()["holds"], sustained()["bad"]) == (False, 3)


def test_a_budget_that_is_spent_is_a_ticket():
    rolled(NOW - 20 * DAY, 900, 100)
    promised()

    held = looked()

    assert held == {"Orders arrive: page": "no", "Orders arrive: ticket": "yes"}
    assert standing().state == "spent"
    assert standing().left == pytest.approx(-9)


def test_the_minute_of_the_last_event_stays_when_it_is_read_by_the_hour():
    rolled(NOW - HOUR, 10)
    promised()
    looked()

    looked(NOW + 8 * HOUR)

    assert standing().last_event_at == (NOW - HOUR).replace(second=0)


def test_a_missed_period_pages_at_once_and_until_enough_came():
    day = NOW.replace(hour=0, minute=0, second=0)
    one = promised(kind="volume", at_least=2, limit_minutes=60, from_minute=480, until_minute=1080, now=day)
    rolled(day + 8 * HOUR, 5)
    rolled(day + 10 * HOUR, 5)

    assert looked(day + 9 * HOUR + MINUTE)["Orders arrive: page"] == "no"
    assert looked(day + 10 * HOUR + MINUTE)["Orders arrive: page"] == "yes"
    assert looked(day + 11 * HOUR + MINUTE)["Orders arrive: page"] == "no"
    assert {found.pages for found in what_if_of(one, now=day + 11 * HOUR + MINUTE)} == {2}  # the days before had none


def test_nobody_is_called_by_a_part_of_the_history():
    rolled(NOW - 30 * DAY, 1_000, minutes=29 * 1440)
    rolled(NOW - 5 * MINUTE, 0, 50)
    promised()

    counting.count(NOW, history_s=0)
    part = {str(one.severity): str(one.holds) for one in assess.assess(NOW)}
    figures = standing()
    whole = looked()

    assert (figures.state, figures.lost, figures.good) == ("filling", 50, 0)
    assert part == {"page": "no", "ticket": "unknown"}
    assert whole == {"Orders arrive: page": "no", "Orders arrive: ticket": "no"}


def test_a_missed_period_is_not_over_because_time_passes_but_when_enough_came():
    """The last hour of a Friday is missed until the first one of Monday, and not for six hours."""
    friday = NOW.replace(day=20, hour=0, minute=0, second=0)
    promised(
        kind="volume",
        at_least=2,
        limit_minutes=60,
        from_minute=480,
        until_minute=1080,
        work_days=[1, 2, 3, 4, 5],
        now=friday,
    )
    rolled(friday + 8 * HOUR, 5, minutes=9 * 60)
    rolled(friday + 3 * DAY + 8 * HOUR, 5)

    held = [
        looked(at)["Orders arrive: page"]
        for at in (
            friday + 17 * HOUR + MINUTE, friday + 18 * HOUR + MINUTE, friday + 25 * HOUR, friday + 2 * DAY, friday + 3 * DAY + 8 * HOUR,
            friday + 3 * DAY + 9 * HOUR + MINUTE,
        )
    ]  # fmt: skip

    assert held == ["no", "yes", "yes", "yes", "yes", "no"]


def test_pairs_that_cannot_fire_are_refused_and_chosen_ones_kept():
    with pytest.raises(ObjectiveInvalid, match="can never fire"):
        promised(target="0.9", pairs=["1h-5m"])
    with pytest.raises(ObjectiveInvalid, match="a pair of windows is one of"):
        promised(pairs=["2h-5m"])

    assert promised(target="0.9", pairs=["6h-30m"]).pairs == ["6h-30m"]
    assert promised("By itself", target="0.9").pairs == ["6h-30m", "1d-2h", "3d-6h"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"target": "1"}, "between 0 and 100 %"),
        ({"target": "NaN"}, "target"),
        ({"target": "x"}, "target is a number"),
        ({"name": " \x00 "}, "give the objective a name"),
        ({"kind": "x"}, "one of"),
        ({"kind": "latency"}, "limit"),
        ({"kind": "freshness"}, "1 minute to 90 days"),
        ({"kind": "freshness", "limit_minutes": 15, "recover_minutes": 5}, "no sooner"),
        ({"kind": "volume"}, "at least one message"),
        ({"kind": "volume", "at_least": 1, "work_days": [8]}, "working day"),
        ({"kind": "volume", "at_least": 1, "method": "timeslices"}, "leave time slices out"),
        ({"method": "x"}, "one of"),
        ({"method": "timeslices", "slice_minutes": 7}, "parts an hour evenly"),
        ({"method": "timeslices", "slice_target": 0}, "slice is good"),
        ({"unit": "fortnight"}, "window is one of"),
        ({"days": 0}, "1 to 366 days"),
        ({"time_zone": "nowhere"}, "no time zone"),
        ({"time_zone": "localtime"}, "no time zone"),
        ({"time_zone": "right/Europe/Berlin"}, "no time zone"),
        ({"kind": "freshness", "limit_minutes": 15, "recover_minutes": 0}, "1 minute to 90 days"),
    ],
)
def test_a_promise_that_cannot_be_is_refused(changes: dict[str, object], words: str):
    with pytest.raises(Invalid, match=words):
        promised(**({"name": "x"} | changes))  # type: ignore[arg-type]


def test_a_changed_promise_is_judged_by_its_new_target_and_a_removed_one_no_more():
    rolled(NOW - 10 * DAY, 995, 5)
    one = promised()
    looked()

    change_objective(one, NewObjective(name="Orders arrive", kind="success", target="0.999"), by=ROOT, now=NOW)
    looked()
    assert standing().state == "spent"
    with pytest.raises(Conflict):
        promised()
    remove_objective(one, by=ROOT)

    assert looked() == {}
    assert not Standing.objects.exists()


def test_freshness_spends_its_budget_on_late_and_lost():
    for _ in range(8):
        message(NOW - 3 * HOUR, took=MINUTE)
    message(NOW - 3 * HOUR, took=HOUR)
    message(NOW - 3 * HOUR)
    promised(kind="freshness", limit_minutes=15, target="0.9")

    looked()

    assert (standing().good, standing().late, standing().lost) == (8, 1, 1)
    assert standing().attained == 0.8


@pytest.mark.usefixtures("committed")
@pytest.mark.django_db(transaction=True)
def test_two_schedulers_at_once_assess_once():
    rolled(NOW - HOUR, 10, 1)
    promised()
    looked()
    results: list[int] = []
    holding, done = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [assess.LOCK])
            holding.set()
            done.wait(20)
        connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    holding.wait(20)
    results.append(len(assess.assess(NOW)))
    done.set()
    thread.join()
    results.append(len(assess.assess(NOW)))  # the negative control: nobody holds it now

    assert results == [0, 2]
    assert Standing.objects.count() == 1


def test_a_look_is_a_handful_of_queries_whatever_the_number(django_assert_max_num_queries):  # type: ignore[no-untyped-def]
    for number in range(6):
        promised(f"Promise {number}")
    looked()

    with django_assert_max_num_queries(14):
        assess.assess(NOW)


def test_the_time_between_assessments_is_short():
    """An alert leaves within 90 s of the condition: counted to the minute that runs, every 15 s."""
    from console.celery import app

    assert app.conf.beat_schedule["assess-objectives"]["schedule"] <= timedelta(seconds=15).total_seconds()
