"""Reads of a plan's items: pages and the whole, each with what became of it and the evidence. Who may see the plan was decided before."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from django.db import connection

from console.core.errors import Invalid
from console.core.paging import Page, decode_number_cursor, encode_cursor
from console.identity.actor import Actor
from messages.access import visible_dead_letters, visible_events
from messages.masking.shown import key_shown, keys_shown
from messages.models import DeadLetter, Plan
from messages.plans.doing import COMPENSATE, rows_of
from messages.plans.queries import held_behind
from messages.plans.reasons import LEFT_OUT
from messages.plans.waves import LEFT_OUT as IS_LEFT_OUT
from messages.plans.waves import OUTCOMES, WAITING
from messages.search.naming import Name, name_of

IN_A_PART = 2_000  # of a CSV: rows that are in memory at once

ITEMS = """
SELECT i.id, i.ordinal, i.dead_letter_id, i.key, CASE WHEN i.left_out <> '' THEN 'left_out' ELSE coalesce(r.state, 'waiting') END, i.left_out,
       r.id, coalesce(r.destination, ''), coalesce(r.attempt, 0), r.created_at, r.sent_at, r.confirmed_at, r.finished_at,
       r.proof_event_id, r.proof_event_at, coalesce(r.proof_tie, ''), coalesce(nullif(i.detail, ''), r.detail, ''), r.trace_id,
       {reference}, d.keys, d.message_id, f.name
