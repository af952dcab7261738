"""A connector per connection, kept open between the windows of a burst, in this process alone.

Kafka's first message takes 0.5 to 1.1 s, RabbitMQ's login some milliseconds. A line that rests may be dead without saying so, and what
is sent over it would end unknown: it rests for seconds only, and not after any trouble. Workers fork before they send: no line is shared.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import structlog
from django.db import connection as database

from messages.catalog.connections import connector_of
from messages.connectors.base import Connector
from messages.models import Connection

log = structlog.get_logger(__name__)
MOST_KEPT = 8
IDLE_S = 15.0

# What a line depends on, of the connection `c` of a statement; approval too, so that one withdrawn and given again is a new line.
VERSION = "md5(ROW(c.kind, c.address, c.username, c.secret, c.options, c.approved_at, c.agent_id)::text)"


@dataclass(slots=True, kw_only=True, eq=False)
class Line:
    """How messages go over one connection now. refusal: why nothing can, in words; then there is no connector.

    approved  false: that is why.
    sound  nothing went wrong on it: it may be used again.
    """

    connection_id: int
    version: str
    connector: Connector | None = None
    refusal: str = ""
    approved: bool = True
    sound: bool = True
    timer: threading.Timer | None = field(default=None, repr=False)

    @property
    def at_once(self) -> int:
        """How many messages one window may have; what nobody can take is refused in large ones."""
        return getattr(self.connector, "at_once", 1) if self.connector else 500

    def close(self) -> None:
        if self.connector is not None:
            try:
                self.connector.close()
            except Exception as error:  # noqa: BLE001  of any family: it is let go of in any case
                log.warning("line_not_closed", connection=self.connection_id, reason=str(error)[:200])


_kept: dict[int, Line] = {}
_guard = threading.Lock()  # the worker's thread against the timers that close what rests


@contextlib.contextmanager
def line_to(connection_id: int) -> Iterator[Line | None]:
    """Lend the line of this connection, the kept one while its row says the same; None when no worker may send over it.

    That is when there is none, and when it lives with an agent, which asks for what is due itself: then a worker only refuses, when
    the connection is not approved.
    """
    line = _open(connection_id)
    try:
        yield line
    except BaseException:
        if line:
            line.sound = False
        raise
    finally:
        if line and line.sound and line.connector:
            _keep(line)
        elif line:
            line.close()


def _open(connection_id: int) -> Line | None:
    version = version_of(connection_id)
    if (kept := _take(connection_id)) is not None:
        if kept.version == version:
            return kept
        kept.close()
    return _made(connection_id, version) if version else None


def version_of(connection_id: int) -> str | None:
    """Return what a line over this connection depends on, None when there is no such connection."""
    with database.cursor() as cursor:
        cursor.execute(f"SELECT {VERSION} FROM messaging_connection c WHERE c.id = %s", [connection_id])  # noqa: S608  a constant
        row = cursor.fetchone()
    return str(row[0]) if row else None


def _made(connection_id: int, version: str) -> Line | None:
    found = Connection.objects.get(pk=connection_id)
    line = Line(connection_id=connection_id, version=version)
    if found.approved_at is None:
        line.approved, line.refusal = False, f"the connection {found.name} is not approved any more"
        return line
    if found.agent_id is not None:
        return None
    try:
        line.connector = connector_of(found)
    except Exception as error:  # noqa: BLE001  a broken key or kind must end in a state with words, not in a loop
        line.refusal = str(error)[:500]
    return line


def _take(connection_id: int) -> Line | None:
    with _guard:
        line = _kept.pop(connection_id, None)
    if line and line.timer:
        line.timer.cancel()
    return line


def _keep(line: Line) -> None:
    line.timer = threading.Timer(IDLE_S, _let_go, [line])
    line.timer.daemon = True
    with _guard:
        longest = _kept.pop(next(iter(_kept))) if len(_kept) >= MOST_KEPT else None
        _kept[line.connection_id] = line
    line.timer.start()
    if longest:
        longest.close()


def _let_go(line: Line) -> None:
    """Close a line that has rested; whoever has taken it meanwhile keeps it."""
    with _guard:
        mine = _kept.get(line.connection_id) is line
        if mine:
            del _kept[line.connection_id]
    if mine:
        line.close()


def close_lines() -> None:
    """Close whatever is kept."""
    for connection_id in list(_kept):
        if (line := _take(connection_id)) is not None:
            line.close()
