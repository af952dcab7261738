"""HTTP: send the body to a path below the address an administrator approved. No redirects, no proxy of the environment.

One deadline holds for the whole exchange: connecting, the handshake, sending, and every byte of the answer.
"""

from __future__ import annotations

import base64
import http.client
import io
import ipaddress
import re
import socket
import ssl
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from agents.sdk.answers import MOST_BODY
from messages.connectors.base import Address, Check, Outgoing, Published
from messages.connectors.headers import value_of
from messages.connectors.http.answers import published
from messages.connectors.http.targets import NotBelow, request_line

# Never a target, whoever approved it: link-local holds the clouds' metadata services.
FORBIDDEN = [
    ipaddress.ip_network(net)
    for net in (
        "169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128", "0.0.0.0/8", "224.0.0.0/4", "ff00::/8", "64:ff9b::a9fe:0/112",
    )
]  # fmt: skip
# What the message says of itself here is said by us, or is about the connection and not about the message.
NOT_OURS = frozenset(
    {
        "host", "content-length", "transfer-encoding", "connection", "authorization", "te", "upgrade", "expect", "user-agent",
        "content-type", "idempotency-key", "proxy-authorization", "cookie", "accept-encoding", "keep-alive", "proxy-connection", "trailer",
    }
)  # fmt: skip
NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)  # RFC 9110: token


class ForbiddenTarget(Exception):
    """The address leads where no request may go."""


class HTTPConnector:
    """options  bearer (true: the secret is a bearer token; else with a username it is a basic password)."""

    kind = "http"

    def __init__(self, address: Address) -> None:
        self.address = address
        self.parts = urlsplit(address.url)

    def publish(self, items: Sequence[Outgoing], *, timeout_s: float) -> list[Published]:
        return [self._publish(item, timeout_s) for item in items]

    def _publish(self, item: Outgoing, timeout_s: float) -> Published:
        try:
            method, path = request_line(self.parts.path, item)
            wire = self._connect(time.monotonic() + timeout_s)
        except (ForbiddenTarget, NotBelow) as error:
            return Published(id=item.id, result="refused", detail=str(error))
        except ssl.SSLError as error:
            return Published(id=item.id, result="refused", detail=f"its certificate is not trusted: {error.reason}")
        except OSError as error:
            return Published(
                id=item.id,
                result="unavailable",
                detail=f"{self.parts.netloc} cannot be reached: {error.strerror or error}",
            )
        connection = http.client.HTTPConnection(self.parts.hostname or "", wire.port)
        connection.sock = wire  # type: ignore[assignment]
        try:
            connection.request(method, path, body=item.body, headers=self._headers(item))
            answer = connection.getresponse()
            body = _body_of(answer)
        except (OSError, http.client.HTTPException) as error:
            detail = (
                f"no answer from {self.parts.netloc}, it may have taken the message: {error or type(error).__name__}"
            )
            return Published(id=item.id, result="unknown", detail=detail)
        finally:
            wire.hang_up()
        return published(item.id, answer.status, answer.headers, body)

    def _connect(self, deadline: float) -> _Wire:
        """Connect to the very address that was checked, so that a name cannot change its mind in between."""
        host, secure = self.parts.hostname or "", self.parts.scheme == "https"
        port = self.parts.port or (443 if secure else 80)
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for *_, where in found:
            address = ipaddress.ip_address(str(where[0]).split("%")[0])
            checked = getattr(address, "ipv4_mapped", None) or address
            if any(checked in network for network in FORBIDDEN if checked.version == network.version):
                raise ForbiddenTarget(f"{host} leads to {checked}, where no request may go")
        raw = _first_that_answers(found, deadline)
        try:
            raw.settimeout(_left(deadline))  # of the handshake as a whole
            wrapped = ssl.create_default_context().wrap_socket(raw, server_hostname=host) if secure else raw
        except BaseException:
            raw.close()
            raise
        return _Wire(wrapped, port, deadline)

    def _headers(self, item: Outgoing) -> dict[str, str]:
        headers = {
            "User-Agent": "waybill",
            "Content-Type": item.content_type if _is_plain(item.content_type) else "application/octet-stream",
            "Idempotency-Key": item.id,
        }
        for header in item.headers:
            value = str(value_of(header))
            if header.name.lower() not in NOT_OURS and NAME.fullmatch(header.name) and _is_plain(value):
                headers[header.name] = value
        if self.address.secret:
            if self.address.options.get("bearer") or not self.address.username:
                headers["Authorization"] = f"Bearer {self.address.secret}"
            else:
                pair = base64.b64encode(f"{self.address.username}:{self.address.secret}".encode()).decode()
                headers["Authorization"] = f"Basic {pair}"
        return headers

    def check(self, destination: str | None) -> list[Check]:
        try:
            self._connect(time.monotonic() + 5).hang_up()
        except (OSError, ForbiddenTarget) as error:
            return [Check(question="reached", answer=False, detail=str(error) or type(error).__name__)]
        return [
            Check(question="reached", answer=True, detail=f"{self.parts.netloc} takes connections"),
            Check(question="may publish", answer=None, detail="only a real message would tell"),
        ]

    def close(self) -> None: ...


def _left(deadline: float) -> float:
    """Return the seconds that are left; raises TimeoutError when there are none."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("it took too long")
    return left


class _Wire(io.RawIOBase):
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


def _body_of(answer: http.client.HTTPResponse) -> bytes:
    """Return the begin of the answer's body; its status is known and decides, whether the rest comes or not."""
    try:
        return answer.read(MOST_BODY)
    except (OSError, http.client.HTTPException):
        return b""


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


def _is_plain(value: str) -> bool:
    return bool(value) and value.isascii() and value.isprintable()
