"""Reads of a plan's items: pages and the whole, each with what became of it and the evidence. Who may see the plan was decided before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from django.db import connection

from console.core.errors import Invalid
from console.core.paging import Page, decode_number_cursor, encode_cursor
from console.identity.actor import Actor
from messages.access import visible_dead_letters, visible_events
from messages.models import DeadLetter, Plan
from messages.plans.reasons import LEFT_OUT
from messages.search.naming import Name, name_of

IN_A_PART = 2_000  # of a CSV: rows that are in memory at once

# What the page filters by → the condition on item i and its replay r.
OUTCOMES: dict[str, str] = {
    "processed": "r.state = 'processed'",
    "sent": "r.state IN ('sending', 'sent', 'confirmed')",
    "unknown": "r.state = 'unknown'",
    "failed": "r.state IN ('failed_again', 'refused')",
    "waiting": "i.left_out = '' AND (r.id IS NULL OR r.state = 'queued')",
    "withdrawn": "r.state = 'withdrawn'",
    "left_out": "i.left_out <> ''",
}
ITEMS = """
SELECT i.ordinal, i.dead_letter_id, i.key, i.left_out, i.replay_id, coalesce(r.state, CASE WHEN i.left_out <> '' THEN 'left_out' ELSE 'waiting' END),
       r.attempt, r.sent_at, r.confirmed_at, r.finished_at, coalesce(nullif(r.detail, ''), i.detail), r.proof_event_at, r.proof_event_id, r.trace_id,
       d.keys, d.message_id, d.error_root_type, f.name
FROM messaging_planitem i
JOIN messaging_deadletter d ON d.id = i.dead_letter_id JOIN messaging_flow f ON f.id = d.flow_id
LEFT JOIN messaging_replay r ON r.id = i.replay_id
WHERE i.plan_id = %(plan)s AND i.ordinal > %(after)s AND {condition}
ORDER BY i.ordinal LIMIT %(most)s
"""
# The first item of the same key that is not settled, of each of these that wait.
BEHIND = """
SELECT i.ordinal, d.keys, d.message_id, d.id
FROM messaging_planitem i
CROSS JOIN LATERAL (
    SELECT e.dead_letter_id FROM messaging_planitem e LEFT JOIN messaging_replay er ON er.id = e.replay_id
    WHERE e.plan_id = i.plan_id AND e.key = i.key AND e.key <> '' AND e.ordinal < i.ordinal AND e.left_out = ''
      AND coalesce(er.state, 'waiting') <> ALL(%s) ORDER BY e.ordinal LIMIT 1) e
JOIN messaging_deadletter d ON d.id = e.dead_letter_id
WHERE i.plan_id = %s AND i.ordinal = ANY(%s)
"""


@dataclass(slots=True, kw_only=True)
class Item:
    """One item with what became of it. outcome: its replay's state, waiting or left_out.

    later   the dead letter that its replay died into, when the reader may see it.   behind  what it is held back behind, "" for nothing.
    prover  the system whose event proved it.
    """

    ordinal: int
    letter_id: UUID
    key: str
    left_out: str
    replay_id: UUID
    outcome: str
    attempt: int | None
    sent_at: datetime | None
    confirmed_at: datetime | None
    finished_at: datetime | None
    detail: str
    proof_event_at: datetime | None
    proof_event_id: UUID | None
    trace_id: UUID | None
    keys: dict[str, str]
    message_id: str
    error: str
    flow: str
    later: DeadLetter | None = field(default=None)
    behind: str = ""
    prover: str = ""

    @property
    def name(self) -> Name:
        return name_of(self.keys, self.message_id or str(self.letter_id))

    @property
    def took_ms(self) -> float | None:
        """Return the time from sending to the proof, or to what is known last."""
        if self.sent_at is None:
            return None
        until = self.proof_event_at or self.finished_at or self.confirmed_at
        return max(0.0, (until - self.sent_at).total_seconds() * 1000) if until else None


def find_items(
    actor: Actor, plan: Plan, *, outcome: str = "", left_out: str = "", limit: int = 50, cursor: str | None = None
) -> Page[Item]:
    """Return items in the order of sending, those that were left out behind. outcome: of OUTCOMES; left_out: of reasons.LEFT_OUT.

    Raises Invalid, InvalidCursor.
    """
    if (outcome and outcome not in OUTCOMES) or (left_out and left_out not in LEFT_OUT):
        raise Invalid(f"items are filtered by one of {', '.join(OUTCOMES)}, or by why they are left out")
    condition = "i.left_out = %(left_out)s" if left_out else OUTCOMES.get(outcome, "true")
    after = decode_number_cursor(cursor) if cursor else 0
    found = _items(plan, condition, left_out=left_out, after=after, most=limit + 1)
    more = len(found) > limit
    page = found[:limit]
    _add_evidence(actor, plan, page)
    return Page(page, encode_cursor(page[-1].ordinal) if more else None)


def every_item(actor: Actor, plan: Plan) -> Iterator[Item]:
    """Yield every item in the order of sending, a part at a time in memory."""
    after = 0
    while part := _items(plan, "true", left_out="", after=after, most=IN_A_PART):
        _add_evidence(actor, plan, part)
        yield from part
        after = part[-1].ordinal


def _items(plan: Plan, condition: str, *, left_out: str, after: int, most: int) -> list[Item]:
    asked: dict[str, Any] = {"plan": plan.pk, "after": min(after, 2**31 - 1), "most": most, "left_out": left_out}
    with connection.cursor() as cursor:
        cursor.execute(ITEMS.replace("{condition}", condition), asked)
        rows: list[Any] = cursor.fetchall()
    return [_item(row) for row in rows]


def _item(row: Sequence[Any]) -> Item:
    names = tuple(one for one in Item.__dataclass_fields__ if one not in ("later", "behind", "prover"))
    values = dict(zip(names, row, strict=True))
    keys = values["keys"]  # Django has psycopg leave JSON as text
    values["keys"] = msgspec.json.decode(keys) if isinstance(keys, str) else keys
    return Item(**values)


def _add_evidence(actor: Actor, plan: Plan, items: Sequence[Item]) -> None:
    """Say of these items who proved them, what they died into, and behind which one they wait: three queries for any number."""
    proved = {one.proof_event_id: one for one in items if one.proof_event_id and one.proof_event_at}
    if proved:
        times = [one.proof_event_at for one in proved.values() if one.proof_event_at]
        events = visible_events(actor).filter(occurred_at__in=times, id__in=list(proved))
        systems = dict(events.values_list("id", "system__name"))
        for event_id, one in proved.items():
            one.prover = systems.get(event_id, "")
    failed = {one.letter_id: one for one in items if one.outcome == "failed_again"}
    if failed:
        for letter in visible_dead_letters(actor).filter(previous_id__in=list(failed)).order_by("pk"):
            if letter.previous_id in failed:
                failed[letter.previous_id].later = letter
    waiting = {one.ordinal: one for one in items if one.outcome == "waiting" and one.key}
    if waiting and plan.order_key:
        settled = ["processed", "withdrawn"] + (["confirmed"] if plan.waits_for == Plan.WaitsFor.CONFIRMED else [])
        with connection.cursor() as cursor:
            cursor.execute(BEHIND, [settled, plan.pk, list(waiting)])
            for ordinal, keys, message_id, letter_id in cursor.fetchall():
                named = msgspec.json.decode(keys) if isinstance(keys, str) else keys
                waiting[ordinal].behind = name_of(named, message_id or str(letter_id)).number
