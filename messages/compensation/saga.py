"""What is undone, or being undone, of a journey: beside its steps, back at its stations, and where its dead letter says so."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from django.utils import timezone

from console.identity.actor import Actor
from messages.compensation.access import can_compensate
from messages.compensation.before_after import BeforeAfter, before_and_after
from messages.compensation.books import newest_book
from messages.compensation.failing import why_not_failed
from messages.compensation.journey import Target
from messages.compensation.present import compare_url, event_url, step_chip
from messages.compensation.proposal import letter_address, message_address
from messages.compensation.queries import compensations_of, steps_of_many
from messages.compensation.states import ENDED, UNDONE
from messages.compensation.steps import plain_title, undo_words
from messages.journeys.stations import Station
from messages.journeys.stitch import Journey
from messages.models import Compensation, CompensationStep, DeadLetter, Flow, Message

UNDER_WAY = frozenset({"sending", "sent", "task"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaRow:
    """A step of the journey, and what undoes it: in which compensation, how that stands, and the state before and after."""

    step: CompensationStep
    run: Compensation
    happened: str
    undo: str
    chip: tuple[str, str]
    event_url: str
    told: BeforeAfter | None
    compare_url: str


def saga_context(actor: Actor, environment_id: int, journey: Journey, stations: Sequence[Station]) -> dict[str, Any]:
    """Return what the pages of a message and of a journey show of compensations: `saga`, its `runs`, and the `route` with marks back."""
    uids = {step.event.message_uid for step in journey.steps[:300] if step.event.message_uid}
    runs = compensations_of(actor, environment_id, uids=uids, letters=[one.pk for one in journey.dead_letters])
    if not runs:
        return {}
    steps = steps_of_many(runs)
    shown, by_pk = steps[::-1], {run.pk: run for run in runs}
    for step in shown:
        step.compensation = by_pk[step.compensation_id]
    told = before_and_after(actor, shown)
    return {
        "runs": runs,
        "saga": [_row(step, told.get(step.pk)) for step in shown],
        "route": _with_marks(stations, steps),
    }


def _row(step: CompensationStep, told: BeforeAfter | None) -> SagaRow:
    run = step.compensation
    return SagaRow(
        step=step, run=run, happened=plain_title(step.title), undo=undo_words(step),
        chip=step_chip(step, now=timezone.now()), event_url=event_url(run, step.event_id), told=told, compare_url=compare_url(told),
    )  # fmt: skip


def _with_marks(stations: Sequence[Station], steps: Sequence[CompensationStep]) -> list[Station]:
    """Return the stations; those at which something is undone, or being undone, say so, and by which compensation."""
    by_system: dict[str, list[CompensationStep]] = defaultdict(list)
    for step in steps:
        by_system[step.system].append(step)
    return [replace(one, back=back_words(by_system[one.system])) for one in stations]


def back_words(steps: Sequence[CompensationStep]) -> str:
    """Return what a station says of its steps: "undone, C-12", "being undone, C-12"; "" for nothing. The newest compensation counts."""
    for words, states in (("being undone", UNDER_WAY), ("undone", UNDONE)):
        found = next((step for step in steps if step.state in states), None)
        if found:
            return f"{words}, C-{found.compensation_id}"
    return ""


def offered_for(actor: Actor, *, letter: DeadLetter | None = None, message: Message | None = None) -> dict[str, Any]:
    """Return what the page of a dead letter or a message says of compensating it: `compensation`, the newest one, and `compensate_url`.

    The button is there when its flow has a book, none is open, it failed, and the reader may; of a letter only while it waits.
    """
    owner = letter or message
    assert owner is not None
    uids = [uid for uid in (message.id if message else letter.message_uid if letter else None,) if uid]
    runs = compensations_of(actor, owner.environment_id, uids=uids, letters=[letter.pk] if letter else [])
    newest = runs[0] if runs else None
    flow: Flow = owner.flow
    waits = letter.state == DeadLetter.State.OPEN if letter else True
    may = waits and can_compensate(actor, flow) and not any(run.state not in ENDED for run in runs)
    may = may and newest_book(flow) is not None and not why_not_failed(Target(message=message, letter=letter))
    url = _address(letter, message) if may else ""
    return {"compensation": newest, "compensation_words": _words(newest), "compensate_url": url}


def _address(letter: DeadLetter | None, message: Message | None) -> str:
    pk: UUID | None = letter.pk if letter else None
    return letter_address(pk) if pk else message_address(message.id) if message else ""


def _words(run: Compensation | None) -> str:
    if run is None:
        return ""
    told = {
        "proposed": "a compensation is proposed",
        "approved": "a compensation is approved, not started",
        "compensated": "compensated by",
        "partially_compensated": "compensated in part by",
        "stopped": "a compensation was stopped",
    }
    return told.get(run.state, "being compensated by")
