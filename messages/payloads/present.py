"""A payload as a page shows it: opened for this reader, made readable and rendered, or the words why not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from django.db.models import Model

from console.core.errors import ConsoleError
from console.identity.actor import Actor
from messages.masking.queries import masked_words
from messages.models import Flow
from messages.payloads.queries import StoredPayload, read_payload
from messages.payloads.readable import Readable, readable
from messages.payloads.render import RenderedBody, render_body


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownPayload:
    """`refusal` says in words why the body is not shown; else `body`, its headers and what it is."""

    refusal: str = ""
    body: RenderedBody | None = None
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = ""
    size_bytes: int = 0
    steps: tuple[str, ...] = ()  # how it was read when what is shown is not what is stored
    problem: str = ""  # why it could not be read and is shown as it is stored
    masked: str = ""  # "3 values masked by rule 7"
    masked_now: str = ""  # the same of what was masked to be shown: the stored bytes have it


def shown_payload(
    actor: Actor, flow: Flow, owner: Model, row_id: UUID, stored_on: date | None, destinations: Sequence[str | None]
) -> ShownPayload | None:
    """Return the payload for a page; None when nothing was stored. destinations: where it was going or died."""
    if stored_on is None:
        return None
    try:
        found = read_payload(actor, flow, owner, row_id, stored_on)
    except ConsoleError as refusal:
        return ShownPayload(refusal=str(refusal))
    if found is None:
        return ShownPayload(refusal="its body is older than the retention of payloads and is not stored any more")
    read = readable_payload(flow, found, destinations)
    headers = tuple(
        (str(header.get("name", "")), "" if header.get("value") is None else str(header["value"]))
        for header in found.headers
    )
    return ShownPayload(
        refusal=read.withheld,
        body=None if read.withheld else render_body(read.body, read.content_type, cut=read.cut),
        headers=headers,
        content_type=found.content_type,
        size_bytes=found.size_bytes,
        steps=read.steps,
        problem=read.problem,
        masked=masked_words(found.masked),
        masked_now=masked_words(read.masked),
    )


def readable_payload(flow: Flow, found: StoredPayload, destinations: Sequence[str | None]) -> Readable:
    """Return an opened payload as people may read it."""
    named = [one for one in destinations if one]
    return readable(flow, found.body, found.content_type, found.headers, found.properties, named)
