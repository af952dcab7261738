"""HTTP: send the body to a path below the address an administrator approved. No redirects, no proxy of the environment.

One deadline holds for the whole exchange: connecting, the handshake, sending, and every byte of the answer.
"""

from __future__ import annotations

import base64
import http.client
import re
import ssl
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

from agents.sdk.answers import MOST_BODY
from messages.connectors.base import Address, Check, Outgoing, Published
from messages.connectors.headers import value_of
from messages.connectors.http.answers import published
from messages.connectors.http.targets import NotBelow, request_line
from messages.connectors.wire import ForbiddenTarget, connect

# What the message says of itself here is said by us, or is about the connection and not about the message.
NOT_OURS = frozenset(
    {
        "host", "content-length", "transfer-encoding", "connection", "authorization", "te", "upgrade", "expect", "user-agent",
        "content-type", "idempotency-key", "proxy-authorization", "cookie", "accept-encoding", "keep-alive", "proxy-connection", "trailer",
    }
)  # fmt: skip
NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)  # RFC 9110: token


class BadCredentials(Exception):
    """What is stored cannot stand in a header; the sentence does not quote it."""


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
            headers = self._headers(item)
            wire = connect(self.parts, 80, time.monotonic() + timeout_s)
        except (ForbiddenTarget, NotBelow, BadCredentials) as error:
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
            connection.request(method, path, body=item.body, headers=headers)
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
        return headers | self._login()

    def _login(self) -> dict[str, str]:
        secret = self.address.secret
        if not secret:
            return {}
        if not self.address.options.get("bearer") and self.address.username:
            pair = base64.b64encode(f"{self.address.username}:{secret}".encode()).decode()
            return {"Authorization": f"Basic {pair}"}
        if not _is_plain(secret):  # http.client would say so too, and quote it
            raise BadCredentials(
                "the stored token cannot be sent: it holds a line break or a character that no header takes; set it again"
            )
        return {"Authorization": f"Bearer {secret}"}

    def check(self, destination: str | None) -> list[Check]:
        try:
            connect(self.parts, 80, time.monotonic() + 5).hang_up()
        except (OSError, ForbiddenTarget) as error:
            return [Check(question="reached", answer=False, detail=str(error) or type(error).__name__)]
        reached = Check(question="reached", answer=True, detail=f"{self.parts.netloc} takes connections")
        try:
            self._login()
        except BadCredentials as error:
            return [reached, Check(question="authenticated", answer=False, detail=str(error))]
        return [
            reached,
            Check(question="may publish", answer=None, detail="only a real message would tell"),
        ]

    def close(self) -> None: ...


def _body_of(answer: http.client.HTTPResponse) -> bytes:
    """Return the begin of the answer's body; its status is known and decides, whether the rest comes or not."""
    try:
        return answer.read(MOST_BODY)
    except (OSError, http.client.HTTPException):
        return b""


def _is_plain(value: str) -> bool:
    return bool(value) and value.isascii() and value.isprintable()
