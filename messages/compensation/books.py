"""Versions of a flow's compensation book: written once, never changed."""

from __future__ import annotations

from django.db import IntegrityError, transaction

from console.audit.services import record_audit
from console.core.errors import Conflict
from console.identity.actor import Actor
from messages.compensation.access import check_can_change_book
from messages.compensation.book import Book, book_of, data_of
from messages.dead_letters.services import check_reason
from messages.models import CompensationBook, Flow


class BookChanged(Conflict):
    """Somebody saved another version since this one was read: look at theirs first."""

    code = "book_changed"


def newest_book(flow: Flow) -> CompensationBook | None:
    """Return the version that counts, None when there is none or the newest one ended the book."""
    newest = CompensationBook.objects.filter(flow=flow).order_by("-version").first()
    return newest if newest and newest.content["steps"] else None


def read_book(version: CompensationBook) -> Book:
    """Return what a stored version says; raises BadBook when it is one that ended the book, or of another release."""
    return book_of(version.content)


@transaction.atomic
def save_book(flow: Flow, book: Book, *, by: Actor, reason: str, base: int) -> CompensationBook:
    """Store a new version. Raises Forbidden, ReasonMissing, BookChanged.

    base  the version that the change began from, 0 for none: of two who change the same one, one is told.
    """
    return _save(flow, data_of(book), by=by, reason=reason, base=base, action="compensation_book.saved")


@transaction.atomic
def end_book(flow: Flow, *, by: Actor, reason: str, base: int) -> CompensationBook:
    """Have no book any more; its versions stay. Raises Forbidden, ReasonMissing, BookChanged."""
    return _save(flow, {"steps": []}, by=by, reason=reason, base=base, action="compensation_book.ended")


def _save(
    flow: Flow, content: dict[str, object], *, by: Actor, reason: str, base: int, action: str
) -> CompensationBook:
    check_can_change_book(by, flow)
    reason = check_reason(reason)
    newest = CompensationBook.objects.filter(flow=flow).order_by("-version").values_list("version", flat=True).first()
    if (newest or 0) != base:
        raise BookChanged(f"version {newest} was saved since you looked: look at it first")
    try:
        with transaction.atomic():
            saved = CompensationBook.objects.create(
                flow=flow, version=base + 1, content=content, created_by=by.name, reason=reason
            )
    except IntegrityError as error:
        raise BookChanged(f"version {base + 1} was saved at the same moment: look at it first") from error
    record_audit(
        by, action, saved, environment=flow.environment, team_id=flow.team_id, reason=reason,
        details={"version": saved.version},
    )  # fmt: skip
    return saved
