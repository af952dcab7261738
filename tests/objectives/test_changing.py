"""A promise that is changed: what was counted of the one before is counted anew, folded anew, or left as it is."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError

from alerts.models import Objective
from alerts.objectives import counters, counting
from alerts.objectives.forms import ObjectiveForm
from alerts.objectives.queries import attained, window_at
from alerts.objectives.services import change_objective
from alerts.objectives.windows import Span
from alerts.objectives.wishes import NewObjective
from console.audit.models import AuditEntry
from tests.factories import ROOT
from tests.objectives.searching import actor, on_search, operator
from tests.objectives.stored import DAY, NOW, counters_held_elsewhere, looked, promised, rolled, standing

pytestmark = pytest.mark.django_db


def as_a_browser_sends_it(form: ObjectiveForm) -> dict[str, Any]:
    """Return the form as it is when nobody touched it: of a list that does not offer what is there, the first."""
    data: dict[str, Any] = {}
    for field in form:
        value, offered = field.value(), [str(key) for key, _ in getattr(field.field, "choices", [])]
        if offered and not isinstance(value, list) and str(value) not in offered:
            value = offered[0]
        if value not in (None, False):
            data[field.html_name] = value
    return data


@pytest.mark.parametrize(
    "said",
    [
        {"kind": "latency", "limit_ms": 1500},
        {"kind": "latency", "limit_ms": 1024},
        {"kind": "success", "method": "timeslices", "slice_minutes": 5, "slice_target": 1 / 3, "target": "0.99999999"},
        {"kind": "success", "method": "ratio_timeslices", "slice_target": 0.9999999, "unit": "month", "time_zone": "Asia/Kathmandu"},
        {"kind": "freshness", "limit_minutes": 7, "recover_minutes": 9, "pairs": ["6h-30m"], "guarded": False, "sustained": False},
        {"kind": "volume", "at_least": 3, "limit_minutes": 0, "work_days": [2, 7], "from_minute": 61, "until_minute": 1440, "exhausted": False},
        {"kind": "success", "pairs": []},
    ],
)  # fmt: skip
def test_a_form_that_is_saved_as_it_is_changes_nothing(said: dict[str, Any]):
    one = on_search(now=NOW, **said)

    form = ObjectiveForm(as_a_browser_sends_it(ObjectiveForm(one=one)), one=one)
    assert form.is_valid(), form.errors
    change_objective(one, form.said(), by=actor(operator()), now=NOW)

    assert AuditEntry.objects.get(action="objective.changed").details["changed"] == []


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


def test_a_window_that_is_made_shorter_waits_for_no_history_that_it_does_not_need():
    one = promised(days=366)
    counting.count(NOW, history_s=0)

    change_objective(one, NewObjective(name=one.name, kind="success", target="0.99", days=7), by=ROOT, now=NOW)

    assert Objective.objects.get().fill_from == NOW.replace(minute=0, second=0) - 7 * DAY
    looked()
    change_objective(one, NewObjective(name=one.name, kind="success", target="0.99", days=1), by=ROOT, now=NOW)
    assert not Objective.objects.get().is_filling


def test_nothing_that_was_counted_of_another_promise_stays():
    rolled(NOW - 25 * DAY, 1000, 100)
    one = promised()
    looked()

    said = NewObjective(name=one.name, kind="freshness", limit_minutes=5, target="0.9", days=7)
    change_objective(one, said, by=ROOT, now=NOW)
    looked()

    assert attained(one, Span(since=NOW - 30 * DAY, until=NOW), now=NOW).raw.total == 0


def test_another_way_of_counting_of_a_shorter_window_leaves_old_hours_alone_and_is_known_at_once():
    one = promised(days=30)
    looked()
    Objective.objects.update(filled_since=NOW - 200 * DAY, fill_from=NOW - 200 * DAY)
    one.refresh_from_db()

    said: dict[str, Any] = {"kind": "success", "target": "0.99", "days": 30, "method": "timeslices"}
    change_objective(one, NewObjective(name=one.name, **said), by=ROOT, now=NOW)

    changed = Objective.objects.get()
    assert (changed.filled_since, changed.is_filling) == (NOW - 200 * DAY, False)


def test_another_way_of_counting_is_of_the_whole_of_a_window_that_is_longer_than_minutes_are_kept():
    for ago in (200, 150, 20):
        rolled(NOW - ago * DAY, 6, 4)
    one = promised(days=366)
    looked()
    counters.forget_old(NOW)
    said: dict[str, Any] = {
        "kind": "success",
        "target": "0.99",
        "days": 366,
        "method": "timeslices",
        "slice_minutes": 60,
    }

    change_objective(one, NewObjective(name=one.name, **said), by=ROOT, now=NOW)
    looked()

    found = attained(one, window_at(one, NOW), now=NOW)
    assert (found.raw.total, found.raw.slices, found.raw.slices_good) == (30, 3, 0)


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
