"""What RabbitMQ's management API says of queues. Source: rabbitmq_management's HTTP API, /api/queues and /api/bindings."""

from __future__ import annotations

import base64
import http.client
import ipaddress
import json
import socket
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from messages.connectors.base import Address, BrokerUnavailable, Found
from messages.connectors.rabbitmq.topology import dead_letter_queues, topology_hints

MOST_BYTES = 8 * 1024 * 1024
QUEUE_COLUMNS = "name,arguments,effective_policy_definition,messages,consumers"


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


def find_topology_hints(management: Management, queue: str, died_in: str) -> list[str]:
    """Return what the queues around this one make of a message that is sent there; raises BrokerUnavailable."""
    return topology_hints(
        management.get("queues", QUEUE_COLUMNS),
        management.get("bindings", "source,destination,destination_type,routing_key"),
        queue=queue,
        died_in=died_in,
    )
