"""What RabbitMQ's management API says of queues. Source: rabbitmq_management's HTTP API, /api/queues and /api/bindings."""

from __future__ import annotations

import base64
import http.client
import ipaddress
import json
import socket
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from messages.connectors.base import Address, BrokerUnavailable, Found
from messages.connectors.naming import MOST_FOUND, why_dead_letters

MOST_BYTES = 8 * 1024 * 1024
QUEUE_COLUMNS = "name,arguments,effective_policy_definition,messages"


class Management:
    """GET of one virtual host's lists. Redirects are not followed, link-local addresses are not asked."""

    def __init__(self, base: str, address: Address, *, timeout_s: float) -> None:
        self.base, self.address, self.timeout_s = urlsplit(base), address, timeout_s
        path = urlsplit(address.url).path
        self.vhost = unquote(path[1:]) if len(path) > 1 else "/"

    def get(self, what: str, columns: str) -> list[dict[str, Any]]:
        """Return `queues` or `bindings` of the virtual host; raises BrokerUnavailable with words."""
        path = f"{self.base.path.rstrip('/')}/api/{what}/{quote(self.vhost, safe='')}?columns={columns}"
        try:
            status, body = self._get(path)
            found = json.loads(body) if status == 200 else None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise BrokerUnavailable(f"the management API does not answer: {error or type(error).__name__}") from error
        if status == 401:
            raise BrokerUnavailable("the management API refuses the login: its user needs the tag management")
        if not isinstance(found, list):
            raise BrokerUnavailable(f"the management API answered HTTP {status} to {path.partition('?')[0]}")
        return [one for one in found if isinstance(one, dict)]

    def _get(self, path: str) -> tuple[int, bytes]:
        host = self.base.hostname or ""
        secure = self.base.scheme == "https"
        port = self.base.port or (443 if secure else 15672)
        for *_, where in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            if ipaddress.ip_address(str(where[0]).split("%")[0]).is_link_local:
                raise OSError(f"{host} is a link-local address, where no request may go")
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(host, port, timeout=self.timeout_s)
        login = base64.b64encode(
            f"{self.address.username or 'guest'}:{self.address.secret or 'guest'}".encode()
        ).decode()
        try:
            connection.request("GET", path, headers={"Authorization": f"Basic {login}"})
            answer = connection.getresponse()
            body = answer.read(MOST_BYTES + 1)
        finally:
            connection.close()
        if len(body) > MOST_BYTES:
            raise OSError(f"its list is longer than {MOST_BYTES // 1024 // 1024} MB")
        return answer.status, body


def find_dead_letter_queues(management: Management) -> list[Found]:
    """Return the queues of the virtual host that hold dead letters; raises BrokerUnavailable."""
    return dead_letter_queues(
        management.get("queues", QUEUE_COLUMNS),
        management.get("bindings", "source,destination,destination_type,routing_key"),
    )


def dead_letter_queues(queues: Sequence[Mapping[str, Any]], bindings: Sequence[Mapping[str, Any]]) -> list[Found]:
    """Return queues that others dead-letter to, by argument or policy, then those whose names say so. Pure.

    A dead-letter exchange may route by headers or patterns: every queue bound to it counts.
    """
    whys: dict[str, str] = {}
    bound: dict[str, list[str]] = {}
    for one in bindings:
        if one.get("destination_type") == "queue" and one.get("source"):
            bound.setdefault(str(one["source"]), []).append(str(one.get("destination")))
    depths = {str(one["name"]): one.get("messages") for one in queues if one.get("name")}
    for one in queues:
        name = str(one.get("name", ""))
        said = _settings(one)
        if (exchange := said.get("exchange")) is None:
            continue
        targets = bound.get(exchange, []) if exchange else [said.get("key") or name]
        for target in targets:
            if target in depths and target != name:
                whys.setdefault(target, f"{name} sends its dead letters there")
    for name in depths:
        if name not in whys and (why := why_dead_letters(name)):
            whys[name] = why
    return [Found(queue=name, why=why, waiting=_count(depths[name])) for name, why in list(whys.items())[:MOST_FOUND]]


def _settings(queue: Mapping[str, Any]) -> dict[str, str]:
    """Return the dead-letter exchange and key of a queue: its own arguments win over the policy."""
    found: dict[str, str] = {}
    for source, prefix in ((queue.get("effective_policy_definition"), ""), (queue.get("arguments"), "x-")):
        if isinstance(source, Mapping):
            for name, key in (("exchange", "dead-letter-exchange"), ("key", "dead-letter-routing-key")):
                if isinstance(value := source.get(prefix + key), str):
                    found[name] = value
    return found


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
