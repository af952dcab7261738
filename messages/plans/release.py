"""Handing items of a plan to the workers: how many may go now, and the one statement that makes replays of them.

The rate is shared by all workers because it is a figure on the plan's row, which whoever releases has locked.
A worker that hands over for itself is a taker: the first window of what it may send is in its hands at once, under its first attempt.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

from django.db import connection, transaction

from messages.models import Plan
from messages.plans.freeze import CAP_REACHED, PROCESSED, SUPERSEDED, tidy_keys
from messages.plans.waves import OUTCOME, SETTLED
from messages.replay.telling import tell_worker
from messages.replay.window import COLUMNS, LEASE_S, LETTER, MOST_BYTES, Claimed, claimed_of

MOST_AT_ONCE = 2_000  # items in one statement, 0.1 s: so long somebody who wants to pause may have to wait
LOOK_AHEAD = 10_000  # items of a plan that keeps order: each costs a look at its key, and of 100,000 that is a second
AHEAD_S = 2  # of the rate may wait for a worker: what piles up while a broker is away must not go out in one burst


class Taker(NamedTuple):
    """A worker that sends over this connection, and how many messages one of its windows may have."""

    connection_id: int
    at_once: int


class Released(NamedTuple):
    """How many items were handed over: 0 when all that is left of the wave is held back, None when nothing may go just now.

    window  those of them that the taker has now, in the order of sending.
    """

    items: int | None
    window: list[Claimed]


NOBODY = Taker(0, 0)  # no connection has this id


# Letters are locked in the order of their ids, so that two plans never wait for each other, and looked at as they are then. One row
# carries an item all the way: PostgreSQL does not know how many an intermediate result has, and would join two of them pair by pair.
# The trace is as random as the replay's id: gen_random_uuid() asks the kernel for each, 2.6 µs.
RELEASE = f"""
WITH bad AS MATERIALIZED ({{bad}}), next AS MATERIALIZED (
    SELECT i.id, i.ordinal, i.dead_letter_id, i.replay_id FROM messaging_planitem i
    WHERE i.plan_id = %(plan)s AND i.ordinal > %(after)s AND i.ordinal <= %(upto)s AND i.left_out = '' {{held}}
    ORDER BY i.ordinal LIMIT %(most)s
), locked AS MATERIALIZED (
    SELECT next.id AS item_id, next.ordinal, next.replay_id, c.id AS connection_id, {{why}} AS why,
           c.id = %(taker)s::int8 AND coalesce(c.not_before <= now(), true) AS may_take, {LETTER}
    FROM next JOIN messaging_deadletter d ON d.id = next.dead_letter_id JOIN messaging_flow f ON f.id = d.flow_id
    LEFT JOIN messaging_connection c ON c.approved_at IS NOT NULL AND CASE
        WHEN %(connection)s::int8 IS NULL THEN c.environment_id = d.environment_id AND c.name = d.broker ELSE c.id = %(connection)s END
    CROSS JOIN LATERAL (  -- null: it was never replayed
        SELECT bool_or(r.state IN ('queued', 'sending', 'sent', 'confirmed')) AS under_way FROM messaging_replay r WHERE r.dead_letter_id = d.id) t
    ORDER BY d.id FOR NO KEY UPDATE OF d
), sized AS MATERIALIZED (
    SELECT *, why = '' AS goes, md5(replay_id::text || 'trace')::uuid AS fresh_trace_id,
           why = '' AND may_take AND row_number() OVER line <= %(at_once)s
           AND coalesce(sum(size_bytes) OVER (line ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) < {MOST_BYTES} AS taken
    FROM locked WINDOW line AS (PARTITION BY why = '' AND may_take ORDER BY ordinal)
), begun AS (
    UPDATE messaging_deadletter d SET state = 'replaying' FROM sized WHERE d.id = sized.id AND sized.goes
), made AS (
    INSERT INTO messaging_replay (id, dead_letter_id, environment_id, connection_id, plan_id, destination, requested_by, reason, expiry,
        trace_id, span_id, created_at, detail, proof_tie, state, attempt, lease_until, sent_at)
    SELECT replay_id, id, environment_id, connection_id, %(plan)s, coalesce(nullif(%(destination)s, ''), origin), %(by)s, %(reason)s, %(expiry)s,
        fresh_trace_id, substr(md5(replay_id::text), 1, 16), now(), '', '', CASE WHEN taken THEN 'sending' ELSE 'queued' END, taken::int4,
        CASE WHEN taken THEN now() + make_interval(secs => {LEASE_S}) END, CASE WHEN taken THEN now() END
    FROM sized WHERE goes ORDER BY replay_id
), lost AS (
    UPDATE messaging_planitem i SET left_out = sized.why FROM sized WHERE i.id = sized.item_id AND NOT sized.goes
)
SELECT handed.*, {COLUMNS}
FROM (SELECT count(*), coalesce(max(ordinal), %(after)s), array_agg(DISTINCT connection_id) FILTER (WHERE goes AND NOT taken) FROM sized) handed
LEFT JOIN (sized s CROSS JOIN LATERAL (
    SELECT s.replay_id AS id, 1 AS attempt, 0 AS spared, coalesce(nullif(%(destination)s, ''), s.origin) AS destination, %(by)s AS requested_by,
           s.fresh_trace_id AS trace_id, substr(md5(s.replay_id::text), 1, 16) AS span_id, now() AS created_at, %(expiry)s AS expiry,
           %(plan)s AS plan_id) r) ON s.taken
ORDER BY s.ordinal
"""  # noqa: S608  constants of ours
# Why an item is left out when its turn comes. What the freeze asked and may have changed since is asked again, each in its own words.
WHY = f"""CASE
        WHEN d.state <> 'open' OR t.under_way THEN 'not_open'
        WHEN NOT f.replay_allowed THEN 'flow_forbids'
        WHEN c.id IS NULL THEN 'not_approved'
        WHEN (d.previous_id IS NOT NULL OR t.under_way IS NOT NULL) AND {CAP_REACHED} THEN 'attempt_cap'
        {{since}}
        ELSE '' END"""
# What receivers did since costs a look at events and at messages for each item: not right after the freeze, which has just looked.
SINCE = f"WHEN {PROCESSED} THEN 'processed' WHEN {SUPERSEDED} THEN 'superseded'"
LOOKED_S = 10
TIDY_FROM = 100  # items: for fewer, reading what came lately costs less than putting it into the index
# Of a plan that keeps order: the first item of each key that went wrong. What comes behind it is held back.
BAD_KEYS = """
SELECT e.key, min(e.ordinal) AS ordinal FROM messaging_replay r
JOIN messaging_planitem e ON e.plan_id = r.plan_id AND e.dead_letter_id = r.dead_letter_id
WHERE r.plan_id = %(plan)s AND r.state IN ('failed_again', 'refused', 'unknown')
  AND NOT (r.state = 'unknown' AND r.finished_at IS NOT NULL) AND e.key <> '' GROUP BY e.key
"""
# The item before it of the same key has the outcome that is waited for. By itself that says so of all before that one.
HELD = f"""
AND NOT EXISTS (SELECT 1 FROM messaging_replay r WHERE r.id = i.replay_id)
AND (i.key = '' OR (
    coalesce((SELECT coalesce((SELECT {OUTCOME.format(r="r")} FROM messaging_replay r WHERE r.id = e.replay_id), 'waiting')
              FROM messaging_planitem e
              WHERE e.plan_id = i.plan_id AND e.key = i.key AND e.key <> '' AND e.ordinal < i.ordinal AND e.left_out = ''
              ORDER BY e.ordinal DESC LIMIT 1), 'processed') = ANY(%(settled)s)
    AND NOT EXISTS (SELECT 1 FROM bad WHERE bad.key = i.key AND bad.ordinal < i.ordinal)))
"""  # noqa: S608  constants of ours
NO_BAD = "SELECT ''::text AS key, 0 AS ordinal WHERE false"
# Up to where a plan that keeps order has nothing left to hand over. Its answer is found near where the last one was.
PREFIX = """
SELECT min(i.ordinal) - 1 FROM messaging_planitem i
WHERE i.plan_id = %s AND i.ordinal > %s AND i.ordinal <= %s AND i.left_out = ''
  AND NOT EXISTS (SELECT 1 FROM messaging_replay r WHERE r.id = i.replay_id)
"""
# By the index of what is due, which is small; the sum keeps PostgreSQL from that of all replays of the plan.
ON_THEIR_WAY = "SELECT count(*) FROM messaging_replay r WHERE r.state IN ('queued', 'sending') AND r.plan_id + 0 = %s"
# Of each flow: what it allows, shared by the plans that send in it now.
FLOW_RATE = """
SELECT min(f.replay_rate / greatest(1, (SELECT count(*) FROM messaging_plan p WHERE p.state = 'running' AND f.id = ANY(p.sent_flow_ids))))
FROM messaging_flow f WHERE f.id = ANY(%s) AND f.replay_rate IS NOT NULL
"""


def rate_of(plan: Plan) -> float | None:
    """Return how many a second may go now: what the plan says, and no more than its flows allow all plans together. None: no bound."""
    with connection.cursor() as cursor:
        cursor.execute(FLOW_RATE, [plan.sent_flow_ids])
        bounds = [rate for rate in (cursor.fetchone()[0], plan.rate_per_s) if rate is not None]
    return min(bounds) if bounds else None


def on_their_way(plan: Plan) -> int:
    """Return how many items wait for a worker, or one has them."""
    with connection.cursor() as cursor:
        cursor.execute(ON_THEIR_WAY, [plan.pk])
        return int(cursor.fetchone()[0])


def release_items(plan: Plan, way: int, *, all_settled: bool = False, taker: Taker = NOBODY) -> Released:
    """Hand over what the wave, the rate and the room on the way allow, with the plan's row locked.

    way          of on_their_way.
    all_settled  nothing that was handed over will let go another item of its key: then the whole wave is looked through for one.
    taker        who has a window of it at once; the rest waits for any worker.
    """
    now = datetime.now(UTC)
    rate = rate_of(plan)
    allowance = allowed(plan, rate, now)
    room = plan.concurrency if rate is None else min(plan.concurrency, max(1, int(AHEAD_S * rate)))
    most = min(MOST_AT_ONCE, room - way, int(allowance))
    if most < 1:
        return Released(None, [])
    end = plan.wave_ends[plan.wave - 1]
    upto = min(end, plan.released_to + LOOK_AHEAD) if plan.order_key else end
    handed, last, connections, window = _hand_over(plan, most, upto, taker)
    if not handed and upto < end and all_settled:
        handed, last, connections, window = _hand_over(plan, most, end, taker)
    plan.allowance, plan.allowance_at = (0.0 if rate is None else allowance - handed), now
    plan.released_to = _prefix(plan, upto) if plan.order_key else (last if handed == most else end)
    if handed:
        plan.wave_released_at = None
    plan.save(update_fields=["allowance", "allowance_at", "released_to", "wave_released_at"])
    for one in connections:
        transaction.on_commit(partial(tell_worker, one))
    return Released(handed, window)


def allowed(plan: Plan, rate: float | None, now: datetime) -> float:
    """Return how many items the rate allows by now: at most what it allows in a second, and at least one when it is slow."""
    if rate is None:
        return float(MOST_AT_ONCE)
    passed = max(0.0, (now - (plan.allowance_at or now)).total_seconds())
    return min(max(1.0, rate), plan.allowance + passed * rate)


def _hand_over(plan: Plan, most: int, upto: int, taker: Taker) -> tuple[int, int, list[int], list[Claimed]]:
    asked: dict[str, Any] = {
        "plan": plan.pk,
        "after": plan.released_to,
        "upto": upto,
        "most": most,
        "connection": plan.connection_id,
        "destination": plan.destination,
        "by": f"{plan.created_by}, {plan.reference}"[:150],
        "reason": plan.reason,
        "expiry": plan.expiry,
        "settled": SETTLED[plan.waits_for],
        "taker": taker.connection_id,
        "at_once": taker.at_once,
    }
    ordered = bool(plan.order_key)
    why = WHY.replace("{since}", SINCE if _is_long_frozen(plan) else "")
    if _is_long_frozen(plan) and most >= TIDY_FROM:
        tidy_keys(plan.sent_flow_ids)
    sql = RELEASE.replace("{held}", HELD if ordered else "").replace("{bad}", BAD_KEYS if ordered else NO_BAD)
    sql = sql.replace("{why}", why)
    with connection.cursor() as cursor:
        cursor.execute(sql, asked)
        rows = cursor.fetchall()
    handed, last, connections, *first = rows[0]
    window = [claimed_of(row[3:]) for row in rows] if first[0] is not None else []
    return int(handed), int(last), connections or [], window


def _is_long_frozen(plan: Plan) -> bool:
    return datetime.now(UTC) - plan.created_at > timedelta(seconds=LOOKED_S)


def _prefix(plan: Plan, upto: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute(PREFIX, [plan.pk, plan.released_to, upto])
        found = cursor.fetchone()[0]
    return int(upto if found is None else found)
