"""A plan that compensates, with kill -9 of its workers between calls and marks, and while it begins its items.

Whatever happens: each item of the frozen set becomes one compensation, no more; no step is undone twice but under its key, where the receiver
knows that; and the outcomes of the plan say what became of every item.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.faults.test_plans_survive import kill_workers
from tests.faults.undoing import STEPS, Estate
from tests.product import wait_until

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]
ORDERS, KILLS = 5, 2
RUNS = "SELECT r.id, r.state FROM messaging_compensation r WHERE r.plan_id = %s ORDER BY 1"
ITEMS = """
SELECT i.left_out, count(r.id), min(r.state), min(d.state || ' ' || coalesce(d.resolution, '')) FROM messaging_planitem i
JOIN messaging_deadletter d ON d.id = i.dead_letter_id
LEFT JOIN messaging_compensation r ON r.uid = i.replay_id AND r.dead_letter_id = i.dead_letter_id WHERE i.plan_id = %s GROUP BY i.id
"""


class Kills:
    """kill -9 of every worker by the receiver, at every fourth call, after it did the work and before it answers."""

    def __init__(self, estate: Estate) -> None:
        self.estate, self.calls, self.killed = estate, 0, 0

    def __call__(self, handler: Any, count: int) -> None:
        self.calls += 1
        if self.killed < KILLS and self.calls % 4 == 0:
            self.killed += 1
            kill_workers(self.estate.product)
        handler.answer(200)


def ended(estate: Estate, plans: list[int]) -> bool:
    """Let leases end, and say whether the plans have finished and each of their compensations is over, or needs a person."""
    estate.leases_end()
    states = {state for (state,) in estate.ask("SELECT state FROM messaging_plan WHERE id = ANY(%s)", plans)}
    runs = {state for plan in plans for _, state in estate.ask(RUNS, plan)}
    return states == {"finished"} and runs <= {"compensated", "stuck"}


def test_workers_killed_again_and_again_undo_each_item_of_a_plan_once(estate: Estate):
    kills = Kills(estate)
    estate.receiver.on |= {"bulkonce": kills, "bulkrepeatable": kills}
    once = estate.plan("bulkonce", orders=ORDERS)
    again = estate.plan("bulkrepeatable", orders=ORDERS, repeatable=True, steps=("2", "100%"))
    kill_workers(estate.product)  # while the plans begin their items

    wait_until(lambda: ended(estate, [once, again]), seconds=180, what="the end of both plans", every=1)

    assert kills.killed == KILLS
    calls = Counter(path.rsplit("/", 1)[0].strip("/") for path, _ in estate.receiver.calls if path.startswith("/bulk"))
    attempts = Counter(path for path, _ in estate.receiver.calls if path.startswith("/bulkonce/"))
    for plan in (once, again):
        runs, items = estate.ask(RUNS, plan), estate.ask(ITEMS, plan)
        assert len(runs) == ORDERS
        assert {(left_out, count) for left_out, count, *_ in items} == {("", 1)}
        estate.check([pk for pk, _ in runs])
        ends = {(state, letter) for *_, state, letter in items}
        assert ends <= {("compensated", "closed compensated"), ("stuck", "compensating ")}
        assert plan == once or ends == {("compensated", "closed compensated")}
    assert max(attempts.values()) == 1
    assert all(calls[f"bulkrepeatable/{step}"] >= ORDERS for step in STEPS)
