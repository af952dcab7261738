"""Sending one step over its connection, outside any transaction, and what the answer leads to."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from messages.compensation.book import Undo
from messages.compensation.fill import Action
from messages.compensation.sealed import opened_action
from messages.connectors.base import Header, Outgoing, Published
from messages.connectors.context import make_traceparent
from messages.ingest.identity import span_event_id
from messages.ingest.model import NewEvent
from messages.ingest.writer import write_own_events
from messages.models import Compensation, CompensationStep
from messages.payloads.seal import PayloadUnreadable
from messages.replay.holds import hold_connection
from messages.replay.lines import Line, line_to

log = structlog.get_logger(__name__)
MOST_WAIT_S = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of a call. done: taken; refused: a lasting no; not_sent: surely without effect; unknown: it may have had its effect."""

    kind: str
    detail: str
    retry_after_s: int | None = None

    def leads_to(self, undo: Undo, tries: int) -> str:
        """Return what happens to the step: its receiver's event is waited for where the book names one."""
        again = tries <= undo.retries
        if self.kind == "done":
            return "answer" if undo.proof else "done"
        if self.kind == "refused":
            return "fail"
        if self.kind == "not_sent":
            return "put_back" if again else "fail"
        return "put_back" if undo.repeatable and again else "lose"

    def wait_s(self, tries: int) -> int:
        """Return how long it waits before it is tried again: 2, 4, 8 … at most 300 s, and as long as the receiver asks."""
        return max(min(MOST_WAIT_S, 2**tries), self.retry_after_s or 0)


def answer_of(published: Published) -> Answer:
    """Return what the connector's word means where a thing may not be done twice: an answer of 500 and above is no word on the work."""
    wait = published.retry_after_s
    if published.result == "confirmed":
        return Answer(kind="done", detail=published.detail)
    if published.result == "refused" and (published.answered or 0) < 500:
        return Answer(kind="refused", detail=published.detail)
    if published.result == "unavailable" and (published.answered or 0) < 500:
        return Answer(kind="not_sent", detail=published.detail, retry_after_s=wait)
    return Answer(kind="unknown", detail=published.detail, retry_after_s=wait)


def send_step(run: Compensation, step: CompensationStep, undo: Undo) -> Answer:
    """Make the call and return what became of it. Never raises for what a receiver does, or for what is stored."""
    if step.connection_id is None:
        return Answer(kind="refused", detail="its connection is not there any more")
    try:
        action = opened_action(step, run.environment_id)
    except PayloadUnreadable as error:
        return Answer(kind="refused", detail=str(error))
    with line_to(step.connection_id) as line:
        if line is None:
            return Answer(kind="refused", detail="its connection lives with an agent, which sends replays only")
        if line.connector is None:
            return Answer(kind="refused", detail=line.refusal)
        _record_send(run, step)
        answer = _publish(line, _outgoing(run, step, action), undo)
    if answer.retry_after_s:
        hold_connection(step.connection_id, answer.retry_after_s)
    return answer


def _publish(line: Line, message: Outgoing, undo: Undo) -> Answer:
    assert line.connector is not None
    try:
        (published,) = line.connector.publish([message], timeout_s=undo.timeout_s)
    except Exception as error:
        log.exception("connector_failed", connection=line.connection_id)
        line.sound = False
        return Answer(
            kind="unknown", detail=f"the connector failed: {type(error).__name__}; the worker's log has its words"
        )
    line.sound = line.sound and published.result in ("confirmed", "refused")
    return answer_of(published)


def _outgoing(run: Compensation, step: CompensationStep, action: Action) -> Outgoing:
    ours = {
        "traceparent": make_traceparent(step.trace_id.hex, step.span_id),
        "x-waybill-compensation": f"{run.reference}/{step.name}",
        "x-idempotency-key": str(step.idempotency_key),
    }
    headers = {**dict(action.headers), **ours}
    return Outgoing(
        id=str(step.idempotency_key),
        destination=action.destination,
        body=action.body,
        headers=tuple(Header(name=name, type="string", value=value) for name, value in headers.items()),
        content_type=action.content_type,
    )


def _record_send(run: Compensation, step: CompensationStep) -> None:
    """Put the call into the journey, linked to the trace of the message that failed, so that what follows is tied to both."""
    trace = step.trace_id.bytes
    event = NewEvent(
        index=0,
        id=span_event_id(run.environment_id, trace, bytes.fromhex(step.span_id)),
        occurred_at=step.sent_at or step.event_at,
        system="waybill",
        operation=2,
        outcome=1,
        name=f"undo: {step.undo_title}"[:200],
        destination=run.destination or None,
        message_id=run.message_id or None,
        message_uid=run.message_uid.bytes if run.message_uid else None,
        trace_id=trace,
        span_id=step.span_id,
        links=[(run.trace_id.bytes, "0" * 16)] if run.trace_id else [],
        keys=run.keys,
        attributes={"compensation.id": run.reference, "compensation.step": step.name},
    )
    try:
        write_own_events(run.environment_id, [event], new=step.attempt == 1)
    except Exception:
        log.exception("compensation_event_not_stored", step=str(step.pk))
