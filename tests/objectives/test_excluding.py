"""Exclusions: what does not count, of one promise or of a flow, once, again and again, or long ago."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import OperationalError, connection, transaction

from alerts.conditions import Severity
from alerts.models import Exclusion, ObjectiveSum, Standing
from alerts.objectives import assess, counters
from alerts.objectives.excluding import NewExclusion, add_exclusion, withdraw_exclusion
from alerts.objectives.queries import (
    attained,
    budget_line,
    exclusions_in_force,
    find_exclusions,
    what_if_of,
    window_at,
)
from alerts.objectives.queries import minutes as minutes_of
from alerts.objectives.windows import Span
from console.core.errors import Conflict, Invalid
from tests.factories import ROOT
from tests.objectives.stored import (
    DAY,
    HOUR,
    MINUTE,
    NOW,
    a_month_of_traffic,
    counters_held_elsewhere,
    looked,
    promised,
    rolled,
    standing,
)
from tests.product import wait_until
from tests.services.reconciling import flow

pytestmark = pytest.mark.django_db


def test_what_is_excluded_counts_in_the_raw_figure_alone():
    rolled(NOW - 10 * DAY, 900, minutes=1)
    rolled(NOW - 2 * DAY, 0, 100)
    one = promised()
    looked()
    assert standing().state == "spent"

    made = add_exclusion(
        NewExclusion(starts_at=NOW - 2 * DAY - MINUTE, minutes=5, reason="partner maintenance", category="partner"),
        objective=one,
        by=ROOT,
    )
    held = looked()
    found = standing()
    assert (found.state, found.attained, found.adjusted, found.out) == ("kept", 0.9, 1.0, 100)
    assert held["Orders arrive: ticket"] == "no"

    withdraw_exclusion(made, by=ROOT)
    looked()
    assert (standing().state, standing().adjusted) == ("spent", 0.9)
    with pytest.raises(Conflict):
        withdraw_exclusion(Exclusion.objects.get(), by=ROOT)


def test_an_exclusion_of_a_flow_is_for_all_its_objectives_and_stops_alerts():
    a_month_of_traffic()
    rolled(NOW - 60 * MINUTE, 0, 20, minutes=61)
    promised()
    promised("In time", kind="latency", limit_ms=1024)
    other = promised("Another flow", of=flow("another"))

    add_exclusion(
        NewExclusion(starts_at=NOW - HOUR - MINUTE, minutes=70, reason="weekly", rule="FREQ=WEEKLY"),
        flow=flow(),
        by=ROOT,
    )
    held = looked()

    # the last hour is excluded whole: nothing fires, and what was open is not called over
    assert held == {f"{name}: {severity}": holds for name, holds in (
        ("Orders arrive", "unknown"), ("In time", "unknown"), ("Another flow", "no")) for severity in ("page", "ticket")}  # fmt: skip
    assert (standing().attained or 1) < (standing().adjusted or 0)
    assert other.pk


@pytest.mark.parametrize("said", [{}, {"method": "timeslices", "slice_minutes": 5, "slice_target": 0.9}])
def test_what_is_open_is_not_over_because_it_is_not_measured(said: dict[str, Any]):
    """Nothing but failures from 12:00 to 14:30, and 12:30 to 14:00 is excluded."""
    begins = NOW.replace(minute=0, second=50)
    a_month_of_traffic()
    rolled(begins, 0, 20, minutes=150)
    rolled(begins + 150 * MINUTE, 20, minutes=40)
    one = promised(now=begins, **said)
    add_exclusion(
        NewExclusion(starts_at=begins.replace(second=0) + HOUR / 2, minutes=90, reason="m"), objective=one, by=ROOT
    )

    held = {minute: looked(begins + minute * MINUTE)["Orders arrive: page"] for minute in (29, 45, 65, 119, 125, 189)}

    assert held == {29: "yes", 45: "yes", 65: "unknown", 119: "unknown", 125: "yes", 189: "no"}
    assert [found.pages for found in what_if_of(one, now=begins + 189 * MINUTE) if found.now] == [1]


def test_nothing_new_fires_of_what_is_excluded_and_it_is_over_when_it_was_measured():
    begins = NOW.replace(minute=0, second=50)
    a_month_of_traffic()
    rolled(begins, 0, 20, minutes=60)
    rolled(begins + HOUR, 20, minutes=10)
    one = promised(now=begins)
    add_exclusion(NewExclusion(starts_at=begins.replace(second=0), minutes=60, reason="m"), objective=one, by=ROOT)

    held = [looked(begins + minute * MINUTE)["Orders arrive: page"] for minute in (2, 10, 59, 60)]

    assert held == ["no", "unknown", "unknown", "no"]


def test_a_condition_says_that_it_is_unknown_because_its_time_is_excluded():
    begins = NOW.replace(minute=0, second=50)
    a_month_of_traffic()
    rolled(begins, 0, 20, minutes=60)
    one = promised(now=begins)
    add_exclusion(NewExclusion(starts_at=begins.replace(second=0), minutes=60, reason="m"), objective=one, by=ROOT)

    said = {}
    for minute in (2, 59):
        looked(begins + minute * MINUTE)
        [said[minute]] = [
            each.is_excluded for each in assess.assess(begins + minute * MINUTE) if each.severity is Severity.PAGE
        ]

    assert said == {2: False, 59: True}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"minutes": 0}, "lasts from a minute"),
        ({"minutes": 60 * 24 * 32}, "31 days"),
        ({"reason": " "}, "say why"),
        ({"category": "x"}, "one of"),
        ({"rule": "FREQ=SECONDLY"}, "FREQ=DAILY"),
        ({"rule": "FREQ=WEEKLY;BYMONTHDAY=5"}, "BYMONTHDAY goes with FREQ=MONTHLY"),
        ({"time_zone": "Mars/Olympus"}, "no time zone"),
        ({"starts_at": NOW.replace(tzinfo=None)}, "time zone"),
        ({"starts_at": NOW.replace(year=1999)}, "after the year 2000"),
    ],
)
def test_an_exclusion_that_cannot_be_is_refused(changes: dict[str, object], words: str):
    one = promised()

    with pytest.raises(Invalid, match=words):
        add_exclusion(
            NewExclusion(**({"starts_at": NOW, "minutes": 5, "reason": "x"} | changes)), objective=one, by=ROOT
        )  # type: ignore[arg-type]


def test_a_missed_period_that_is_excluded_is_none():
    friday = NOW.replace(day=20, hour=0, minute=0, second=0)
    one = promised(kind="volume", at_least=2, limit_minutes=60, from_minute=480, until_minute=1080, now=friday)
    rolled(friday + 8 * HOUR, 5, minutes=9 * 60)
    looked(friday + 20 * HOUR)
    said = NewExclusion(starts_at=friday + 17 * HOUR, minutes=60, category="maintenance", reason="ERP moves house")
    add_exclusion(said, objective=one, by=ROOT)

    assert looked(friday + 25 * HOUR)["Orders arrive: page"] == "no"


def test_a_period_of_which_a_part_is_excluded_is_not_judged():
    """Whatever part of it: fewer messages than were promised came because of those hours."""
    thursday = NOW.replace(day=19, hour=0, minute=0, second=0)
    rolled(thursday + 9 * HOUR, 5)
    rolled(thursday + DAY + 9 * HOUR, 1)
    one = promised(kind="volume", at_least=2, limit_minutes=0, from_minute=480, until_minute=1080, days=3, now=thursday)
    seen = thursday + DAY + 19 * HOUR
    assert looked(seen)["Orders arrive: page"] == "yes"

    for since, minutes in ((10 * HOUR, 60), (7 * HOUR, 61), (18 * HOUR - MINUTE, 5)):
        said = NewExclusion(starts_at=thursday + DAY + since, minutes=minutes, reason="ERP moves house")
        made = add_exclusion(said, objective=one, by=ROOT)
        held, found = looked(seen), standing()
        figures = attained(one, found_span(found), now=seen)
        assert held["Orders arrive: page"] == "no"
        assert (found.out, found.good, found.lost, found.spent) == (1, 1, 2, 1)
        assert (figures.kept.good, figures.kept.lost) == (1, 1)
        assert [sum(column) for column in minutes_of(one, found_span(found))] == [1, 0, 1]
        assert budget_line(one, found, now=seen).excluded == [whole(thursday + DAY, since, minutes)]
        assert {one.pages for one in what_if_of(one, now=seen)} == {1}
        withdraw_exclusion(made, by=ROOT)
    assert looked(seen)["Orders arrive: page"] == "yes"

    beside = [NewExclusion(starts_at=thursday + DAY + at * HOUR, minutes=60, reason="nothing") for at in (7, 18)]
    for said in beside:
        add_exclusion(said, objective=one, by=ROOT)
    assert looked(seen)["Orders arrive: page"] == "yes"
    assert standing().out == 0


def found_span(found: Standing) -> Span:
    assert found.since
    assert found.until
    return Span(since=found.since, until=found.until)


def whole(day: datetime, since: timedelta, minutes: int) -> Span:
    opens, closes = day + 8 * HOUR, day + 18 * HOUR
    return Span(since=min(opens, day + since), until=max(closes, day + since + minutes * MINUTE))


@pytest.mark.usefixtures("committed")
@pytest.mark.django_db(transaction=True)
def test_a_form_that_is_sent_twice_at_once_excludes_once():
    one = promised()
    said = NewExclusion(starts_at=NOW - HOUR, minutes=30, reason="carrier", key=uuid4())
    results: list[Exclusion] = []

    def press() -> None:
        try:
            results.append(add_exclusion(said, objective=one, by=ROOT))
        finally:
            connection.close()

    thread = threading.Thread(target=press)
    with transaction.atomic(), connection.cursor() as cursor:
        first = add_exclusion(said, objective=one, by=ROOT)
        thread.start()
        wait_until(lambda: _waits(cursor), seconds=20, what="the second press to wait for the first", every=0.05)
    thread.join()

    assert results == [first]
    assert Exclusion.objects.count() == 1


def _waits(cursor: Any) -> bool:
    cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'")
    return bool(cursor.fetchone()[0])


def test_of_a_time_whose_minutes_are_gone_whole_hours_are_excluded_and_given_back():
    one = promised()
    day = (NOW - 150 * DAY).replace(hour=0, minute=0, second=0)
    at = [day + hour * HOUR for hour in range(24)]
    raw = {"good": 90, "late": 0, "lost": 10, "slices": 0, "slices_good": 0}
    kept = {f"kept_{name}": count for name, count in raw.items()}
    ObjectiveSum.objects.bulk_create(
        [ObjectiveSum(objective=one, span=1, at=hour, **raw | kept) for hour in at]
        + [ObjectiveSum(objective=one, span=24, at=day, **{name: 24 * count for name, count in (raw | kept).items()})]
    )
    ObjectiveSum.objects.filter(span=1, at=at[20]).update(
        kept_good=40
    )  # its minutes were there when a part was excluded

    def lost() -> tuple[list[int], int]:
        rows = dict(ObjectiveSum.objects.filter(objective=one, span=1).values_list("at", "kept_lost"))
        return [rows[hour] for hour in at[2:7]], ObjectiveSum.objects.get(objective=one, span=24).kept_lost

    said = NewExclusion(starts_at=day + 3 * HOUR, minutes=150, reason="carrier")
    made = add_exclusion(said, objective=one, by=ROOT)
    assert lost() == ([10, 0, 0, 10, 10], 220)

    add_exclusion(
        NewExclusion(starts_at=day + 20 * HOUR, minutes=30, reason="weekly", rule="FREQ=WEEKLY"), objective=one, by=ROOT
    )
    withdraw_exclusion(made, by=ROOT)
    assert lost() == ([10] * 5, 240)
    assert ObjectiveSum.objects.get(span=1, at=at[20]).kept_good == 40


@pytest.mark.usefixtures("committed")
@pytest.mark.django_db(transaction=True)
def test_an_exclusion_whose_figures_cannot_be_folded_is_not_made(monkeypatch: pytest.MonkeyPatch):
    rolled(NOW - 2 * DAY, 90, 10)
    one = promised()
    looked()
    said = NewExclusion(starts_at=NOW - 2 * DAY - MINUTE, minutes=5, reason="carrier", key=uuid4())
    monkeypatch.setattr(counters, "WAIT_S", 0.2)

    with counters_held_elsewhere(), pytest.raises(OperationalError):
        add_exclusion(said, objective=one, by=ROOT)

    assert not Exclusion.objects.exists()
    made = add_exclusion(said, objective=one, by=ROOT)
    assert ObjectiveSum.objects.get(objective=one, span=24).kept_lost == 0
    with counters_held_elsewhere(), pytest.raises(OperationalError):
        withdraw_exclusion(made, by=ROOT)
    assert Exclusion.objects.get().withdrawn_at is None


def test_what_is_excluded_before_a_window_that_begins_off_the_hour_is_out_in_every_place():
    """The window begins at 10:15 UTC, and is read from 10:00 on."""
    rolled(NOW - HOUR, 0, 1)
    said: dict[str, Any] = {
        "unit": "month",
        "time_zone": "Pacific/Chatham",
        "method": "timeslices",
        "slice_minutes": 15,
    }
    one = promised(**said, empty_is_good=True)
    begins = datetime(2026, 10, 31, 10, tzinfo=UTC)
    add_exclusion(NewExclusion(starts_at=begins, minutes=15, reason="carrier"), objective=one, by=ROOT)

    looked()

    slices = (NOW.replace(second=0) - begins) / (15 * MINUTE) - 1  # up to 12:30: the next one runs
    found, row = attained(one, window_at(one, NOW), now=NOW), standing()
    assert row.adjusted == found.adjusted == pytest.approx(1 - 1 / slices, abs=1e-12)
    assert row.budget == found.budget.total


def test_exclusions_stand_in_the_order_in_which_they_were_made_whatever_ids_forms_gave_them():
    one = promised()
    for number, key in enumerate((UUID(int=2**128 - 1), None, UUID(int=1))):
        add_exclusion(NewExclusion(starts_at=NOW, minutes=5, reason=str(number), key=key), objective=one, by=ROOT)

    seen, cursor = [], None
    while True:
        page = find_exclusions(ROOT, environments=[one.environment], objective=one, limit=1, cursor=cursor)
        seen += [row.reason for row in page.rows]
        if not (cursor := page.next):
            break

    assert seen == ["2", "1", "0"]
    assert [row.reason for row in exclusions_in_force(one)] == ["0", "1", "2"]
