"""What decoding gives and the writer takes, whatever the wire format was. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from messages.ingest import clean
from messages.payloads.seal import Content

DETAIL_BYTES = 2_000
MAPPED = "mapped/"  # and a mapping's slug: the endpoint of bodies that a mapping reads
RawItem = bytes | msgspec.Raw  # an item as it came; a Raw is a view of its body, so that 20 MiB are not held twice


@dataclass(slots=True)
class NewPayload:
    content_type: str
    content: Content


class NewEvent(msgspec.Struct, eq=False):
    """One event, cleaned: every text fits its column, every time its partition. A Struct: made at a quarter of a dataclass's cost.

    By keyword everywhere but where millions are made: msgspec looks each keyword up among all fields, which costs six times as much.

    id, message_uid, trace_id  the 16 bytes of a UUID: ingest hashes, compares and writes them, and a UUID costs as much as all of that.
    time_is_ours  its sender said none: occurred_at is when it came, and another one when it comes again.
    index  position in the sender's batch, named in the answer.   raw  the item as it came, or what makes it of its index: kept when it is refused.
    batch  (message uid, message id) of each message when the event is about many; message_uid is None then.
    found_in, found_around (of its resource), named_keys, keys_in_body  where its business keys were found, so that masking can look again.
    """

    index: int
    id: bytes
    occurred_at: datetime
    system: str
    operation: int
    outcome: int
    clamped_from: datetime | None = None
    time_is_ours: bool = False
    duration_us: int = 0
    name: str = ""
    destination: str | None = None
    message_id: str | None = None
    message_uid: bytes | None = None
    batch: Sequence[tuple[bytes, str | None]] = ()
    correlation_id: str | None = None
    trace_id: bytes | None = None
    span_id: str | None = None
    parent_span_id: str | None = None
    links: Sequence[tuple[bytes, str]] = ()
    error_type: str | None = None
    error_message: str | None = None
    error_stack: str | None = None
    keys: dict[str, str] = {}
    attributes: dict[str, object] = {}
    payload: NewPayload | None = None
    found_in: Mapping[str, Any] | None = None
    found_around: Mapping[str, Any] | None = None
    named_keys: Mapping[str, Any] | None = None
    keys_in_body: bool = False
    raw: RawItem | Callable[[int], bytes] = b""


@dataclass(slots=True, kw_only=True)
class Refused:
    """An item that cannot be stored: where it was, a stable code, what is wrong, and its bytes.

    The detail names the sender's own fields and values, so it is cleaned here: it goes into the answer, which the ledger keeps.
    """

    index: int
    code: str
    detail: str
    raw: RawItem
    flow_id: int | None = None
    masked: bool = False

    def __post_init__(self) -> None:
        self.detail = clean.text(self.detail, DETAIL_BYTES)
        self.raw = bytes(self.raw)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A request's items with the identity that makes a repetition meet its first copy."""

    endpoint: str
    batch_id: str
    body_sha256: bytes
    events: list[NewEvent]
    refused: list[Refused]
