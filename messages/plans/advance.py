"""Executing a plan: hand items to the workers as its rate allows, look at what became of them, go on to the next wave or stop.

All state is rows. Any number of workers may call this at any time: who has the plan's row acts, the others leave it.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog
from django.db import OperationalError, connection, transaction
from django.db.models import F

from console.identity.actor import SYSTEM
from messages.models import Plan
from messages.plans.compensating import compensate_items, under_way
from messages.plans.doing import COMPENSATE
from messages.plans.queries import counts_of
from messages.plans.release import Taker, on_their_way, release_items
from messages.plans.services import PlanState, move, withdraw
from messages.plans.starters import take_back_start, why_not_begin
from messages.plans.stops import why_stopped
from messages.plans.watch import why_no_connection, why_stop_itself, why_wait
from messages.replay.window import Claimed

log = structlog.get_logger(__name__)
BELATED = timedelta(minutes=10)
EXPIRING = ["draft", "awaiting_approval", "approved"]
# Something of the wave has no outcome yet, nor has a person given it one. The ids of its replays rise with the ordinals. Where proofs are
# waited for, what waits is near the front of an index; else it is rare, and in one of its own (replay_odd).
# OFFSET 0: by that index, not by the ids, which are all of the wave.
UNDECIDED_OF = """
SELECT EXISTS (
    SELECT 1 FROM (SELECT r.id, r.finished_at FROM messaging_replay r WHERE {rare} OFFSET 0) r WHERE r.finished_at IS NULL
    AND r.id BETWEEN (SELECT i.replay_id FROM messaging_planitem i WHERE i.plan_id = %(plan)s AND i.ordinal = %(first)s)
                 AND (SELECT i.replay_id FROM messaging_planitem i WHERE i.plan_id = %(plan)s AND i.ordinal = %(last)s))
"""
UNDECIDED = {
    "processed": UNDECIDED_OF.format(rare="r.state IN ('sent', 'confirmed', 'unknown') AND r.plan_id + 0 = %(plan)s"),
    "confirmed": UNDECIDED_OF.format(rare="r.state IN ('sent', 'unknown') AND r.plan_id = %(plan)s"),
}


def advance_plans() -> int:
    """Begin, advance or finish every plan that is due, and expire drafts; return how many were looked at."""
    for plan in Plan.objects.filter(state__in=EXPIRING, expires_at__lt=datetime.now(UTC)).order_by("pk")[:100]:
        try:
            move(plan, "expire", by=SYSTEM)
        except PlanState:  # somebody was faster
            continue
    withdraw()
    due = list(Plan.objects.filter(state__in=["scheduled", "running"]).order_by("pk").values_list("pk", flat=True))
    for pk in due:
        try:
            advance_plan(pk)
        except OperationalError:
            raise  # of all plans alike: the next tick
        except Exception:
            log.exception("plan_not_advanced", plan=pk)  # the others must not wait for this one
    return len(due)


@transaction.atomic
def advance_plan(pk: int) -> int:
    """Do what is to be done for one plan now; return how many items were handed to the workers. 0 when another worker has it."""
    plan = _held_by_us(pk)
    if plan is None or not _has_begun(plan) or _is_held(plan):
        return 0
    if why := why_stop_itself(plan):
        move(plan, "abort", by=SYSTEM, why=why)
        return 0
    if plan.does == COMPENSATE:
        return _compensate(plan)
    way = on_their_way(plan)
    if why := why_wait(plan) or (why_no_connection(plan) if way or _is_left(plan) else ""):
        move(plan, "pause", by=SYSTEM, why=why)
        return 0
    # Before the release: a proof that comes in between lets go what was held back a moment ago, and the next tick sees to it.
    undecided = bool(plan.order_key) and _is_undecided(plan)
    all_settled = not way and not undecided
    released = (
        release_items(plan, way, all_settled=all_settled).items
        if plan.released_to < plan.wave_ends[plan.wave - 1]
        else 0
    )
    if released == 0:
        _settle_wave(plan, way, undecided)
    return released or 0


def _compensate(plan: Plan) -> int:
    """Begin what may begin. A step that waits for a proof, or for a person, keeps the wave waiting as an unproved replay does."""
    way, left = under_way(plan), plan.released_to < plan.wave_ends[plan.wave - 1]
    begun = compensate_items(plan, way) if left else 0
    if begun == 0:
        _settle_wave(plan, 0, way > 0)
    return begun or 0


def take_more(connection_id: int, at_once: int) -> list[Claimed]:
    """Hand over more of the plans without a rate, and return what of it goes over this connection next, claimed for the caller.

    A sender does so when nothing waits for it, so as not to run dry between two ticks; and what it takes at once is written once less.
    """
    unbounded = Plan.objects.filter(
        does="replay", state="running", rate_per_s=None, order_key="", released_to__lt=F("items_count")
    )
    for pk in unbounded.order_by("pk").values_list("pk", flat=True):
        if window := release_more(pk, Taker(connection_id, at_once)):
            return window
    return []


@transaction.atomic
def release_more(pk: int, taker: Taker) -> list[Claimed]:
    """Hand more of a plan without a rate to the workers; return what the taker has of it. It waits for who has the plan's row just now."""
    plan = _held_by_us(pk, wait=True)
    if (
        plan is None
        or plan.state != "running"
        or plan.does != "replay"
        or plan.rate_per_s is not None
        or plan.order_key
        or why_stopped(plan)
    ):
        return []
    if plan.released_to >= plan.wave_ends[plan.wave - 1] or why_no_connection(plan):
        return []
    return release_items(plan, on_their_way(plan), taker=taker).window


