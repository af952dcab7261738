"""Journeys: stitched from trace ids, span links, message id, correlation id and business key, rights applied in each query."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from console.identity.actor import Actor
from console.identity.models import Environment
from messages.access import visible_dead_letters, visible_events, visible_messages
from messages.changes.present import JOURNEY_LEAD, MOST_TOLD
from messages.changes.queries import changes_between
from messages.journeys.clocks import Clock, corrections_of
from messages.journeys.stitch import Journey, build_journey
from messages.journeys.usual import with_unreached
from messages.models import ClockReading, DeadLetter, Event, LoggedException, Message, Replay, TraceLink

MOST_TRACES, MOST_EVENTS, ROUNDS, MOST_LOGGED = 20, 2_000, 3, 200
AROUND = timedelta(days=3)  # a journey's events lie within days of each other; keeps partitions pruned
KEY_AROUND = timedelta(days=1)


def journey_of_trace(
    actor: Actor, environments: Sequence[Environment], trace_id: UUID, *, correct_clocks: bool = True
) -> Journey:
    """Return the journey that this trace is part of; without steps when nothing visible has it.

    correct_clocks  False leaves every time as its sender reported it.
    """
    events = visible_events(actor).filter(environment__in=environments, trace_id=trace_id)
    first = events.order_by("occurred_at", "id").values_list("occurred_at", flat=True).first()
    letters = _told(actor).filter(environment__in=environments, trace_id=trace_id)
    if first is None:
        return _with_replays(build_journey([], {}, dead_letters=list(letters[:50])))
    uids = {uid for uid in events.values_list("message_uid", flat=True)[:MOST_EVENTS] if uid}
    return _stitch(
        actor, environments, {trace_id}, uids, first, correlation=None, keys={}, correct_clocks=correct_clocks
    )


def journey_of_message(actor: Actor, message: Message, *, correct_clocks: bool = True) -> Journey:
    """Return the journey of one message."""
    traces = {message.trace_id} if message.trace_id else set()
    return _stitch(
        actor,
        [message.environment],
        traces,
        {message.id},
        message.first_seen_at,
        correlation=message.correlation_id,
        keys=message.keys,
        correct_clocks=correct_clocks,
    )


def journey_of_dead_letter(actor: Actor, letter: DeadLetter, *, correct_clocks: bool = True) -> Journey:
    """Return the journey that ended in this dead letter."""
    traces = {letter.trace_id} if letter.trace_id else set()
    uids = {letter.message_uid} if letter.message_uid else set()
    at = letter.first_failed_at or letter.failed_at
    return _stitch(
        actor, [letter.environment], traces, uids, at, correlation=letter.correlation_id or None, keys=letter.keys,
        correct_clocks=correct_clocks,
    )  # fmt: skip


def _stitch(
    actor: Actor, environments: Sequence[Environment], traces: set[UUID], uids: set[UUID], around: datetime, *,
    correlation: str | None, keys: dict[str, str], correct_clocks: bool,
) -> Journey:  # fmt: skip
    base = visible_events(actor).filter(environment__in=environments).select_related("system", "flow", "agent")
    near = base.filter(occurred_at__gte=around - AROUND, occurred_at__lte=around + 10 * AROUND)
    found: dict[UUID, Any] = {}
    ties: dict[UUID, str] = {}
    seen_traces: set[UUID] = set()
    truncated = False
    for tie_of_round in ("trace", "link", "link")[:ROUNDS]:
        fresh = set(list(traces - seen_traces)[:MOST_TRACES])
        truncated |= len(traces) > MOST_TRACES
        seen_traces |= fresh
        _take(near.filter(trace_id__in=fresh), found, ties, tie_of_round)
        _take(near.filter(message_uid__in=uids), found, ties, "message id")
        uids |= {e.message_uid for e in found.values() if e.message_uid}
        traces |= {e.trace_id for e in found.values() if e.trace_id} | _linked(environments, traces)
        if not traces - seen_traces:
            break
    if correlation:
        _take(near.filter(correlation_id=correlation), found, ties, "correlation id")
    for name, value in _stitching_keys(keys):
        weak = base.filter(
            occurred_at__gte=around - KEY_AROUND, occurred_at__lte=around + KEY_AROUND, keys__contains={name: value}
        )
        _take(weak, found, ties, f"{name}={value}")
    # A message that one event with the number has brought is here with all its events: receivers seldom repeat the number.
    if brought := {e.message_uid for e in found.values() if e.message_uid} - uids:
        _take(near.filter(message_uid__in=brought), found, ties, "message id")
    letters = _letters(actor, environments, seen_traces, uids)
    events = list(found.values())
    journey = build_journey(
        events,
        ties,
        corrections=corrections_of(events, _readings(events)) if correct_clocks else {},
        dead_letters=letters,
        truncated=truncated or len(found) >= MOST_EVENTS,
    )
    return with_unreached(actor, _with_changes(actor, environments, _with_replays(_with_logged(journey))))


def _take(rows: QuerySet[Event], found: dict[UUID, Any], ties: dict[UUID, str], tie: str) -> None:
    """Add the rows that are not there yet, with the evidence that brought them."""
    room = MOST_EVENTS - len(found)
    if room > 0:
        for event in rows.order_by("occurred_at", "id")[: room + len(found)]:
            if event.id not in found and len(found) < MOST_EVENTS:
                found[event.id], ties[event.id] = event, tie


def _readings(events: Sequence[Event]) -> dict[tuple[Clock, datetime], timedelta]:
    """Return what was read off the clocks of these events in the hours in which they came."""
    agents = {event.agent_id for event in events if event.agent_id is not None}
    if not agents:
        return {}
    first, last = min(event.received_at for event in events), max(event.received_at for event in events)
    rows = ClockReading.objects.filter(
        agent_id__in=agents, system__isnull=False, hour__gt=first - timedelta(hours=1), hour__lte=last
    )
    return {
        ((agent, system), hour): timedelta(microseconds=ahead_us)
        for agent, system, hour, ahead_us in rows.values_list("agent_id", "system_id", "hour", "ahead_us")
    }


def _linked(environments: Sequence[Environment], traces: set[UUID]) -> set[UUID]:
    """Return the traces that link to these or are linked from them."""
    links = TraceLink.objects.filter(environment__in=environments).filter(
        Q(trace_id__in=traces) | Q(linked_trace_id__in=traces)
    )
    pairs = links.values_list("trace_id", "linked_trace_id")[: 10 * MOST_TRACES]
    return {trace for pair in pairs for trace in pair}


def _stitching_keys(keys: dict[str, str]) -> list[tuple[str, str]]:
    """Return the one document number that may tie events which no context ties; customers have too many documents."""
    numbers = [(name, value) for name, value in sorted(keys.items()) if name.endswith("_no") and name != "customer_no"]
    numbers.sort(key=lambda pair: pair[0] != "order_no")
    return numbers[:1]


def _told(actor: Actor) -> QuerySet[DeadLetter]:
    """Return the dead letters of journeys with what their log names: who harvested each."""
    return visible_dead_letters(actor).select_related("agent")


def _letters(
    actor: Actor, environments: Sequence[Environment], traces: set[UUID], uids: Iterable[UUID]
) -> list[DeadLetter]:
    rows = _told(actor).filter(environment__in=environments)
    return list(rows.filter(Q(message_uid__in=list(uids)) | Q(trace_id__in=traces)).order_by("pk")[:50])


def _with_logged(journey: Journey) -> Journey:
    """Give each step the exceptions that were logged inside its span; the step's own rights cover them."""
    steps = {step.event.id: step for step in journey.steps}
    if steps and journey.started_at and journey.ended_at:
        rows = LoggedException.objects.filter(
            event_id__in=list(steps),
            occurred_at__gte=journey.started_at - AROUND,
            occurred_at__lte=journey.ended_at + AROUND,
        )
        for one in rows.order_by("occurred_at", "id")[:MOST_LOGGED]:
            steps[one.event_id].logged.append(one)
    return journey


def _with_replays(journey: Journey) -> Journey:
    if journey.dead_letters:
        replays = Replay.objects.filter(dead_letter__in=[letter.pk for letter in journey.dead_letters])
        journey.replays = list(replays.select_related("connection").order_by("pk")[:200])
    return journey


def _with_changes(actor: Actor, environments: Sequence[Environment], journey: Journey) -> Journey:
    """Add what changed on its systems and flows while it lasted or just before; a journey of days is told of its last changes."""
    if journey.started_at and journey.ended_at:
        journey.changes = changes_between(
            actor,
            environments,
            since=journey.started_at - JOURNEY_LEAD,
            until=journey.ended_at,
            systems={step.system for step in journey.steps},
            flows={step.event.flow.name for step in journey.steps},
            most=MOST_TOLD,
        )
    return journey


def messages_with_id(actor: Actor, environments: Sequence[Environment], message_id: str) -> list[Message]:
    """Return the messages of this sender's id, newest first, at most 50."""
    if "\x00" in message_id or len(message_id) > 512:
        return []
    rows = visible_messages(actor).filter(environment__in=environments, message_id=message_id)
    return list(rows.select_related("flow", "environment").order_by("-first_seen_at", "-id")[:50])
