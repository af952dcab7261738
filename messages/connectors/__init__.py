"""Families of brokers by kind: one dict of dotted paths, merged with the operator's own, and getters that raise on an unknown kind.

A new family is a folder with a FAMILY in its `__init__.py`, and one line here.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any, cast

from messages.connectors.base import Address, Connector, Family, Source

FAMILIES = {
    "redis-streams": "messages.connectors.redis_streams.FAMILY",
    "rabbitmq": "messages.connectors.rabbitmq.FAMILY",
    "kafka": "messages.connectors.kafka.FAMILY",
    "activemq": "messages.connectors.activemq.FAMILY",
    "celery": "messages.connectors.celery.FAMILY",
    "http": "messages.connectors.http.FAMILY",
    "sqs": "messages.connectors.sqs.FAMILY",
}


class UnknownFamily(LookupError):
    """Nobody declared a family of this kind, or it has no such part."""


@cache
def _load(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


def get_family(kind: str, more: Mapping[str, str] | None = None) -> Family:
    """Return what this kind of broker is; raises UnknownFamily."""
    paths = FAMILIES | dict(more or {})
    path = paths.get(kind)
    if path is None:
        raise UnknownFamily(f"there is no connection kind “{kind[:40]}”; use {', '.join(sorted(paths))}")
    return cast(Family, _load(path))


def families(more: Mapping[str, str] | None = None) -> list[Family]:
    """Return every family, by label."""
    return sorted((get_family(kind, more) for kind in FAMILIES | dict(more or {})), key=lambda family: family.label)


def get_connector(kind: str, address: Address, more: Mapping[str, str] | None = None) -> Connector:
    """Return a connector ready to publish; raises UnknownFamily, and ValueError for an address that it cannot use."""
    path = get_family(kind, more).connector
    if not path:
        raise UnknownFamily(f"nothing can be sent to a connection of kind “{kind}”")
    return cast(Connector, _load(path)(address))


def get_source(kind: str, address: Address, *, broker: str, queue: str, options: Mapping[str, object]) -> Source:
    """Return a source of one queue's dead letters; raises UnknownFamily."""
    path = get_family(kind).source
    if not path:
        raise UnknownFamily(f"dead letters of kind “{kind}” are pushed, not harvested")
    return cast(Source, _load(path)(address, broker=broker, queue=queue, options=options))


def why_no_mirror(kind: str) -> str:
    """Return why the queues of this kind cannot be looked at without taking from them; "" when they can."""
    path = get_family(kind).source
    source = _load(path) if path else None
    if hasattr(source, "peek") or getattr(source, "may_peek", False):
        return ""
    return str(getattr(source, "no_peek", "its source cannot look without taking"))


def can_redrive(kind: str, more: Mapping[str, str] | None = None) -> bool:
    """Whether brokers of this kind can send a whole dead-letter queue back by themselves (CanRedrive)."""
    try:
        path = get_family(kind, more).connector
    except UnknownFamily:
        return False
    return bool(path) and hasattr(_load(path), "redrive")
