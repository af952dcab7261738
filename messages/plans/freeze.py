"""Freezing a selection: which letters, in which order, and which are left out with why, in one statement.

The statement sees one moment: a letter that comes, dies or is taken after it is not part of the plan, or is found when its turn comes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.core.exceptions import EmptyResultSet
from django.db import ProgrammingError, connection, transaction
from django.db.models import QuerySet

from console.identity.actor import Actor
from messages.access import operated_flows
from messages.models import DeadLetter, Flow, Plan, PlanItem
from messages.plans.books import books_of
from messages.plans.doing import COMPENSATE
from messages.plans.states import HOLDING
from messages.search.naming import name_of

MOST_ITEMS = 1_000_000

# When the message itself came, which may be long before it failed: one that came in between is newer all the same.
SINCE = """least(coalesce(d.first_failed_at, d.failed_at), (
            SELECT min(o.first_seen_at) FROM messaging_message o WHERE o.id = d.message_uid
            AND o.first_seen_on BETWEEN (coalesce(d.first_failed_at, d.failed_at) - interval '8 days')::date AND (d.failed_at + interval '2 days')::date))"""
# Of the letter d of flow f: asked when a selection is frozen, and again when an item's turn comes (release.py).
CAP_REACHED = """(
        WITH RECURSIVE deaths (id, previous_id, depth) AS (
            SELECT d.id, d.previous_id, 1
            UNION ALL SELECT o.id, o.previous_id, n.depth + 1 FROM deaths n JOIN messaging_deadletter o ON o.id = n.previous_id
            WHERE n.depth < 1000)
        SELECT count(*) FROM deaths JOIN messaging_replay r ON r.dead_letter_id = deaths.id AND r.state <> 'withdrawn'
    ) >= f.most_replays"""
ATTEMPT_CAP = f"""(d.previous_id IS NOT NULL OR EXISTS (SELECT 1 FROM messaging_replay r WHERE r.dead_letter_id = d.id)) AND {CAP_REACHED}"""  # noqa: S608  constants of ours
PROCESSED = """d.message_uid IS NOT NULL AND EXISTS (
        SELECT 1 FROM messaging_event e WHERE e.message_uid = d.message_uid
        AND e.occurred_at > d.failed_at AND e.occurred_at < now() + interval '1 day'  -- the days before and to come are not looked at
        AND e.operation IN (4, 5) AND e.outcome = 1 AND e.agent_id IS NOT NULL
        AND (d.system_id IS NULL OR e.system_id = d.system_id))"""
# OFFSET 0: by the index of keys alone. With statistics PostgreSQL goes by the time and reads every message since, for each letter.
SUPERSEDED = """f.supersede_key <> '' AND d.keys ? f.supersede_key AND EXISTS (
        SELECT 1 FROM (
            SELECT * FROM messaging_message k WHERE k.keys @> jsonb_build_object(f.supersede_key, d.keys -> f.supersede_key)
            AND k.first_seen_on >= ({since} - interval '4 days')::date OFFSET 0
        ) m WHERE m.flow_id = d.flow_id AND m.status = 1 AND m.first_seen_at > {since}
        AND m.id IS DISTINCT FROM d.message_uid)""".replace("{since}", SINCE)
# Reads of the letter d of flow f over connection c. The first that holds is told; reasons.py has the words.
WHY = f"""
CASE
    WHEN NOT (d.flow_id = ANY(%(operated)s)) THEN 'not_yours'
    WHEN d.state = 'closed' THEN 'closed'
    WHEN d.state <> 'open' THEN 'under_way'
    WHEN EXISTS (SELECT 1 FROM messaging_planitem i JOIN messaging_plan p ON p.id = i.plan_id
                 WHERE i.dead_letter_id = d.id AND i.left_out = '' AND p.id <> %(plan)s AND p.state = ANY(%(holding)s)) THEN 'in_plan'
    WHEN NOT f.replay_allowed THEN 'flow_forbids'
    WHEN d.failed_at < now() - make_interval(days => f.replay_days) THEN 'expired'
    WHEN d.size_bytes IS NULL OR d.payload_on IS NULL THEN 'no_payload'
    WHEN d.content_masked THEN 'masked'
    WHEN d.origin = '' AND %(destination)s = '' THEN 'no_origin'
    WHEN c.id IS NULL THEN 'no_connection'
    WHEN c.approved_at IS NULL THEN 'not_approved'
    WHEN {ATTEMPT_CAP} THEN 'attempt_cap'
    WHEN {PROCESSED} THEN 'processed'
    WHEN {SUPERSEDED} THEN 'superseded'
    ELSE ''
