"""What really happened: a message's journey as matching and inputs need it. The console looks, not the person: what they may not see is undone too."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from uuid import UUID

from django.db.models import F, QuerySet

from console.core.errors import Invalid
from console.identity.actor import SYSTEM
from messages.compensation.book import Book
from messages.compensation.inputs import Part
from messages.compensation.matching import Completed, Happened, matches_of, may_match
from messages.journeys.gather import AROUND, any_of
from messages.journeys.queries import events_in_full, gathered_of, system_names
from messages.journeys.seen import Seen
from messages.models import DeadLetter, Event, Message, TraceLink
from messages.payloads.queries import stored_contents
from messages.payloads.seal import Content, PayloadUnreadable

OURS = "waybill"  # the system of the console's own sends
CLOCKS_OFF = timedelta(days=1)
MOST_OF_CALLS = 500
MOST_SEEN = 20_000  # events of a journey, in a few columns
MOST_READ = 5_000  # of them in full


class TooLarge(Invalid):
    """The journey has more events than are looked through for completed steps."""

    code = "journey_too_large"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is compensated: a message, its dead letter, or both."""

    message: Message | None
    letter: DeadLetter | None


def events_of(target: Target, book: Book) -> list[Happened]:
    """Return the events of the target's journey that the book may ask for, never the console's own.

    All are seen in a few columns, as the page of a journey of thousands sees them; only those that may fit a step or a proof by system,
    operation, destination and outcome are read in full. Raises TooLarge: a step that nobody saw would not be undone.
    """
    found = gathered_of(SYSTEM, _about(target))
    if found.truncated or len(found.seen) > MOST_SEEN:
        raise TooLarge(
            f"its journey has more than the {MOST_SEEN:,} events that are looked through, or leads to too many others: "
            "compensate the messages in it one by one"
        )
    names = system_names(found.seen.values())
    wanted = _wanted(found.seen.values(), names, book)
    if len(wanted) > MOST_READ:
        raise TooLarge(
            f"its book may mean {len(wanted):,} events of its journey, and {MOST_READ:,} are read: "
            "say more narrowly how its steps and proofs are recognised"
        )
    return [_happened(event, names[event.system_id]) for event in events_in_full(SYSTEM, found.seen, wanted)]


def _about(target: Target) -> Message | DeadLetter:
    about = target.message or target.letter
    assert about is not None
    return about


def _wanted(seen: Iterable[Seen], names: Mapping[int, str], book: Book) -> list[UUID]:
    """Return the ids of those that may fit anything in the book. Of each kind of event the book is asked once: there are few kinds."""
    matches = matches_of(book)

    @cache
    def fits(system_id: int, operation: int, outcome: int, destination: str) -> bool:
        system = names.get(system_id, OURS)
        return system != OURS and any(
            may_match(one, system=system, operation=operation, outcome=outcome, destination=destination)
            for one in matches
        )

    return [one.id for one in seen if fits(one.system_id, one.operation, one.outcome, one.destination or "")]


def _happened(event: Event, system: str) -> Happened:
    return Happened(
        id=event.id,
        at=event.occurred_at,
        system=system,
        operation=event.operation,
        outcome=event.outcome,
        destination=event.destination or "",
        name=event.name,
        attributes=event.attributes,
        keys=event.keys,
        owner=event.message_uid or (event.trace_id, event.span_id),
        trace_id=event.trace_id,
        payload_on=event.payload_on,
        flow_id=event.flow_id,
    )


def events_of_calls(
    environment_id: int, traces: Collection[UUID], since: datetime
) -> dict[UUID, list[tuple[Happened, str]]]:
    """Return {trace of one of our calls: [(an event of it, or of a trace that links to it; trace, or link), the earliest first]}.

    since  of the earliest of these calls: what lies more than a day before it is not looked at, however wrong a clock is.
    """
    if not traces:
        return {}
    near = {"environment_id": environment_id, "occurred_at__gte": since - CLOCKS_OFF}
    rows = Event.objects.filter(agent_id__isnull=False, **near).select_related("system")
    found: dict[UUID, list[tuple[Happened, str]]] = {trace: [] for trace in traces}
    for event in rows.filter(any_of(Event, "trace_id", traces)).order_by("occurred_at", "id")[:MOST_OF_CALLS]:
        if event.trace_id is not None:
            found[event.trace_id].append((_happened(event, event.system.name), "trace"))
    links = TraceLink.objects.filter(any_of(TraceLink, "linked_trace_id", traces), **near)
    links = links.exclude(trace_id=F("linked_trace_id"))  # found above
    for link in links.order_by("occurred_at")[:MOST_OF_CALLS]:
        same = rows.filter(trace_id=link.trace_id, occurred_at=link.occurred_at, span_id=link.span_id)
        found[link.linked_trace_id] += [(_happened(event, event.system.name), "link") for event in same[:1]]
    return found


