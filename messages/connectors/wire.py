"""A line to an HTTP endpoint that somebody named: never to where no request may go, and under one deadline.

One deadline holds for the whole exchange: connecting, the handshake, sending, and every byte of the answer.
"""

from __future__ import annotations

import io
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import SplitResult

# Never a target, whoever approved it: link-local holds the clouds' metadata services.
FORBIDDEN = [
    ipaddress.ip_network(net)
    for net in (
        "169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128", "0.0.0.0/8", "224.0.0.0/4", "ff00::/8", "64:ff9b::a9fe:0/112",
    )
]  # fmt: skip


class ForbiddenTarget(Exception):
    """The address leads where no request may go."""


def is_forbidden(address: str) -> bool:
    """Whether this is the IP address of a place where no request may go; a name is none."""
    try:
        found = ipaddress.ip_address(address.split("%", maxsplit=1)[0])
    except ValueError:
        return False
    checked = getattr(found, "ipv4_mapped", None) or found
    return any(checked in network for network in FORBIDDEN if checked.version == network.version)


def connect(parts: SplitResult, port: int, deadline: float, *, refused: Callable[[str], bool] = is_forbidden) -> Wire:
    """Return a line to the very address that was checked, so that a name cannot change its mind in between.

    port  where the address names none and is http. deadline: of time.monotonic(). refused: whether no request may go to an IP address.
    Raises ForbiddenTarget, OSError.
    """
    host, secure = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if secure else port)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label of more than 63 characters
        raise OSError("the host's name is none that can be looked up") from error
    for *_, where in found:
        if refused(str(where[0])):
            raise ForbiddenTarget(f"{host} leads to {where[0]}, where no request may go")
    raw = _first_that_answers(found, deadline)
    try:
        raw.settimeout(_left(deadline))  # of the handshake as a whole
        wrapped = ssl.create_default_context().wrap_socket(raw, server_hostname=host) if secure else raw
    except BaseException:
        raw.close()
        raise
    return Wire(wrapped, port, deadline)


def _left(deadline: float) -> float:
    """Return the seconds that are left; raises TimeoutError when there are none."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("it took too long")
    return left


class Wire(io.RawIOBase):
    """What http.client needs of a socket, every operation of it under one deadline.

    A time-out of the socket itself begins anew with every byte: an endpoint that trickles would hold its worker for ever.
    """

    def __init__(self, sock: socket.socket, port: int, deadline: float) -> None:
        self.sock, self.port, self.deadline = sock, port, deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self.sock.settimeout(_left(self.deadline))
        return self.sock.recv_into(buffer)

    def sendall(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            self.sock.settimeout(_left(self.deadline))
            rest = rest[self.sock.send(rest) :]

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def close(self) -> None:
        """Do nothing: http.client closes what it still reads the answer from."""

    def hang_up(self) -> None:
        self.sock.close()


def _first_that_answers(found: Sequence[Any], deadline: float) -> socket.socket:
    """Return a connection to the first of these addresses that takes one: a name may lead to ::1 where only 127.0.0.1 listens."""
    failure: OSError | None = None
    for number, (family, kind, protocol, _, where) in enumerate(found):
        raw = socket.socket(family, kind, protocol)
        raw.settimeout(_left(deadline) / (len(found) - number))  # one that is silent leaves time for the others
        try:
            raw.connect(where)
        except OSError as error:
            raw.close()
            failure = failure or error
        else:
            return raw
    raise failure or OSError("the name leads nowhere")
