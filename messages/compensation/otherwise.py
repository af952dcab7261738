"""What another compensation of the same message undid, by another event than the book finds now: the book was changed since."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.db.models import Q

from messages.compensation.book import Book
from messages.compensation.journey import Target
from messages.compensation.matching import Completed
from messages.compensation.states import TOOK_EFFECT
from messages.journeys.gather import any_of
from messages.models import CompensationStep, Event

MOST = 1_000  # steps of other compensations of one message


def undone_by_another_event(
    target: Target, completed: Sequence[Completed], book: Book, *, but: int | None
) -> dict[tuple[UUID, str], str]:
    """Return {(event, step): in words, which compensation undid the same happening, or may have}.

    Two events of one owner, its message or its span, are one happening of a step. So is what a step did that this book does not have.
    """
    earlier = _earlier(target, [one.proof.id for one in completed], but)
    if not earlier:
        return {}
    rows = Event.objects.filter(
        any_of(Event, "id", [event for event, *_ in earlier]), occurred_at__in={at for _, at, *_ in earlier}
    )
    known = rows.values_list("id", "message_uid", "trace_id", "span_id")
    owners: dict[UUID, object] = {pk: uid or (trace, span) for pk, uid, trace, span in known}
    names = {step.name for step in book.steps}
    return {
        (one.proof.id, one.step.name): (
            f"C-{run} undid this, or may have, as its step “{name}”, which another event of the same message proved: "
            "the book was changed since. Look there first"
        )
        for event, _, name, run in earlier
        for one in completed
        if owners.get(event) == one.proof.owner and (name == one.step.name or name not in names)
    }


def _earlier(target: Target, events: Sequence[UUID], but: int | None) -> list[tuple[UUID, object, str, int]]:
    about = Q(pk__isnull=True)
    if uid := target.message.id if target.message else target.letter.message_uid if target.letter else None:
        about |= Q(compensation__message_uid=uid)
    if target.letter is not None:
        about |= Q(compensation__dead_letter=target.letter.pk)
    rows = CompensationStep.objects.filter(about, state__in=sorted(TOOK_EFFECT)).exclude(event_id__in=events)
    rows = rows.exclude(compensation_id=but) if but else rows
    return list(rows.values_list("event_id", "event_at", "name", "compensation_id")[:MOST])
