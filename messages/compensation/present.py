"""A compensation in words: its heading, its sentence, its chips, and its table of what happened beside what undoes it.

Nothing is read here but what the rows that are handed in have already.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.urls import reverse

from messages.compensation.acting import step_actions
from messages.compensation.actions import ShownAction
from messages.compensation.before_after import BeforeAfter
from messages.compensation.journey import Target
from messages.compensation.states import ENDED, STEP_OVER, UNDONE
from messages.compensation.steps import is_overdue, late_title, plain_title, undo_words
from messages.models import Compensation, CompensationStep
from messages.search.naming import name_of


def subject_of(run: Compensation) -> str:
    """Return what it is about: "order 4711-2231", "message 8f3e…"."""
    name = name_of(run.keys, run.message_id or run.reference)
    return f"{name.word[:1].lower()}{name.word[1:]} {name.number}"


def heading_of(run: Compensation) -> str:
    return f"Undo {subject_of(run)}"


def joined_words(names: Sequence[str]) -> str:
    """Return "payment, stock and mail"."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """Who refused, what had happened (in bold), and what becomes of it."""

    refused: str
    happened: str
    then: str


def sentence_of(run: Compensation, steps: Sequence[CompensationStep], failed_at: str) -> Sentence:
    """Return the verdict of its page. failed_at: the system at which the message failed, "" when nobody knows."""
    forward = sorted(steps, key=lambda step: (step.event_at, step.event_id))
    systems = list(dict.fromkeys(step.system for step in forward))
    refused = f"{_capital(failed_at)} refused it for good." if failed_at else "It failed for good."
    happened = f"{_capital(joined_words(systems))} had already happened." if systems else ""
    return Sentence(refused=refused, happened=happened, then=_then(run, steps))


def _then(run: Compensation, steps: Sequence[CompensationStep]) -> str:
    proved = {one["name"] for one in run.book.content.get("steps", []) if (one.get("undo") or {}).get("proof")}
    kinds = {step.name in proved for step in steps if step.kind in ("http", "message")}
    waits = "one step after the other"
    if len(kinds) == 2:
        waits = "each step waits for proof from its own system, or for its answer"
    elif kinds == {True}:
        waits = "each step waits for proof from its own system"
    elif kinds == {False}:
        waits = "each step waits for the answer of its receiver"
    stays = joined_words([plain_title(step.title) for step in steps if step.state not in UNDONE])
    told = {
        "proposed": f"Nothing is undone until it is started; then in reverse order, and {waits}.",
        "approved": f"Nothing is undone until it is started; then in reverse order, and {waits}.",
        "compensated": "All of it is undone.",
        "partially_compensated": f"Not all of it is undone; what stays: {stays}.",
        "stopped": f"It was stopped; what stays: {stays}." if stays else "It was stopped.",
    }
    return told.get(run.state, f"They are undone in reverse order; {waits}.")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def chip_text(run: Compensation, undone: int, total: int, *, now: datetime) -> str:
    """Return the words of its chip where the state alone is not enough; "" otherwise."""
    if run.state == "running" and (left := begins_in_s(run, now=now)):
        return f"begins in {left} s"
    if run.state in ("running", "paused", "stuck"):
        words = {"running": "running", "paused": "paused", "stuck": "needs a person"}[run.state]
        return f"{words}, {undone} of {total} undone"
    return f"{undone} of {total} undone" if run.state == "partially_compensated" else ""


def begins_in_s(run: Compensation, *, now: datetime) -> int:
    """Return in how many seconds a start that can still be taken back begins, 0 when it has."""
    if run.state != "running" or run.begins_at is None:
        return 0
    return max(0, -((now - run.begins_at) // timedelta(seconds=1)))


def step_chip(step: CompensationStep, *, now: datetime) -> tuple[str, str]:
    """Return (state, the words of its chip, "" for the usual ones)."""
    if step.state == "sending":
        return "sending", f"running, attempt {step.attempt}"
    if step.state == "waiting" and step.tries:
        return "waiting", f"tried again, {step.tries} before"
    if step.state == "done" and step.proof_event_id:
        return "done", f"undone, proved by {step.system}"
    if is_overdue(step, now=now):
        return "overdue", "overdue"
    return step.state, ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table: a step and what undoes it.

    undo        in words, its values only for those who may read them.   event_url, proof_url  of the events that prove it, and its undoing.
    actions     verbs that this reader may use on it now.   told  the state before and after, where payloads tell.
    compare_url the body before beside the body after, where both are stored.
    """

    step: CompensationStep
    undo: str
    chip: tuple[str, str]
    detail: str
    event_url: str
    proof_url: str
    compare_url: str
    sends: ShownAction | None
    told: BeforeAfter | None
    actions: Collection[str]


