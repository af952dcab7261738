"""Seats: how many workers compensations may occupy at once, so that a slow receiver does not keep replays waiting.

So many send over a connection at a time as its row says, and so many over all of them as the setting says. A seat is an advisory lock of
the worker's own session with PostgreSQL: it is free the moment that the worker dies, whichever way, and a worker that sleeps keeps it, as
it keeps its process. Seats bound the load alone: what keeps a step from being sent twice is its claim.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from django.conf import settings
from django.db import Error, connection

MOST_OF_ONE = 32
# Classes of advisory locks, with two numbers each: (OF_ALL, seat); (OF_CONNECTION + seat, connection).
OF_ALL = 7_219_070
OF_CONNECTION = 7_219_100  # and the 31 after it
LAST_CLASS = OF_CONNECTION + MOST_OF_ONE - 1


@dataclass(slots=True)
class Seats:
    """What this worker holds: [(class, number)]."""

    held: list[tuple[int, int]] = field(default_factory=list)

    def take(self, connection_id: int, most: int = 1) -> bool:
        """Take a seat of this connection, which has so many, and one of all; False when others have them."""
        wanted = [(OF_CONNECTION + seat, connection_id % 2**31) for seat in range(min(most, MOST_OF_ONE))]
        if any(seat in self.held for seat in wanted):
            return True
        self._leave_connections()
        if not self._one_of(wanted):
            return False
        if not self._one_of([(OF_ALL, seat) for seat in range(settings.COMPENSATION_SENDERS)]):
            self._leave_connections()
            return False
        return True

    def _one_of(self, seats: list[tuple[int, int]]) -> bool:
        return any(seat in self.held for seat in seats) or any(self._lock(seat) for seat in seats)

    def _lock(self, seat: tuple[int, int]) -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", seat)
            taken = bool(cursor.fetchone()[0])
        if taken:
            self.held.append(seat)
        return taken

    def _leave_connections(self) -> None:
        for seat in [one for one in self.held if one[0] != OF_ALL]:
            self._unlock(seat)

    def _unlock(self, seat: tuple[int, int]) -> None:
        self.held.remove(seat)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s, %s)", seat)

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
