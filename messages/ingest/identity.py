"""Which event and which message a span or record is: derived, so that a second copy meets the first. Pure.

See docs/decisions/0002: long message ids are unique in their environment, short ones only in their destination, and a
message without an id is named by the span that created it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from uuid import UUID

from console.core.ids import derived_id, derived_uuid
from messages.ingest.semconv import CONSUMING

LONG_ID = 16  # characters


@lru_cache(maxsize=8192)  # a trace's spans come close together
def _of_trace(environment_id: int, trace_id: bytes) -> bytes:
    return derived_id("span", environment_id, trace_id)[:8]


def span_event_id(environment_id: int, trace_id: bytes, span_id: bytes) -> bytes:
    """Return eight bytes of the trace's own and the span's eight.

    Spans of a trace lie side by side in the index: its pages are touched once for all of them.
    """
    return _of_trace(environment_id, trace_id) + span_id


def native_event_id(environment_id: int, system: str, identity: str) -> bytes:
    return derived_id("event", environment_id, system, identity)


def dead_letter_identity(environment_id: int, identity: str) -> UUID:
    return derived_uuid("dead letter", environment_id, identity)


@lru_cache(maxsize=8192)  # a message's events come close together
def message_uid(environment_id: int, message_id: str, destination: str | None) -> bytes:
    """Return the row id of the message with this id."""
    if len(message_id) >= LONG_ID:
        return derived_id("message", environment_id, message_id)
    return derived_id("message", environment_id, destination or "", message_id)


@lru_cache(maxsize=8192)
def created_by_span(environment_id: int, trace_id: bytes, span_id: str) -> bytes:
    """Return the row id of a message that has no id of its own, named by its producer's span."""
    return derived_id("created by", environment_id, trace_id, span_id)


def message_of_span(
    environment_id: int,
    *,
    operation: int,
    destination: str | None,
    trace_id: bytes,
    span_id: str,
    parent_span_id: str | None,
    links: Sequence[tuple[bytes, str]],
) -> bytes | None:
    """Return the message that a span without a message id is about, or None for one without a destination."""
    if not destination:
        return None
    if operation in CONSUMING:
        if links:
            return created_by_span(environment_id, *links[0])
        if parent_span_id:
            return created_by_span(environment_id, trace_id, parent_span_id)
    return created_by_span(environment_id, trace_id, span_id)


def messages_of_links(
    environment_id: int, destination: str, links: Iterable[tuple[str | None, tuple[bytes, str] | None]]
) -> list[tuple[bytes, str | None]]:
    """Return (uid, message id) of each message that an event about many leads to. links: (message id, span that created it), either None."""
    messages: dict[bytes, str | None] = {}
    for message_id, span in links:
        if message_id:
            messages[message_uid(environment_id, message_id, destination)] = message_id
        elif span:
            messages[created_by_span(environment_id, *span)] = None
    return list(messages.items())
