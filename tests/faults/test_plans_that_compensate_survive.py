"""A plan that compensates, with kill -9 of its workers between calls and marks, and while it begins its items.

Whatever happens: each item of the frozen set becomes one compensation, no more; no step is undone twice but under its key, where the receiver
knows that; and the outcomes of the plan say what became of every item.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.test_plans_survive import kill_workers, senders
from tests.faults.undoing import STEPS, Estate
from tests.product import wait_until

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]
ORDERS, KILLS = 10, 3
RUNS = "SELECT r.id, r.state FROM messaging_compensation r WHERE r.plan_id = %s ORDER BY 1"
ITEMS = """
SELECT i.left_out, count(r.id), min(r.state), min(d.state || ' ' || coalesce(d.resolution, '')) FROM messaging_planitem i
JOIN messaging_deadletter d ON d.id = i.dead_letter_id
LEFT JOIN messaging_compensation r ON r.uid = i.replay_id AND r.dead_letter_id = i.dead_letter_id WHERE i.plan_id = %s GROUP BY i.id
"""


class Kills:
    """kill -9 of every worker by the receiver, at so many calls, after it did the work and before it answers."""

    def __init__(self, estate: Estate, every: int) -> None:
        self.estate, self.every, self.calls, self.killed = estate, every, 0, 0

    def __call__(self, handler: Any, count: int) -> None:
        self.calls += 1
        if self.killed < KILLS and self.calls % self.every == 0:
            self.killed += 1
            kill_workers(self.estate.product)
        handler.answer(200)


def ended(estate: Estate, plan: int, over: Callable[[str], bool]) -> bool:
    """Let leases end, and say whether the plan has finished and each of its compensations is over."""
    estate.leases_end()
    ((state,),) = estate.ask("SELECT state FROM messaging_plan WHERE id = %s", plan)
    return state == "finished" and all(over(one) for _, one in estate.ask(RUNS, plan))


@pytest.mark.parametrize("repeatable", [True, False])
def test_workers_killed_again_and_again_undo_each_item_of_a_plan_once(estate: Estate, repeatable: bool):
    chance = random.Random(9)
    what = f"bulk{'repeatable' if repeatable else 'once'}"
    kills = estate.receiver.on[what] = Kills(estate, every=4)
    plan = estate.plan(what, orders=ORDERS, repeatable=repeatable, steps=("3", "100%"))

    time.sleep(chance.uniform(0, 0.5))
    kill_workers(estate.product)  # while the plan begins its items
    wait_until(lambda: senders(estate.product), seconds=60, what="a worker")
    wait_until(
        lambda: ended(estate, plan, lambda state: state in ("compensated", "stuck")),
        seconds=180, what="the end of the plan", every=2,
    )  # fmt: skip

    assert kills.killed == KILLS
    runs = estate.ask(RUNS, plan)
    items = estate.ask(ITEMS, plan)
    counts = Counter(path for path, _ in estate.receiver.calls if path.startswith(f"/{what}/"))
    assert len(runs) == ORDERS
    assert {(left_out, count) for left_out, count, *_ in items} == {("", 1)}
    estate.check([pk for pk, _ in runs])
    if repeatable:
        assert {(state, letter) for *_, state, letter in items} == {("compensated", "closed compensated")}
        assert len(counts) == len(STEPS) * ORDERS
        assert max(counts.values()) == 2
    else:
        assert {(state, letter) for *_, state, letter in items} == {
            ("compensated", "closed compensated"), ("stuck", "compensating "),
        }  # fmt: skip
        assert max(counts.values()) == 1


def test_a_plan_that_is_paused_when_its_workers_die_undoes_nothing_until_it_goes_on(estate: Estate):
    def slowly(handler: Any, count: int) -> None:
        time.sleep(0.5)
        handler.answer(200)

    estate.receiver.on["bulkpaused"] = slowly
    plan = estate.plan("bulkpaused", orders=4, repeatable=True)
    wait_until(lambda: estate.ask(RUNS, plan), seconds=60, what="its first compensations")
    estate.ask("UPDATE messaging_plan SET state = 'paused' WHERE id = %s", plan)
    kill_workers(estate.product)
    wait_until(lambda: senders(estate.product), seconds=60, what="a worker")
    estate.leases_end()
    before = len(estate.receiver.calls)
    time.sleep(4)  # two ticks: nothing may happen, so there is nothing to wait for

    assert len(estate.receiver.calls) - before <= 1  # what a worker had when it was killed
    estate.ask("UPDATE messaging_plan SET state = 'running' WHERE id = %s", plan)
    wait_until(lambda: ended(estate, plan, lambda state: state == "compensated"), seconds=90, what="its end", every=2)
    estate.check([pk for pk, _ in estate.ask(RUNS, plan)])
