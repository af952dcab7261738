"""The sample: failed messages of one flow and what passed where they failed, from all over the window and not only the newest; rights are the caller's."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import islice, pairwise
from random import Random
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection
from django.db.models import QuerySet
from django.db.models import Window as Nth
from django.db.models.functions import RowNumber

from console.identity.actor import Actor
from messages.access import visible_events
from messages.different.station import PASSED, WENT_ON, Station
from messages.groups.nameless import messages_of
from messages.journeys.gather import any_of
from messages.models import DeadLetter, Event, Flow, Message, MessageStatus
from messages.search.window import Window

MOST_FAILED, MOST_DELIVERED = 200, 400
MOST_LOOKED = 10_000  # failures whose ids are read to choose among them; of more the first and the last half of it
MOST_HOURS, MOST_MINUTES, WALKED = 40, 120, 5_000
MOST_ASKED = 2_000  # messages of which it is asked whether they failed as well, to find 400 that did not
MOST_OF_A_MESSAGE = 20  # events; so each message has the same chance to be known
AROUND = timedelta(days=3)
READ = (
    "id",
    "occurred_at",
    "message_uid",
    "flow_id",
    "operation",
    "outcome",
    "destination",
    "attributes",
    "keys",
    "payload_on",
    "system__name",
    "agent__name",
)

# No index leads from a flow to its events (it would cost each of them at ingest), but the counts know in which hours and minutes what passed
# there. So a flow of any size is met: a probe of an index for each hour of the window and each minute of 40 of them, then at most 5,000 events
# of each of 120 minutes, one of each in turn, then what became of 2,000 messages. Each LIMIT keeps the planner at that.
MINUTES = """
SELECT m.minute FROM unnest(%(hours)s::timestamptz[]) AS h (hour)
CROSS JOIN LATERAL generate_series(h.hour, h.hour + interval '59 minutes', interval '1 minute') AS m (minute)
CROSS JOIN LATERAL (
    SELECT 1 FROM messaging_rollup_minute r WHERE r.minute = m.minute AND r.flow_id = ANY(%(flows)s) AND {passed} LIMIT 1
) AS there
ORDER BY m.minute"""
EVENTS = """
SELECT found.message_uid, found.occurred_at, found.trace_id, found.span_id FROM unnest(%(minutes)s::timestamptz[]) AS m (minute)
CROSS JOIN LATERAL (
    SELECT walked.*, row_number() OVER () AS nth FROM (
        SELECT message_uid, occurred_at, trace_id, span_id, flow_id, system_id, operation, outcome FROM messaging_event
        WHERE environment_id = %(environment)s AND occurred_at BETWEEN %(since)s AND %(until)s
          AND occurred_at >= m.minute AND occurred_at < m.minute + interval '1 minute'
        ORDER BY occurred_at DESC, id DESC LIMIT %(walked)s
    ) AS walked WHERE walked.flow_id = ANY(%(flows)s) AND (%(systems)s::int8[] IS NULL OR walked.system_id = ANY(%(systems)s)) AND {passed}
      AND (walked.message_uid IS NOT NULL OR walked.trace_id IS NOT NULL)
    LIMIT %(most)s
) AS found
ORDER BY found.nth, m.minute LIMIT %(in_all)s"""
# Of an event about many messages its links lead to those that sent them. Where nothing is processed, the message's row says what became of it.
MESSAGES = """
SELECT m.uid, e.at
FROM unnest(%(uids)s::uuid[], %(ats)s::timestamptz[], %(traces)s::uuid[], %(spans)s::text[]) WITH ORDINALITY AS e (uid, at, trace, span, nth)
CROSS JOIN LATERAL (
    SELECT e.uid WHERE e.uid IS NOT NULL
    UNION ALL (
        SELECT s.message_uid FROM messaging_trace_link l
        CROSS JOIN LATERAL (
            SELECT message_uid FROM messaging_event
            WHERE trace_id = l.linked_trace_id AND span_id = l.linked_span_id AND environment_id = %(environment)s
              AND message_uid IS NOT NULL AND occurred_at BETWEEN %(around)s AND %(afterwards)s LIMIT 1
        ) AS s
        WHERE e.uid IS NULL AND l.occurred_at = e.at AND l.trace_id = e.trace AND l.span_id = e.span LIMIT %(of_an_event)s
    )
) AS m (uid)
LEFT JOIN LATERAL (
    SELECT status, failed_at FROM messaging_message WHERE id = m.uid AND first_seen_on BETWEEN %(first_day)s AND %(last_day)s LIMIT 1
) AS became ON true
LEFT JOIN LATERAL (
    SELECT 1 AS yes FROM messaging_event
    WHERE message_uid = m.uid AND outcome = 2 AND occurred_at BETWEEN %(around)s AND %(afterwards)s
      AND flow_id = ANY(%(flows)s) AND (%(systems)s::int8[] IS NULL OR system_id = ANY(%(systems)s)) LIMIT 1
) AS failed ON true
LEFT JOIN LATERAL (
    SELECT 1 AS yes FROM messaging_deadletter
    WHERE message_uid = m.uid AND flow_id = ANY(%(flows)s)
      AND (system_id IS NULL OR %(systems)s::int8[] IS NULL OR system_id = ANY(%(systems)s)) LIMIT 1
) AS died ON true
WHERE failed.yes IS NULL AND died.yes IS NULL
  AND (%(ends)s OR became.status = %(delivered)s) AND (became.failed_at IS NULL OR %(ends)s AND e.uid IS NOT NULL)
