"""One GET to the management address of a broker: bounded, without redirects, never to a link-local address."""

from __future__ import annotations

import base64
import http.client
import ipaddress
import json
import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from messages.connectors.base import BrokerUnavailable

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

    path  goes behind that of the base. port: where the base names none and is http.
    """
    try:
        status, body = _get(base, path, port, timeout_s, _login(username, secret) | dict(headers or {}))
        return status, json.loads(body) if status == 200 else None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise BrokerUnavailable(f"the management API does not answer: {error or type(error).__name__}") from error


def _login(username: str, secret: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{username}:{secret}'.encode()).decode()}"}


def _get(base: str, path: str, port: int, timeout_s: float, headers: Mapping[str, str]) -> tuple[int, bytes]:
    parts = urlsplit(base)
    host, secure = parts.hostname or "", parts.scheme == "https"
    where = parts.port or (443 if secure else port)
    for *_, address in socket.getaddrinfo(host, where, type=socket.SOCK_STREAM):
        if ipaddress.ip_address(str(address[0]).split("%")[0]).is_link_local:
            raise OSError(f"{host} is a link-local address, where no request may go")
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = kind(host, where, timeout=timeout_s)
    try:
        connection.request("GET", parts.path.rstrip("/") + path, headers=dict(headers))
        answer = connection.getresponse()
        body = answer.read(MOST_BYTES + 1)
    finally:
        connection.close()
    if len(body) > MOST_BYTES:
        raise OSError(f"its list is longer than {MOST_BYTES // 1024 // 1024} MB")
    return answer.status, body
