"""What RabbitMQ's management API says of queues. Source: rabbitmq_management's HTTP API, /api/queues and /api/bindings."""

from __future__ import annotations

import contextlib
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from messages.connectors.base import Address, BrokerUnavailable, Found
from messages.connectors.lookup import ask
from messages.connectors.rabbitmq.routing import exchange_hints, shovel_hints, takers
from messages.connectors.rabbitmq.topology import dead_letter_queues, topology_hints

QUEUE_COLUMNS = "name,arguments,effective_policy_definition,messages,consumers"
BINDING_COLUMNS = "source,destination,destination_type,routing_key"
MOST_QUEUES = 5  # of an exchange that are looked at one by one


class Management:
    """GET of one virtual host's lists. Redirects are not followed, link-local addresses are not asked."""

    def __init__(self, base: str, address: Address, *, timeout_s: float) -> None:
        self.base, self.address, self.timeout_s = base, address, timeout_s
        path = urlsplit(address.url).path
        self.vhost = unquote(path[1:]) if len(path) > 1 else "/"

    def get(self, what: str, columns: str) -> list[dict[str, Any]]:
        """Return `queues` or `bindings` of the virtual host; raises BrokerUnavailable with words."""
        found = self._asked(f"/api/{what}/{quote(self.vhost, safe='')}?columns={columns}")
        if not isinstance(found, list):
            raise BrokerUnavailable(f"the management API answered something else than a list of {what}")
        return [one for one in found if isinstance(one, dict)]

    def queue(self, name: str, columns: str) -> dict[str, Any]:
        """Return what is said of one queue; raises BrokerUnavailable with words."""
        found = self._asked(f"/api/queues/{quote(self.vhost, safe='')}/{quote(name, safe='')}?columns={columns}")
        return found if isinstance(found, dict) else {}

    def _asked(self, what: str) -> Any:
        username, secret = self.address.username or "guest", self.address.secret or "guest"
        status, found = ask(self.base, what, username=username, secret=secret, port=15672, timeout_s=self.timeout_s)
        if status == 401:
            raise BrokerUnavailable("the management API refuses the login: its user needs the tag management")
        if found is None:
            raise BrokerUnavailable(f"the management API answered HTTP {status} to {what.partition('?')[0]}")
        return found


def find_dead_letter_queues(management: Management) -> list[Found]:
    """Return the queues of the virtual host that hold dead letters; raises BrokerUnavailable."""
    return dead_letter_queues(management.get("queues", QUEUE_COLUMNS), management.get("bindings", BINDING_COLUMNS))


def find_topology_hints(management: Management, queue: str, died_in: str, *, exchange: str = "") -> list[str]:
    """Return what exchange, queues and shovels make of a message that is sent there; raises BrokerUnavailable.

    exchange  "" when it goes straight into the queue; else `queue` is its routing key.
    """
    queues, bindings = management.get("queues", QUEUE_COLUMNS), management.get("bindings", BINDING_COLUMNS)
    names, hints = [queue], []
    if exchange:
        names, sure = takers(exchange, queue, management.get("exchanges", "name,type"), bindings)
        hints = exchange_hints(exchange, queue, queues, (names, sure))
    for name in names[:MOST_QUEUES]:
        hints += topology_hints(queues, bindings, queue=name, died_in=died_in)
    with contextlib.suppress(BrokerUnavailable):  # there is no plugin, or the login has no tag `monitoring`
        shovels = management.get("shovels", "name,src_queue,dest_queue,dest_exchange,dest_address")
        for name in names[:MOST_QUEUES] or [""]:
            hints += [one for one in shovel_hints(shovels, queue=name, died_in=died_in) if one not in hints]
    return hints


def head_age_s(management: Management, queue: str, *, now: float) -> float | None:
    """Return how long ago the first message of a queue was sent, by its own timestamp; None when it has none. Never raises.

    Classic queues tell it of messages with the property `timestamp`, which applications set, or a plugin of RabbitMQ.
    now  seconds since 1970.
    """
    try:
        told = management.queue(queue, "head_message_timestamp").get("head_message_timestamp")
    except BrokerUnavailable:
        return None
    if not isinstance(told, int) or isinstance(told, bool) or not 0 < told <= now:
        return None  # in the future, or in milliseconds as some senders have it
    return now - told
