"""The list of plans, newest first, and the items of one in the order of sending: keyset pages. Who may see the plan was decided before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from django.db import connection
from django.db.models import Q

from console.core.errors import Invalid
from console.core.paging import Page, decode_number_cursor, encode_cursor
from console.identity.actor import Actor
from console.identity.models import Environment
from messages.models import Plan
from messages.plans.access import number_of, visible_plans
from messages.plans.reasons import LEFT_OUT
from messages.plans.states import STATES
from messages.plans.waves import OUTCOMES

CSV_PART = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFilter:
    """q: a reference, that plan alone; else words of its reason, ticket, query or author.   state: one of STATES, or ""."""

    q: str = ""
    state: str = ""


def find_plans(
    actor: Actor, *, environments: Sequence[Environment], only: PlanFilter, limit: int = 50, cursor: str | None = None
) -> Page[Plan]:
    """Return the plans that the actor may see, newest first. Raises Invalid, InvalidCursor."""
    rows = visible_plans(actor).filter(environment__in=environments)
    if only.state:
        if only.state not in STATES:
            raise Invalid(f"a plan is {', '.join(STATES)}")
        rows = rows.filter(state=only.state)
    if only.q:
        rows = rows.filter(_said(only.q))
    if cursor:
        rows = rows.filter(pk__lt=decode_number_cursor(cursor))
    found = list(rows.order_by("-pk")[: limit + 1])
    return Page(found[:limit], encode_cursor(found[limit - 1].pk) if len(found) > limit else None)


def _said(q: str) -> Q:
    number = number_of(q)
    if number is not None:
        return Q(pk=number)
    words = q.replace("\x00", "").strip()[:200]
    return (
        Q(reason__icontains=words) | Q(ticket__icontains=words) | Q(q__icontains=words) | Q(created_by__icontains=words)
    )


class Item(msgspec.Struct, frozen=True):
    """One dead letter of a plan and what became of it. outcome: of waves.OUTCOMES; left_out: of reasons.LEFT_OUT, "" when it is sent."""

    ordinal: int
    dead_letter: UUID
    key: str
    outcome: str
    left_out: str
    why_left_out: str
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


OUTCOME = "CASE WHEN i.left_out <> '' THEN 'left_out' ELSE coalesce(r.state, 'waiting') END"
# Replays have the index of their plan, items that of theirs: what is narrowed to one state of a replay begins there.
ITEMS = f"""
SELECT i.ordinal, i.dead_letter_id, i.key, {OUTCOME}, i.left_out, r.id, coalesce(r.destination, ''), coalesce(r.attempt, 0), r.created_at,
       r.sent_at, r.confirmed_at, r.finished_at, r.proof_event_id, r.proof_event_at, coalesce(r.proof_tie, ''),
       coalesce(nullif(i.detail, ''), r.detail, '')
FROM messaging_planitem i LEFT JOIN messaging_replay r ON r.id = i.replay_id
WHERE i.plan_id = %(plan)s AND i.ordinal > %(after)s {{narrowed}} ORDER BY i.ordinal LIMIT %(most)s
"""  # noqa: S608  a constant of ours
NARROWED = {
    "outcome": f"AND {OUTCOME} = %(outcome)s",
    "left_out": "AND i.left_out = %(left_out)s",
}


def find_items(
    plan: Plan, *, outcome: str = "", left_out: str = "", limit: int = 50, cursor: str | None = None
) -> Page[Item]:
    """Return items in the order of sending, those that were left out at the freezing last. Raises Invalid, InvalidCursor."""
    check_outcome(outcome, left_out)
    after = decode_number_cursor(cursor) if cursor else 0
    rows = _items(plan, after=after, most=limit + 1, outcome=outcome, left_out=left_out)
    return Page(rows[:limit], encode_cursor(rows[limit - 1].ordinal) if len(rows) > limit else None)


def every_item(plan: Plan, *, outcome: str = "", left_out: str = "") -> Iterator[Item]:
    """Yield every item, in parts of one statement each: a long plan is never held whole."""
    after = 0
    while rows := _items(plan, after=after, most=CSV_PART, outcome=outcome, left_out=left_out):
        yield from rows
        after = rows[-1].ordinal


def check_outcome(outcome: str, left_out: str) -> None:
    """Raise Invalid for a name that no item ever has."""
    if outcome and outcome not in OUTCOMES:
        raise Invalid(f"an item's outcome is {', '.join(OUTCOMES)}")
    if left_out and left_out not in LEFT_OUT:
        raise Invalid(f"an item is left out because {', '.join(LEFT_OUT)}")


def _items(plan: Plan, *, after: int, most: int, outcome: str, left_out: str) -> list[Item]:
    asked: dict[str, Any] = {
        "plan": plan.pk,
        "after": min(after, 2**31 - 1),
        "most": most,
        "outcome": outcome,
        "left_out": left_out,
    }
    narrowed = " ".join(sql for name, sql in NARROWED.items() if asked[name])
    with connection.cursor() as cursor:
        cursor.execute(ITEMS.replace("{narrowed}", narrowed), asked)
        return [_item(row) for row in cursor.fetchall()]


def _item(row: tuple[Any, ...]) -> Item:
    return Item(*row[:5], LEFT_OUT.get(row[4], ""), *row[5:])  # type: ignore[call-arg]
