"""Replaying one dead letter: request, claim, send, mark. The row is the queue; see states.py for the ways between states.

At least once, said out loud: a worker that dies between sending and marking leaves `sending` behind. When its lease ends the
message is sent again with the same replay id where the flow says its receiver is idempotent, else parked as `unknown`.
"""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from django.db import IntegrityError, InterfaceError, OperationalError, connection, transaction
from django.db.models.functions import Now

from console.audit.services import record_audit
from console.core.errors import Conflict
from console.identity.actor import Actor
from messages import tasks
from messages.access import check_can_operate
from messages.catalog.connections import connector_of
from messages.connectors.base import Connector, Outgoing, Published
from messages.dead_letters.services import NotOpen, check_reason
from messages.ingest import messages_sql
from messages.ingest.identity import span_event_id
from messages.ingest.model import NewEvent
from messages.ingest.status import DELIVERED
from messages.ingest.writer import write_own_event
from messages.models import Connection, DeadLetter, Flow, Replay
from messages.payloads.queries import stored_content
from messages.replay.holds import NOT_HELD, hold_connection, requeue
from messages.replay.outgoing import check_expiry, header_without_value, outgoing
from messages.replay.states import TRANSITIONS

log = structlog.get_logger(__name__)
LEASE_S = 60
PUBLISH_TIMEOUT_S = 20.0
MOST_ATTEMPTS = 10
SWEEP_LOCK = 7_219_003
SWEEP_AT_MOST = 200
SWEEP_S = 60.0


class ReplayNotAllowed(Conflict):
    """This dead letter cannot be replayed now; the sentence says what is missing and where to get it."""

    code = "replay_not_allowed"


class IllegalTransition(Conflict):
    """The replay is not in a state from which this can follow."""

    code = "replay_state"


def find_connection(letter: DeadLetter) -> Connection:
    """Return the approved connection over which this letter goes back; raises ReplayNotAllowed."""
    found = Connection.objects.filter(environment_id=letter.environment_id, name=letter.broker).first()
    if found is None:
        raise ReplayNotAllowed(
            f"no connection in {letter.environment.slug} is named “{letter.broker}”, the broker this letter came from: "
            "an administrator adds it under Connections"
        )
    if found.approved_at is None:
        raise ReplayNotAllowed(
            f"the connection “{found.name}” is not approved: an administrator approves it under Connections"
        )
    return found


def check_replayable(letter: DeadLetter) -> Connection:
    """Return the connection to use; raises ReplayNotAllowed in words when this letter cannot be sent again."""
    if letter.size_bytes is None or letter.payload_on is None:
        raise ReplayNotAllowed("its body did not come with it, so there is nothing to send")
    if letter.content_masked:
        raise ReplayNotAllowed(
            "its body or headers were masked before they were stored; it would be sent with ••• in it"
        )
    if not letter.origin:
        raise ReplayNotAllowed("it is not known where it came from, so there is nowhere to send it")
    return find_connection(letter)


def hindrance_of(letter: DeadLetter) -> str:
    """Return why an open letter cannot be replayed now, in words; nothing when it can."""
    if letter.state != DeadLetter.State.OPEN:
        return ""
    try:
        check_replayable(letter)
    except ReplayNotAllowed as refusal:
        return str(refusal)
    return ""


