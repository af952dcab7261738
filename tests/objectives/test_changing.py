"""A promise that is changed: what was counted of the one before is counted anew, folded anew, or left as it is."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError

from alerts.models import Objective
from alerts.objectives import counters
from alerts.objectives.queries import attained
from alerts.objectives.services import change_objective
from alerts.objectives.windows import Span
from alerts.objectives.wishes import NewObjective
from tests.factories import ROOT
from tests.objectives.stored import DAY, NOW, counters_held_elsewhere, looked, promised, rolled, standing

pytestmark = pytest.mark.django_db


def test_a_volume_in_another_time_zone_is_counted_anew():
    for ago in range(1, 10):
        rolled((NOW - ago * DAY).replace(hour=20, minute=0), 100)  # 15:00 in New York
    said: dict[str, Any] = {
        "kind": "volume", "target": "0.9", "at_least": 50, "limit_minutes": 0, "from_minute": 480, "until_minute": 1080, "days": 7,
    }  # fmt: skip
    one = promised(**said)
    looked()
    assert (standing().good, standing().lost) == (0, 7)

    change_objective(one, NewObjective(name=one.name, time_zone="America/New_York", **said), by=ROOT, now=NOW)
    looked()

    assert (standing().good, standing().lost) == (7, 0)


def test_nothing_that_was_counted_of_another_promise_stays():
    rolled(NOW - 25 * DAY, 1000, 100)
    one = promised()
    looked()

    said = NewObjective(name=one.name, kind="freshness", limit_minutes=5, target="0.9", days=7)
    change_objective(one, said, by=ROOT, now=NOW)
    looked()

    assert attained(one, Span(since=NOW - 30 * DAY, until=NOW), now=NOW).raw.total == 0


@pytest.mark.usefixtures("committed")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("changes", [{"method": "timeslices"}, {"kind": "latency", "limit_ms": 1024}])
def test_a_promise_whose_figures_cannot_be_written_anew_stays_as_it_was(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
):
    one = promised()
    looked()
    monkeypatch.setattr(counters, "WAIT_S", 0.2)

    with counters_held_elsewhere(), pytest.raises(OperationalError):
        change_objective(
            one, NewObjective(**{"name": one.name, "kind": "success", "target": "0.99"} | changes), by=ROOT
        )
    with counters_held_elsewhere():  # what touches no counter waits for none
        change_objective(one, NewObjective(name="Another name", kind="success", target="0.98"), by=ROOT)

    found = Objective.objects.get()
    assert (found.name, found.kind, found.method) == ("Another name", "success", "occurrences")
