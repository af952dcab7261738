"""Writing down what became of a step that was sent: under the attempt of its claim, and for as long as that takes."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import structlog
from django.db import InterfaceError, OperationalError, connection

from messages.compensation.book import Undo
from messages.compensation.sealed import Answered, sealed_answer
from messages.compensation.sending import Answer
from messages.compensation.services import CompensationState, move_step
from messages.compensation.states import STEP_TRANSITIONS, next_state
from messages.connectors.http.answers import published
from messages.ingest.catalog import rules_of
from messages.masking.bodies import mask_body
from messages.masking.rules import Budget, Work
from messages.models import CompensationStep
from messages.replay.holds import hold_connection, hold_undoing

log = structlog.get_logger(__name__)
LEASE_S = 150  # a call takes a minute at most, and the connection to its receiver another
WITHHELD = "a masking rule cannot be applied to what was answered"
KEEPS_TRYING_S = 40.0  # to mark, while PostgreSQL starts anew: an answer that is known must not end as unknown


def settle(step: CompensationStep, undo: Undo, answer: Answer) -> None:
    """Mark the step, unless somebody else has it now, and leave its receiver alone as long as it asks, or needs."""
    until, pause_s = time.monotonic() + KEEPS_TRYING_S, 0.2
    while True:
        try:
            _mark(step, undo, answer)
            _leave_alone(step, answer)
            return
        except (OperationalError, InterfaceError):
            if time.monotonic() > until or connection.in_atomic_block:
                raise
            log.warning("compensation_step_not_marked_yet", step=str(step.pk), attempt=step.attempt)
            connection.close_if_unusable_or_obsolete()
            time.sleep(pause_s)
            pause_s = min(2.0, pause_s * 2)


def _mark(step: CompensationStep, undo: Undo, answer: Answer) -> None:
    happening = answer.leads_to(undo, step.tries)
    answer = replace(answer, detail=masked_words(step.compensation.environment_id, answer))
    values = _values(step, answer, happening) | _said(step, answer)
    try:
        move_step(step, happening, under=step.attempt, **values)
    except CompensationState:
        if not _came_back(step, happening, values):
            log.warning("compensation_step_not_marked", step=str(step.pk), attempt=step.attempt, became=happening)


def _values(step: CompensationStep, answer: Answer, happening: str) -> dict[str, object]:
    now = datetime.now(UTC)
    values: dict[str, object] = {"detail": answer.detail.replace("\x00", "")[:1000]}
    if happening == "put_back":
        values["not_before"] = now + timedelta(seconds=answer.wait_s(step.tries))
    if answer.kind == "withheld":
        values["tries"] = max(0, step.tries - 1)
    if answer.kind in ("withheld", "not_sent") and _is_first_to_leave(step):
        values["sent_at"] = None  # nothing has left yet: what is told before it does proves nothing of it
    if happening in ("answer", "done"):
        values["answered_at"] = now
    if happening == "done":
        values["finished_at"] = now
    return values


def _said(step: CompensationStep, answer: Answer) -> dict[str, object]:
    """Return what was answered as it is kept, masked as a payload would be; nothing of it when that cannot be done."""
    if not answer.was_said or not step.action or (step.kind == "http" and answer.status is None):
        return {}
    environment_id = step.compensation.environment_id
    try:
        body = masked_answer(environment_id, answer.body, answer.content_type)
        words = answer.detail.replace("\x00", "")[:1000]
        answered = Answered(
            at=datetime.now(UTC), attempt=step.attempt, words=words, status=answer.status, content_type=answer.content_type, body=body,
        )  # fmt: skip
        return {"answer": sealed_answer(step, answered, environment_id)}
    except (OperationalError, InterfaceError):
        raise
    except Exception:  # its mark counts more than its words
        log.exception("compensation_answer_not_kept", step=str(step.pk))
        return {}


def masked_answer(environment_id: int, body: bytes, content_type: str) -> bytes:
    """Return an answer's body without what any masking rule of the environment hides; b"" when a rule cannot be applied to it."""
    rules = rules_of(environment_id).masking.of_unknown_flow()
    if rules is None or not body:
        return body
    work = Work(rules, Budget())
    masked = mask_body(work, body, content_type).body
    return b"" if work.dropped else masked


def masked_words(environment_id: int, answer: Answer) -> str:
    """Return an answer's words as everybody may see them who sees the step: without what any masking rule of the environment hides."""
    try:
        rules = rules_of(environment_id).masking.of_unknown_flow()
        if rules is None:
            return answer.detail
        words, work = answer.detail, Work(rules, Budget())
        if answer.status is not None:
            body = masked_answer(environment_id, answer.body, answer.content_type)
            told = {"Content-Type": answer.content_type} if answer.content_type else {}
            words = words if body == answer.body else published("", answer.status, told, body).detail
        words = work.text(words) or ""
        return WITHHELD if work.dropped else words
    except (OperationalError, InterfaceError):
        raise
    except Exception:  # its mark counts more than its words
        log.exception("compensation_words_not_masked")
        return WITHHELD


def _is_first_to_leave(step: CompensationStep) -> bool:
    """Whether sent_at was written by this very claim."""
    return step.sent_at is not None and step.lease_until == step.sent_at + timedelta(seconds=LEASE_S)


def _came_back(step: CompensationStep, happening: str, values: dict[str, object]) -> bool:
    """Mark what was taken for lost meanwhile, under the same attempt: the receiver's own word is better than “unknown”."""
    if next_state("unknown", happening, STEP_TRANSITIONS) is None:
        return False
    now = CompensationStep.objects.filter(pk=step.pk, attempt=step.attempt, state="unknown").first()
    if now is None:
        return False
    try:
        move_step(now, happening, under=step.attempt, **values)
    except CompensationState:
        return False
    return True


def _leave_alone(step: CompensationStep, answer: Answer) -> None:
    if step.connection_id is None:
        return
    if answer.retry_after_s:
        hold_connection(step.connection_id, answer.retry_after_s)
    if hold_s := answer.hold_s(step.tries):
        hold_undoing(step.connection_id, hold_s)
