"""One GET to the management address of a broker: bounded in bytes and in time, without redirects, never to where no request may go."""

from __future__ import annotations

import base64
import http.client
import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from messages.connectors.base import BrokerUnavailable
from messages.connectors.wire import ForbiddenTarget, connect

MOST_BYTES = 8 * 1024 * 1024


def ask(
    base: str,
    path: str,
    *,
    username: str,
    secret: str,
    port: int,
    timeout_s: float,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, Any]:
    """Return (HTTP status, the JSON it answered, None with any other status than 200); raises BrokerUnavailable with words.

    path  goes behind that of the base. port: where the base names none and is http. timeout_s: for all of it.
    """
    try:
        status, body = _get(base, path, port, timeout_s, _login(username, secret) | dict(headers or {}))
        return status, json.loads(body) if status == 200 else None
    except RecursionError as error:
        raise BrokerUnavailable(
            "the management API answers nested deeper than anything that it is to answer"
        ) from error
    except (OSError, http.client.HTTPException, ValueError, ForbiddenTarget) as error:
        raise BrokerUnavailable(f"the management API does not answer: {error or type(error).__name__}") from error


def _login(username: str, secret: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{username}:{secret}'.encode()).decode()}"}


def _get(base: str, path: str, port: int, timeout_s: float, headers: Mapping[str, str]) -> tuple[int, bytes]:
    parts = urlsplit(base)
    wire = connect(parts, port, time.monotonic() + timeout_s)
    connection = http.client.HTTPConnection(parts.hostname or "", wire.port)
    connection.sock = wire  # type: ignore[assignment]
    try:
        connection.request("GET", parts.path.rstrip("/") + path, headers=dict(headers))
        answer = connection.getresponse()
        body = answer.read(MOST_BYTES + 1)
    finally:
        wire.hang_up()
    if len(body) > MOST_BYTES:
        raise OSError(f"its list is longer than {MOST_BYTES // 1024 // 1024} MB")
    return answer.status, body
