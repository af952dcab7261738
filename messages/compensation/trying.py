"""A book tried on a real journey, before it is saved: what it would undo there. Nothing is sent, and nothing of it is kept."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from console.core.errors import NotFound
from console.identity.actor import Actor
from messages.access import visible_dead_letters, visible_messages
from messages.compensation.access import check_can_change_book
from messages.compensation.book import Book
from messages.compensation.journey import Target
from messages.compensation.proposal import ProposedRow, proposal_of
from messages.compensation.proposing import target_of_letter, target_of_message
from messages.compensation.steps import plain_title
from messages.journeys.queries import messages_with_id
from messages.models import CompensationBook, DeadLetter, Flow


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What a book would do about one message: rows in the order of undoing, and the titles of its steps that did not happen."""

    target: Target
    rows: list[ProposedRow]
    not_completed: list[str]


def try_book(flow: Flow, book: Book, on: str, *, by: Actor) -> Trial:
    """Return what the book would undo for a message of this flow. Raises Forbidden, NotFound, TooLarge.

    on  the id of a dead letter or message, a message id as its sender wrote it, or "" for the flow's latest dead letter.
    """
    check_can_change_book(by, flow)
    target = find_target(flow, on, by=by)
    rows = proposal_of(by, flow, book, target)
    completed = {row.one.completed.step.name for row in rows}
    return Trial(
        target=target,
        rows=rows,
        not_completed=[plain_title(step.title) for step in book.steps if step.name not in completed],
    )


def find_target(flow: Flow, on: str, *, by: Actor) -> Target:
    """Return the message of this flow that somebody names. Raises NotFound."""
    on = on.replace("\x00", "").strip()[:512]
    letters = visible_dead_letters(by).filter(flow=flow)
    letter: DeadLetter | None
    if not on:
        letter = letters.order_by("-pk").first()
        if letter is None:
            raise NotFound(f"{flow.name} has no dead letter to try it on: name a message")
        return target_of_letter(letter)
    uid = _uuid(on)
    if uid is not None and (letter := letters.filter(pk=uid).first()) is not None:
        return target_of_letter(letter)
    if uid is not None and (
        message := visible_messages(by)
        .select_related("flow__environment", "flow__team")
        .filter(id=uid, flow=flow)
        .first()
    ):
        return target_of_message(message)
    named = [one for one in messages_with_id(by, [flow.environment], on) if one.flow_id == flow.pk]
    if named:
        return target_of_message(named[0])
    letter = letters.filter(message_id=on).order_by("-pk").first()
    if letter is None:
        raise NotFound(f"{flow.name} has no message {on[:60]} that you may see")
    return target_of_letter(letter)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def versions_of(flow: Flow) -> list[CompensationBook]:
    """Return the newest versions of a flow's book, at most 50."""
    return list(CompensationBook.objects.filter(flow=flow).order_by("-version")[:50])
