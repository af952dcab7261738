"""Masking where ingest stores: events, logged exceptions, refused items. Pure: the caller brings rules, keys and budget.

Names and addresses are not masked (system, destination, message id, correlation id, trace): they are what a message is found by.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from messages.ingest import clean
from messages.ingest.bodies import Keys, keys_of_body
from messages.ingest.model import NewEvent, NewPayload, Refused
from messages.ingest.otlp_logs import NewException
from messages.masking.bodies import mask_content
from messages.masking.rules import MARK, Work

ATTRIBUTE = "waybill.masked"


def mask_event(event: NewEvent, work: Work, keys: Keys) -> None:
    """Mask an event in place, before anything of it is stored."""
    if event.payload is not None:
        content, _ = mask_content(work, event.payload.content, event.payload.content_type)
        work.in_payload = work.counts.copy()
        event.payload = NewPayload(event.payload.content_type, content)
    if work.rules.for_texts:
        event.attributes = work.named(event.attributes)
        event.name = work.text(event.name) or ""
        event.error_type = work.text(event.error_type)
        event.error_message = work.text(event.error_message)
        event.error_stack = work.text(event.error_stack)
    if work.counts or work.rules.for_texts:
        event.keys = _keys_of(event, work, keys)
    if work.counts:
        event.attributes = event.attributes | {ATTRIBUTE: as_json(work.counts)}


def as_json(counts: Mapping[int, int]) -> dict[str, object]:
    return {str(rule): count for rule, count in counts.items()}


def _keys_of(event: NewEvent, work: Work, keys: Keys) -> dict[str, str]:
    """Return the business keys of the event as it is stored: found again, in what masking left."""
    body = event.payload.content.body if event.payload is not None and event.keys_in_body else None
    return keys_after_masking(work, keys, body, (event.found_around, event.found_in), event.named_keys)


def keys_after_masking(
    work: Work,
    keys: Keys,
    body: bytes | None,
    found_in: Sequence[Mapping[str, Any] | None],
    named: Mapping[str, Any] | None,
) -> dict[str, str]:
    """Return business keys as ingest finds them, later ones winning, without those that masking touched.

    A key with the mark in it would tie all masked messages together; a keyed hash, where a rule asks for it, ties those of one value.
    """
    found = keys_of_body(body, keys)
    look = Work(work.rules, work.budget)  # what these hold was counted where it is stored
    for source in found_in:
        found.update(keys(look.named(source or {})))
    for name, value in list((named or {}).items())[: clean.MOST_KEYS]:
        if (text := clean.key_value(work.value(value, name))) is not None:
            found[clean.text(name, 64)] = text
    kept = {name: text for name, text in list(found.items())[: clean.MOST_KEYS] if MARK not in text}
    return kept | {clean.text(name, 64): text for name, text in work.hashes.items()}


def mask_exception(exception: NewException, work: Work) -> NewException:
    """Return a logged exception with what regular expressions match in its words replaced."""
    return replace(
        exception,
        error_type=work.text(exception.error_type) or "",
        error_message=work.text(exception.error_message),
        error_stack=work.text(exception.error_stack),
    )


# What a refused item keeps where masking rules apply: what says whose it was, when, and what kind of thing.
KEPT = {
    *("id", "system", "operation", "outcome", "occurred_at", "failed_at", "time"),
    *("destination", "queue", "origin", "broker", "family", "source", "type", "specversion"),
    *("traceId", "spanId", "parentSpanId", "kind", "key", "startTimeUnixNano", "endTimeUnixNano"),
}
# Where a reason begins to say the sender's own value, of msgspec's words and protobuf's: to its end, but for the place that msgspec names last.
SAID = re.compile(
    r"(?:(?<=range: )|(?<=integer: )|(?<=float: )|(?<=which is )|(?<![a-z])(?!'utf-8' codec)(?=['\"])).+?(?= - at `[^`]*`\Z|\Z)",
    re.S,
)


def mask_refused(item: Refused, text: str | None, work: Work) -> Refused:
    """Return a refused item as its skeleton: a broken item cannot be masked by rules that need to know what is what in it.

    text  the item as JSON; None when it is none, and then nothing of it is kept.
    """
    try:
        tree = _skeleton(msgspec.json.decode(text or ""), work)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        tree = None
    raw = msgspec.json.format(msgspec.json.encode(tree), indent=2) if tree is not None else MARK.encode()
    detail = SAID.sub(f"'{MARK}'", work.text(item.detail) or "", count=1)  # "Invalid enum value '4111…'"
    return replace(item, raw=raw, detail=detail, masked=True)


def _skeleton(value: Any, work: Work, *, kept: bool = False) -> Any:
    if isinstance(value, dict):
        return {work.text(name) or "": _skeleton(one, work, kept=name in KEPT) for name, one in value.items()}
    if isinstance(value, list):
        return [_skeleton(one, work) for one in value]
    if kept and isinstance(value, str | int | float):
        return work.value(value)
    return value if value is None or isinstance(value, bool) else MARK
