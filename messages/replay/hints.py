"""What to mind before a dead letter is sent again, as its broker knows it. Asked apart from the page, and never for long."""

from __future__ import annotations

import secrets
import threading
from contextlib import closing

import structlog

from console.identity.actor import Actor
from messages.access import check_can_operate
from messages.catalog.connections import connector_of
from messages.catalog.queues import queue_reports
from messages.connectors.base import BrokerUnavailable, CanHint, Connector, Outgoing
from messages.models import DeadLetter, Replay
from messages.payloads.queries import stored_content
from messages.replay.outgoing import outgoing
from messages.replay.services import check_replayable

log = structlog.get_logger(__name__)
WAIT_S = 2.0
MOST_AT_ONCE = 4  # a broker that does not answer must not gather threads
MOST_HINTS = 10
_room = threading.BoundedSemaphore(MOST_AT_ONCE)


def hints_of(letter: DeadLetter, *, by: Actor) -> list[str]:
    """Return sentences; [] when there is nothing to mind or the family knows none. Raises Forbidden, ReplayNotAllowed."""
    check_can_operate(by, letter.flow)
    return [*_left_behind(letter), *_of_broker(letter, by)][:MOST_HINTS]


def _left_behind(letter: DeadLetter) -> list[str]:
    """Say that the original stays in its queue when the harvester that brought the letter mirrors that queue."""
    reports = queue_reports(letter.agent) if letter.agent else []
    mirrored = any(
        (one.get("broker"), one.get("queue"), one.get("mode")) == (letter.broker, letter.queue, "mirror")
        for one in reports
    )
    if not mirrored:
        return []
    return [
        f"the original stays in {letter.queue}, which is mirrored: take it out there, or somebody may send it a second time"
    ]


def _of_broker(letter: DeadLetter, by: Actor) -> list[str]:
    connection = check_replayable(letter, by)
    if connection.agent_id is not None:
        return ["the broker is not asked what to mind: its connection lives with an agent"]
    content = stored_content(letter.environment_id, letter.pk, letter.payload_on)
    connector = connector_of(connection)
    if content is None or not isinstance(connector, CanHint):
        connector.close()
        return []
    replay = Replay(
        dead_letter=letter, destination=letter.origin, requested_by=by.name, span_id=secrets.token_hex(8)
    )  # never saved
    item = outgoing(replay, content, 1)
    if not _room.acquire(blocking=False):
        connector.close()
        return ["not asked: the brokers that were asked before have not answered yet"]
    return _asked(connector, item, letter.queue)


def _asked(connector: Connector, item: Outgoing, died_in: str) -> list[str]:
    """Ask in a thread of its own, which ends by the connector's own timeouts; wait two seconds for it."""
    answer: list[str] = []
    done = threading.Event()

    def ask() -> None:
        try:
            with closing(connector):
                assert isinstance(connector, CanHint)
                answer.extend(connector.hints(item, died_in=died_in, timeout_s=WAIT_S))
        except BrokerUnavailable as error:
            answer.append(f"the broker does not answer now: {error}")
        except Exception as error:  # noqa: BLE001  a hint is a help: without it the replay is what it was
            log.warning("hints_failed", family=connector.kind, reason=f"{type(error).__name__}: {error}"[:300])
        finally:
            _room.release()
            done.set()

    threading.Thread(target=ask, daemon=True, name="hints").start()
    if not done.wait(WAIT_S):
        return [f"the broker was asked what to mind and has not answered within {WAIT_S:g} s"]
    return answer
