"""The console as an agent sees it: POST, and know what the answer means. Standard library only."""

from __future__ import annotations

import gzip
import http.client
import json
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from .pauses import pause_s


class ConsoleAway(Exception):
    """The console cannot be reached or asks to come back later; `retry_after_s` when it said when."""

    def __init__(self, words: str, retry_after_s: float | None = None) -> None:
        super().__init__(words)
        self.retry_after_s = retry_after_s


class ConsoleRefuses(Exception):
    """The console will not take this as it is (4xx); `status` tells a wrong key from a body that is too large."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


@dataclass(slots=True)
class Transport:
    """One connection, kept open; not shared between threads. most_bytes: of an answer, which is cut there."""

    base: str
    key: str
    timeout_s: float = 60.0
    most_bytes: int = 1_000_000
    _connection: http.client.HTTPConnection | None = None

    def post(self, path: str, plain: bytes, more: dict[str, str]) -> dict[str, Any]:
        """Return the console's answer to this JSON; raises ConsoleAway, ConsoleRefuses."""
        body = plain
        headers = {
            "Authorization": f"Bearer {self.key}",
            "Content-Type": "application/json",
            "User-Agent": "waybill-agent",
            **more,
        }
        if len(body) > 1024:
            body, headers["Content-Encoding"] = gzip.compress(body, 5), "gzip"
        text, status, pause = self._exchange(path, body, headers)
        if status == 200:
            return _answer(self.base, text)
        words = f"{self.base} answered {status}: {_detail(text)}"
        if status in (408, 429) or status >= 500:
            raise ConsoleAway(words, pause)
        raise ConsoleRefuses(status, words)

    def _exchange(self, path: str, body: bytes, headers: dict[str, str]) -> tuple[bytes, int, int | None]:
        """Return (body, status, seconds to leave it alone). A connection that was kept open may have ended meanwhile: then a fresh one
        is tried. Who refuses a body by its length may answer and hang up before it was sent: then the answer counts.
        """
        kept = self._connection is not None
        try:
            connection = self._open()
            cut_off = _send(connection, urlsplit(self.base).path + path, body, headers)
            answer = connection.getresponse()
            if cut_off and answer.status < 400:
                raise cut_off
            text, told = answer.read(self.most_bytes), {name.lower(): value for name, value in answer.headers.items()}
            return text, answer.status, pause_s(told, failed=True, now=datetime.now(UTC))
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if kept and not isinstance(error, TimeoutError):
                return self._exchange(path, body, headers)
            raise ConsoleAway(f"{self.base} cannot be reached: {error or type(error).__name__}") from error

    def _open(self) -> http.client.HTTPConnection:
        if self._connection is None:
            parts = urlsplit(self.base)
            secure = parts.scheme == "https"
            kind: Any = http.client.HTTPSConnection if secure else http.client.HTTPConnection
            more: dict[str, Any] = {"context": ssl.create_default_context()} if secure else {}
            self._connection = kind(parts.hostname, parts.port, timeout=self.timeout_s, **more)
        return self._connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _send(connection: http.client.HTTPConnection, path: str, body: bytes, headers: dict[str, str]) -> OSError | None:
    """Send a request; return what cut it off in the middle, when the other side may have answered before it hung up."""
    try:
        connection.request("POST", path, body, headers)
    except ConnectionError as error:
        if connection.sock is None:
            raise  # it was never connected
        return error
    return None


def _answer(base: str, text: bytes) -> dict[str, Any]:
    """Return what the console answered; a page of some proxy in between is no answer, and nothing was stored."""
    try:
        answer = json.loads(text)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise ConsoleAway(f"{base} answered something that is no answer of the console: is a proxy in between?")
    return answer


def _detail(text: bytes) -> str:
    try:
        return str(json.loads(text)["detail"])[:300]
    except (ValueError, KeyError, TypeError):
        return text[:200].decode("utf-8", "replace")
