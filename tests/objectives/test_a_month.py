"""A month, day by day: an outage, an exclusion, low traffic, and the night in which the clocks change. What each look said is kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from alerts.models import Standing
from alerts.objectives import assess, counting
from alerts.objectives.excluding import NewExclusion, add_exclusion
from alerts.objectives.queries import attained, window_at
from alerts.objectives.windows import Span
from tests.factories import ROOT
from tests.objectives.stored import DAY, HOUR, MINUTE, promised, rolled
from tests.services.reconciling import flow

pytestmark = pytest.mark.django_db
# October 2026 in Berlin begins on 30 September, 22:00 UTC; the clocks go back on the 25th at 01:00 UTC; it ends on 31 October, 23:00 UTC.
BEGINS, ENDS = datetime(2026, 9, 30, 22, tzinfo=UTC), datetime(2026, 10, 31, 23, tzinfo=UTC)
OUTAGE = datetime(2026, 10, 7, 9, 0, tzinfo=UTC)


def look(at: datetime) -> dict[str, str]:
    """Count and assess once; {(severity): whether it holds}."""
    counting.count(at)
    return {str(one.severity): one.holds.value for one in assess.assess(at)}


def standing() -> Standing:
    return Standing.objects.get()


def test_a_month_with_an_outage_an_exclusion_low_traffic_and_a_change_of_clocks():
    one = promised(target="0.99", unit="month", time_zone="Europe/Berlin", now=BEGINS)
    of = flow()

    # the first week: 10 a minute, all well; then an outage of 40 minutes in which everything fails
    rolled(BEGINS, 10, minutes=(OUTAGE - BEGINS) // MINUTE, of=of)
    assert look(OUTAGE) == {"page": "no", "ticket": "no"}
    rolled(OUTAGE, 0, 10, minutes=40, of=of)
    paged_at = next(n for n in range(1, 41) if look(OUTAGE + n * MINUTE)["page"] == "yes")
    # 14.4 · 1 % of an hour of nothing but failures are 8.64 min: found within the minute after, with the minute that runs counted
    assert paged_at in (8, 9)
    rolled(OUTAGE + 40 * MINUTE, 10, minutes=8 * 60, of=of)
    assert look(OUTAGE + 40 * MINUTE + 31 * MINUTE)["page"] == "no"  # over, and said so within the short window
    look(OUTAGE + 8 * HOUR)
    assert standing().lost == 400
    assert standing().state in {"kept", "burning"}

    # it was the partner's: afterwards it does not count, and the raw figure stays
    left = standing().left
    add_exclusion(
        NewExclusion(starts_at=OUTAGE, minutes=40, reason="the partner was down", category="partner"),
        objective=one,
        by=ROOT,
    )
    look(OUTAGE + 8 * HOUR + MINUTE)
    found = standing()
    assert (found.out, found.lost) == (400, 400)
    assert found.adjusted == 1.0
    assert (found.attained or 1) < 1
    assert found.left == 1.0 > left

    # a quiet week: one message an hour; one that fails is all of that hour and wakes nobody
    quiet = datetime(2026, 10, 12, 0, 30, tzinfo=UTC)
    for number in range(7 * 24):
        rolled(quiet + number * HOUR, 1 if number != 50 else 0, 0 if number != 50 else 1, of=of)
    assert look(quiet + 50 * HOUR + MINUTE) == {"page": "no", "ticket": "no"}
    assert standing().burn == pytest.approx(100)
    look(quiet + 7 * DAY)

    # the night of 25 hours: a maintenance each Sunday at 02:00 in Berlin stays at 02:00, in summer and in winter
    sunday = datetime(2026, 10, 18, 0, 0, tzinfo=UTC)  # 02:00 in summer
    weekly = NewExclusion(
        starts_at=sunday, minutes=60, reason="weekly", rule="FREQ=WEEKLY;BYDAY=SU", time_zone="Europe/Berlin"
    )
    add_exclusion(weekly, objective=one, by=ROOT)
    night = datetime(2026, 10, 24, 22, 0, tzinfo=UTC)  # midnight in Berlin; the day has 25 hours
    rolled(night, 2, 1, minutes=25 * 60, of=of)
    look(night + 25 * HOUR)
    day = attained(one, Span(since=night, until=night + 25 * HOUR), now=night + 25 * HOUR)
    assert day.raw.total == 25 * 60 * 3
    assert [(span.since, span.length) for span in day.excluded] == [(night + 2 * HOUR, HOUR)]  # 02:00 the first time
    assert day.kept.total == 24 * 60 * 3

    # the month ends at midnight in Berlin, and a new budget begins
    look(ENDS - MINUTE)
    assert standing().lost == 400 + 1 + 25 * 60
    october = attained(one, window_at(one, ENDS - MINUTE), now=ENDS)
    assert october.span == Span(since=BEGINS, until=ENDS)
    assert october.span.length == 31 * DAY + HOUR
    assert october.raw.lost == 1_901
    assert october.kept.lost == 1_901 - 400 - 60
    look(ENDS)
    assert (standing().since, standing().lost, standing().left) == (ENDS, 0, 1.0)
    assert timedelta() < standing().until - ENDS < 31 * DAY  # type: ignore[operator]
