"""What people do with replays: request one, send it again, close it. sending.py sends; states.py has the ways between the states."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from functools import partial

from django.db import IntegrityError, transaction

from console.audit.services import record_audit
from console.core.errors import Conflict
from console.identity.actor import Actor
from messages.access import check_can_operate
from messages.dead_letters.services import NotOpen, check_reason
from messages.ingest import messages_sql
from messages.ingest.status import DELIVERED
from messages.models import Connection, DeadLetter, Flow, Plan, Replay
from messages.replay.limits import why_flow_forbids
from messages.replay.outgoing import check_expiry
from messages.replay.telling import tell_worker


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
    if forbidden := why_flow_forbids(letter):
        raise ReplayNotAllowed(forbidden)
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
    transaction.on_commit(partial(tell_worker, replay.connection_id))
    letter.refresh_from_db()
    return replay


@transaction.atomic
def send_again(replay: Replay, *, by: Actor, reason: str) -> None:
    """Queue a replay of unknown outcome once more, with the same replay id; a person takes the risk of a second copy."""
    flow = _flow(replay)
    check_can_operate(by, flow)
    reason = check_reason(reason)
    # Not move(): a replay that a worker has, or that a person has closed without proof, goes nowhere from here.
    undecided = Replay.objects.filter(pk=replay.pk, state=Replay.State.UNKNOWN, finished_at__isnull=True)
    if not undecided.update(
        state=Replay.State.QUEUED,
        not_before=None,
        detail="sent again by a person",
        despite_stop=_is_plan_stopped(replay),
    ):
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
    transaction.on_commit(partial(tell_worker, replay.connection_id))


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


def _is_plan_stopped(replay: Replay) -> bool:
    return replay.plan_id is not None and Plan.objects.filter(pk=replay.plan_id, state="stopped").exists()


def _flow(replay: Replay) -> Flow:
    return replay.dead_letter.flow
