"""A few threads beside a worker's task: what is slow, such as a mail server that takes a minute, ends in one of them and holds up nothing else."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog
from django.db import connections

log = structlog.get_logger(__name__)


class Room:
    """Room for so many threads of one kind in this process. They do not hold up its end: the rows' leases are for that."""

    def __init__(self, most: int) -> None:
        self._free = threading.BoundedSemaphore(most)

    def has_room(self) -> bool:
        """Whether another may begin: looked at by the one task that a process runs at a time."""
        if not self._free.acquire(blocking=False):
            return False
        self._free.release()
        return True

    def begin(self, run: Callable[[], object], *, name: str) -> threading.Thread:
        """Run this in a thread; what it raises is logged."""
        self._free.acquire()

        def guarded() -> None:
            try:
                run()
            except Exception:
                log.exception("not_marked", what=name)  # its lease ends, and it is sent again
            finally:
                connections.close_all()
                self._free.release()

        thread = threading.Thread(target=guarded, daemon=True, name=name)
        thread.start()
        return thread
