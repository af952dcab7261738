"""A promise is changed while a look counts it, while a time is excluded, while somebody else changes it: with real transactions."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction

from alerts.models import Exclusion, Objective, ObjectiveMinutes, ObjectiveSum, Standing
from alerts.objectives import counting
from alerts.objectives.counters import fold_again
from alerts.objectives.excluding import NewExclusion, add_exclusion
from alerts.objectives.services import change_objective
from alerts.objectives.wishes import NewObjective
from console.core.errors import Conflict
from tests.factories import ROOT
from tests.objectives.stored import DAY, HOUR, NOW, counters_held_elsewhere, looked, promised, rolled
from tests.objectives.test_searches_at_once import BEFORE_IT_WRITES, elsewhere, held_up

pytestmark = pytest.mark.django_db(transaction=True)
SLICES = {"method": "timeslices", "slice_minutes": 60, "slice_target": 0.5}
WAITING = """
SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database
WHERE locktype = 'advisory' AND NOT granted AND d.datname = current_database()
"""


def wait_for(waiting: int) -> None:
    """Wait until so many sessions wait for the counters."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with connection.cursor() as cursor:
            cursor.execute(WAITING)
            if cursor.fetchone()[0] >= waiting:
                return
        time.sleep(0.01)
    raise AssertionError("nobody waits for the counters")


def changed(one: Objective, **said: Any) -> Callable[[], Objective]:
    wish = NewObjective(**({"name": one.name, "kind": "success", "target": "0.99"} | said))
    return lambda: change_objective(Objective.objects.get(pk=one.pk), wish, by=ROOT, now=NOW)


def impatient() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '500ms'")


def counted(one: Objective) -> tuple[Any, Any]:
    minutes = (
        ObjectiveMinutes.objects.filter(objective=one).order_by("hour").values_list("hour", "good", "late", "lost")
    )
    sums = ObjectiveSum.objects.filter(objective=one).order_by("span", "at").values()
    return list(minutes), [{name: value for name, value in row.items() if name != "objective_id"} for row in sums]


@pytest.mark.parametrize("said", [{"kind": "latency", "limit_ms": 16}, SLICES])
def test_history_is_counted_of_what_is_promised_by_then(said: dict[str, Any]):
    for days in range(1, 20):
        rolled(NOW - days * DAY + HOUR, 6, 4)
    one = promised()

    with held_up(BEFORE_IT_WRITES) as waits:
        look = elsewhere(lambda: counting.count(NOW, history_s=60))
        waits()  # it counts the first day of the history, and has the counters
        change = elsewhere(changed(one, **said))
        wait_for(1)
    change.result(30), look.result(30)
    looked()

    other = promised("Another", **said)
    looked()
    assert counted(one) == counted(other)


def test_what_is_excluded_is_folded_by_the_way_of_counting_of_then():
    rolled(NOW - 5 * HOUR, 6, 4, minutes=120)
    one = promised()
    looked()
    out = NewExclusion(starts_at=NOW - 4 * HOUR, minutes=30, reason="carrier")

    with counters_held_elsewhere():
        change = elsewhere(changed(one, **SLICES))
        wait_for(1)
        exclude = elsewhere(lambda: add_exclusion(out, objective=one, by=ROOT))
        wait_for(2)
    change.result(30), exclude.result(30)

    other = promised("Another", **SLICES)
    looked()
    Exclusion.objects.update(objective=other)
    fold_again([other])
    assert counted(one) == counted(other)


@pytest.mark.parametrize("said", [{"target": "0.5"}, {"kind": "latency", "limit_ms": 16}])
def test_a_change_is_made_while_a_look_has_its_standing_and_shown_after_it(said: dict[str, Any]):
    rolled(NOW - 5 * HOUR, 6, 4)
    one = promised()
    looked()

    with transaction.atomic():
        Standing.objects.select_for_update().get()
        elsewhere(lambda: impatient() or changed(one, **said)()).result(60)
    looked()

    assert Standing.objects.get().attained == (0.6 if "target" in said else 0.0)
    assert Standing.objects.get().budget == (5 if "target" in said else 0.06)


def test_who_changes_what_somebody_else_just_changed_is_told():
    one = promised()
    mine = Objective.objects.get(pk=one.pk)
    changed(one, **SLICES)()

    with pytest.raises(Conflict, match="changed meanwhile"):
        change_objective(mine, NewObjective(name=one.name, kind="success", target="0.98"), by=ROOT, now=NOW)

    assert Objective.objects.get().method == "timeslices"
