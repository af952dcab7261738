"""Journeys: stitched from trace ids, span links, message id, correlation id and business key, rights applied in each query."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from console.core.garbage import collector_paused
from console.identity.actor import Actor
from console.identity.models import Environment
from messages.access import visible_dead_letters, visible_events, visible_messages
from messages.changes.present import JOURNEY_LEAD, MOST_TOLD
from messages.changes.queries import changes_between
from messages.groups.queries import groups_that_speak
from messages.journeys.clocks import Clock, corrections_of
from messages.journeys.fold import WHOLE, chosen, folds_of
from messages.journeys.gather import A_DAY_OFF, AROUND, Gathered, any_of, gather, read_seen
from messages.journeys.hops import handovers_of, hops_of, waits_of
from messages.journeys.letters import MOST_LETTERS, letters_by_number, letters_of, told_letters
from messages.journeys.seen import ERROR, Seen, attempts_of, timed
from messages.journeys.stations import stations_of, with_hops
from messages.journeys.stitch import Journey, Step, build_journey
from messages.journeys.usual import with_unreached
from messages.models import ClockReading, DeadLetter, Event, LoggedException, Message, Replay, System
from messages.told import as_seen

MOST_LOGGED, MOST_FAILED = 200, 50


def journey_of_trace(
    actor: Actor, environments: Sequence[Environment], trace_id: UUID, *, correct_clocks: bool = True
) -> Journey:
    """Return the journey that this trace is part of; without steps when nothing visible has it.

    correct_clocks  False leaves every time as its sender reported it.
    """
    events = visible_events(actor).filter(environment__in=environments, trace_id=trace_id)
    read = list(read_seen(events))
    if not read:
        letters = told_letters(actor).filter(environment__in=environments, trace_id=trace_id)
        journey = build_journey([], {}, dead_letters=list(letters.order_by("pk")[:MOST_LETTERS]))
        return _with_groups(actor, environments, _with_replays(journey))
    first = min(one.occurred_at for one in read)
    start = _Start(
        environments=environments, traces={trace_id}, uids=set(), around=first, keys={}, read={trace_id: read}
    )
    return _stitch(actor, start, correct_clocks=correct_clocks)


def environments_of_trace(actor: Actor, environments: Sequence[Environment], trace_id: UUID) -> list[Environment]:
    """Return those of these environments where something that the actor may see has this trace."""
    known = visible_events(actor).filter(environment__in=environments, trace_id=trace_id)
    ids = set(known.order_by().values_list("environment_id", flat=True).distinct())
    letters = visible_dead_letters(actor).filter(environment__in=environments, trace_id=trace_id)
    ids |= set(letters.order_by().values_list("environment_id", flat=True).distinct())
    return [one for one in environments if one.pk in ids]


def journey_of_message(actor: Actor, message: Message, *, correct_clocks: bool = True) -> Journey:
    """Return the journey of one message."""
    return _stitch(actor, _of_message(message), correct_clocks=correct_clocks)


def journey_of_dead_letter(actor: Actor, letter: DeadLetter, *, correct_clocks: bool = True) -> Journey:
    """Return the journey that ended in this dead letter."""
    return _stitch(actor, _of_dead_letter(letter), correct_clocks=correct_clocks)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Start:
    """Where the walk along a journey begins."""

    environments: Sequence[Environment]
    traces: set[UUID]
    uids: set[UUID]
    around: datetime
    correlation: str | None = None
    keys: dict[str, str]
    letter: UUID | None = None
    read: Mapping[UUID, Sequence[Seen]] = field(default_factory=dict)

    def gathered(self, actor: Actor) -> Gathered:
        return gather(
            actor, self.environments, self.traces, self.uids, self.around,
            correlation=self.correlation, keys=self.keys, read=self.read,
        )  # fmt: skip


def _of_message(message: Message) -> _Start:
    traces = {message.trace_id} if message.trace_id else set()
    return _Start(
        environments=[message.environment], traces=traces, uids={message.id}, around=message.first_seen_at,
        correlation=message.correlation_id, keys=message.keys,
    )  # fmt: skip


def _of_dead_letter(letter: DeadLetter) -> _Start:
    return _Start(
        environments=[letter.environment],
        traces={letter.trace_id} if letter.trace_id else set(),
        uids={letter.message_uid} if letter.message_uid else set(),
        around=letter.first_failed_at or letter.failed_at,
        correlation=letter.correlation_id or None,
        keys=letter.keys,
        letter=letter.pk,
    )


def gathered_of(actor: Actor, about: Message | DeadLetter) -> Gathered:
    """Return every event of a message's, or dead letter's, journey in the few columns that stitching needs: for whoever reads some of them."""
    with collector_paused():
        return (_of_message(about) if isinstance(about, Message) else _of_dead_letter(about)).gathered(actor)


def _stitch(actor: Actor, start: _Start, *, correct_clocks: bool) -> Journey:
    """Return the journey from this start; one of more than WHOLE events folded, with some of each fold read in full."""
    with collector_paused():
        found = start.gathered(actor)
        journey = _built(actor, start, found, correct_clocks=correct_clocks)
    journey = _with_groups(actor, start.environments, _with_replays(_with_logged(journey)))
    return with_unreached(actor, _with_changes(actor, start.environments, journey))


def _built(actor: Actor, start: _Start, found: Gathered, *, correct_clocks: bool) -> Journey:
    own = set(start.uids)
    seen, names = found.seen, system_names(found.seen.values())
    read: list[Event] = []
    folded = len(seen) > WHOLE
    if folded:
        rough, _, _ = timed(seen.values(), {})
        mine = [one.seen.id for one in rough if one.seen.message_uid in own]
        read = events_in_full(actor, seen, chosen(folds_of(rough, names, found.evidence, {}), mine))
    elif seen:
        read = events_in_full(actor, seen, seen)
    corrections = corrections_of(read, _readings(read)) if correct_clocks else {}
    placed, began, ended = timed(seen.values(), corrections)
    handovers = handovers_of(placed, found.links)
    waits, attempts = waits_of(handovers), attempts_of(placed)
    letters = letters_of(actor, start.environments, found)
    by_number = letters_by_number(actor, start.environments, found, but={one.pk for one in letters})
    letters += [one for one, _ in by_number.values()]
    folds = folds_of(placed, names, found.evidence, waits) if folded else []
    journey = build_journey(
        read,
        found.evidence,
        corrections=corrections,
        dead_letters=letters[:MOST_LETTERS],
        truncated=found.truncated,
        waits=waits,
        attempts=attempts,
        span=(began, ended),
        folds=folds,
    )
    journey.total, journey.own, journey.more_letters = len(seen), own, len(letters) > MOST_LETTERS
    journey.attempts, journey.not_followed = attempts, found.not_followed
    journey.hops = hops_of(handovers, names)
    errors = Counter((one.system_id, one.error) for one in seen.values() if one.outcome == ERROR)
    failed = [seen[event.id] for event in read if event.outcome == ERROR]
    journey.errors, journey.times = len(errors), {one.id: errors[(one.system_id, one.error)] for one in failed}
    if folded:
        journey.trace_ids = list(dict.fromkeys(one.seen.trace_id for one in placed if one.seen.trace_id))
        journey.ties = list(dict.fromkeys(found.evidence[one.seen.id].tie for one in placed))
        journey.evidence = found.evidence
    journey.tied = {pk: why for pk, (_, why) in by_number.items() if pk != start.letter}
    journey.ties = list(dict.fromkeys([*journey.ties, *(why.tie for why in journey.tied.values())]))
    journey.stations = with_hops(stations_of(placed, names, handovers, found.links, counted=folded), journey.hops)
    return journey


def system_names(seen: Iterable[Seen]) -> dict[int, str]:
    """Return {id: name} of the systems of these events."""
    ids = {one.system_id for one in seen}
    return dict(System.objects.filter(pk__in=ids).values_list("pk", "name")) if ids else {}


def events_in_full(actor: Actor, seen: Mapping[UUID, Seen], ids: Collection[UUID]) -> list[Event]:
    """Return these of the events seen with every column, in no order."""
    times = [seen[one].occurred_at for one in ids]
    if not times:
        return []
    rows = visible_events(actor).filter(any_of(Event, "id", ids), occurred_at__range=(min(times), max(times)))
    return list(rows.select_related("system", "flow", "agent", "environment"))


def steps_of_fold(
    actor: Actor, journey: Journey, ref: str, *, after: tuple[datetime, UUID] | None, limit: int
) -> tuple[list[Step], tuple[datetime, UUID] | None]:
    """Return (a page of a fold's steps in order of time, where the next page begins); nothing for a fold that is not there.

    after  (time as reported, id) of the last one of the page before.
    """
    fold = next((one for one in journey.folds if one.ref == ref), None)
    if fold is None:
        return [], None
    events = sorted((one.seen for one in fold.events), key=lambda one: (one.occurred_at, one.id))
    rest = [one for one in events if after is None or (one.occurred_at, one.id) > after]
    page = {one.id: one for one in rest[:limit]}
    read = events_in_full(actor, page, page)
    corrections = {one.clock: one for one in journey.corrections}
    waits = {one.seen.id: one.start_us for one in fold.events}
    part = build_journey(
        read, journey.evidence, corrections=corrections, attempts=journey.attempts, span=(journey.started_at, journey.ended_at),
        folds=journey.folds,
    )  # fmt: skip
    for step in part.steps:
        step.offset_us = waits[step.event.id]
    last = rest[limit - 1] if len(rest) > limit else None
    return _with_logged(part).steps, (last.occurred_at, last.id) if last else None


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


def _with_groups(actor: Actor, environments: Sequence[Environment], journey: Journey) -> Journey:
    """Add the failure groups of its dead letters, and of the messages that failed in it, which the actor may see."""
    pks = {letter.group_id for letter in journey.dead_letters}
    failed = dict.fromkeys(step.event.message_uid for step in journey.steps if step.outcome == "error")
    if failed and journey.started_at and journey.ended_at:
        days = (journey.started_at - A_DAY_OFF).date(), (journey.ended_at + A_DAY_OFF).date()
        messages = visible_messages(actor).filter(environment__in=environments, first_seen_on__range=days)
        ids = [uid for uid in failed if uid][:MOST_FAILED]
        pks |= set(messages.filter(any_of(Message, "id", ids)).values_list("group_id", flat=True))
    journey.groups = groups_that_speak(actor, pks)
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
    return as_seen(actor, list(rows.select_related("flow", "environment").order_by("-first_seen_at", "-id")[:50]))