ORDER BY row_number() OVER (PARTITION BY e.nth), e.nth"""


class OneMessage(NamedTuple):
    id: UUID
    at: datetime
    group_id: int | None = None


class Body(NamedTuple):
    """Where a body is stored, where it was going, and the flow that says who may read it and how it is masked.

    An event's flow is that of its own destination: an exchange's may be another team's than that of the queue behind it.

    from_letter  whether it is the dead letter's: then it is what the sender's event brought, with headers of the broker's own.
    """

    id: UUID
    day: date
    destinations: tuple[str, ...]
    flow_id: int
    from_letter: bool = False


@dataclass(slots=True, kw_only=True)
class Sampled:
    """One message of the sample.

    body  None when no body came.
    """

    uid: UUID | None
    at: datetime
    events: list[Any] = field(default_factory=list)
    body: Body | None = None


def spread(ids: Sequence[Any], most: int) -> list[Any]:
    """Return at most so many of a sequence, one by chance of each of as many equal stretches; of the same sequence always the same.

    Not every k-th: of two consumers in turn that would be one alone.
    """
    if len(ids) <= most or most < 1:
        return list(ids[:most])
    chance = Random(f"{ids[0]} {ids[-1]} {len(ids)}")  # noqa: S311  no secret
    ends = [at * len(ids) // most for at in range(most + 1)]
    return [ids[chance.randrange(first, end)] for first, end in pairwise(ends)]


def failed_sample(
    letters: QuerySet[DeadLetter] | Collection[UUID], flow: Flow, visible: QuerySet[DeadLetter]
) -> list[DeadLetter]:
    """Return at most 200 of these letters that are of this flow and may be seen, from all over them in order of harvest.

    One that names no message has here, in memory alone, that of which it is: the two are one failure.
    """
    if isinstance(letters, QuerySet):
        chosen = spread(_ends(letters.filter(flow=flow).values_list("id", flat=True), "id"), MOST_FAILED)
    else:
        chosen = spread(sorted(letters), MOST_FAILED)
    found = list(visible.filter(any_of(DeadLetter, "id", chosen), flow=flow).order_by("id"))
    nameless = [letter for letter in found if letter.message_uid is None]
    messages = messages_of(flow.pk, ((letter.keys, letter.failed_at) for letter in nameless))
    for letter in nameless:
        letter.message_uid = messages.get(letter.pk)
    return found


def _ends(rows: QuerySet[Any, Any], *order: str) -> list[Any]:
    """Return the rows in this order, of more than are looked at the first and the last of them."""
    found = list(rows.order_by(*order)[:MOST_LOOKED])
    if len(found) < MOST_LOOKED:
        return found
    half = MOST_LOOKED // 2
    return found[:half] + list(rows.order_by(*(f"-{name}" for name in order))[:half])[::-1]


def failed_messages(rows: QuerySet[Message] | None, letters: Sequence[DeadLetter]) -> list[OneMessage]:
    """Return at most 200 messages that failed and have none of these letters, from all over them."""
    if rows is None:
        return []
    known = {letter.message_uid for letter in letters}
    found = _ends(rows.values_list("id", "first_seen_at", "group_id"), "first_seen_at", "id")
    return spread([OneMessage(*one) for one in found if one[0] not in known], MOST_FAILED)


def with_room(
    letters: Sequence[DeadLetter], messages: Sequence[OneMessage], events: Collection[UUID]
) -> tuple[list[DeadLetter], list[OneMessage]]:
    """Return at most 200 of both: letters of whose messages events told before others, which leave the messages at least half of the room.

    events  messages of the letters that events told of.
    """
    silent = [letter for letter in letters if letter.message_uid not in events]
    told = len(letters) - len(silent)
    left_out = set(silent).difference(spread(silent, max(MOST_FAILED // 2, MOST_FAILED - told - len(messages))))
    chosen = [letter for letter in letters if letter not in left_out]
    return chosen, spread(messages, MOST_FAILED - len(chosen))


def delivered_sample(environment_id: int, station: Station, window: Window) -> list[OneMessage]:
    """Return at most 400 messages that passed this station in the window, whatever flow they are of, and never failed there."""
    passed = PASSED if station.ends else WENT_ON
    values: dict[str, Any] = {
        "in_all": 2 * MOST_ASKED, "walked": WALKED, "environment": environment_id, "flows": station.flows, "systems": station.systems,
        "ends": station.ends, "delivered": MessageStatus.DELIVERED, "since": window.since, "until": window.until,
        "around": window.since - AROUND, "afterwards": window.until + AROUND,
        "first_day": (window.since - timedelta(days=4)).date(), "last_day": (window.until + timedelta(days=4)).date(),
        "hours": spread(station.hours, MOST_HOURS),
    }  # fmt: skip
    with connection.cursor() as cursor:
        minutes = [minute for (minute,) in cursor.execute(MINUTES.format(passed=passed), values).fetchall()]
        values["minutes"] = spread(minutes, MOST_MINUTES)
        values["most"] = max(MOST_DELIVERED, 2 * MOST_ASKED // max(1, len(values["minutes"])))
        events = list(islice(_once(cursor.execute(EVENTS.format(passed=passed), values).fetchall()), MOST_ASKED))
        about_many = sum(uid is None for uid, *_ in events)
        values["of_an_event"] = MOST_ASKED // max(1, about_many)
        for at, name in enumerate(("uids", "ats", "traces", "spans")):
            values[name] = [event[at] for event in events]
        found = _once(cursor.execute(MESSAGES, values).fetchall())
    return [OneMessage(*one) for one in islice(found, MOST_DELIVERED)]


def _once(rows: Iterable[Sequence[Any]]) -> Iterator[Sequence[Any]]:
    """Yield the first row of each message, which is first in it, and of each span about many, which is at its end."""
    known = set()
    for row in rows:
        name = row[0] or tuple(row[2:])
        if name not in known:
            known.add(name)
            yield row


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
            named = _named(letter.origin, letter.queue)
            one.body = Body(letter.pk, letter.payload_on, named, letter.flow_id, from_letter=True)
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
