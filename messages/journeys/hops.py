"""How long each hop took, and what of it: waiting in the queue, being processed, waiting for the next attempt. Pure.

sent        the end of the sending span; of several sendings the last before the receiver took the message, of those to where it took it: a
            receiver that sends a message on under the same id, and tries once more, did not get it from itself. A `receive` without any
            `process` took it by its end: a long poll may have begun before.
taken       when the receiver's first `process` began. Without one, when its `receive` began; where that began before the message was
            sent, as a long poll does, when it ended.
queue       from sent to taken, in the broker or in the receiver's own buffer: nobody worked on it. 0 when the sender only heard of the
            broker's confirmation after the receiver was at work.
processing  the time that the receiver's attempts took together; spans inside one another count once.
retry       the time between its attempts.

A batch receive is one event about many messages: it is a hop of each message whose sending its span links to. So is a batch send of each message
whose creating its span links to.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median_low
from uuid import UUID

from messages.journeys.seen import ERROR, PROCESS, RECEIVE, SEND, SETTLE, Link, Seen, Span, Timed, by_queue, decides
from messages.receivers import is_one_queue

CREATE = 1
CONSUMING = frozenset({RECEIVE, PROCESS, SETTLE})
Way = tuple[UUID, str | None]  # a message and where it was sent, None: wherever


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of so many values, in µs: the middle one and the longest."""

    median_us: int
    longest_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """One message from its sending to one receiving system, and to one of its queues where it came to several; times in µs.

    taken_us  when the receiver had it, from the journey's start.   ended  the event that says how it fared, or the last there is.
    """

    sent: Seen
    first: Seen
    taken_us: int
    queue_us: int
    processing_us: int
    retry_us: int
    attempts: int
    ended: Timed
    batch: bool
    destination: str

    @property
    def failed(self) -> bool:
        return self.ended.seen.outcome == ERROR

    @property
    def decided(self) -> bool:
        return _tells(self.ended)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """All messages that went one way: from a system over a destination to a system."""

    sender: str
    receiver: str
    destination: str
    messages: int
    failed: int
    batches: int  # of the messages, how many came in a batch receive
    attempts: int  # the most that one message needed
    queue: Figures
    processing: Figures
    retry: Figures


@dataclass(slots=True)
class _Taken:
    sent: Timed
    events: list[Timed] = field(default_factory=list)
    batch: bool = False
    queue: str | None = None


def handovers_of(events: Sequence[Timed], links: Iterable[Link]) -> list[Handover]:
    """Return what each receiver did with each message that it got. events: in order of time."""
    sends: dict[Way, list[Timed]] = defaultdict(list)
    by_span: dict[Span, Timed] = {}
    linked: dict[Span, list[Span]] = defaultdict(list)
    for trace, span, other, other_span in links:
        linked[(trace, span)].append((other, other_span))
    created = {
        (one.seen.trace_id, one.seen.span_id): one.seen.message_uid for one in events if one.seen.operation == CREATE
    }
    for one in events:
        if one.seen.operation == SEND:
            here = (one.seen.trace_id, one.seen.span_id)
            created_here = [created.get(span) for span in linked.get(here, ())]
            for uid in filter(None, {one.seen.message_uid, *created_here}):
                for way in {(uid, one.seen.destination), (uid, None)}:
                    sends[way].append(one)
            if one.seen.span_id:
                by_span[here] = one
    starts = {way: [one.start_us for one in many] for way, many in sends.items()}
    worked = {(one.seen.message_uid, one.seen.system_id) for one in events if one.seen.operation == PROCESS}
    taken: dict[tuple[UUID, UUID | None, int], _Taken] = {}
    for one in events:
        if one.seen.operation in CONSUMING:
            polled = one.seen.operation == RECEIVE and (one.seen.message_uid, one.seen.system_id) not in worked
            at_us = one.end_us if polled else one.start_us
            for sent, batch in _sent_before(one, at_us, sends, starts, by_span, linked):
                named = one.seen.message_uid  # one sending may be of many messages
                of = named if (named, None) in sends else sent.seen.message_uid
                held = taken.setdefault((sent.seen.id, of, one.seen.system_id), _Taken(sent))
                held.events.append(one)
                held.batch |= batch
    found = (_handover(one) for held in taken.values() for one in _by_queue(held))
    return [one for one in found if one is not None]


