"""What a book would undo in a journey: read, shown, and, as a proposal, frozen. Nothing is sent here."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from console.audit.services import record_audit
from console.core.errors import Conflict, Invalid
from console.core.ids import derived_uuid
from console.identity.actor import Actor
from console.identity.models import Environment
from messages.compensation.access import check_can_compensate
from messages.compensation.book import KEY, Book, Undo
from messages.compensation.books import newest_book, read_book
from messages.compensation.checksum import SETTLED_BEFORE, checksum_of
from messages.compensation.failing import check_failed
from messages.compensation.fill import Action, CannotFill, filled
from messages.compensation.inputs import flows_of, read_inputs
from messages.compensation.journey import Target, TooLarge, events_of, parts_of
from messages.compensation.matching import Completed, Happened, completed_steps, in_order_of_undoing
from messages.compensation.otherwise import undone_by_another_event
from messages.compensation.sealed import digest_of, sealed_action
from messages.compensation.states import ENDED, TOOK_EFFECT, UNDONE
from messages.dead_letters.services import NotOpen, check_reason
from messages.journeys.gather import any_of
from messages.models import (
    Compensation,
    CompensationBook,
    CompensationStep,
    Connection,
    DeadLetter,
    Event,
    Flow,
    Message,
)
from messages.told import words_for_all

MOST_COMPLETED = 200  # each is a step of its own, with what it sends


class NoBook(Conflict):
    """The flow has no compensation book: its administrators write one."""

    code = "no_compensation_book"


class NothingToUndo(Conflict):
    """No step of the book has completed in this journey, or all were undone already."""

    code = "nothing_to_undo"


class AlreadyOpen(Conflict):
    """A compensation of this message is open already: its reference is in the sentence."""

    code = "compensation_open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposed:
    """One completed step and what would undo it.

    action   what is sent, None when nothing can be; problem: why not, in words; "" with an action, and for what is irreversible.
    by       "C-7" when that compensation undid it already, or may have; undone: the event that proves that it was undone already.
    settled  it is undone: nothing is to be done.
    """

    completed: Completed
    key: UUID
    action: Action | None
    connection: Connection | None
    problem: str = ""
    by: str = ""
    settled: bool = False


def key_of(environment_id: int, event: Happened, step: str) -> UUID:
    """Return the idempotency key of undoing this step of this event: the same in whichever compensation."""
    return derived_uuid("waybill undo", environment_id, event.id.bytes, step)


def preview(environment: Environment, book: Book, target: Target, *, of: int | None = None) -> list[Proposed]:
    """Return what the book would undo for this message, in that order. Raises TooLarge. of: the compensation whose own steps do not count."""
    completed = in_order_of_undoing(_not_too_many(completed_in(book, events_of(target, book))))
    own, named = parts_of(environment.pk, completed, target)
    earlier = earlier_of([key_of(environment.pk, one.proof, one.step.name) for one in completed], but=of)
    otherwise = undone_otherwise([one.proof.id for one in completed], book, but=of)
    differently = undone_by_another_event(target, completed, book, but=of)
    names = {one.step.undo.connection for one in completed if one.step.undo}
    connections = {one.name: one for one in Connection.objects.filter(environment=environment, name__in=names)}
    found = []
    for one in completed:
        key = key_of(environment.pk, one.proof, one.step.name)
        state, by = earlier.get(key, ("", ""))
        settled = state in UNDONE or one.undone is not None
        undo = one.step.undo
        if undo is None or settled:
            found.append(Proposed(completed=one, key=key, action=None, connection=None, by=by, settled=settled))
            continue
        action, problem = _action(undo, key, own[one.proof.id], named)
        connection = connections.get(undo.connection)
        if state in TOOK_EFFECT:
            problem = f"{by} may have undone it: settle that step first"
        elif one.proof.id in otherwise:
            problem = otherwise[one.proof.id]
        elif (one.proof.id, one.step.name) in differently:
            problem = differently[one.proof.id, one.step.name]
        elif undo.connection:
            problem = why_not_over(connection, undo, environment) or problem
        found.append(
            Proposed(
                completed=one,
                key=key,
                action=None if problem else action,
                connection=connection,
                problem=problem,
                by=by,
            )
        )
    return found


def _not_too_many(completed: list[Completed]) -> list[Completed]:
    if len(completed) > MOST_COMPLETED:
        raise TooLarge(
            f"its book finds {len(completed):,} completed steps in its journey, and {MOST_COMPLETED} are undone at once: "
            "say more narrowly how they are recognised"
        )
    return completed


def completed_in(book: Book, events: Sequence[Happened]) -> list[Completed]:
    """Return what completed in these events, each happening under the event by which a compensation knows it already, if one does."""
    ids = [event.id for event in events]
    rows = CompensationStep.objects.order_by()
    known = set(rows.filter(any_of(CompensationStep, "event_id", ids)).values_list("event_id", flat=True))
    return completed_steps(book, events, known=known, spent=spent_of(ids))


def spent_of(events: Collection[UUID]) -> set[UUID]:
    """Return which of these events proved a step of any compensation: each proves one."""
    rows = CompensationStep.objects.order_by().filter(any_of(CompensationStep, "proof_event_id", events))
    return {pk for pk in rows.values_list("proof_event_id", flat=True) if pk is not None}


def why_not_over(connection: Connection | None, undo: Undo, environment: Environment) -> str:
    """Return why this cannot be sent over its connection, in words; "" when it can."""
    if connection is None:
        return f"there is no connection {undo.connection} in {environment.slug}"
    if connection.approved_at is None:
        return f"the connection {connection.name} is not approved"
    if undo.http and connection.kind != "http":
        return f"the connection {connection.name} is no HTTP endpoint: say “message” in the book"
    if undo.message and connection.kind == "http":
        return f"the connection {connection.name} is an HTTP endpoint: say “http” in the book"
    return ""


def _action(undo: Undo, key: UUID, own: Any, named: Any) -> tuple[Action | None, str]:
    values, missing = read_inputs(undo.inputs, own, named)
    if missing:
        return None, "; ".join(missing)
    try:
        return replace(filled(undo, {**values, KEY: str(key)}), flows=flows_of(undo.inputs, own, named)), ""
    except CannotFill as error:
        return None, str(error)


def earlier_of(keys: Sequence[UUID], *, but: int | None) -> dict[UUID, tuple[str, str]]:
    """Return {key: (state, reference)} of the steps of other compensations that took, or may have taken, effect."""
    rows = CompensationStep.objects.filter(idempotency_key__in=keys, state__in=sorted(TOOK_EFFECT))
    rows = rows.exclude(compensation_id=but) if but else rows
    return {
        key: (state, f"C-{run}") for key, state, run in rows.values_list("idempotency_key", "state", "compensation_id")
    }


def undone_otherwise(events: Sequence[UUID], book: Book, *, but: int | None) -> dict[UUID, str]:
    """Return {event: in words, which other compensation undid it, or may have, as a step that this book does not have}.

    The key of a step is made of its event and its name: in the book of another flow, or before it was named anew, it had another key.
    """
    rows = CompensationStep.objects.filter(any_of(CompensationStep, "event_id", events), state__in=sorted(TOOK_EFFECT))
    rows = rows.exclude(name__in=[step.name for step in book.steps])
    rows = rows.exclude(compensation_id=but) if but else rows
    return {
        event: f"C-{run} undid the same event, or may have, as its step “{name}”, which this book does not have: look there first"
        for event, run, name in rows.values_list("event_id", "compensation_id", "name")
    }


@transaction.atomic
def propose(
    target: Target, *, by: Actor, reason: str, ticket: str = "", on_failure: str = "stop", uid: UUID | None = None,
    plan_id: int | None = None,
) -> Compensation:  # fmt: skip
    """Freeze what would be undone for this message.

    Raises Forbidden, ReasonMissing, Invalid, NotOpen, DidNotFail, NoBook, NothingToUndo, TooLarge, AlreadyOpen.
    uid, plan_id  of the plan's item that it is.
    """
    flow = flow_of(target)
    check_can_compensate(by, flow)
    reason = check_reason(reason)
    if on_failure not in Compensation.OnFailure.values:
        raise Invalid("when a step fails: stop, or continue")
    check_waits(target)
    version = newest_book(flow)
    if version is None:
        raise NoBook(f"{flow.name} has no compensation book")
    found = preview(flow.environment, read_book(version), target)
    if all(one.settled for one in found):
        raise NothingToUndo(
            "everything that had happened was undone already" if found else "no step of its book has completed"
        )
    run = _drafted(target, flow, version, by=by, plan_id=plan_id)
    run.reason, run.ticket, run.on_failure = reason, ticket.replace("\x00", "").strip()[:100], on_failure
    if uid is not None:
        run.uid = uid
    try:
        with transaction.atomic():
            run.save()
    except IntegrityError as error:
        raise AlreadyOpen(_which_is_open(target)) from error
    write_steps(run, found)
    record_audit(
        by, "compensation.proposed", run, environment=run.environment, team_id=flow.team_id, reason=reason,
        details={"checksum": run.checksum, "book": version.version, "steps": len(found)},
    )  # fmt: skip
    return run


def check_waits(target: Target) -> None:
    """Raise NotOpen when the dead letter was replayed or discarded since, DidNotFail when the message was processed: what was compensated
    may be again, of what came late.
    """
    check_failed(target)
    letter = target.letter
    if letter is None or letter.state in (DeadLetter.State.OPEN, DeadLetter.State.COMPENSATING):
        return
    if letter.state == DeadLetter.State.REPLAYING:
        raise NotOpen("a replay of its dead letter is under way: wait for what becomes of it")
    if letter.resolution != DeadLetter.Resolution.COMPENSATED:
        words = (letter.resolution or "").replace("_", " ")
        raise NotOpen(f"its dead letter is closed, {words}: nothing of it waits")


def flow_of(target: Target) -> Flow:
    """Return the flow of the message that failed: its book counts, its operators act."""
    owner = target.letter or target.message
    assert owner is not None
    flow = owner.flow
    assert isinstance(flow, Flow)
    return flow


def _drafted(target: Target, flow: Flow, version: CompensationBook, *, by: Actor, plan_id: int | None) -> Compensation:
    message, letter, now = target.message, target.letter, datetime.now(UTC)
    return Compensation(
        environment=flow.environment,
        flow=flow,
        book=version,
        plan_id=plan_id,
        dead_letter=letter,
        message_uid=message.id if message else letter.message_uid if letter else None,
        message_on=message.first_seen_on if message else None,
        message_id=(message.message_id if message else letter.message_id if letter else "")[:512],
        trace_id=(message.trace_id if message else None) or (letter.trace_id if letter else None),
        keys=_keys_of(message, flow) if message else letter.keys if letter else {},
        destination=(letter.origin or letter.queue) if letter else _last_destination(message),
        state_at=now,
        state_by=by.name,
        created_by=by.name,
        created_by_user_id=by.user_id,
    )


def _keys_of(message: Message, flow: Flow) -> dict[str, str]:
    """Return the business keys that everybody who sees a compensation of this flow may know."""
    words = words_for_all([message], flow).get(message.id)
    return message.keys if words is None else words.keys


def _last_destination(message: Message | None) -> str:
    if message is None:
        return ""
    events = Event.objects.filter(message_uid=message.id, destination__isnull=False)
    return events.order_by("-occurred_at").values_list("destination", flat=True).first() or ""


def _which_is_open(target: Target) -> str:
    uid = target.message.id if target.message else target.letter.message_uid if target.letter else None
    rows = Compensation.objects.exclude(state__in=ENDED)
    found = (rows.filter(dead_letter=target.letter).first() if target.letter else None) or (
        rows.filter(message_uid=uid).first() if uid else None
    )
    return f"{found.reference if found else 'a compensation'} of this message is open already"


def write_steps(run: Compensation, found: Sequence[Proposed]) -> None:
    """Write the steps of a proposal and seal it with its checksum; what people said of those that it had before stays."""
    said = {step.idempotency_key: step for step in run.steps.filter(state__in=sorted(SETTLED_BEFORE))}  # type: ignore[attr-defined]
    run.steps.all().delete()  # type: ignore[attr-defined]
    run.already = [_already(one) for one in found if one.settled]
    steps = [step_of(run, one, ordinal) for ordinal, one in enumerate((o for o in found if not o.settled), start=1)]
    for step in steps:
        if before := said.get(step.idempotency_key):
            step.state, step.detail, step.done_by, step.finished_at = (
                before.state,
                before.detail,
                before.done_by,
                before.finished_at,
            )
    CompensationStep.objects.bulk_create(steps)
    run.checksum = checksum_of(run, steps)
    run.approval_why = why_approval(run)
    run.save()


def step_of(run: Compensation, one: Proposed, ordinal: int) -> CompensationStep:
    """Return the step that this part of a proposal becomes, not saved."""
    undo, proof = one.completed.step.undo, one.completed.proof
    step = CompensationStep(
        compensation=run,
        ordinal=ordinal,
        name=one.completed.step.name,
        title=one.completed.step.title,
        undo_title=undo.title if undo else one.completed.step.irreversible,
        kind=undo.kind if undo else "",
        after=one.completed.step.after,
        system=proof.system,
        event_at=proof.at,
        event_id=proof.id,
        idempotency_key=one.key,
        problem=one.problem,
        connection=one.connection,
        state="waiting" if undo else "irreversible",
        span_id=secrets.token_hex(8),
    )
    if one.action is not None:
        step.action_sha256 = digest_of(one.action)
        step.action = sealed_action(one.action, environment_id=run.environment_id, step_id=step.pk.bytes)
    return step


def _already(one: Proposed) -> dict[str, str]:
    event = one.completed.undone
    return {
        "step": one.completed.step.name, "title": one.completed.step.title, "by": one.by if event is None else "",
        "event": str(event.id) if event else "", "key": str(one.key),
    }  # fmt: skip


def why_approval(run: Compensation) -> str:
    """Return why a second person is needed, in words; "" when none is."""
    if run.book.content.get("needs_approval"):
        return f"the compensation book of {run.flow.name} asks for a second person"
    if run.flow.approve_above == 0:
        return f"{run.flow.name} asks for a second person"
    return ""


def target_of(run: Compensation) -> Target:
    """Return what a compensation is about, as it is stored now."""
    message = None
    if run.message_uid is not None:
        rows = Message.objects.select_related("flow__environment", "flow__team", "environment").filter(
            id=run.message_uid
        )
        message = (rows.filter(first_seen_on=run.message_on) if run.message_on else rows).first()
    return Target(message=message, letter=run.dead_letter)


def target_after(run: Compensation) -> Target:
    """Return what a new compensation is about when one has ended and something completed late: its letter, while that waits, and its message."""
    target = target_of(run)
    waits = target.letter is not None and target.letter.state in DeadLetter.WAITING
    return target if waits or target.message is None else Target(message=target.message, letter=None)


def target_of_letter(letter: DeadLetter) -> Target:
    """Return a dead letter with its message, when there is one."""
    rows = Message.objects.select_related("flow__environment", "flow__team", "environment")
    return Target(message=rows.filter(id=letter.message_uid).first() if letter.message_uid else None, letter=letter)


def target_of_message(message: Message) -> Target:
    """Return a message, as it is stored whatever its reader may know of it, with the dead letter of it that waits, the latest one, when one does."""
    rows = Message.objects.select_related("flow__environment", "flow__team", "environment")
    message = rows.get(id=message.id, first_seen_on=message.first_seen_on)
    letters = DeadLetter.objects.select_related("flow__environment", "flow__team").filter(message_uid=message.id)
    waiting = letters.filter(state__in=DeadLetter.WAITING).order_by("-pk").first()
    return Target(message=message, letter=waiting)
