"""What would be undone for a message, as people see it before anything is stored."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode
from uuid import UUID

from django.urls import reverse

from console.identity.actor import Actor
from messages.compensation.actions import ShownAction, proposed_actions
from messages.compensation.book import Book
from messages.compensation.journey import Target
from messages.compensation.proposing import Proposed, preview
from messages.compensation.steps import plain_title
from messages.models import Flow


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposedRow:
    """One part of a proposal as the page shows it. undo: in words; number: its place in the order of undoing, 0 for none."""

    one: Proposed
    number: int
    happened: str
    undo: str
    sends: ShownAction | None
    irreversible: str


def proposal_of(actor: Actor, flow: Flow, book: Book, target: Target) -> list[ProposedRow]:
    """Return what would be undone, in the order of undoing; what is sent for those who may read it, audited. Raises TooLarge."""
    found = preview(flow.environment, book, target)
    owner = target.letter or target.message
    assert owner is not None
    sends = proposed_actions(actor, flow, owner, owner.pk if target.letter else getattr(owner, "id", None), found)
    rows, number = [], 0
    for one, shown in zip(found, sends, strict=True):
        step = one.completed.step
        number += not one.settled
        words = (shown.title if shown else "") or plain_title(step.undo.title if step.undo else step.irreversible)
        rows.append(
            ProposedRow(
                one=one, number=0 if one.settled else number, happened=plain_title(step.title), undo=words, sends=shown,
                irreversible=step.irreversible,
            )
        )  # fmt: skip
    return rows


def letter_address(pk: UUID) -> str:
    return f"{reverse('compensation-new')}?{urlencode({'letter': str(pk)})}"


def message_address(pk: UUID) -> str:
    return f"{reverse('compensation-new')}?{urlencode({'message': str(pk)})}"