def _sent_before(
    one: Timed,
    at_us: int,
    sends: Mapping[Way, list[Timed]],
    starts: Mapping[Way, list[int]],
    by_span: Mapping[Span, Timed],
    linked: Mapping[Span, list[Span]],
) -> list[tuple[Timed, bool]]:
    """Return the sendings that this event received, the last before at_us, each with whether it came in a batch."""
    uid = one.seen.message_uid
    if uid is not None and (uid, None) in sends:
        way = (uid, one.seen.destination)
        if way not in sends or starts[way][0] > one.end_us:  # nobody had, by then: to an exchange, or a clock is wrong
            way = (uid, None)
        return [(sends[way][max(0, bisect_right(starts[way], at_us) - 1)], False)]
    here = (one.seen.trace_id, one.seen.span_id)
    found = [by_span[span] for span in linked.get(here, ()) if span in by_span]
    return [(sent, uid is None) for sent in found]


def _by_queue(held: _Taken) -> list[_Taken]:
    """Return what a system took of one sending for each of its queues; what names none of them belongs to the first."""
    works = [one for one in held.events if one.seen.operation == PROCESS]
    queues = by_queue(works or (one for one in held.events if one.seen.operation == RECEIVE))
    if len(queues) < 2:
        return [held]
    parts = [_Taken(held.sent, [], held.batch, many[0].seen.destination) for many in queues]
    for one in held.events:
        own = (part for part in parts if is_one_queue(part.queue, one.seen.destination))
        next(own, parts[0]).events.append(one)
    return parts


def _handover(held: _Taken) -> Handover | None:
    works = [one for one in held.events if one.seen.operation == PROCESS]
    takes = [one for one in held.events if one.seen.operation == RECEIVE]
    if not works and not takes:
        return None
    sent_us = held.sent.end_us
    spans = [_from(one, sent_us) for one in works or takes]
    received = [_from(one, sent_us) for one in takes]
    first, attempts, working, between = _union(spans)
    first_of = (works or takes)[0].seen
    deciding = [one for one in held.events if _tells(one)]
    return Handover(
        sent=held.sent.seen,
        first=first_of,
        taken_us=min(spans + received)[0],
        queue_us=max(0, first - sent_us),
        processing_us=working,
        retry_us=between,
        attempts=attempts,
        ended=(deciding or held.events)[-1],
        batch=held.batch,
        destination=held.queue or held.sent.seen.destination or first_of.destination or "",
    )


def _tells(one: Timed) -> bool:
    """Whether an event of a receiver says how the message fared."""
    return one.seen.outcome == ERROR or decides(one.seen.operation, one.seen.outcome)


def _from(one: Timed, sent_us: int) -> tuple[int, int]:
    """Return when the receiver had the message and when it was done with it: a poll that began earlier had nothing before it ended."""
    if one.seen.operation == RECEIVE and one.start_us < sent_us:
        return one.end_us, one.end_us
    return one.start_us, one.end_us


def _union(spans: Sequence[tuple[int, int]]) -> tuple[int, int, int, int]:
    """Return (first start, how many apart from each other, their length together, the gaps between them)."""
    spans = sorted(spans)
    first, end = spans[0]
    attempts, working, between = 1, end - first, 0
    for start, stop in spans[1:]:
        if start >= end:
            attempts, working, between = attempts + 1, working + stop - start, between + start - end
        elif stop > end:
            working += stop - end
        end = max(end, stop)
    return first, attempts, working, between


def hops_of(handovers: Sequence[Handover], systems: Mapping[int, str]) -> list[Hop]:
    """Return the ways that messages went, those with failures first, then in the order in which they were first taken."""
    ways: dict[tuple[int, int, str], list[Handover]] = defaultdict(list)
    for one in handovers:
        ways[(one.sent.system_id, one.first.system_id, one.destination)].append(one)
    found = [
        Hop(
            sender=systems.get(sender, ""),
            receiver=systems.get(receiver, ""),
            destination=destination,
            messages=len(many),
            failed=sum(one.failed for one in many),
            batches=sum(one.batch for one in many),
            attempts=max(one.attempts for one in many),
            queue=figures(one.queue_us for one in many),
            processing=figures(one.processing_us for one in many),
            retry=figures(one.retry_us for one in many),
        )
        for (sender, receiver, destination), many in ways.items()
    ]
    return sorted(found, key=lambda hop: hop.failed == 0)


def figures(values: Iterable[int]) -> Figures:
    """Return the figures of at least one value."""
    known = list(values)
    return Figures(median_us=median_low(known), longest_us=max(known))


def waits_of(handovers: Sequence[Handover]) -> dict[UUID, int]:
    """Return {id of the event that took a message: how long it had waited since its sending, of a batch the one that waited longest}."""
    waits: dict[UUID, int] = {}
    for one in handovers:
        waits[one.first.id] = max(one.queue_us, waits.get(one.first.id, 0))
    return waits
