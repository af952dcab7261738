"""What ActiveMQ Classic tells of its destinations by Jolokia, which its web console has in it: at http://host:8161.

Source: Jolokia reference manual, "Read"; ActiveMQ's MBeans DestinationView and SubscriptionView. Asked when the address has an option
`management`; only attributes are read. Jolokia wants to hear an Origin, and Classic's own policy takes any.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from messages.connectors.base import Address, BrokerUnavailable
from messages.connectors.lookup import ask

DESTINATIONS = "org.apache.activemq:type=Broker,brokerName=*,destinationType={kind},destinationName=*"
SUBSCRIPTIONS = f"{DESTINATIONS},endpoint=Consumer,clientId=*,consumerId=*"
Row = Mapping[str, Any]


class Jolokia:
    """Reads of one broker; raises BrokerUnavailable with words."""

    def __init__(self, base: str, address: Address, *, timeout_s: float) -> None:
        self.base, self.address, self.timeout_s = base, address, timeout_s

    def queues(self) -> list[Row]:
        """Return Name, QueueSize, ConsumerCount and DLQ (whether it is a dead-letter queue, as far as the broker knows) of each."""
        return self._read(DESTINATIONS.format(kind="Queue"), "Name,QueueSize,ConsumerCount,DLQ")

    def subscriptions(self) -> list[Row]:
        """Return DestinationName, Selector, Durable and Active of each subscription to a topic."""
        return self._read(SUBSCRIPTIONS.format(kind="Topic"), "DestinationName,Selector,Durable,Active")

    def _read(self, beans: str, attributes: str) -> list[Row]:
        path = f"/api/jolokia/read/{beans}/{attributes}?ignoreErrors=true&canonicalNaming=false"
        address = self.address
        status, answer = ask(
            self.base, path, username=address.username, secret=address.secret, port=8161, timeout_s=self.timeout_s,
            headers={"Origin": "http://localhost"},
        )  # fmt: skip
        if status in (401, 403):
            raise BrokerUnavailable(
                "the web console refuses the login: it has users of its own, in jetty-realm.properties"
            )
        if status != 200:
            raise BrokerUnavailable(f"the web console answered HTTP {status} to /api/jolokia")
        return rows_of(answer)


def rows_of(answer: object) -> list[Row]:
    """Return the attributes of each bean of an answer; [] when there is no such bean. Raises BrokerUnavailable for a refusal. Pure."""
    if not isinstance(answer, Mapping):
        raise BrokerUnavailable("the web console answered something that Jolokia does not")
    status, value = answer.get("status"), answer.get("value")
    if status == 404:
        return []
    if status != 200 or not isinstance(value, Mapping):
        raise BrokerUnavailable(f"Jolokia refuses it: {' '.join(str(answer.get('error') or status).split())[:200]}")
    return [row for row in value.values() if isinstance(row, Mapping)]