def _held_by_us(pk: int, *, wait: bool = False) -> Plan | None:
    locked = Plan.objects.select_for_update(skip_locked=not wait, of=("self",), no_key=True)
    return locked.select_related("environment").filter(pk=pk).first()


def _has_begun(plan: Plan) -> bool:
    now = datetime.now(UTC)
    if plan.state == "scheduled" and plan.begins_at and plan.begins_at <= now:
        if now > plan.expires_at + BELATED:  # what it shows is of days ago
            move(
                plan,
                "expire",
                by=SYSTEM,
                why=f"it was to begin at {plan.begins_at:%Y-%m-%d %H:%M} UTC, and nothing ran then",
            )
            return False
        if why := why_not_begin(plan):
            take_back_start(plan, why=why)
            return False
        move(plan, "begin", by=SYSTEM, started_at=now, wave=1, allowance=1.0, allowance_at=now)
    return plan.state == "running"


def _is_held(plan: Plan) -> bool:
    """Whether replays are stopped; then the time that the wave waits for outcomes begins anew."""
    held = bool(why_stopped(plan))
    if held and plan.wave_released_at:
        Plan.objects.filter(pk=plan.pk).update(wave_released_at=None)
    return held


def _is_left(plan: Plan) -> bool:
    return plan.released_to < plan.items_count


def _settle_wave(plan: Plan, way: int, undecided: bool) -> None:
    """Go on to the next wave, finish, or stop waiting. What was not handed over of the wave is held back."""
    if way:
        return
    held_back, undecided = plan.released_to < plan.wave_ends[plan.wave - 1], undecided or _is_undecided(plan)
    if not held_back and not undecided:
        _go_on(plan)
    elif plan.wave_released_at is None and undecided:
        Plan.objects.filter(pk=plan.pk).update(wave_released_at=datetime.now(UTC))
    elif not undecided or _has_waited(plan):
        _give_up_waiting(plan, counts_of(plan)[plan.wave])


def _is_undecided(plan: Plan) -> bool:
    if plan.does == COMPENSATE:
        return under_way(plan) > 0
    first = plan.wave_ends[plan.wave - 2] + 1 if plan.wave > 1 else 1
    asked = {"plan": plan.pk, "first": first, "last": plan.wave_ends[plan.wave - 1]}
    with connection.cursor() as cursor:
        cursor.execute(UNDECIDED[plan.waits_for], asked)
        return bool(cursor.fetchone()[0])


def _has_waited(plan: Plan) -> bool:
    since = plan.wave_released_at
    return since is not None and datetime.now(UTC) - since > timedelta(seconds=plan.wave_wait_s)


def _go_on(plan: Plan) -> None:
    if plan.wave == len(plan.wave_ends):
        move(plan, "finish", by=SYSTEM, finished_at=datetime.now(UTC))
    else:
        Plan.objects.filter(pk=plan.pk).update(wave=plan.wave + 1, wave_released_at=None)
        transaction.on_commit(partial(advance_plan, plan.pk))


def _give_up_waiting(plan: Plan, wave: Counter[str]) -> None:
    unproved = (
        wave["sending"] + wave["sent"] + wave["unknown"] + (wave["confirmed"] if plan.waits_for == "processed" else 0)
    )
    waited = f"{unproved} of {wave.total()} in wave {plan.wave} are not proved within {plan.wave_wait_s} s"
    words = waited if unproved else ""
    if wave["waiting"]:
        words = f"{words}{', ' if words else ''}{wave['waiting']} are held back behind an earlier one of their key"
        move(plan, "pause", by=SYSTEM, why=words)
    elif plan.wave == len(plan.wave_ends):
        move(plan, "finish", by=SYSTEM, why=words, finished_at=datetime.now(UTC))
    else:
        move(plan, "pause", by=SYSTEM, why=words)
