"""The sample: failed and delivered messages of one flow, from all over the window and not only the newest; rights are the caller's."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import islice, zip_longest
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection
from django.db.models import QuerySet
from django.db.models import Window as Nth
from django.db.models.functions import RowNumber

from console.identity.actor import Actor
from messages.access import visible_events
from messages.journeys.gather import any_of
from messages.models import DeadLetter, Event, Flow, Message, MessageStatus
from messages.search.window import Window

MOST_FAILED, MOST_DELIVERED = 200, 400
MOST_LOOKED = 10_000  # failures whose ids are read to choose among them; of more the first and the last half of it
MOST_HOURS, MOST_MINUTES, WALKED = 40, 120, 5_000
MOST_OF_A_MESSAGE = 20  # events; so each message has the same chance to be known
AROUND = timedelta(days=3)
READ = (
    "id",
    "occurred_at",
    "message_uid",
    "flow_id",
    "operation",
    "destination",
    "attributes",
    "keys",
    "payload_on",
    "system__name",
    "agent__name",
)

# No index leads from a flow to its messages (it would cost each of them at ingest), but the counts know in which hours and minutes it had
# events, and a message is first seen in the minute of its earliest one. So a flow of any size is met: one probe of an index for each
# hour of the window and each minute of 40 of them, then at most 5,000 messages of 120 minutes. Each LIMIT keeps the planner at that.
HOURS = """
SELECT h.hour FROM generate_series(%(first)s::timestamptz, %(until)s::timestamptz, interval '1 hour') AS h (hour)
CROSS JOIN LATERAL (SELECT 1 FROM messaging_rollup_hour r WHERE r.hour = h.hour AND r.flow_id = %(flow)s LIMIT 1) AS there
ORDER BY h.hour"""
MINUTES = """
SELECT m.minute FROM unnest(%(hours)s::timestamptz[]) AS h (hour)
CROSS JOIN LATERAL generate_series(h.hour, h.hour + interval '59 minutes', interval '1 minute') AS m (minute)
CROSS JOIN LATERAL (SELECT 1 FROM messaging_rollup_minute r WHERE r.minute = m.minute AND r.flow_id = %(flow)s LIMIT 1) AS there
ORDER BY m.minute"""
DELIVERED = """
SELECT m.minute, found.id, found.first_seen_at FROM unnest(%(minutes)s::timestamptz[]) AS m (minute)
CROSS JOIN LATERAL (
    SELECT walked.* FROM (
        SELECT id, first_seen_at, flow_id, status, failed_at FROM messaging_message
        WHERE environment_id = %(environment)s AND first_seen_on BETWEEN %(first_day)s AND %(last_day)s
          AND first_seen_at >= greatest(m.minute, %(since)s::timestamptz)
          AND first_seen_at < least(m.minute + interval '1 minute', %(until)s::timestamptz)
        ORDER BY first_seen_at DESC, id DESC LIMIT %(walked)s
    ) AS walked WHERE walked.flow_id = %(flow)s AND walked.status = %(status)s AND walked.failed_at IS NULL
    LIMIT %(most)s
) AS found"""


class OneMessage(NamedTuple):
    id: UUID
    at: datetime


class Body(NamedTuple):
    """Where a body is stored, where it was going, and the flow that says who may read it and how it is masked.

    An event's flow is that of its own destination: an exchange's may be another team's than that of the queue behind it.
    """

    id: UUID
    day: date
    destinations: tuple[str, ...]
    flow_id: int


@dataclass(slots=True, kw_only=True)
class Sampled:
    """One message of the sample.

    body         None when no body came.
    from_letter  whether it is the dead letter's: then it is what the sender's event brought, with headers of the broker's own.
    """

    uid: UUID | None
    at: datetime
    events: list[Any] = field(default_factory=list)
    body: Body | None = None
    from_letter: bool = False


def spread(ids: Sequence[Any], most: int) -> list[Any]:
    """Return at most so many of a sequence, evenly from its beginning to its end."""
    if len(ids) <= most:
        return list(ids)
    return [ids[at * len(ids) // most] for at in range(most)]


def failed_sample(
    letters: QuerySet[DeadLetter] | Collection[UUID], flow: Flow, visible: QuerySet[DeadLetter]
) -> list[DeadLetter]:
    """Return at most 200 of these letters that are of this flow and may be seen, from all over them in order of harvest."""
    if isinstance(letters, QuerySet):
        chosen = spread(_ends(letters.filter(flow=flow).values_list("id", flat=True), "id"), MOST_FAILED)
    else:
        chosen = spread(sorted(letters), MOST_FAILED)
    return list(visible.filter(any_of(DeadLetter, "id", chosen), flow=flow).order_by("id"))


def _ends(rows: QuerySet[Any, Any], *order: str) -> list[Any]:
    """Return the rows in this order, of more than are looked at the first and the last of them."""
    found = list(rows.order_by(*order)[:MOST_LOOKED])
    if len(found) < MOST_LOOKED:
        return found
    half = MOST_LOOKED // 2
    return found[:half] + list(rows.order_by(*(f"-{name}" for name in order))[:half])[::-1]


def failed_messages(rows: QuerySet[Message] | None, letters: Sequence[DeadLetter]) -> list[OneMessage]:
    """Return messages that failed and have none of these letters, as many as 200 leave room for, from all over them."""
    room = MOST_FAILED - len(letters)
    if rows is None or room <= 0:
        return []
    known = {letter.message_uid for letter in letters}
    found = _ends(rows.values_list("id", "first_seen_at"), "first_seen_at", "id")
    return spread([OneMessage(*one) for one in found if one[0] not in known], room)


def delivered_sample(flow: Flow, window: Window) -> list[OneMessage]:
    """Return at most 400 messages of this flow that were delivered in the window and never failed."""
    values: dict[str, Any] = {
        "most": MOST_DELIVERED, "walked": WALKED, "environment": flow.environment_id, "flow": flow.pk, "status": MessageStatus.DELIVERED,
        "since": window.since, "until": window.until, "first": window.since.replace(minute=0, second=0, microsecond=0),
        "first_day": (window.since - timedelta(days=4)).date(), "last_day": (window.until + timedelta(days=4)).date(),
    }  # fmt: skip
    with connection.cursor() as cursor:
        hours = [hour for (hour,) in cursor.execute(HOURS, values).fetchall()]
        values["hours"] = spread(hours, MOST_HOURS)
        minutes = [minute for (minute,) in cursor.execute(MINUTES, values).fetchall()]
        values["minutes"] = spread(minutes, MOST_MINUTES)
        found = cursor.execute(DELIVERED, values).fetchall()
    by_minute: dict[datetime, list[OneMessage]] = {}
    for minute, pk, at in found:
        by_minute.setdefault(minute, []).append(OneMessage(pk, at))
    in_turn = (one for round_ in zip_longest(*by_minute.values()) for one in round_ if one is not None)
    return list(islice(in_turn, MOST_DELIVERED))


def events_of(actor: Actor, uids: Collection[UUID], window: Window) -> dict[UUID, list[Event]]:
    """Return the first 20 events of each of these messages, in order of time, in the columns that are compared."""
    if not uids:
        return {}
    rows = visible_events(actor).filter(
        any_of(Event, "message_uid", uids),
        occurred_at__gte=window.since - AROUND,
        occurred_at__lte=window.until + AROUND,
    )
    nth = Nth(RowNumber(), partition_by="message_uid", order_by=["occurred_at", "id"])
    found: dict[UUID, list[Event]] = {}
    first = rows.annotate(nth=nth).filter(nth__lte=MOST_OF_A_MESSAGE).select_related("system", "agent").only(*READ)
    for event in first.order_by("occurred_at", "id"):
        if event.message_uid is not None:
            found.setdefault(event.message_uid, []).append(event)
    return found


def of_letters(
    letters: Iterable[DeadLetter], events: dict[UUID, list[Event]], readable: Collection[int]
) -> list[Sampled]:
    """Return failed messages; the body is the first that an event brought, as of delivered ones, else that of the letter.

    readable  ids of the flows whose bodies may be read: theirs come before others.
    """
    sampled = []
    for letter in letters:
        own = events.get(letter.message_uid, []) if letter.message_uid else []
        at = own[0].occurred_at if own else letter.first_failed_at or letter.failed_at
        one = Sampled(uid=letter.message_uid, at=at, events=own, body=_first_body(own, readable))
        if one.body is None and letter.payload_on:
            one.body = Body(letter.pk, letter.payload_on, _named(letter.origin, letter.queue), letter.flow_id)
            one.from_letter = True
        sampled.append(one)
    return sampled


def of_messages(
    messages: Iterable[OneMessage], events: dict[UUID, list[Event]], readable: Collection[int]
) -> list[Sampled]:
    """Return messages with the first body that an event of theirs brought."""
    sampled = []
    for message in messages:
        own = events.get(message.id, [])
        at = own[0].occurred_at if own else message.at
        sampled.append(Sampled(uid=message.id, at=at, events=own, body=_first_body(own, readable)))
    return sampled


def _first_body(events: Sequence[Event], readable: Collection[int]) -> Body | None:
    brought = [one for one in events if one.payload_on]
    event = next((one for one in brought if one.flow_id in readable), brought[0] if brought else None)
    if event is None or event.payload_on is None:
        return None
    return Body(event.id, event.payload_on, _named(event.destination), event.flow_id)


def _named(*destinations: str | None) -> tuple[str, ...]:
    return tuple(one for one in destinations if one)
