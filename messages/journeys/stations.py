"""Where a journey stands at each system on its way: counted in messages, of every event and not of those that are shown. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from messages.journeys.hops import Handover, Hop
from messages.journeys.seen import CREATE, ERROR, PROCESS, RECEIVE, SEND, SETTLE, Link, Span, Timed, by_queue, decides
from messages.receivers import is_one_queue

DID = {CREATE: "created", SEND: "sent", RECEIVE: "received", PROCESS: "processed", SETTLE: "settled"}
NONE = UUID(int=0)
Ends = dict[UUID, Timed]  # of each message, by its id: the event that says how it fared


@dataclass(slots=True, kw_only=True)
class Station:
    """A system on the way: passed, failed, moving or unreached, and how long the hop to it took.

    hop_us  from the station before: as long as the message from there that waited longest. Where none is known from there, the time from
            the end there to the beginning here. None when what is here came from elsewhere, or while the station before was still at it.
    queue_us, processing_us  the longest of the messages that came to it; None when nobody reported both ends.
    back  what a compensation does to it, in words; "" for nothing.
    """

    system: str
    state: str
    note: str
    hop_us: int | None
    queue_us: int | None = None
    processing_us: int | None = None
    back: str = ""


def stations_of(
    events: Sequence[Timed],
    systems: Mapping[int, str],
    handovers: Iterable[Handover],
    links: Iterable[Link] = (),
    *,
    counted: bool,
) -> list[Station]:
    """Return the systems in the order the journey reached them; the console's own replay is no station.

    events  every event, in order of time.   counted  whether one where nothing failed says how many messages it had.
    """
    by_system: dict[int, list[Timed]] = defaultdict(list)
    for event in events:
        by_system[event.seen.system_id].append(event)
    taken: dict[int, list[Handover]] = defaultdict(list)
    for handover in handovers:
        taken[handover.first.system_id].append(handover)
    own_id = next((one for one in by_system if systems.get(one) == "waybill"), 0)
    replays = by_system.pop(own_id, [])
    sent = {one.seen.message_uid for one in events if one.seen.operation in (CREATE, SEND)} if replays else set()
    tied = _tied(links) if replays else {}
    reached = {one: _reached(own, taken[one]) for one, own in by_system.items()}
    stations: list[Station] = []
    before: Sequence[Timed] = ()
    for system_id in sorted(by_system, key=reached.__getitem__):
        own = by_system[system_id]
        ends, last = _ends(own, taken[system_id])
        state, note = _fared(own, ends, last, _lost(ends, replays, _copies(own, ends, sent, tied) if replays else {}))
        if counted and len(ends) > 1 and state == "passed":
            note = f"{note} {len(ends):,}"
        hop = _hop_us(before, own, taken[system_id]) if before else None
        stations.append(Station(system=systems.get(system_id, ""), state=state, note=note, hop_us=hop))
        before = own
    return stations


def _reached(own: Sequence[Timed], taken: Iterable[Handover]) -> tuple[int, int]:
    """Return (when the journey reached a system, what it did first there): before its message was sent, a poll had nothing yet."""
    begun = [one.start_us for one in own if one.seen.operation != RECEIVE] + [one.taken_us for one in taken]
    return min(begun, default=own[0].start_us), own[0].seen.operation


def _hop_us(before: Sequence[Timed], own: Sequence[Timed], taken: Iterable[Handover]) -> int | None:
    """Return how long the hop from the station before took, as Station has it. taken: what was handed over to this one."""
    there, here = before[0].seen.system_id, own[0].seen.system_id
    came = [one for one in taken if one.sent.system_id != here]
    if waits := [one.queue_us for one in came if one.sent.system_id == there]:
        return max(waits)
    gap = own[0].start_us - max(one.end_us for one in before)
    return gap if gap >= 0 and not came else None


def _ends(own: Sequence[Timed], handovers: Iterable[Handover]) -> tuple[Ends, Timed]:
    """Return how each message fared at a system, and the last event that tells of it: spans inside of a processing are no messages.

    A batch tells of each message that it has; a sending or receiving that failed of its message, where nothing decided later.
    """
    about = [one for one in own if one.seen.message_uid]
    telling = [one for one in own if decides(one.seen.operation, one.seen.outcome)] or about or own
    of_each: dict[UUID, list[Timed]] = defaultdict(list)
    for one in telling:
        if one.seen.message_uid:
            of_each[one.seen.message_uid].append(one)
    ends = {uid: _end(many) for uid, many in of_each.items()}
    others = {one.seen.message_uid: one for one in about if one.seen.message_uid not in ends}
    ends |= {uid: one for uid, one in others.items() if uid and one.seen.outcome == ERROR}
    for handover in handovers:
        end = handover.ended
        uid = end.seen.message_uid or handover.sent.message_uid or handover.sent.id
        known = ends.get(uid)
        later = known is not None and not end.seen.message_uid and known.start_us < end.start_us
        if handover.decided and (known is None or later):
            ends[uid] = end
    return ends, telling[-1]


def _end(telling: Sequence[Timed]) -> Timed:
    """Return what says how a message fared that came from one queue or from several: it failed where it did in one of them."""
    decided = len(telling) > 1 and decides(telling[-1].seen.operation, telling[-1].seen.outcome)
    lasts = [many[-1] for many in by_queue(telling)] if decided else []
    return next((one for one in reversed(lasts) if one.seen.outcome == ERROR), telling[-1])


def _tied(links: Iterable[Link]) -> dict[Span, set[UUID]]:
    """Return {span: the traces that it links to}."""
    tied: dict[Span, set[UUID]] = defaultdict(set)
    for trace, span, other, _ in links:
        tied[(trace, span)].add(other)
    return tied


def _copies(
    own: Sequence[Timed], ends: Ends, sent: Collection[UUID | None], tied: Mapping[Span, Collection[UUID]]
) -> dict[UUID, int]:
    """Return {trace that it is of or links to: when it came} of messages that passed and of which no system told that it sent them.

    So is the copy that a replay makes where the broker gives each sending an id of its own; each replay has a trace of its own.
    """
    came = {one.seen.message_uid: one.start_us for one in reversed(own)}
    copies: dict[UUID, int] = {}
    for end in ends.values():
        seen = end.seen
        if seen.outcome != ERROR and seen.message_uid and seen.message_uid not in sent:
            for trace in filter(None, {seen.trace_id, *tied.get((seen.trace_id, seen.span_id), ())}):
                copies[trace] = max(came[seen.message_uid], copies.get(trace, -1))
    return copies


def _lost(ends: Ends, replays: Iterable[Timed], copies: Mapping[UUID, int]) -> list[UUID]:
    """Return the messages that failed. Not one that was replayed after that, and the copy of it that passed came after the replay."""
    lost = {uid: one for uid, one in ends.items() if one.seen.outcome == ERROR}
    again = [(one.seen.message_uid or NONE, one.seen.trace_id or NONE, one.start_us) for one in replays]
    replayed = Counter(trace for _, trace in {(uid, trace) for uid, trace, _ in again})
    for uid, trace, at_us in again:
        if uid in lost and trace in copies and replayed[trace] == 1 and lost[uid].start_us < at_us < copies[trace]:
            del lost[uid]
    return list(lost)


def _fared(own: Sequence[Timed], ends: Ends, last: Timed, lost: Sequence[UUID]) -> tuple[str, str]:
    """Return (state, in words)."""
    if len(ends) > 1 and lost:
        return "failed", f"{len(lost):,} of {len(ends):,} failed"
    if not lost and (last.seen.message_uid or last.seen.outcome != ERROR):
        return "passed", DID.get(last.seen.operation, "passed")
    queue = ends[lost[0]].seen.destination if lost else None
    tries = [
        one.seen.operation
        for one in own
        if lost and one.seen.message_uid == lost[0] and is_one_queue(one.seen.destination, queue)
    ]
    attempts = tries.count(PROCESS) or tries.count(last.seen.operation)
    return "failed", f"failed, {attempts:,} attempts" if attempts > 1 else "failed"


def with_hops(stations: Sequence[Station], hops: Sequence[Hop]) -> list[Station]:
    """Return the stations with the queue and the processing of the hops that end there."""
    found = []
    for one in stations:
        ending = [hop for hop in hops if hop.receiver == one.system]
        queue = max((hop.queue.longest_us for hop in ending), default=None)
        working = max((hop.processing.longest_us for hop in ending), default=None)
        found.append(replace(one, queue_us=queue, processing_us=working))
    return found
