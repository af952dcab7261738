"""The scheme of an address decides: stomp:// and stomp+ssl://, or amqp10:// and amqp10+ssl://, which needs python-qpid-proton."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec

from messages.connectors.base import Address, BrokerUnavailable, Check, Connector, Outgoing, Published, Received, Source

HOW_TO_ADD = "AMQP 1.0 needs python-qpid-proton: `pip install -r requirements-amqp10.txt`, with a C compiler at hand"


def connector_of(address: Address) -> Connector:
    if not address.url.startswith("amqp10"):
        from messages.connectors.activemq.connector import StompConnector

        return StompConnector(address)
    if find_spec("proton") is None:
        return WithoutProton()
    from messages.connectors.activemq.amqp10_connector import Amqp10Connector

    return Amqp10Connector(address)


def source_of(address: Address, *, broker: str, queue: str, options: Mapping[str, object]) -> Source:
    if not address.url.startswith("amqp10"):
        from messages.connectors.activemq.source import StompSource

        return StompSource(address, broker=broker, queue=queue, options=options)
    if find_spec("proton") is None:
        return WithoutProton()
    from messages.connectors.activemq.amqp10_source import Amqp10Source

    return Amqp10Source(address, broker=broker, queue=queue, options=options)


# Classic over STOMP and both over AMQP have browsers; over STOMP the first look at Artemis says that it has none.
source_of.may_peek = True  # type: ignore[attr-defined]


class WithoutProton:
    """Says how to add the library, whatever it is asked."""

    kind = "activemq"

    def publish(self, items: Sequence[Outgoing], *, timeout_s: float) -> list[Published]:
        return [Published(id=item.id, result="unavailable", detail=HOW_TO_ADD) for item in items]

    def receive(self, limit: int, wait_s: float) -> list[Received]:
        raise BrokerUnavailable(HOW_TO_ADD)

    def peek(self, limit: int, after: object | None) -> list[Received]:
        raise BrokerUnavailable(HOW_TO_ADD)

    def acknowledge(self, tokens: Sequence[object]) -> None:
        raise BrokerUnavailable(HOW_TO_ADD)

    def depth(self) -> int | None:
        return None

    def check(self, destination: str | None = None) -> list[Check]:
        return [Check(question="reached", answer=False, detail=HOW_TO_ADD)]

    def close(self) -> None: ...