END
"""  # noqa: S608  constants of ours
# Of a plan that compensates.
WHY_NOT_UNDO = """
CASE
    WHEN NOT (d.flow_id = ANY(%(operated)s)) THEN 'not_yours'
    WHEN d.state = 'closed' THEN 'closed'
    WHEN d.state <> 'open' THEN 'under_way'
    WHEN EXISTS (SELECT 1 FROM messaging_planitem i JOIN messaging_plan p ON p.id = i.plan_id
                 WHERE i.dead_letter_id = d.id AND i.left_out = '' AND p.id <> %(plan)s AND p.state = ANY(%(holding)s)) THEN 'in_plan'
    WHEN NOT (d.flow_id = ANY(%(booked)s)) THEN 'no_book'
    ELSE ''
END
"""
# The id of an item's replay: a UUID of version 7 whose random part begins with the ordinal, so that they sort in the order of sending.
REPLAY_ID = """
(lpad(to_hex((extract(epoch FROM now()) * 1000)::int8), 12, '0') || '7' || lpad(to_hex(ordinal >> 20 & 4095), 3, '0')
 || '8' || substr(lpad(to_hex(ordinal & 1048575), 5, '0'), 1, 5) || substr(md5(random()::text), 1, 10))::uuid
"""
FREEZE = f"""
WITH chosen AS MATERIALIZED (
    SELECT d.id, coalesce(d.first_failed_at, d.failed_at) AS at, coalesce(d.keys ->> %(order_key)s, '') AS key, {{why}} AS why
    FROM messaging_deadletter d
    JOIN messaging_flow f ON f.id = d.flow_id
    LEFT JOIN messaging_connection c ON CASE WHEN %(connection)s::int8 IS NULL
        THEN c.environment_id = d.environment_id AND c.name = d.broker ELSE c.id = %(connection)s END
    WHERE d.environment_id = %(environment)s AND d.id IN ({{selection}})
), ranked AS (
    SELECT *, row_number() OVER (ORDER BY why <> '', at, id) AS ordinal FROM chosen
)
INSERT INTO messaging_planitem (plan_id, ordinal, dead_letter_id, key, left_out, detail, replay_id)
SELECT %(plan)s, ordinal, id, key, why, '', {REPLAY_ID} FROM ranked
"""  # noqa: S608  constants of ours

# What came lately lies in a list that every look-up in a GIN index reads whole: 30,000 letters took over 25 s with it, 3 s without.
TIDY = """
SELECT count(gin_clean_pending_list(inhrelid)) FROM pg_inherits WHERE inhparent = 'message_by_key'::regclass
"""
# One pass over the items; what people see is summed up from few rows.
FIGURES = """
SELECT i.left_out, d.flow_id, d.broker, CASE WHEN %s = '' THEN d.origin ELSE %s END, count(*), coalesce(sum(d.size_bytes), 0),
       min(d.failed_at), max(d.failed_at)
