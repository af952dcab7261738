"""A payload as a page shows it: opened for this reader and rendered, or the words why not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from uuid import UUID

from django.db.models import Model

from console.core.errors import ConsoleError
from console.identity.actor import Actor
from messages.masking.queries import masked_words
from messages.models import Flow
from messages.payloads.queries import read_payload
from messages.payloads.render import RenderedBody, render_body


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownPayload:
    """`refusal` says in words why the body is not shown; else `body`, its headers and what it is."""

    refusal: str = ""
    body: RenderedBody | None = None
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = ""
    size_bytes: int = 0
    masked: str = ""  # "3 values masked by rule 7"


def shown_payload(actor: Actor, flow: Flow, owner: Model, row_id: UUID, stored_on: date | None) -> ShownPayload | None:
    """Return the payload for a page; None when nothing was stored."""
    if stored_on is None:
        return None
    try:
        found = read_payload(actor, flow, owner, row_id, stored_on)
    except ConsoleError as refusal:
        return ShownPayload(refusal=str(refusal))
    if found is None:
        return ShownPayload(refusal="its body is older than the retention of payloads and is not stored any more")
    headers = tuple(
        (str(header.get("name", "")), "" if header.get("value") is None else str(header["value"]))
        for header in found.headers
    )
    return ShownPayload(
        body=render_body(found.body, found.content_type),
        headers=headers,
        content_type=found.content_type,
        size_bytes=found.size_bytes,
        masked=masked_words(found.masked),
    )
