"""How fast a plan that is sending is held: from the request over REST to the last message that still went out; and what its workers hold in memory."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.harvest import processes_below
from tests.product import call, wait_until

if TYPE_CHECKING:
    from benchmarks.replay import Bench

BEGUN = 500  # messages out before somebody wants to hold the plan
QUIET_S = 3.0  # nothing is being sent, and for so long nothing more went out
OUT = """
SELECT count(*) FILTER (WHERE state = 'confirmed'), count(*) FILTER (WHERE state = 'sending'), extract(epoch FROM max(confirmed_at))
FROM messaging_replay WHERE plan_id = %s
"""


def holds(bench: Bench, queue: str) -> dict[str, float]:
    """Return {how a plan was held: seconds until its last message was out and marked}; the letters of the queue are enough for all three.

    The request's own time is part of it. A cancelled plan has not begun, so nothing of it goes out.
    """
    plan, items, _, _ = bench.plan(queue)
    held = {"paused": _held(bench, plan, f"/plans/P-{plan}/pause")}
    _asked(bench, f"/plans/P-{plan}/resume")
    held["stopped for all"] = _held(bench, plan, "/replay-stops", environment="production")
    _lift_stops(bench)
    held["stopped"] = _held(bench, plan, f"/plans/P-{plan}/stop")
    if _out(bench, plan)[0] >= items:
        raise SystemExit(f"all {items} messages went out before the plan was held: ask for more replays")
    return held


def _lift_stops(bench: Bench) -> None:
    for one in call("GET", f"{bench.product.base}/api/v1/replay-stops", key=bench.api)[1]["results"]:
        _asked(bench, f"/replay-stops/{one['id']}", method="DELETE")


def _held(bench: Bench, plan: int, path: str, **body: str) -> float:
    begun = _out(bench, plan)[0] + BEGUN
    wait_until(lambda: _out(bench, plan)[0] >= begun, seconds=60, what="the plan to send")
    asked_at = time.time()
    _asked(bench, path, **body)
    return max(0.0, _last_out(bench, plan) - asked_at)


def _asked(bench: Bench, path: str, *, method: str = "POST", **body: str) -> None:
    said = {"reason": "bench"} | body
    status, answer = call(method, f"{bench.product.base}/api/v1{path}", key=bench.api, body=said)
    if not 200 <= status < 300:
        raise SystemExit(f"{path} was not taken: {status} {answer}")


def _last_out(bench: Bench, plan: int) -> float:
    """Return when the last message was marked, once nothing is being sent and nothing more came for a while."""
    known, since = _out(bench, plan), time.monotonic()
    while known[1] or time.monotonic() - since < QUIET_S:
        time.sleep(0.1)
        now = _out(bench, plan)
        if now != known:
            known, since = now, time.monotonic()
    return known[2]


def _out(bench: Bench, plan: int) -> tuple[int, int, float]:
    row = bench.database.execute(OUT, [plan]).fetchone()
    assert row is not None
    return int(row[0]), int(row[1]), float(row[2] or 0)


def worker_mb(runner: int) -> int:
    """Return the most memory that one of the console's workers has held so far, in MB."""
    peaks = [
        int(Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1].split()[0])
        for pid, command in processes_below(runner)
        if "celery" in command
    ]
    return max(peaks, default=0) // 1024
