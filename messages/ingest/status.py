"""What events say of their message's status. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from msgspec.structs import replace

from messages.ingest.model import NewEvent
from messages.ingest.semconv import CONSUMING, PROCESS, SETTLE
from messages.receivers import is_one_queue

MOVING, DELIVERED, FAILED, DEAD, COMPENSATED = 0, 1, 2, 3, 4
UNSET, OK, ERROR = 0, 1, 2


@dataclass(slots=True)
class Tally:
    """One batch's events of one message, summed.

    status  what the last deciding event says.   fared  {(receiving system, its queue): (when it decided last, what)}
    """

    first: NewEvent
    first_at: datetime
    last_at: datetime
    count: int
    status: int
    decided_at: datetime | None
    failed_at: datetime | None
    error_type: str | None
    error_message: str | None
    trace_id: bytes | None
    correlation_id: str | None
    keys: dict[str, str]
    fared: dict[tuple[int, str | None], tuple[datetime, int]]


def of_each_message(event: NewEvent) -> list[NewEvent]:
    """Return an event about many messages as one event about each; its business keys are nobody's own."""
    return [
        replace(event, message_uid=uid, message_id=message_id, batch=[], keys={}) for uid, message_id in event.batch
    ]


def deciding_status(event: NewEvent) -> int | None:
    """Return the status this event decides: an error fails, a processing that is not an error or a settlement that is a success delivers,
    others say nothing.
    """
    if event.outcome == ERROR:
        return FAILED
    if event.operation == PROCESS or (event.operation == SETTLE and event.outcome == OK):
        return DELIVERED
    return None


def add_to_tally(tally: Tally | None, event: NewEvent, system_id: int) -> Tally:
    """Fold one event into its message's tally; the latest deciding event wins, whatever order they came in."""
    at, decides = event.occurred_at, deciding_status(event)
    if tally is None:
        tally = Tally(event, at, at, 0, MOVING, None, None, None, None, event.trace_id, event.correlation_id, {}, {})
    tally.count += 1
    if at < tally.first_at:
        tally.first_at, tally.first = at, event
        tally.trace_id = event.trace_id or tally.trace_id
    if at > tally.last_at:  # noqa: PLR1730  max() takes five times as long
        tally.last_at = at
    tally.trace_id = tally.trace_id or event.trace_id
    tally.correlation_id = tally.correlation_id or event.correlation_id
    if event.keys:
        tally.keys.update(event.keys)
    if decides is not None and (tally.decided_at is None or at >= tally.decided_at):
        tally.status, tally.decided_at = decides, at
    if (
        decides is not None and event.operation in CONSUMING
    ):  # who did one of these took it; a sending that failed is nobody's who did
        receiver = system_id, event.destination
        known = tally.fared.get(receiver)
        if known is None or at >= known[0]:
            tally.fared[receiver] = at, decides
    if decides == FAILED and (tally.failed_at is None or at < tally.failed_at):
        tally.failed_at = at
        tally.error_type, tally.error_message = event.error_type, event.error_message
    return tally


def settled(tally: Tally) -> tuple[int, datetime | None]:
    """Return (status, when the event was that says so): failed while one of the systems that took it failed it last, else what was said last."""
    if tally.failed_at is not None:
        standing = [
            at
            for receiver, (at, said) in tally.fared.items()
            if said == FAILED and not _passed_since(tally, receiver, at)
        ]
        if standing:
            return FAILED, max(standing)
    return tally.status, tally.decided_at


def _passed_since(tally: Tally, failed: tuple[int, str | None], at: datetime) -> bool:
    return any(
        said == DELIVERED and system_id == failed[0] and since >= at and is_one_queue(queue, failed[1])
        for (system_id, queue), (since, said) in tally.fared.items()
    )
