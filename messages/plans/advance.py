"""Executing a plan: hand items to the workers as its rate allows, look at what became of them, go on to the next wave or stop.

All state is rows. Any number of workers may call this at any time: who has the plan's row acts, the others leave it.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from django.db import connection, transaction

from console.identity.actor import SYSTEM
from messages.models import Plan
from messages.plans.queries import counts_of, total_of
from messages.plans.services import move
from messages.plans.waves import Bounds, is_over, why_abort
from messages.replay.sending import tell_worker

MOST_AT_ONCE = 4_000  # items handed over in one statement: so much is also what a pause may have to hold back
EXPIRE = """
UPDATE messaging_plan SET state = 'expired', state_at = now(), state_by = 'system'
WHERE state IN ('draft', 'awaiting_approval', 'approved') AND expires_at < now()
"""

# Letters first, in the order of their ids, so that two plans never wait for each other.
RELEASE = """
WITH next AS MATERIALIZED (
    SELECT i.id, i.ordinal, i.dead_letter_id, i.replay_id FROM messaging_planitem i
    WHERE i.plan_id = %(plan)s AND i.ordinal > %(after)s AND i.ordinal <= %(upto)s AND i.left_out = ''
      AND NOT EXISTS (SELECT 1 FROM messaging_replay r WHERE r.id = i.replay_id) {held}
    ORDER BY i.ordinal LIMIT %(most)s
), open AS MATERIALIZED (
    SELECT d.id, d.environment_id, d.origin, d.broker, d.flow_id FROM messaging_deadletter d JOIN next ON next.dead_letter_id = d.id
    WHERE d.state = 'open' ORDER BY d.id FOR UPDATE OF d
), reached AS MATERIALIZED (
    SELECT open.*, c.id AS connection_id FROM open JOIN messaging_connection c ON c.approved_at IS NOT NULL AND CASE
        WHEN %(connection)s::int8 IS NULL THEN c.environment_id = open.environment_id AND c.name = open.broker ELSE c.id = %(connection)s END
), taken AS (
    UPDATE messaging_deadletter d SET state = 'replaying' FROM reached WHERE d.id = reached.id AND d.state = 'open' RETURNING d.id
), queued AS (
    INSERT INTO messaging_replay (id, dead_letter_id, environment_id, connection_id, plan_id, destination, state, attempt, requested_by,
        reason, expiry, trace_id, span_id, created_at, detail, proof_tie)
    SELECT next.replay_id, reached.id, reached.environment_id, reached.connection_id, %(plan)s, coalesce(nullif(%(destination)s, ''), reached.origin),
        'queued', 0, %(by)s, %(reason)s, %(expiry)s, gen_random_uuid(), substr(md5(next.replay_id::text), 1, 16), now(), '', ''
    FROM next JOIN reached ON reached.id = next.dead_letter_id JOIN taken ON taken.id = reached.id RETURNING connection_id
), lost AS (
    UPDATE messaging_planitem i SET left_out = CASE WHEN open.id IS NULL THEN 'not_open' ELSE 'not_approved' END
    FROM next LEFT JOIN open ON open.id = next.dead_letter_id
    WHERE i.id = next.id AND NOT EXISTS (SELECT 1 FROM reached WHERE reached.id = next.dead_letter_id)
)
SELECT (SELECT count(*) FROM next), (SELECT coalesce(max(ordinal), %(after)s) FROM next), ARRAY(SELECT DISTINCT connection_id FROM queued)
"""
# Held back: an earlier item of the same key is not processed yet.
HELD = """
AND (i.key = '' OR NOT EXISTS (
    SELECT 1 FROM messaging_planitem e LEFT JOIN messaging_replay er ON er.id = e.replay_id
    WHERE e.plan_id = i.plan_id AND e.key = i.key AND e.ordinal < i.ordinal AND e.left_out = ''
      AND coalesce(er.state, 'waiting') <> ALL(%(settled)s)))
