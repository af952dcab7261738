"""A book tried on a real journey, before it is saved: what it would undo there. Nothing is sent, and nothing of it is kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from console.audit.models import AuditEntry
from console.audit.services import record_audit
from console.core.errors import NotFound
from console.identity.actor import Actor
from messages.access import visible_dead_letters, visible_messages
from messages.compensation.access import can_read_actions, check_can_change_book
from messages.compensation.book import Book
from messages.compensation.journey import Target
from messages.compensation.proposing import Proposed, preview, target_of_letter, target_of_message
from messages.journeys.queries import messages_with_id
from messages.models import CompensationBook, DeadLetter, Flow

AUDITED_EVERY = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What a book would do about one message.

    proposed  in the order of undoing, what is settled too.   not_completed  titles of its steps that did not happen.
    shows_values  the reader may see what is sent.
    """

    target: Target
    proposed: list[Proposed]
    not_completed: list[str]
    shows_values: bool


def try_book(flow: Flow, book: Book, on: str, *, by: Actor) -> Trial:
    """Return what the book would undo for a message of this flow. Raises Forbidden, NotFound, TooLarge.

    on  the id of a dead letter or message, a message id as its sender wrote it, or "" for the flow's latest dead letter.
    """
    check_can_change_book(by, flow)
    target = find_target(flow, on, by=by)
    proposed = preview(flow.environment, book, target)
    shows = can_read_actions(by, flow)
    if shows:
        _audit_once(flow, target, by=by)
    completed = {one.completed.step.name for one in proposed}
    return Trial(
        target=target,
        proposed=proposed,
        not_completed=[step.title for step in book.steps if step.name not in completed],
        shows_values=shows,
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


def _audit_once(flow: Flow, target: Target, *, by: Actor) -> None:
    """Record that values of a journey's bodies were shown; once an hour for each message, as with payloads."""
    owner = target.letter or target.message
    assert owner is not None
    pk = str(owner.pk if target.letter else owner.id)
    since = datetime.now(UTC) - AUDITED_EVERY
    if not AuditEntry.objects.filter(
        object_id=pk, action="compensation_book.tried", actor=by.name, at__gte=since
    ).exists():
        record_audit(
            by, "compensation_book.tried", owner, environment=flow.environment, team_id=flow.team_id, object_id=pk
        )


def versions_of(flow: Flow) -> list[CompensationBook]:
    """Return the newest versions of a flow's book, at most 50."""
    return list(CompensationBook.objects.filter(flow=flow).order_by("-version")[:50])
