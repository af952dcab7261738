"""What a report says of time that does not count, and of what time its figures are."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta

import pytest

from alerts.objectives.counters import forget_old
from alerts.objectives.excluding import NewExclusion, add_exclusion
from alerts.reports.content import Cadence, Stands
from alerts.reports.face import notes_of
from alerts.reports.periods import last_period
from alerts.reports.tables import csv_of
from alerts.reports.verdicts import says_of
from tests.factories import ROOT
from tests.objectives.stored import HOUR, MINUTE, NOW, looked, promised, rolled
from tests.reports.samples import HOSTILE
from tests.reports.stored import DAY, NOON, gathered
from tests.services.reconciling import flow

pytestmark = pytest.mark.django_db
MONTH = last_period(Cadence.MONTHLY, "Europe/Berlin", datetime(2026, 11, 1, 5, tzinfo=UTC))


def test_the_days_of_a_month_have_23_to_25_hours_and_their_exclusions():
    one = promised("Orders arrive", target="0.9", days=60, time_zone="Europe/Berlin")
    rolled(datetime(2026, 10, 24, 22, tzinfo=UTC), 1, minutes=25 * 60)  # the night in which the clocks go back
    looked()
    add_exclusion(
        NewExclusion(starts_at=datetime(2026, 10, 12, tzinfo=UTC), minutes=120, reason=HOSTILE, category="partner"),
        objective=one,
        by=ROOT,
    )

    content = gathered(MONTH)

    assert [day.day.day for day in content.days] == list(range(1, 32))
    assert {day.day.day: day.good for day in content.days if day.good} == {25: 1_500}
    assert [day.day.day for day in content.days if day.excluded] == [12]
    assert content.trend == ()


def test_of_a_volume_the_period_counts_that_was_excluded_in_part():
    one = promised(
        kind="volume", target="0.9", at_least=2, limit_minutes=0, from_minute=480, until_minute=1080, now=NOON + HOUR
    )
    looked(NOON + 8 * HOUR)
    add_exclusion(NewExclusion(starts_at=NOON - HOUR, minutes=30, reason="ERP moves house"), objective=one, by=ROOT)
    looked(NOON + 8 * HOUR)

    content = gathered()

    [told], [out] = content.promises, content.exclusions
    assert (told.attained, told.adjusted, told.lost) == (0.0, None, 1)
    assert (out.since, out.until, out.events) == (NOON - HOUR, NOON - HOUR / 2, 1)


def test_what_is_excluded_is_told_with_reason_by_whom_and_how_many_events():
    orders = promised("Orders arrive", target="0.99")
    promised("In time", kind="latency", target="0.9", limit_ms=64)
    rolled(NOON, 0, 2, minutes=30)
    rolled(NOON + HOUR, 100, minutes=10)
    looked()
    add_exclusion(
        NewExclusion(starts_at=NOON + 5 * MINUTE, minutes=15, reason="  the partner\nwas down ", category="partner"),
        objective=orders,
        by=ROOT,
    )
    add_exclusion(
        NewExclusion(
            starts_at=NOON - 48 * HOUR, minutes=10, reason="nightly", category="maintenance", rule="FREQ=DAILY"
        ),
        flow=flow(),
        by=ROOT,
    )
    add_exclusion(
        NewExclusion(starts_at=NOON - 48 * HOUR, minutes=10, reason="before", category="other"),
        objective=orders,
        by=ROOT,
    )
    looked()

    content = gathered()

    told = [(one.since, one.until, one.reason, one.by, one.events, one.about) for one in content.exclusions]
    assert told == [
        (NOON, NOON + 10 * MINUTE, "nightly", "root", 20, "orders"),
        (NOON + 5 * MINUTE, NOON + 20 * MINUTE, "the partner was down", "root", 30, "Orders arrive"),
    ]
    one = next(one for one in content.promises if one.name == "Orders arrive")
    assert (one.lost, one.attained) == (60, pytest.approx(1_000 / 1_060))
    assert one.adjusted == pytest.approx(1_000 / 1_020)


def test_of_a_time_whose_minutes_are_gone_the_sums_say_how_many_events_it_was():
    """Minutes are kept for 100 days."""
    long_ago = NOW.replace(minute=0, second=0) - timedelta(days=110)
    one = promised(target="0.999", days=120)
    rolled(long_ago, 5, 5, minutes=60)
    rolled(long_ago + HOUR, 3, minutes=60)
    rolled(NOON, 100, minutes=2)
    looked()
    for since, minutes, reason in ((long_ago, 60, "partner"), (long_ago + HOUR, 20, "move"), (NOON, 1, "now")):
        add_exclusion(NewExclusion(starts_at=since, minutes=minutes, reason=reason), objective=one, by=ROOT)
    forget_old(NOW)

    content = gathered()

    assert [(out.reason, out.events) for out in content.exclusions] == [("partner", 600), ("move", 60), ("now", 100)]


def test_whose_events_were_left_out_of_an_old_hour_that_two_times_share_is_not_known():
    long_ago = NOW.replace(minute=0, second=0) - timedelta(days=110)
    one = promised(target="0.999", days=120)
    rolled(long_ago, 5, 5, minutes=60)
    rolled(NOON, 100)
    looked()
    for since, reason in ((long_ago, "first"), (long_ago + HOUR / 2, "second")):
        add_exclusion(NewExclusion(starts_at=since, minutes=20, reason=reason), objective=one, by=ROOT)
    assert [out.events for out in gathered().exclusions] == [200, 200]
    forget_old(NOW)

    content = gathered()

    assert [out.events for out in content.exclusions] == [None, None]
    assert " 14:20, how many events is not known any more, by root" in " ".join(notes_of(content, says_of(content)))
    rows = [row for row in csv.DictReader(io.StringIO(csv_of(content).decode())) if row["row"] == "exclusion"]
    assert [(row["count"], row["note"]) for row in rows] == [("", "by root; how many events is not known any more")] * 2


def test_a_longer_window_ends_with_the_period_too():
    promised()
    rolled(NOON, 10)
    rolled(DAY.until + HOUR, 0, 50)
    looked()

    (one,) = gathered().promises

    assert (one.over, one.adjusted, one.stands) == ("30 days", 1.0, Stands.KEPT)


def test_what_is_excluded_of_a_longer_window_is_told_with_it():
    """Else a report of a quiet day reckons without a time, and says that nothing is excluded."""
    quiet, busy = promised("Quiet"), promised("Busy", of=flow("invoices"))
    rolled(NOON, 10)
    rolled(NOON, 500, of=flow("invoices"))
    rolled(NOON - timedelta(days=5), 0, 20)
    looked()
    said = NewExclusion(starts_at=NOON - timedelta(days=5), minutes=60, reason="carrier", category="partner")
    for one in (quiet, busy):
        add_exclusion(said, objective=one, by=ROOT)

    content = gathered()

    told = [(one.since, one.until, one.about, one.events) for one in content.exclusions]
    assert told == [(said.starts_at, said.starts_at + HOUR, "Quiet", 20)]
    assert {one.name: one.over for one in content.promises} == {"Quiet": "30 days", "Busy": ""}


def test_the_csv_says_of_what_time_each_figure_of_a_promise_is():
    promised("Quiet")
    promised("Busy", of=flow("invoices"))
    rolled(NOON, 10)
    rolled(NOON, 500, of=flow("invoices"))
    rolled(NOON - timedelta(days=5), 0, 20)
    looked()

    rows = list(csv.DictReader(io.StringIO(csv_of(gathered()).decode())))

    told = {row["name"]: row for row in rows if row["row"] == "promise"}
    of_period = {"2026-11-24T23:00:00+00:00", "2026-11-25T23:00:00+00:00"}
    for row in told.values():
        assert {row["since"], row["until"]} == of_period
    assert {told["Busy"]["judged_since"], told["Busy"]["judged_until"]} == of_period
    quiet = told["Quiet"]
    assert (quiet["judged_since"], quiet["judged_until"]) == ("2026-10-26T23:00:00+00:00", "2026-11-25T23:00:00+00:00")
    assert (quiet["good"], quiet["lost"], round(float(quiet["attained"]), 4)) == ("10", "0", 0.3333)


def test_days_before_the_period_are_framed_where_something_of_them_is_excluded():
    one = promised(days=60)
    rolled(NOON, 10)
    looked()
    out = NewExclusion(starts_at=NOON - timedelta(days=5), minutes=60, reason="carrier", category="partner")
    add_exclusion(out, objective=one, by=ROOT)

    assert [day.day.day for day in gathered().trend if day.excluded] == [20]
