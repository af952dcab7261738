"""Connectors by kind: one dict of dotted paths, merged with the operator's own, and one getter."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, cast

from messages.connectors.base import Address, Connector, Source

CONNECTORS = {
    "redis-streams": "messages.connectors.redis_streams.RedisStreamsConnector",
    "rabbitmq": "messages.connectors.rabbitmq.RabbitMQConnector",
    "http": "messages.connectors.http.HTTPConnector",
}
SOURCES = {
    "redis-streams": "messages.connectors.redis_streams.RedisStreamsSource",
    "rabbitmq": "messages.connectors.rabbitmq.RabbitMQSource",
}


class UnknownConnector(LookupError):
    """Nobody declared a connector of this kind."""


def _load(paths: Mapping[str, str], kind: str) -> Any:
    path = paths.get(kind)
    if path is None:
        raise UnknownConnector(f"there is no connector of kind “{kind}”; known are {', '.join(sorted(paths))}")
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


def get_connector(kind: str, address: Address, more: Mapping[str, str] | None = None) -> Connector:
    """Return a connector ready to publish; raises UnknownConnector."""
    return cast(Connector, _load(CONNECTORS | dict(more or {}), kind)(address))


def get_source(kind: str, address: Address, *, broker: str, queue: str, options: Mapping[str, object]) -> Source:
    """Return a source of one queue's dead letters; raises UnknownConnector."""
    return cast(Source, _load(SOURCES, kind)(address, broker=broker, queue=queue, options=options))