FROM messaging_planitem i
JOIN messaging_deadletter d ON d.id = i.dead_letter_id JOIN messaging_flow f ON f.id = d.flow_id
LEFT JOIN {rows} r ON r.id = i.replay_id
WHERE i.plan_id = %(plan)s AND i.ordinal > %(after)s AND ({only})
ORDER BY i.ordinal LIMIT %(most)s
"""
# Replays have the index of their plan, items that of theirs: what is narrowed to states of a replay begins there.
HAS_STATE = "r.state = ANY(%(states)s)"
HAS_NONE = "i.left_out = '' AND r.id IS NULL"


@dataclass(slots=True, kw_only=True)
class Item:
    """One dead letter of a plan and what became of it. outcome: of waves.OUTCOMES; left_out: of reasons.LEFT_OUT, "" when it is sent.
    compensation: "C-7" of a plan that compensates, "" of another; its `replay` is the compensation's uid then.

    From `later` on it is evidence, which add_evidence finds: the dead letter that its replay died into, when the reader may see it; what it
    is held back behind; the system whose event proved it.
    """

    pk: int
    ordinal: int
    dead_letter: UUID
    key: str
    outcome: str
    left_out: str
    replay: UUID | None
    destination: str
    attempt: int
    queued_at: datetime | None
    sent_at: datetime | None
    confirmed_at: datetime | None
    finished_at: datetime | None
    proof_event_id: UUID | None
    proof_event_at: datetime | None
    proof_tie: str
    detail: str
    trace_id: UUID | None
    compensation: str
    keys: dict[str, str]
    message_id: str
    flow: str
    later: DeadLetter | None = None
    behind: str = ""
    prover: str = ""

    @property
    def name(self) -> Name:
        return name_of(self.keys, self.message_id or str(self.dead_letter))

    @property
    def why_left_out(self) -> str:
        return LEFT_OUT.get(self.left_out, "")

    @property
    def took_ms(self) -> float | None:
        """Return the time from sending to the proof, or to what is known last."""
        if self.sent_at is None:
            return None
        until = self.proof_event_at or self.finished_at or self.confirmed_at
        return max(0.0, (until - self.sent_at).total_seconds() * 1000) if until else None


COLUMNS = [one.name for one in fields(Item)][:-3]


@dataclass(frozen=True, slots=True, kw_only=True)
class Only:
    """Which items: those with one of these outcomes, those that are left out for this reason; nothing said: all. Raises Invalid."""

    outcomes: Collection[str] = ()
    left_out: str = ""

    def __post_init__(self) -> None:
        if not set(self.outcomes) <= set(OUTCOMES):
            raise Invalid(f"an item's outcome is {', '.join(OUTCOMES)}")
        if self.left_out and self.left_out not in LEFT_OUT:
            raise Invalid(f"an item is left out because {', '.join(LEFT_OUT)}")

    @property
    def condition(self) -> str:
        if self.left_out:
            return "i.left_out = %(left_out)s"
        states = set(self.outcomes) - {WAITING, IS_LEFT_OUT}
        parts = [
            (HAS_STATE, bool(states)),
            (HAS_NONE, WAITING in self.outcomes),
            ("i.left_out <> ''", IS_LEFT_OUT in self.outcomes),
        ]
        return " OR ".join(sql for sql, wanted in parts if wanted) or "true"


ALL = Only()


def find_items(actor: Actor, plan: Plan, *, only: Only = ALL, limit: int = 50, cursor: str | None = None) -> Page[Item]:
    """Return items in the order of sending, those that were left out when it was frozen last. Raises InvalidCursor."""
    after = decode_number_cursor(cursor) if cursor else 0
    found = _items(actor, plan, only, after=after, most=limit + 1)
    return Page(found[:limit], encode_cursor(found[limit - 1].ordinal) if len(found) > limit else None)


def every_item(actor: Actor, plan: Plan, *, only: Only = ALL) -> Iterator[Item]:
    """Yield every item with its evidence in the order of sending, a part at a time in memory."""
    after = 0
    while part := _items(actor, plan, only, after=after, most=IN_A_PART):
        add_evidence(actor, plan, part)
        yield from part
        after = part[-1].ordinal


def _items(actor: Actor, plan: Plan, only: Only, *, after: int, most: int) -> list[Item]:
    asked: dict[str, Any] = {
        "plan": plan.pk,
        "after": min(after, 2**31 - 1),
        "most": most,
        "left_out": only.left_out,
        "states": list(only.outcomes),
    }
    reference = "coalesce(r.reference, '')" if plan.does == COMPENSATE else "''"
    sql = rows_of(plan.does, ITEMS.replace("{reference}", reference))
    with connection.cursor() as cursor:
        cursor.execute(sql.replace("{only}", only.condition), asked)
        return [_item(actor, plan, row) for row in cursor.fetchall()]


def _item(actor: Actor, plan: Plan, row: Sequence[Any]) -> Item:
    values = dict(zip(COLUMNS, row, strict=True))
    keys = values["keys"]  # Django has psycopg leave JSON as text
    keys = msgspec.json.decode(keys) if isinstance(keys, str) else keys
    values["keys"] = keys_shown(actor, plan.environment_id, keys)
    values["key"] = key_shown(actor, plan.environment_id, values["key"])
    return Item(**values)


def add_evidence(actor: Actor, plan: Plan, items: Sequence[Item]) -> None:
    """Say of these items who proved them, what they died into, and behind which one they wait: four queries for any number."""
    proved = {one.proof_event_id: one for one in items if one.proof_event_id and one.proof_event_at}
    if proved:
        times = [one.proof_event_at for one in proved.values() if one.proof_event_at]
        events = visible_events(actor).filter(occurred_at__in=times, id__in=list(proved))
        systems = dict(events.values_list("id", "system__name"))
        for event_id, one in proved.items():
            one.prover = systems.get(event_id, "")
    failed = {one.dead_letter: one for one in items if one.outcome == "failed_again"}
    if failed:
        for letter in visible_dead_letters(actor).filter(previous_id__in=list(failed)).order_by("pk"):
            if letter.previous_id in failed:
                failed[letter.previous_id].later = letter
    waiting = {one.pk: one for one in items if one.outcome == WAITING and one.key}
    for pk, earlier in held_behind(plan, list(waiting)).items() if waiting else ():
        letter = earlier.dead_letter
        waiting[pk].behind = name_of(letter.keys, letter.message_id or str(letter.pk)).number
