"""Ports for servers of tests, below those that the machine lends to clients: one that is free stays free until it is listened on."""

from __future__ import annotations

import random
import socket

SERVERS = range(10_000, 32_000)  # Linux lends 32768 and above, by default
_given: set[int] = set()
_chance = random.SystemRandom()  # two processes of one run would otherwise draw the same


def free_port() -> int:
    """Return a port on which nobody listens now, and which this process was not given before."""
    while True:
        port = _chance.choice(SERVERS)
        if port not in _given and _is_free(port):
            _given.add(port)
            return port


def free_ports(count: int) -> list[int]:
    return [free_port() for _ in range(count)]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
