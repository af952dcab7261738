"""Two bodies read for a comparison: each with the right to it and as an entry in the audit list, like any look at a payload."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from uuid import UUID

from django.db.models import Model

from console.core.errors import NotFound
from console.identity.actor import Actor
from console.identity.models import Environment
from messages.access import get_visible_dead_letter, get_visible_event
from messages.compare.canonical import Canonical, canonical
from messages.compare.changes import Change, changes_between_trees
from messages.compare.lines import Work, common_lines
from messages.compare.rows import Rows, rows_of
from messages.journeys.seen import OPERATION_WORDS
from messages.masking.queries import masked_words
from messages.models import Flow
from messages.payloads.present import readable_payload
from messages.payloads.queries import StoredPayload, read_payload

GONE = "its body is older than the retention of payloads and is not stored any more"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bearer:
    """What brought a body: an event or a dead letter, with what comparing needs of it."""

    id: UUID
    kind: str
    row: Model
    label: str
    at: datetime
    flow: Flow
    environment: Environment
    payload_on: date | None
    destinations: Sequence[str | None]
    message_uid: UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One side: what brought it, what its body is, and why there is none; steps: how it was read."""

    bearer: Bearer
    content_type: str = ""
    size_bytes: int = 0
    kind: str = ""
    steps: tuple[str, ...] = ()
    problem: str = ""
    masked: str = ""
    missing: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How two bodies differ. rows: None when one is missing; changes: of JSON, place by place; headers: name by name.

    same: "" when they differ, else "the same bytes", "the same content, written differently", or, where something is masked in either,
    "the same content but for what is masked": nobody can say whether that differs.
    clumsy: a stretch was too much work and is shown as wholly replaced.   cut: not all of the bodies was compared.
    """

    left: Part
    right: Part
    rows: Rows | None = None
    changes: list[Change] = field(default_factory=list)
    more_changes: bool = False
    headers: list[Change] = field(default_factory=list)
    same: str = ""
    clumsy: bool = False
    cut: bool = False


def get_visible_bearer(actor: Actor, pk: UUID) -> Bearer:
    """Return the event or dead letter of this id; raises NotFound for both in the same words."""
    try:
        event = get_visible_event(actor, pk)
    except NotFound:
        pass
    else:
        label = " ".join(one for one in (event.system.name, OPERATION_WORDS[event.operation], event.destination) if one)
        return Bearer(
            id=event.id, kind="event", row=event, label=label, at=event.occurred_at, flow=event.flow, environment=event.environment,
            payload_on=event.payload_on, destinations=(event.destination,), message_uid=event.message_uid,
        )  # fmt: skip
    try:
        letter = get_visible_dead_letter(actor, pk)
    except NotFound:
        raise NotFound("there is no event or dead letter with this id that you may see") from None
    return Bearer(
        id=letter.pk, kind="dead letter", row=letter, label=f"dead letter in {letter.queue}", at=letter.failed_at, flow=letter.flow,
        environment=letter.environment, payload_on=letter.payload_on, destinations=(letter.origin, letter.queue), message_uid=letter.message_uid,
    )  # fmt: skip


def compare_bodies(actor: Actor, left: Bearer, right: Bearer) -> Comparison:
    """Return how the bodies of two events or dead letters differ, as this actor may read them: masked values stay masked.

    Raises Forbidden without the right to either payload, PayloadUnreadable when one cannot be opened. Bounded: 4 MiB and 60,000 lines of
    each body, about a second of work.
    """
    one, other = _read(actor, left), _read(actor, right)
    if one.text is None or other.text is None or one.stored is None or other.stored is None:
        return Comparison(left=one.part, right=other.part)
    headers, _ = changes_between_trees(_headers(one.stored), _headers(other.stored))
    return _compared(
        one.part, other.part, one.text, other.text, headers, same_bytes=one.stored.body == other.stored.body
    )


def _compared(
    left: Part, right: Part, one: Canonical, other: Canonical, headers: list[Change], *, same_bytes: bool
) -> Comparison:
    work = Work()
    rows = rows_of(one.lines, other.lines, common_lines(one.lines, other.lines, work))
    changes: list[Change] = []
    more = False
    if one.kind == other.kind == "json":
        changes, more = changes_between_trees(one.tree, other.tree)
    same = ""
    if not (rows.added or rows.removed or rows.changed) and one.kind == other.kind and not (one.cut or other.cut):
        same = "the same bytes" if same_bytes else "the same content, written differently"
        if left.masked or right.masked:
            same = "the same content but for what is masked"
    return Comparison(
        left=left, right=right, rows=rows, changes=changes, more_changes=more, headers=headers, same=same,
        clumsy=work.spent, cut=one.cut or other.cut,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Read:
    part: Part
    text: Canonical | None = None
    stored: StoredPayload | None = None


def _read(actor: Actor, bearer: Bearer) -> _Read:
    if bearer.payload_on is None:
        read_payload(actor, bearer.flow, bearer.row, bearer.id, None)  # refuses who may not read payloads at all
        return _Read(Part(bearer=bearer, missing="no body came with it"))
    stored = read_payload(actor, bearer.flow, bearer.row, bearer.id, bearer.payload_on)
    if stored is None:
        return _Read(Part(bearer=bearer, missing=GONE))
    shown = readable_payload(bearer.flow, stored, bearer.destinations)
    text = canonical(shown.body, shown.content_type, cut=shown.cut)
    part = Part(
        bearer=bearer, content_type=stored.content_type, size_bytes=stored.size_bytes, kind=text.kind, steps=shown.steps, problem=shown.problem,
        masked=" and ".join(one for one in (masked_words(stored.masked), masked_words(shown.masked)) if one), missing=shown.withheld,
    )  # fmt: skip
    return _Read(part, None if shown.withheld else text, stored)


def _headers(stored: StoredPayload) -> Mapping[str, Any]:
    """Return headers by name, the last of several; values as they are shown."""
    return {str(one.get("name", ""))[:200]: str(one.get("value", ""))[:600] for one in stored.headers[:200]}