@transaction.atomic
def request_replay(
    letter: DeadLetter, *, by: Actor, reason: str, destination: str | None = None, expiry: str = ""
) -> Replay:
    """Claim an open dead letter, queue its replay and audit it; the worker is told after the commit.

    expiry  of Outgoing: "" as the letter says, drop or keep.
    Raises Forbidden, ReasonMissing, NotOpen when somebody was faster, ReplayNotAllowed.
    """
    check_can_operate(by, letter.flow)
    reason = check_reason(reason)
    found = check_replayable(letter)
    target = (destination or letter.origin).replace("\x00", "").strip()[:300]
    claimed = DeadLetter.objects.filter(pk=letter.pk, state=DeadLetter.State.OPEN).update(
        state=DeadLetter.State.REPLAYING
    )
    if not claimed:
        raise NotOpen("this dead letter is not open any more: somebody replayed or discarded it")
    try:
        replay = Replay.objects.create(
            dead_letter=letter,
            environment_id=letter.environment_id,
            connection=found,
            destination=target,
            requested_by=by.name,
            reason=reason,
            expiry=check_expiry(expiry),
            span_id=secrets.token_hex(8),
        )
    except IntegrityError as error:
        raise NotOpen("a replay of this dead letter is already under way") from error
    details = {"replay": str(replay.pk), "destination": target, "connection": found.name}
    details |= {"expiry": expiry} if expiry else {}
    record_audit(
        by,
        "replay.requested",
        letter,
        environment=letter.environment,
        team_id=letter.flow.team_id,
        reason=reason,
        details=details,
    )
    transaction.on_commit(partial(_tell_worker, replay.pk))
    letter.refresh_from_db()
    return replay


def _tell_worker(pk: UUID) -> None:
    """Say "look" to a worker; when the broker is away the sweep finds the row."""
    try:
        tasks.run_replay.delay(str(pk))
    except Exception as error:  # noqa: BLE001  any broker failure means the same: the sweep will
        log.warning("replay_not_announced", replay=str(pk), reason=str(error)[:200])


CLAIM = f"""
UPDATE messaging_replay SET state = 'sending', attempt = attempt + 1, lease_until = now() + make_interval(secs => %s),
       sent_at = coalesce(sent_at, now()), not_before = NULL
WHERE id = %s AND {NOT_HELD} AND (
      (state = 'queued' AND (not_before IS NULL OR not_before <= now()))
   OR (state = 'sending' AND lease_until < now() AND %s AND attempt < %s))
RETURNING attempt
"""  # noqa: S608  a constant of ours


def _claim(replay: Replay, *, again: bool) -> int | None:
    """Take the row for this worker; return the attempt number that fences its marks, None when it is not to be had."""
    with connection.cursor() as cursor:
        cursor.execute(CLAIM, [LEASE_S, replay.pk, again, MOST_ATTEMPTS])
        row = cursor.fetchone()
    return int(row[0]) if row else None


def run_replay(pk: UUID) -> None:
    """Send one dead letter again. May be called twice at once: the claim decides, the attempt number fences the mark."""
    replay = Replay.objects.select_related("dead_letter__flow", "connection").filter(pk=pk).first()
    if replay is None:
        return
    attempt = _claim(replay, again=replay.dead_letter.flow.receiver_is_idempotent)
    if attempt is None:
        return
    result = _send(replay, attempt)
    if result is None:
        log.warning("replay_lease_lost", replay=str(pk), attempt=attempt)
        return
    _mark(replay, attempt, result)
    log.info("replay_sent", replay=str(pk), attempt=attempt, result=result.result)


def _send(replay: Replay, attempt: int) -> Published | None:
    """Publish outside any transaction; None: the lease was lost meanwhile."""
    try:
        prepared = _prepare(replay, attempt)
        if isinstance(prepared, Published):
            return prepared
        connector, message = prepared
        _record_send(replay)
        if not _still_ours(replay, attempt):
            return None
    except (OperationalError, InterfaceError) as error:  # it passes, and nothing has left
        connection.close_if_unusable_or_obsolete()  # else the mark would meet the same broken line
        words = " ".join(str(error).split())[:300]
        return Published(
            id=str(replay.pk), result="unavailable", detail=f"nothing was sent, the database said: {words}"
        )
    try:
        return connector.publish([message], timeout_s=PUBLISH_TIMEOUT_S)[0]
    except Exception as error:
        log.exception("connector_failed", replay=str(replay.pk))
        return Published(
            id=str(replay.pk), result="unknown", detail=f"the connector failed: {type(error).__name__}: {error}"[:500]
        )
    finally:
        connector.close()


