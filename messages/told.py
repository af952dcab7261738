"""What a reader may know of a message that several flows told of: its keys, its error, its group, its events and their times.

A message has one row, of the flow that told of it first; `told_by` names the others that brought a business key or an error, `also_in`
every other that its events and letters are of. Who may see all of them is shown the row; who may not is shown, and finds, what the events and
dead letters say that they may see.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.contrib.postgres.expressions import ArraySubquery
from django.db import connection
from django.db.models import DateTimeField, Func, JSONField, Q, QuerySet, TextField
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce

from console.identity.actor import Actor
from messages.access import flows_to_narrow_to, get_one, visible_dead_letters, visible_events, visible_messages
from messages.models import DeadLetter, Event, FailureGroup, Flow, Message
from messages.models.stream import Outcome

AROUND = timedelta(hours=1)
MOST_READ = 20_000  # events and letters of the messages of one page


class Words(NamedTuple):
    """What somebody may know of a message."""

    keys: dict[str, str]
    error_type: str | None = None
    error_message: str | None = None


# search ----------------------------------------------------------------------------------------------------------------


def told_to(actor: Actor, of_row: Q, told: str, of_told: Callable[[Combinable], Q], *, of_seen_flows: bool = True) -> Q:
    """Return the condition, over messages, that the row says something and the actor may know that it does.

    told     "keys", "errors" or "classes": what `of_told` is asked of, as it is told by what the actor may see: {name: [values]}, or a text.
    of_seen_flows  only messages of such flows are asked.
    """
    narrowed = flows_to_narrow_to(actor)
    if narrowed is None:
        return of_row
    flows = narrowed.order_by().values("pk")
    began = Coalesce("started_at", "first_seen_at", output_field=DateTimeField()) - AROUND
    field = JSONField() if told == "keys" else TextField()
    # A function: as a subquery it would have the events of every day planned for each search.
    known = Func(
        "id", began, "last_seen_at", ArraySubquery(flows), function=f"messaging_{told}_told", output_field=field
    )
    whole = Q(told_by__isnull=True) | Q(told_by__contained_by=ArraySubquery(flows))
    if not of_seen_flows:
        whole &= Q(flow_id__in=flows)
    return of_row & (whole | of_told(known))


# rows that are shown -----------------------------------------------------------------------------------------------------


def as_seen(actor: Actor, rows: list[Message]) -> list[Message]:
    """Return these messages, which the actor may see, with what the actor may know of their keys, error, group, events and times."""
    told = {flow for row in rows for flow in _others(row)}
    groups = {row.group_id for row in rows if row.group_id is not None}
    narrowed = flows_to_narrow_to(actor) if told or groups else None
    if narrowed is None:
        return rows
    flow_of = dict(FailureGroup.objects.filter(pk__in=groups).order_by().values_list("pk", "flow_id"))
    seen = {row.flow_id for row in rows}
    unknown = {*told, *flow_of.values()} - seen
    seen |= set(narrowed.filter(pk__in=unknown).order_by().values_list("pk", flat=True))
    for row in rows:
        if row.group_id is not None and flow_of.get(row.group_id, 0) not in seen:
            row.group_id = None
    mixed = [row for row in rows if not seen.issuperset(row.told_by or ())]
    if mixed:
        said = _said(mixed, visible_events(actor), visible_dead_letters(actor), lambda row, flow: True)
        for row in mixed:
            row.keys, row.error_type, row.error_message = said[row.id]
    partly = [row for row in rows if not seen.issuperset(_others(row))]
    if partly:
        seen_of = _seen_of(partly, narrowed)
        for row in partly:
            row.event_count, row.started_at, row.last_seen_at = seen_of.get(row.id, (0, row.began_at, row.began_at))
    return rows


def _others(row: Message) -> set[int]:
    """Return the flows, other than its own, that this row is of too; of one from before `also_in`, those that told of it."""
    return {*(row.told_by or ()), *(row.also_in or ())}


# An event about many messages is each one's that its links lead to. Who sees it is told that it was, whoever sent them.
SEEN = """
SELECT seen.uid, count(*), min(seen.at), max(seen.at) FROM (
    SELECT message_uid AS uid, id, occurred_at AS at FROM messaging_event
    WHERE message_uid = ANY(%(uids)s) AND occurred_at BETWEEN %(began)s AND %(ended)s AND flow_id = ANY(%(flows)s)
    UNION
    SELECT sent.message_uid, e.id, e.occurred_at FROM messaging_event sent
    JOIN messaging_trace_link l ON l.linked_trace_id = sent.trace_id AND l.linked_span_id = sent.span_id
    JOIN messaging_event e ON e.trace_id = l.trace_id AND e.span_id = l.span_id AND e.occurred_at = l.occurred_at
    WHERE sent.message_uid = ANY(%(uids)s) AND sent.occurred_at BETWEEN %(began)s AND %(ended)s AND sent.trace_id IS NOT NULL
      AND l.occurred_at BETWEEN %(began)s AND %(ended)s AND l.environment_id = sent.environment_id
      AND e.environment_id = sent.environment_id AND e.message_uid IS NULL AND e.flow_id = ANY(%(flows)s)
) AS seen GROUP BY seen.uid
"""


def _seen_of(rows: Sequence[Message], flows: QuerySet[Flow]) -> dict[UUID, tuple[int, datetime, datetime]]:
    """Return {message: how many events of these flows are its, when the first was and when the last}, of those that have any."""
    asked: dict[str, Any] = {
        "uids": [row.id for row in rows],
        "began": min(row.began_at for row in rows) - AROUND,
        "ended": max(row.last_seen_at for row in rows) + AROUND,
        "flows": list(flows.order_by().values_list("pk", flat=True)),
    }
    with connection.cursor() as cursor:
        cursor.execute(SEEN, asked)
        return {uid: (count, first, last) for uid, count, first, last in cursor.fetchall()}


def get_message(actor: Actor, pk: UUID) -> Message:
    """Return a message with what the actor may know of it; raises NotFound."""
    return as_seen(actor, [get_one(visible_messages(actor), "message", id=pk)])[0]


def is_partly_hidden(actor: Actor, row: Message) -> bool:
    """Whether a flow that the actor may not see had events or letters of this message, which the actor may see."""
    others = _others(row) - {row.flow_id}
    narrowed = flows_to_narrow_to(actor) if others else None
    return narrowed is not None and narrowed.filter(pk__in=others).count() < len(others)


# what is kept for everybody who sees a flow ------------------------------------------------------------------------------


def words_for_all(rows: Sequence[Message], flow: Flow | None = None) -> dict[UUID, Words]:
    """Return {message: what this flow tells of it, and others that whoever sees it sees: those of its team, or of none} of those whose row
    not everybody who may see the flow may know.

    flow  None: each message's own.
    """
    others = {row.id: {row.flow_id, *(row.told_by or ())} - {_of(row, flow)} for row in rows}
    pks = set().union(*others.values())
    if not pks:
        return {}
    teams = dict(Flow.objects.filter(pk__in=pks | {_of(row, flow) for row in rows}).values_list("pk", "team_id"))
    kept = [row for row in rows if {teams.get(pk) for pk in others[row.id]} - {None, teams.get(_of(row, flow))}]
    if not kept:
        return {}
    known = {
        row.id: {_of(row, flow), *(pk for pk in others[row.id] if teams.get(pk) in (None, teams.get(_of(row, flow))))}
        for row in kept
    }
    told = set().union(*known.values())
    events, letters = Event.objects.filter(flow_id__in=told), DeadLetter.objects.filter(flow_id__in=told)
    return _said(kept, events, letters, lambda row, pk: pk in known[row.id])


def _of(row: Message, flow: Flow | None) -> int:
    return flow.pk if flow is not None else row.flow_id


def _said(
    rows: Sequence[Message],
    events: QuerySet[Event],
    letters: QuerySet[DeadLetter],
    counts: Callable[[Message, int], bool],
) -> dict[UUID, Words]:
    """Return what these events and letters say of each row, as the row itself is told: the latest key, the first failure; its own flow's first."""
    by_id: dict[UUID | None, Message] = {row.id: row for row in rows}
    ids = [row.id for row in rows]
    began, ended = min(row.began_at for row in rows) - AROUND, max(row.last_seen_at for row in rows) + AROUND
    told = events.filter(message_uid__in=ids, occurred_at__range=(began, ended)).order_by("occurred_at", "id")
    died = letters.filter(message_uid__in=ids).order_by("pk")
    said = [
        *told.exclude(Q(keys={}) & ~Q(outcome=Outcome.ERROR)).values_list(
            "message_uid", "flow_id", "keys", "outcome", "error_type", "error_message"
        )[:MOST_READ],
        *(
            (uid, flow, keys, Outcome.ERROR, root or None, message or reason or None)
            for uid, flow, keys, root, message, reason in died.values_list(
                "message_uid", "flow_id", "keys", "error_root_type", "error_message", "reason"
            )[:MOST_READ]
        ),
    ]
    found = {pk: Words({}) for pk in ids}
    for uid, flow, keys, outcome, kind, message in said:
        row = by_id[uid]
        words = found[row.id]
        if not counts(row, flow):
            continue
        known = words.keys | keys if flow == row.flow_id else keys | words.keys
        error = (words.error_type or kind, words.error_message or message) if outcome == Outcome.ERROR else words[1:]
        found[row.id] = Words(known, *error)
    return found
