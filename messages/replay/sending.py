"""Sending in windows: claim what is due of a connection, send it through one connector, mark it. The row is the queue; see states.py.

At least once, said out loud: a worker that dies between sending and marking leaves `sending` behind. When its lease ends the
message is sent again with the same replay id where the flow says its receiver is idempotent, else parked as `unknown`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from uuid import UUID

import structlog
from django.db import InterfaceError, OperationalError, connection, transaction

from console.core.garbage import collector_paused
from messages.connectors.base import Outgoing, Published, Result
from messages.ingest.identity import span_event_id
from messages.ingest.model import NewEvent
from messages.ingest.writer import write_own_events
from messages.payloads.queries import stored_contents
from messages.payloads.seal import Content, PayloadUnreadable
from messages.plans.advance import take_more
from messages.plans.sent_edits import Editing, NoTimeLeft
from messages.replay.holds import hold_connection
from messages.replay.lines import Line, line_to
from messages.replay.outgoing import header_without_value, outgoing
from messages.replay.states import MOST_ATTEMPTS
from messages.replay.telling import tell_worker
from messages.replay.window import DUE, MOST_BYTES, Claimed, claim, mark, standing

log = structlog.get_logger(__name__)
PUBLISH_TIMEOUT_S = 20.0
HELD_BACK = "nothing was sent: its plan, or replays, were paused or stopped"
HELD_UP = "nothing was sent: the worker was held up until its lease was nearly over"
LOOK_S = 2.0  # then another connection has its turn
SWEEP_LOCK = 7_219_003
SWEEP_S = (
    60.0  # a worker's task is killed after two minutes: what is not begun by half of them waits for the next sweep
)
Results = Mapping[UUID, Published]


@collector_paused()
def send_due(connection_id: int) -> int:
    """Send what is due over this connection, window by window, for LOOK_S; return how many. May be called twice at once.

    Behind a full window there may be more: another worker is told, once the line has proved to work, and sends beside this one.
    """
    sent, told, until = 0, False, time.monotonic() + LOOK_S
    with line_to(connection_id) as line:
        window = line and (claim(connection_id, line.at_once) or _taken(line))
        while line and window:
            sent += len(window)
            settle(line, window, _send(line, window))
            full = len(window) >= line.at_once or sum(one.dead_letter.size_bytes for one in window) >= MOST_BYTES
            if full and line.sound and not told:
                told = True
                tell_worker(connection_id)
            if not line.sound or time.monotonic() > until:
                break
            window = (claim(connection_id, line.at_once) if full else []) or _taken(line)
    return sent


def _taken(line: Line) -> list[Claimed]:
    """Take what comes next of the plans without a rate, which no worker was handed yet."""
    try:
        return take_more(line.connection_id, line.at_once)
    except Exception:  # of a plan; the next tick looks at it, and says so again
        log.exception("plan_not_released", connection=line.connection_id)
        connection.close_if_unusable_or_obsolete()
        return []


def _send(line: Line, window: Sequence[Claimed]) -> Results:
    """Publish outside any transaction; return what became of each."""
    connector = line.connector
    if connector is None:
        return _all(window, "refused", line.refusal) if line.approved else _not_approved(window, line.refusal)
    messages, results = ready(line, window)
    going = list(messages)
    try:
        sent = connector.publish(list(messages.values()), timeout_s=PUBLISH_TIMEOUT_S) if going else []
        results |= dict(zip(going, sent, strict=True))
    except Exception as error:
        log.exception("connector_failed", connection=line.connection_id)
        words = f"the connector failed: {type(error).__name__}; the worker's log has its words"
        results |= _all([one for one in window if one.pk in going], "unknown", words)
    line.sound = line.sound and {results[pk].result for pk in going} <= {"confirmed", "refused"}
    return results


def ready(
    line: Line, window: Sequence[Claimed], *, again: bool = False
) -> tuple[dict[UUID, Outgoing], dict[UUID, Published]]:
    """Return what of a window goes now, prepared and recorded in the journeys, and what became of the rest.

    again  it was made ready before, under the same claim.
    """
    try:
        prepared = _prepared(window)
        messages = {pk: one for pk, one in prepared.items() if isinstance(one, Outgoing)}
        results = {pk: one for pk, one in prepared.items() if isinstance(one, Published)}
        _record_sends([one for one in window if one.pk in messages], again=again)
        unsent = _hindered(line, window)
    except (OperationalError, InterfaceError) as error:  # it passes, and nothing has left
        connection.close_if_unusable_or_obsolete()  # else the mark would meet the same broken line
        words = " ".join(str(error).split())[:300]
        return {}, _all(window, "unavailable", f"nothing was sent, the database said: {words}")
    results |= {pk: one for pk, one in unsent.items() if pk in messages}
    return {pk: one for pk, one in messages.items() if pk not in unsent}, results


def _all(window: Sequence[Claimed], result: Result, detail: str) -> dict[UUID, Published]:
    return {one.pk: Published(id=str(one.pk), result=result, detail=detail) for one in window}


def _prepared(window: Sequence[Claimed]) -> dict[UUID, Outgoing | Published]:
    """Return what is sent; whatever cannot be prepared is refused in words, a database in trouble is raised."""
    places = {one.dead_letter.pk: one.dead_letter.payload_on for one in window if one.dead_letter.payload_on}
    contents = stored_contents(window[0].dead_letter.environment_id, places)
    editing = Editing({one.plan_id for one in window if one.plan_id})
    return {one.pk: _message(one, contents.get(one.dead_letter.pk), editing) for one in window}


def _message(one: Claimed, content: Content | PayloadUnreadable | None, editing: Editing) -> Outgoing | Published:
    detail = "its body is not stored any more" if content is None else str(content)
    if isinstance(content, Content):
        try:
            edited, mark = editing.applied(one.plan_id, content, one.dead_letter.content_type)
            message = outgoing(one, edited, one.attempt, edits=mark)
            odd = header_without_value(message)
            if odd is None:
                return message
            detail = f"its header {odd[:100]} is not what its type says"
        except NoTimeLeft:
            late = "nothing was sent: the edits of its plan took too long for one window"
            return Published(id=str(one.pk), result="unavailable", detail=late)
        except Exception as error:  # noqa: BLE001  odd content must end in a state with words, not in a loop
            detail = str(error)
    return Published(id=str(one.pk), result="refused", detail=detail[:500])


def _hindered(line: Line, window: Sequence[Claimed]) -> dict[UUID, Published]:
    """Look a last time, and return what must not be sent now, with why."""
    now = standing(line.connection_id, window)
    if not now.approved:
        return _not_approved(window, f"the connection {now.name} is not approved any more")
    if now.version != line.version:
        line.sound = False
        return _all(window, "withheld", "nothing was sent: the connection was changed meanwhile")
    if now.held:
        return _all(window, "withheld", "nothing was sent: its receiver asks to be left alone")
    ours = set(now.ours)
    late = [one for one in window if one.pk not in ours]
    held_back = [one for one in window if one.pk in now.held_back]
    return _all(late, "unavailable", HELD_UP) | _all(held_back, "withheld", HELD_BACK)


def _not_approved(window: Sequence[Claimed], why: str) -> dict[UUID, Published]:
    """Withhold what is of a plan, which pauses for it and goes on after an approval; the letter of a single replay is open again."""
    of_plans = [one for one in window if one.plan_id is not None]
    return _all(window, "refused", why) | _all(of_plans, "withheld", f"nothing was sent: {why}")


def _record_sends(window: Sequence[Claimed], *, again: bool) -> None:
    """Put the replays' own sends into the journeys, linked to the original traces, so that what follows is tied to both."""
    if not window:
        return
    environment_id, events = window[0].dead_letter.environment_id, [_send_event(one) for one in window]
    first = not again and all(one.attempt == 1 for one in window)  # else their events are there already, mostly
    try:
        write_own_events(environment_id, events, new=first)
    except Exception:
        log.exception("replay_events_not_stored", replays=len(window))