FROM messaging_planitem i JOIN messaging_deadletter d ON d.id = i.dead_letter_id WHERE i.plan_id = %s GROUP BY 1, 2, 3, 4
"""
KEYS = "SELECT count(DISTINCT key) FROM messaging_planitem WHERE plan_id = %s AND left_out = '' AND key <> ''"
MOST_DESTINATIONS = 20


class Part(NamedTuple):
    """Items of a plan that have all of this in common."""

    left_out: str
    flow_id: int
    broker: str
    destination: str
    items: int
    size_bytes: int
    oldest: datetime
    newest: datetime


def sql_of(rows: QuerySet[Any, Any]) -> tuple[str, tuple[Any, ...]]:
    """Return the statement of a queryset of ids, and its values; of one that Django knows to be empty, a statement that finds nothing."""
    try:
        return rows.query.sql_with_params()
    except EmptyResultSet:
        return "SELECT NULL::uuid AS id WHERE false", ()


def freeze_items(plan: Plan, selection: QuerySet[DeadLetter], *, by: Actor) -> None:
    """Write the plan's items and what is known of them onto the plan, which the caller saves. Inside the caller's transaction.

    selection  letters that `by` may see in the plan's environment; its order means nothing.
    figures    {"selected", "size_bytes", "oldest", "newest", "keys", "left_out": {reason: items}, "destinations": [{"broker",
               "destination", "items"}], "noun", "receiver"}; size, ages and keys are of what is sent. noun: what a message is called,
               "order"; receiver: the system that they failed in, "" for several. Of a plan that compensates also "books": {flow: version of its book}.
    """
    asked: dict[str, Any] = {
        "plan": plan.pk,
        "environment": plan.environment_id,
        "operated": list(operated_flows(by, plan.environment).values_list("pk", flat=True)),
        "holding": sorted(HOLDING),
        "destination": plan.destination,
        "connection": plan.connection_id,
        "order_key": plan.order_key,
    }
    compensates = plan.does == COMPENSATE
    books = books_of(asked["operated"]) if compensates else {}
    asked["booked"] = list(books)
    if not compensates:
        tidy_keys(asked["operated"])
    sql = FREEZE.replace("{why}", WHY_NOT_UNDO if compensates else WHY)
    inner, values = _within(selection)
    with connection.cursor() as cursor:
        cursor.execute(sql.replace("{selection}", inner), asked | values)
        cursor.execute(FIGURES, [plan.destination, plan.destination, plan.pk])
        parts = [Part(*row) for row in cursor.fetchall()]
    sent = [part for part in parts if not part.left_out]
    plan.items_count = sum(part.items for part in sent)
    plan.sent_flow_ids = sorted({part.flow_id for part in sent})
    plan.flow_ids = sorted({part.flow_id for part in parts})
    plan.figures = _figures(parts) | {"keys": _count_keys(plan)} | _names(plan)
    if compensates:
        plan.figures |= {"destinations": [], "books": {str(pk): books[pk].version for pk in plan.sent_flow_ids}}


def _within(selection: QuerySet[DeadLetter]) -> tuple[str, dict[str, Any]]:
    """Return the selection as a part of a statement whose values have names, and these values."""
    sql, params = sql_of(selection.order_by().values("pk"))
    names = {f"s{at}": value for at, value in enumerate(params)}
    left = iter(names)
    return re.sub(r"%([s%])", lambda found: f"%({next(left)})s" if found[1] == "s" else "%%", sql), names


def _figures(parts: Sequence[Part]) -> dict[str, Any]:
    sent, left_out, to = [part for part in parts if not part.left_out], Counter[str](), Counter[tuple[str, str]]()
    for part in parts:
        if part.left_out:
            left_out[part.left_out] += part.items
        else:
            to[part.broker, part.destination] += part.items
    most = sorted(to.items(), key=lambda one: (-one[1], one[0]))[:MOST_DESTINATIONS]
    return {
        "selected": sum(part.items for part in parts),
        "size_bytes": sum(int(part.size_bytes) for part in sent),
        "oldest": min(part.oldest for part in sent).isoformat() if sent else None,
        "newest": max(part.newest for part in sent).isoformat() if sent else None,
        "left_out": dict(left_out),
        "destinations": [
            {"broker": broker, "destination": destination, "items": items} for (broker, destination), items in most
        ],
    }


def _count_keys(plan: Plan) -> int:
    if not plan.order_key:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(KEYS, [plan.pk])
        return int(cursor.fetchone()[0])


def _names(plan: Plan) -> dict[str, str]:
    """Return what a message of the plan is called, and who receives them."""
    sent = PlanItem.objects.filter(plan=plan, left_out="").order_by("ordinal")
    first = sent.values_list("dead_letter__keys", flat=True).first()
    systems = set(sent.order_by().values_list("dead_letter__system__name", flat=True).distinct()[:2])
    return {
        "noun": name_of(first, "").word.lower() if first else "message",
        "receiver": (systems.pop() or "") if len(systems) == 1 else "",
    }


def tidy_keys(flow_ids: Sequence[int]) -> None:
    """Put what came lately into the index of business keys, when one of the flows will have it asked.

    Who does not own the index goes without, and waits longer.
    """
    if not Flow.objects.filter(pk__in=flow_ids).exclude(supersede_key="").exists():
        return
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(TIDY)
    except ProgrammingError:
        return
