"""A whole dead-letter queue sent back by its broker itself: unmodified, fast, and without word of what became of each message."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

from django.conf import settings

from console.audit.services import record_audit
from console.core.errors import Conflict, Invalid
from console.identity.actor import Actor
from messages.access import check_can_redrive
from messages.catalog.connections import connector_of
from messages.catalog.queries import count_open_letters
from messages.catalog.queues import queues_of
from messages.connectors import can_redrive
from messages.connectors.base import BrokerUnavailable, CanRedrive, Move, RedriveRefused
from messages.models import Connection

ASK_S = 10.0
STATUSES = ("running", "completed", "cancelling", "cancelled", "failed")


class CannotRedrive(Conflict):
    """The broker cannot or will not send the queue back by itself, or does not answer."""

    code = "cannot_redrive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a move of this queue would do, and what earlier ones did.

    waiting       about how many messages the queue holds, None when the broker does not tell.
    sources       where they would go, [] when it is nobody's dead-letter queue: then there is nothing to move.
    open_letters  letters of this queue that are open here. harvesters: agents that take from it meanwhile.
    moves         newest first.
    """

    queue: str
    redriver: str
    fastest: int
    waiting: int | None
    sources: Sequence[str]
    moves: Sequence[Move]
    open_letters: int
    harvesters: Sequence[str]

    @property
    def running(self) -> Move | None:
        return next((one for one in self.moves if one.status in ("running", "cancelling")), None)


def offers_redrive(connection: Connection) -> bool:
    """Whether brokers of this connection's kind send queues back by themselves."""
    return connection.agent_id is None and can_redrive(connection.kind, settings.CONSOLE_FAMILIES)


def standing_of(connection: Connection, queue: str, *, by: Actor, now: datetime) -> Standing:
    """Ask the broker what a move would do; changes nothing. Raises Forbidden, Invalid, CannotRedrive."""
    check_can_redrive(by, connection)
    _check_named(queue)
    with _asking(connection) as connector:
        told = connector.redrivable(queue, timeout_s=ASK_S)
        moves = connector.redrives(queue, timeout_s=ASK_S) if told.sources else []
        redriver, fastest = connector.redriver, connector.fastest
    return Standing(
        queue=queue,
        redriver=redriver,
        fastest=fastest,
        waiting=told.waiting,
        sources=told.sources,
        moves=[one if one.status in STATUSES else replace(one, status="unknown") for one in moves],
        open_letters=count_open_letters(connection, queue),
        harvesters=[
            one.agent.name
            for one in queues_of(by, connection, now=now)
            if one.queue == queue and one.mode == "move" and not one.stale
        ],
    )


def start_redrive(connection: Connection, queue: str, *, per_second: int | None, reason: str, by: Actor) -> None:
    """Have the broker send everything in the queue back. Each try is audited before it is made. Raises Forbidden, Invalid, CannotRedrive."""
    check_can_redrive(by, connection)
    _check_named(queue)
    if not reason.strip():
        raise Invalid("say why: the reason is kept in the audit list")
    if connection.approved_at is None:
        raise CannotRedrive("this connection is not approved for replays, and a move sends messages: approve it first")
    with _asking(connection) as connector:
        if per_second is not None and not 1 <= per_second <= connector.fastest:
            raise Invalid(f"the pace is 1 to {connector.fastest} messages a second, or nothing for as fast as it goes")
        waiting = connector.redrivable(queue, timeout_s=ASK_S).waiting
        details = {"queue": queue, "about": waiting, "per_second": per_second}
        record_audit(by, "connection.redrive_started", connection, environment=connection.environment, reason=reason, details=details)  # fmt: skip
        try:
            connector.redrive(queue, per_second=per_second, timeout_s=ASK_S)
        except (RedriveRefused, BrokerUnavailable) as error:
            details = {"queue": queue, "words": str(error)[:500]}
            record_audit(
                by, "connection.redrive_failed", connection, environment=connection.environment, details=details
            )
            raise


def cancel_redrive(connection: Connection, queue: str, *, by: Actor, reason: str = "") -> None:
    """Stop the move that is running; what it has moved stays moved. Raises Forbidden, Invalid, CannotRedrive."""
    check_can_redrive(by, connection)
    _check_named(queue)
    with _asking(connection) as connector:
        running = next((one for one in connector.redrives(queue, timeout_s=ASK_S) if one.status == "running"), None)
        if running is None:
            raise CannotRedrive(f"no move of {queue} is running")
        connector.cancel_redrive(queue, running.handle, timeout_s=ASK_S)
    record_audit(
        by, "connection.redrive_stopped", connection, environment=connection.environment, reason=reason,
        details={"queue": queue, "moved_about": running.moved},
    )  # fmt: skip


def _check_named(queue: str) -> None:
    if not queue or len(queue) > 300 or "\x00" in queue:
        raise Invalid("name a queue, of 1 to 300 characters")


@contextmanager
def _asking(connection: Connection) -> Iterator[CanRedrive]:
    """Give the connector; what the broker refuses or does not answer is CannotRedrive with its words."""
    connector = connector_of(connection)
    try:
        if not isinstance(connector, CanRedrive):
            raise CannotRedrive("this kind of broker sends no queue back by itself: replay the letters instead")
        yield connector
    except RedriveRefused as error:
        raise CannotRedrive(str(error)) from error
    except BrokerUnavailable as error:
        raise CannotRedrive(f"the broker does not answer now: {error}") from error
    finally:
        connector.close()