"""
STOPPED = """
SELECT s.reason FROM messaging_replaystop s
WHERE s.environment_id = %s AND (s.flow_id IS NULL OR s.flow_id = ANY(%s)) ORDER BY s.id LIMIT 1
"""


def advance_plans() -> int:
    """Begin, advance or finish every plan that is due, and expire drafts; return how many were looked at."""
    with connection.cursor() as cursor:
        cursor.execute(EXPIRE)
    due = Plan.objects.filter(state__in=["scheduled", "running"]).order_by("pk").values_list("pk", flat=True)
    for pk in (found := list(due)):
        advance_plan(pk)
    return len(found)


@transaction.atomic
def advance_plan(pk: int) -> int:
    """Do what is to be done for one plan now; return how many items were handed to the workers. 0 when another worker has it."""
    plan = (
        Plan.objects.select_for_update(skip_locked=True, of=("self",))
        .select_related("environment")
        .filter(pk=pk)
        .first()
    )
    if plan is None or not _has_begun(plan) or is_stopped(plan):
        return 0
    counts = counts_of(plan)
    if why := _why_abort(plan, total_of(counts)):
        move(plan, "abort", by=SYSTEM, why=why)
        return 0
    released = _release(plan, counts)
    if not released:
        _settle_wave(plan, counts)
    return released


def _has_begun(plan: Plan) -> bool:
    if plan.state == "scheduled" and plan.begins_at and plan.begins_at <= datetime.now(UTC):
        now = datetime.now(UTC)
        move(plan, "begin", by=SYSTEM, started_at=now, wave=1, allowance_at=now)
    return plan.state == "running"


def is_stopped(plan: Plan) -> str:
    """Return why nothing may be sent in this environment, or in a flow of the plan; "" when it may."""
    with connection.cursor() as cursor:
        cursor.execute(STOPPED, [plan.environment_id, plan.sent_flow_ids])
        row = cursor.fetchone()
    return row[0] if row else ""


def _why_abort(plan: Plan, total: Counter[str]) -> str:
    since = total - Counter(plan.forgiven)
    bounds = Bounds(plan.stop_failed_percent, plan.stop_latency_times)
    return why_abort(since, bounds, latency_s=None, usual_s=None)


def _release(plan: Plan, counts: dict[int, Counter[str]]) -> int:
    """Hand over what the wave, the rate and the room on the way allow."""
    end = plan.wave_ends[plan.wave - 1]
    total = total_of(counts)
    room = plan.concurrency - total["queued"] - total["sending"]
    now = datetime.now(UTC)
    allowance = _allowance(plan, now)
    most = min(MOST_AT_ONCE, room, int(allowance))
    if most < 1 or not counts[plan.wave]["waiting"]:
        return 0
    asked: dict[str, Any] = {
        "plan": plan.pk,
        "after": plan.released_to,
        "upto": end,
        "most": most,
        "connection": plan.connection_id,
        "destination": plan.destination,
        "by": f"{plan.created_by}, {plan.reference}"[:150],
        "reason": plan.reason,
        "expiry": plan.expiry,
        "settled": ["processed", "withdrawn"]
        if plan.waits_for == "processed"
        else ["processed", "confirmed", "withdrawn"],
    }
    with connection.cursor() as cursor:
        cursor.execute(RELEASE.replace("{held}", HELD if plan.order_key else ""), asked)
        handed, last, connections = cursor.fetchone()
    plan.allowance, plan.allowance_at = max(0.0, allowance - handed) if plan.rate_per_s else 0.0, now
    if not plan.order_key:
        plan.released_to = last
    plan.save(update_fields=["allowance", "allowance_at", "released_to"])
    for one in connections:
        transaction.on_commit(partial(tell_worker, one))
    return int(handed)


def _allowance(plan: Plan, now: datetime) -> float:
    """Return how many items the rate allows by now: at most what it allows in a second, and at least one when it is slow."""
    if plan.rate_per_s is None:
        return float(MOST_AT_ONCE)
    passed = (now - (plan.allowance_at or now)).total_seconds()
    return min(max(1.0, plan.rate_per_s), plan.allowance + passed * plan.rate_per_s)


def _settle_wave(plan: Plan, counts: dict[int, Counter[str]]) -> None:
    """Go on to the next wave, finish, or stop waiting."""
    wave = counts[plan.wave]
    if is_over(wave, plan.waits_for):
        if plan.wave == len(plan.wave_ends):
            move(plan, "finish", by=SYSTEM, finished_at=datetime.now(UTC))
        else:
            Plan.objects.filter(pk=plan.pk).update(wave=plan.wave + 1, wave_released_at=None)
            transaction.on_commit(partial(advance_plan, plan.pk))
        return
    if wave["queued"] or wave["sending"]:
        return
    now = datetime.now(UTC)
    if plan.wave_released_at is None:
        Plan.objects.filter(pk=plan.pk).update(wave_released_at=now)
    elif now - plan.wave_released_at > timedelta(seconds=plan.wave_wait_s):
        _give_up_waiting(plan, wave)


def _give_up_waiting(plan: Plan, wave: Counter[str]) -> None:
    unproved = wave["sent"] + wave["confirmed"] + wave["unknown"]
    words = f"{unproved} of {wave.total()} in wave {plan.wave} are not proved within {plan.wave_wait_s} s"
    if plan.wave == len(plan.wave_ends) and not wave["waiting"]:
        move(plan, "finish", by=SYSTEM, why=words, finished_at=datetime.now(UTC))
    else:
        move(plan, "pause", by=SYSTEM, why=words)