def _send_event(one: Claimed) -> NewEvent:
    letter, trace = one.dead_letter, one.trace_id.bytes
    return NewEvent(
        index=0,
        id=span_event_id(letter.environment_id, trace, bytes.fromhex(one.span_id)),
        occurred_at=one.created_at,
        system="waybill",
        operation=2,
        outcome=1,
        name=f"replay to {one.destination}",
        destination=letter.origin or letter.queue,
        message_id=letter.message_id or None,
        message_uid=letter.message_uid.bytes if letter.message_uid else None,
        trace_id=trace,
        span_id=one.span_id,
        links=[(letter.trace_id.bytes, letter.span_id or "0" * 16)] if letter.trace_id else [],
        keys=letter.keys,
        attributes={"replay.id": str(one.pk), "replay.by": one.requested_by},
    )


def settle(line: Line, window: Sequence[Claimed], results: Results) -> None:
    """Write down what the connector said, and what the receiver wished."""
    if wait_s := max((result.retry_after_s or 0 for result in results.values()), default=0):
        hold_connection(line.connection_id, wait_s)
    marked = mark(window, results)
    became: dict[str, int] = Counter(result.result for result in results.values())
    log.info("replays_sent", connection=line.connection_id, claimed=len(window), marked=marked, **became)


# Parked: what a worker lost, where nobody may send it again but a person. Rows that another statement has are left to it.
PARK = """
UPDATE messaging_replay SET state = 'unknown', lease_until = NULL,
       detail = 'the worker was lost between send and mark: it may or may not have been sent'
WHERE id IN (
    SELECT r.id FROM messaging_replay r JOIN messaging_deadletter d ON d.id = r.dead_letter_id JOIN messaging_flow f ON f.id = d.flow_id
    WHERE r.state = 'sending' AND r.lease_until < now() AND (NOT f.receiver_is_idempotent OR r.attempt - r.spared >= %s
        OR EXISTS (SELECT 1 FROM messaging_plan p WHERE p.id = r.plan_id AND p.state = 'stopped'))
    FOR UPDATE OF r SKIP LOCKED)
"""
# By chance, so that connections that take long are not always before the others. Approved ones of agents are the agents' to ask for.
CONNECTIONS_DUE = f"""
SELECT c.id FROM messaging_connection c
WHERE (c.not_before IS NULL OR c.not_before <= now()) AND (c.agent_id IS NULL OR c.approved_at IS NULL) AND EXISTS (
    SELECT 1 FROM messaging_replay r WHERE r.connection_id = c.id AND r.state IN ('queued', 'sending') AND {DUE})
ORDER BY random()
""".replace("%b", "%s")  # noqa: S608  a constant of ours


def sweep_replays() -> int:
    """Settle what workers lost, and send over every connection where something is due, each for LOOK_S.

    Two sweeps at once do the work once. Returns how many rows.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [SWEEP_LOCK])
        if not cursor.fetchone()[0]:
            return 0
        cursor.execute(PARK, [MOST_ATTEMPTS])
        rows = int(cursor.rowcount)
        cursor.execute(CONNECTIONS_DUE, [MOST_ATTEMPTS])
        due = [row[0] for row in cursor.fetchall()]
    begin_until = time.monotonic() + SWEEP_S
    for connection_id in due:
        if time.monotonic() > begin_until:
            break
        rows += send_due(connection_id)
    return rows