def _prepare(replay: Replay, attempt: int) -> tuple[Connector, Outgoing] | Published:
    """Return what sends and what is sent; whatever cannot be prepared is refused in words, a database in trouble is raised."""
    letter = replay.dead_letter

    def refused(detail: str) -> Published:
        return Published(id=str(replay.pk), result="refused", detail=detail)

    if replay.connection.approved_at is None:
        return refused(f"the connection {replay.connection.name} is not approved any more")
    try:
        content = stored_content(letter.environment_id, letter.pk, letter.payload_on)
        connector = connector_of(replay.connection)
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:  # noqa: BLE001  a broken key or kind must end in a state with words, not in a loop
        return refused(str(error)[:500])
    if content is None:
        return refused("its body is not stored any more")
    message = outgoing(replay, content, attempt)
    if odd := header_without_value(message):
        return refused(f"its header {odd[:100]} is not what its type says")
    return connector, message


def _still_ours(replay: Replay, attempt: int) -> bool:
    """Whether the lease still runs: a worker that was stopped since its claim must not send beside the one that took over."""
    mine = Replay.objects.filter(pk=replay.pk, state=Replay.State.SENDING, attempt=attempt)
    return mine.filter(lease_until__gt=Now()).exists()


def _record_send(replay: Replay) -> None:
    """Put the replay's own send into the journey, linked to the original trace, so that what follows is tied to both."""
    letter = replay.dead_letter
    event = NewEvent(
        index=0,
        id=span_event_id(letter.environment_id, replay.trace_id.bytes, bytes.fromhex(replay.span_id)),
        occurred_at=replay.created_at,
        system="waybill",
        operation=2,
        outcome=1,
        name=f"replay to {replay.destination}",
        destination=letter.origin or letter.queue,
        message_id=letter.message_id or None,
        message_uid=letter.message_uid.bytes if letter.message_uid else None,
        trace_id=replay.trace_id.bytes,
        span_id=replay.span_id,
        links=[(letter.trace_id.bytes, letter.span_id or "0" * 16)] if letter.trace_id else [],
        keys=letter.keys,
        attributes={"replay.id": str(replay.pk), "replay.by": replay.requested_by},
    )
    try:
        write_own_event(letter.environment_id, event)
    except Exception:
        log.exception("replay_event_not_stored", replay=str(replay.pk))


def move(replay: Replay, after: str, *, attempt: int | None = None, **changes: Any) -> bool:
    """Move a replay along TRANSITIONS by a conditional UPDATE; False when it has moved on, or another attempt owns it."""
    before = [state for state, following in TRANSITIONS.items() if after in following]
    rows = Replay.objects.filter(pk=replay.pk, state__in=before)
    if attempt is not None:
        rows = rows.filter(attempt=attempt, state=Replay.State.SENDING)
    return bool(rows.update(state=after, **({"lease_until": None} | changes)))


@transaction.atomic
def _mark(replay: Replay, attempt: int, result: Published) -> None:
    """Write down what the connector said, under the attempt that said it."""
    now, detail = datetime.now(UTC), result.detail[:1000]
    flow = replay.dead_letter.flow
    if result.retry_after_s:
        hold_connection(replay.connection_id, result.retry_after_s)
    if result.result == "confirmed":
        move(replay, "confirmed", attempt=attempt, confirmed_at=now, detail=detail)
    elif result.result == "refused":
        _refuse(replay, attempt, detail, now)
    elif result.result == "unavailable":
        if attempt >= MOST_ATTEMPTS:
            _refuse(replay, attempt, f"given up after {attempt} attempts: {detail}", now)
        else:
            requeue(replay.pk, attempt, detail, wait_s=result.retry_after_s)
    elif flow.receiver_is_idempotent and attempt < MOST_ATTEMPTS:
        requeue(replay.pk, attempt, f"{detail}; sent again with the same replay id, because the receiver is idempotent")
    else:
        move(replay, "unknown", attempt=attempt, detail=detail)


def _refuse(replay: Replay, attempt: int | None, detail: str, now: datetime) -> None:
    if move(replay, "refused", attempt=attempt, detail=detail, finished_at=now):
        DeadLetter.objects.filter(pk=replay.dead_letter_id, state=DeadLetter.State.REPLAYING).update(
            state=DeadLetter.State.OPEN
        )