@dataclass(frozen=True, slots=True)
class Bearer:
    """An event that brought a body; payload_on None: it brought none."""

    id: UUID
    payload_on: date | None
    flow_id: int | None

    @classmethod
    def of(cls, event: Happened) -> Bearer:
        return cls(event.id, event.payload_on, event.flow_id)


def first_bodies(rows: QuerySet[Event], messages: Mapping[UUID, datetime]) -> QuerySet[Event]:
    """Return, of each message, the first event among these rows that brought a body of it. messages: when each was processed."""
    if not messages:
        return rows.none()
    near = (min(messages.values()) - AROUND, max(messages.values()) + CLOCKS_OFF)
    with_body = rows.filter(any_of(Event, "message_uid", messages), payload_on__isnull=False, occurred_at__range=near)
    return with_body.order_by("message_uid", "occurred_at", "id").distinct("message_uid")


def _bearers(environment_id: int, messages: Mapping[UUID, datetime]) -> dict[UUID, Bearer]:
    rows = first_bodies(Event.objects.filter(environment_id=environment_id), messages)
    found = rows.values_list("message_uid", "id", "payload_on", "flow_id")
    return {uid: Bearer(pk, on, flow) for uid, pk, on, flow in found if uid is not None}


def parts_of(
    environment_id: int, completed: list[Completed], target: Target
) -> tuple[dict[object, Part], Mapping[str, Part]]:
    """Return ({id of a proving event: what inputs read of it}, {step name, or `message`: the same}).

    A body is the event's own, or, when it brought none, the first that its message was seen with: receivers seldom repeat it.
    """
    bearers = {one.proof.id: Bearer.of(one.proof) for one in completed}
    mute = [one.proof for one in completed if not one.proof.payload_on]
    first = _bearers(environment_id, {proof.owner: proof.at for proof in mute if isinstance(proof.owner, UUID)})
    bearers |= {
        proof.id: first[proof.owner] for proof in mute if isinstance(proof.owner, UUID) and proof.owner in first
    }
    places = {one.id: one.payload_on for one in bearers.values() if one.payload_on}
    letter = target.letter
    if letter is not None and letter.payload_on:
        places[letter.pk] = letter.payload_on
    contents = stored_contents(environment_id, places)
    own: dict[object, Part] = {}
    named: dict[str, Part] = {}
    for one in completed:
        bearer = bearers[one.proof.id]
        own[one.proof.id] = _part(
            contents.get(bearer.id), one.proof.keys, one.proof.attributes, bearer.flow_id, one.proof.flow_id
        )
        named.setdefault(one.step.name, own[one.proof.id])
    if letter is not None:
        named["message"] = _part(contents.get(letter.pk), letter.keys, {}, letter.flow_id)
    elif target.message is not None:
        named["message"] = _of_message(environment_id, target.message)
    return own, named


def _of_message(environment_id: int, message: Message) -> Part:
    """Of a message without a dead letter: the first body that it was seen with."""
    bearer = _bearers(environment_id, {message.id: message.began_at}).get(message.id)
    content = stored_contents(environment_id, {bearer.id: bearer.payload_on}).get(bearer.id) if bearer and bearer.payload_on else None  # fmt: skip
    return _part(
        content, message.keys, {}, bearer.flow_id if bearer else None, message.flow_id, *(message.told_by or ())
    )


def _part(
    content: Content | PayloadUnreadable | None, keys: Mapping[str, str], attributes: Mapping[str, object], *flows: int | None
) -> Part:  # fmt: skip
    known = tuple(dict.fromkeys(flow for flow in flows if flow is not None))
    if isinstance(content, Content):
        return Part(body=content.body, keys=keys, attributes=attributes, flows=known)
    return Part(
        body=None, keys=keys, attributes=attributes, no_body=str(content or "its body is not stored"), flows=known
    )