def rows_of(
    run: Compensation, steps: Sequence[CompensationStep], *, sends: Mapping[int, ShownAction], told: Mapping[UUID, BeforeAfter],
    may_act: bool, now: datetime,
) -> list[Row]:  # fmt: skip
    """Return the table in the order in which the steps happened."""
    return [
        Row(
            step=step,
            undo=_undo_words(step, sends.get(step.ordinal)),
            chip=step_chip(step, now=now),
            detail=_detail(step),
            event_url=event_url(run, step.event_id),
            proof_url=_proof_url(run, step),
            compare_url=compare_url(told.get(step.pk)),
            sends=sends.get(step.ordinal),
            told=told.get(step.pk),
            actions=step_actions(run, step) if may_act else (),
        )
        for step in sorted(steps, key=lambda step: (step.event_at, step.event_id, -step.ordinal))
    ]


def _undo_words(step: CompensationStep, sends: ShownAction | None) -> str:
    if sends and sends.title:
        return sends.title
    return undo_words(step)


def _detail(step: CompensationStep) -> str:
    if step.problem and step.state not in STEP_OVER:
        return step.problem
    if step.done_by and step.detail:
        return f"{step.done_by}: {step.detail}"
    return "" if step.state == "done" and step.proof_event_id else step.detail


def event_url(run: Compensation, event_id: UUID | str | None) -> str:
    """Return where an event of its journey can be seen, "" when nothing leads there."""
    if event_id is None:
        return ""
    if run.trace_id is not None:
        return f"{reverse('j', args=[run.trace_id.hex])}#event-{event_id}"
    return f"{reverse('message', args=[run.message_uid])}#event-{event_id}" if run.message_uid else ""


def _proof_url(run: Compensation, step: CompensationStep) -> str:
    if step.proof_event_id is None:
        return ""
    if step.proof_tie == "trace":
        return f"{reverse('j', args=[step.trace_id.hex])}#event-{step.proof_event_id}"
    return event_url(run, step.proof_event_id)


def compare_url(told: BeforeAfter | None) -> str:
    """Return where the body before is compared with the body after, "" without either."""
    if told is None or not told.both_bodies or told.before is None or told.after is None:
        return ""
    return f"{reverse('compare')}?left={told.before.event_id}&right={told.after.event_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Already:
    """What had been undone before this compensation was proposed. by: "C-7", or "" when an event proves it, at `url`."""

    title: str
    by: str
    url: str


def already_of(run: Compensation) -> list[Already]:
    return [
        Already(
            title=plain_title(str(one.get("title", ""))),
            by=str(one.get("by", "")),
            url=reverse("compensation", args=[one["by"]]) if one.get("by") else event_url(run, one.get("event") or None),
        )
        for one in run.already
        if isinstance(one, dict)
    ]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Late:
    """A step that was seen to complete after the proposal. index: its place in Compensation.late."""

    index: int
    title: str
    at: datetime | None
    url: str
    answer: str


def late_of(run: Compensation) -> list[Late]:
    return [
        Late(
            index=index,
            title=late_title(run, one),
            at=_moment(str(one.get("at", ""))),
            url=event_url(run, one.get("event") or None),
            answer=_answer_words(one),
        )
        for index, one in enumerate(run.late)
        if isinstance(one, dict)
    ]


def _answer_words(one: dict[str, str]) -> str:
    said = {"add": "added as a step", "leave": "left as it is"}.get(one.get("answer", ""))
    return f"{said} by {one.get('by', '')}: {one.get('reason', '')}" if said else ""


def _moment(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo else None


def again_url(target: Target) -> str:
    """Return where another compensation of this is proposed, for what completed after one had ended."""
    owner = f"letter={target.letter.pk}" if target.letter else f"message={target.message.id}" if target.message else ""
    return f"{reverse('compensation-new')}?{owner}"


def book_url(flow_id: int) -> str:
    """Return the page of a flow's compensation book."""
    return reverse("compensation-book", args=[flow_id])


def failed_at(run: Compensation) -> tuple[str, str]:
    """Return (the system at which the message failed, why, in its words); "" for what nobody reported."""
    letter: Any = run.dead_letter
    if letter is None:
        return "", ""
    return (letter.system.name if letter.system else ""), (letter.error_message or letter.reason or "")[:300]


def every_of(run: Compensation, *, now: datetime) -> str:
    """Return how often its page asks again; "" for never: nothing of it can change."""
    if run.state in ENDED:
        return ""
    if run.state == "running":
        return "1s" if begins_in_s(run, now=now) else "2s"
    return "5s"
