"""Sending one step over its connection, outside any transaction, and what the answer leads to."""

from __future__ import annotations

from dataclasses import dataclass, field

import structlog
from django.db import InterfaceError, OperationalError, connection

from messages.compensation.book import Undo
from messages.compensation.fill import Action
from messages.compensation.sealed import opened_action
from messages.compensation.steps import undo_words
from messages.connectors.base import Header, Outgoing, Published
from messages.connectors.context import make_traceparent
from messages.ingest.identity import span_event_id
from messages.ingest.model import NewEvent
from messages.ingest.writer import write_own_events
from messages.models import Compensation, CompensationStep
from messages.payloads.seal import PayloadUnreadable
from messages.plans.stops import why_flow_stopped
from messages.replay.lines import Line, line_to

log = structlog.get_logger(__name__)
MOST_WAIT_S = 300
HOLD_UNKNOWN_S = 30
SPARE_S = 30  # what must be left of a lease, besides the time-out of the call, before anything is sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of a call. done: taken; refused: a lasting no; not_sent: surely without effect; unknown: it may have had its effect;
    withheld: it was not tried, because it may not be sent just now.

    was_said  by the receiver or its broker.   status, content_type, body  of an HTTP receiver's answer, of its body the begin.
    """

    kind: str
    detail: str
    retry_after_s: int | None = None
    was_said: bool = False
    status: int | None = None
    content_type: str = ""
    body: bytes = field(default=b"", repr=False)

    def leads_to(self, undo: Undo, tries: int) -> str:
        """Return what happens to the step: its receiver's event is waited for where the book names one."""
        if self.kind == "withheld":
            return "put_back"
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
        return 1 if self.kind == "withheld" else max(min(MOST_WAIT_S, 2**tries), self.retry_after_s or 0)

    def hold_s(self, tries: int) -> int:
        """Return how long other compensations leave this connection alone: each call into a receiver that does not answer costs a worker
        its time, and perhaps a person theirs. Replays have their own way of waiting.
        """
        if self.kind == "unknown":
            return HOLD_UNKNOWN_S
        return min(HOLD_UNKNOWN_S, 2**tries) if self.kind == "not_sent" else 0


def answer_of(published: Published) -> Answer:
    """Return what the connector's word means where a thing may not be done twice: an answer of 500 and above is no word on the work."""
    kinds = {"confirmed": "done"}
    if (published.answered or 0) < 500:
        kinds |= {"refused": "refused", "unavailable": "not_sent"}
    said = published.answered is not None or published.result in ("confirmed", "refused")
    return Answer(
        kind=kinds.get(published.result, "unknown"), detail=published.detail, retry_after_s=published.retry_after_s,
        was_said=said, status=published.answered, content_type=published.content_type, body=published.body,
    )  # fmt: skip


def send_step(run: Compensation, step: CompensationStep, undo: Undo) -> Answer:
    """Make the call and return what became of it. Never raises for what a receiver does, or for what is stored."""
    if step.connection_id is None:
        return Answer(kind="refused", detail="its connection is not there any more")
    message = _made(run, step)
    if isinstance(message, Answer):
        return message
    try:
        with line_to(step.connection_id) as line:
            if line is None:
                return Answer(
                    kind="withheld",
                    detail="nothing was sent: its connection lives with an agent now, which asks for it",
                )
            if line.connector is None:
                return Answer(kind="refused", detail=line.refusal)
            if held := why_withheld(run, step, undo):
                return Answer(kind="withheld", detail=held)
            _record_send(run, step)
            if held := why_withheld(run, step, undo):  # the recording may have waited
                return Answer(kind="withheld", detail=held)
            return _publish(line, message, undo)
    except (OperationalError, InterfaceError) as error:
        return _not_asked(error)


def ready_to_go(run: Compensation, step: CompensationStep, undo: Undo, *, again: bool = False) -> Outgoing | Answer:
    """Return what an agent is to send of a step that was claimed for it, put into the journey; or why nothing is.

    again  it was handed over before, and the answer may have been lost: it is not recorded a second time.
    """
    message = _made(run, step)
    if isinstance(message, Answer) or again:
        return message
    try:
        if held := why_withheld(run, step, undo):
            return Answer(kind="withheld", detail=held)
        _record_send(run, step)
    except (OperationalError, InterfaceError) as error:
        return _not_asked(error)
    return message


def _made(run: Compensation, step: CompensationStep) -> Outgoing | Answer:
    try:
        return _outgoing(run, step, opened_action(step, run.environment_id))
    except PayloadUnreadable as error:
        return Answer(kind="refused", detail=str(error))
    except (OperationalError, InterfaceError) as error:
        return _not_asked(error)
    except Exception as error:  # odd content must end in a state with words, not in a loop
        log.exception("compensation_step_not_made", step=str(step.pk))
        return Answer(kind="refused", detail=f"what it sends cannot be made: {type(error).__name__}")


def _let_go_of_broken_line() -> None:
    if not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()


def _not_asked(error: Exception) -> Answer:
    """Return that nothing has left, because the database was in trouble before."""
    _let_go_of_broken_line()  # else the mark would meet the same broken line
    return Answer(kind="not_sent", detail=f"nothing was sent, the database said: {' '.join(str(error).split())[:300]}")


STILL_OURS = """
SELECT s.state = 'sending' AND s.attempt = %s AND s.lease_until > now() + make_interval(secs => %s), r.state,
       coalesce(c.not_before > now(), false)
FROM messaging_compensationstep s JOIN messaging_compensation r ON r.id = s.compensation_id
LEFT JOIN messaging_connection c ON c.id = s.connection_id WHERE s.id = %s
"""


def why_withheld(run: Compensation, step: CompensationStep, undo: Undo) -> str:
    """Look a last time, and return why this must not be sent now, in words: a worker that slept since its claim must not send beside the
    one that took over, and somebody may have paused or stopped it meanwhile.
    """
    with connection.cursor() as cursor:
        cursor.execute(STILL_OURS, [step.attempt, undo.timeout_s + SPARE_S, step.pk])
        ours, state, held = cursor.fetchone() or (False, "", False)
    if not ours:
        return "nothing was sent: the worker was held up until its lease was nearly over"
    if state != "running":
        return f"nothing was sent: {run.reference} was {state} meanwhile"
    if held:
        return "nothing was sent: its receiver asks to be left alone"
    stopped = why_flow_stopped(run.flow)
    return f"nothing was sent: {stopped}" if stopped else ""


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
        name=f"undo: {undo_words(step)}"[:200],
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
        _let_go_of_broken_line()