DUE = f"""
SELECT id FROM messaging_replay WHERE {NOT_HELD} AND (
      (state = 'queued' AND coalesce(not_before, created_at + interval '1 second') <= now())
   OR (state = 'sending' AND lease_until < now()))
ORDER BY id LIMIT %s
"""  # noqa: S608  a constant of ours


def sweep_replays() -> int:
    """Run what nobody looked at and settle expired leases; two sweeps at once do the work once. Returns how many rows."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [SWEEP_LOCK])
        if not cursor.fetchone()[0]:
            return 0
        cursor.execute(
            "UPDATE messaging_replay r SET state = 'unknown', lease_until = NULL, "
            "detail = 'the worker was lost between send and mark: it may or may not have been sent' "
            "FROM messaging_deadletter d JOIN messaging_flow f ON f.id = d.flow_id "
            "WHERE d.id = r.dead_letter_id AND r.state = 'sending' AND r.lease_until < now() "
            # one that ends every worker is not sent for ever
            "AND (NOT f.receiver_is_idempotent OR r.attempt >= %s)",
            [MOST_ATTEMPTS],
        )
        parked = cursor.rowcount
        cursor.execute(DUE, [SWEEP_AT_MOST])
        due = [row[0] for row in cursor.fetchall()]
    # A worker's task is killed after two minutes: what is not begun by half of them waits for the next sweep.
    begin_until = time.monotonic() + SWEEP_S
    run = 0
    for pk in due:
        if time.monotonic() > begin_until:
            break
        run_replay(pk)
        run += 1
    return parked + run


@transaction.atomic
def send_again(replay: Replay, *, by: Actor, reason: str) -> None:
    """Queue a replay of unknown outcome once more, with the same replay id; a person takes the risk of a second copy."""
    flow = _flow(replay)
    check_can_operate(by, flow)
    reason = check_reason(reason)
    # Not move(): a replay that a worker has, or that a person has closed without proof, goes nowhere from here.
    undecided = Replay.objects.filter(pk=replay.pk, state=Replay.State.UNKNOWN, finished_at__isnull=True)
    if not undecided.update(state=Replay.State.QUEUED, not_before=None, detail="sent again by a person"):
        raise IllegalTransition("only a replay whose outcome is unknown can be sent again")
    letter = replay.dead_letter
    details = {"replay": str(replay.pk)}
    record_audit(
        by,
        "replay.sent_again",
        letter,
        environment=letter.environment,
        team_id=flow.team_id,
        reason=reason,
        details=details,
    )
    transaction.on_commit(partial(_tell_worker, replay.pk))


@transaction.atomic
def mark_processed(replay: Replay, *, by: Actor, reason: str) -> None:
    """Close the letter of a replay without proof, on a person's word, which the audit list and the replay keep."""
    flow = _flow(replay)
    check_can_operate(by, flow)
    reason = check_reason(reason)
    now = datetime.now(UTC)
    open_ended = Replay.objects.filter(
        pk=replay.pk, state__in=["sent", "confirmed", "unknown"], finished_at__isnull=True
    )
    if not open_ended.update(finished_at=now, detail=f"closed without proof by {by.name}: {reason}"):
        raise IllegalTransition("only a replay that waits for proof can be marked")
    letter = replay.dead_letter
    closed = DeadLetter.objects.filter(pk=letter.pk, state=DeadLetter.State.REPLAYING)
    closed.update(state=DeadLetter.State.CLOSED, resolution=DeadLetter.Resolution.PROCESSED, closed_at=now)
    if letter.message_uid:
        messages_sql.set_status(letter.message_uid, DELIVERED)
    details = {"replay": str(replay.pk)}
    record_audit(
        by,
        "replay.marked_processed",
        letter,
        environment=letter.environment,
        team_id=flow.team_id,
        reason=reason,
        details=details,
    )


def _flow(replay: Replay) -> Flow:
    return replay.dead_letter.flow
