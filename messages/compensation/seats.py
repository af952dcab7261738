"""Seats: how many workers compensations may occupy at once, so that a slow receiver does not keep replays waiting.

One worker sends over a connection at a time, and IN_ALL over all of them. A seat is an advisory lock of the worker's own session with
PostgreSQL: it is free the moment that the worker dies, whichever way, and a worker that sleeps keeps it, as it keeps its process.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from django.db import Error, connection

IN_ALL = 1  # of the two workers that a console starts with
OF_ALL, OF_CONNECTION = 7_219_061, 7_219_062  # classes of advisory locks


@dataclass(slots=True)
class Seats:
    """What this worker holds: [(class, number)]."""

    held: list[tuple[int, int]] = field(default_factory=list)

    def take(self, connection_id: int) -> bool:
        """Take the seat of this connection, and one of all; False when others have them."""
        wanted = (OF_CONNECTION, connection_id)
        if wanted in self.held:
            return True
        self._leave_connections()
        if not any(kind == OF_ALL for kind, _ in self.held) and not any(self._lock(OF_ALL, at) for at in range(IN_ALL)):
            return False
        return self._lock(*wanted)

    def _lock(self, kind: int, number: int) -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", [kind, number % 2**31])
            taken = bool(cursor.fetchone()[0])
        if taken:
            self.held.append((kind, number))
        return taken

    def _leave_connections(self) -> None:
        for seat in [one for one in self.held if one[0] == OF_CONNECTION]:
            self._unlock(seat)

    def _unlock(self, seat: tuple[int, int]) -> None:
        self.held.remove(seat)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [seat[0], seat[1] % 2**31])

    def leave(self) -> None:
        """Give back whatever is held; a session that broke has given it back itself."""
        try:
            while self.held:
                self._unlock(self.held[-1])
        except Error:
            self.held.clear()
            connection.close_if_unusable_or_obsolete()


@contextmanager
def seated() -> Iterator[Seats]:
    """Lend seats, none at first, and give back what was taken."""
    seats = Seats()
    try:
        yield seats
    finally:
        seats.leave()
