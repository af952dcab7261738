"""The web worker: patient with slow clients (console.patience), its connections spread evenly over the processes.

Agents keep their connections open, and a process computes on one core. Two agents that happen to meet in one process had half of
the throughput that they have in two (measured: 14,000 to 19,000 events/s against 26,000 to 29,000).
"""

from __future__ import annotations

import multiprocessing
import socket
import time

from console.patience import PatientWorker

SLOTS = 64
NOBODY = -1
GIVES_WAY_S = 0.010
_open = multiprocessing.RawArray("i", [NOBODY] * SLOTS)  # connections of each process, shared by fork


class BalancedWorker(PatientWorker):
    """Gives a process with fewer connections a moment to take a new one first."""

    @property
    def nr_conns(self) -> int:
        return _open[self.age % SLOTS]

    @nr_conns.setter
    def nr_conns(self, count: int) -> None:
        _open[self.age % SLOTS] = count

    def accept(self, listener: socket.socket) -> None:
        until = time.monotonic() + GIVES_WAY_S
        while any(NOBODY < count < self.nr_conns for count in _open) and time.monotonic() < until:
            time.sleep(0.001)
        super().accept(listener)  # finds nothing when the other one took it


def forget(worker: BalancedWorker) -> None:
    """Take a process that ended out of the comparison."""
    _open[worker.age % SLOTS] = NOBODY
