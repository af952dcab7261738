"""Volumes: the working periods of a calendar, of what the console knew by then."""

from __future__ import annotations

from unittest.mock import patch

import pytest

from alerts.models import ObjectiveMinutes
from alerts.objectives.counters import hour_of
from alerts.objectives.services import change_objective
from alerts.objectives.wishes import NewObjective
from messages.models import RollupHour
from tests.factories import ROOT, environment
from tests.objectives.searching import on_search
from tests.objectives.stored import DAY, HOUR, MINUTE, NOW, long_known, looked, message, promised, rolled, totals
from tests.services.reconciling import flow

pytestmark = pytest.mark.django_db
BIG = {"size": "big"}


@pytest.mark.parametrize("about", ["flow", "search"])
def test_what_was_not_there_yet_was_not_missed(about: str):
    """A flow, or an environment, that the console knows for three days; a period that had begun by then is not judged."""
    said = {"kind": "volume", "at_least": 1, "limit_minutes": 0, "from_minute": 480, "until_minute": 1080}
    one = promised(**said) if about == "flow" else on_search(**said)
    before = one.fill_from
    one.delete()
    known = NOW.replace(hour=9, minute=30) - 3 * DAY

    with patch(
        "tests.objectives.%s.long_known" % ("stored" if about == "flow" else "searching"), lambda: long_known(known)
    ):
        new = promised(**said) if about == "flow" else on_search(**said)
    looked()

    assert (before < NOW - 9 * DAY, new.fill_from) == (True, known.replace(minute=0, second=0))
    assert totals(new) == (0, 0, 2)  # of yesterday and the day before: today's is not over


def test_what_is_older_than_its_flow_is_history_all_the_same():
    """An agent that begins with what lies in its log tells of a time before the first of it came here."""
    old = NOW - 5 * DAY
    RollupHour.objects.create(
        hour=hour_of(old),
        environment=environment(),
        flow=flow(),
        system_id=1,
        destination="",
        operation=4,
        outcome=1,
        shard=0,
        count=1,
    )
    message(old, took=MINUTE, keys=BIG)
    said = {"kind": "volume", "at_least": 1, "limit_minutes": 0, "from_minute": 480, "until_minute": 1080}

    with (
        patch("tests.objectives.stored.long_known", lambda: long_known(NOW)),
        patch("tests.objectives.searching.long_known", lambda: long_known(NOW)),
    ):
        assert {promised(**said).fill_from, on_search(**said).fill_from} == {hour_of(old)}


def test_a_volume_counts_the_working_periods_of_its_calendar():
    # Wednesday 25 November 2026, Berlin: 07:00 to 17:00 UTC
    day = NOW.replace(hour=7, minute=0, second=0) - DAY
    rolled(day + HOUR, 20)
    rolled(day - HOUR, 500)  # before it opens
    rolled(day - DAY + HOUR, 19)
    said = {
        "kind": "volume",
        "at_least": 20,
        "limit_minutes": 0,
        "work_days": [1, 2, 3, 4, 5],
        "from_minute": 480,
        "until_minute": 1080,
    }

    one = promised(time_zone="Europe/Berlin", days=7, **said)
    looked()

    # of the seven days: Thursday to Tuesday without the weekend are lost, Wednesday is good, today's is not over
    assert totals(one) == (1, 0, 4)
    row = ObjectiveMinutes.objects.get(objective=one, hour=day.replace(hour=16))
    assert row.good[59] == 1

    change_objective(
        one, NewObjective(name=one.name, target="0.99", days=7, **said), by=ROOT, now=NOW
    )  # and the hours are UTC's
    looked()
    assert not ObjectiveMinutes.objects.filter(objective=one, hour=row.hour).exists()
    assert ObjectiveMinutes.objects.get(objective=one, hour=day.replace(hour=17)).good[59] == 1
