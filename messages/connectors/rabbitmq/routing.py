"""Where an exchange takes a message, and who takes it away by itself, read off the lists of RabbitMQ's management API. Pure.

Source: RabbitMQ documentation, "Exchanges" (direct, fanout, topic, headers), and the rows of /api/exchanges, /api/bindings, /api/shovels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from messages.connectors.spans import some

Row = Mapping[str, Any]
MOST_WORDS = 128  # of a routing key: it has at most 255 bytes


def takers(exchange: str, key: str, exchanges: Sequence[Row], bindings: Sequence[Row]) -> tuple[list[str], bool]:
    """Return (the queues to which it takes a message with this key, whether that is sure).

    Not sure of exchanges that look at headers, and of kinds that come by plugins: every queue bound to one counts then.
    """
    kinds = {str(one.get("name", "")): str(one.get("type", "")) for one in exchanges}
    found: dict[str, None] = {}
    seen, waiting, sure = set(), [exchange], True
    while waiting:
        here = waiting.pop()
        if here in seen:
            continue
        seen.add(here)
        kind = kinds.get(here, "")
        sure = sure and kind in ("direct", "fanout", "topic")
        for one in bindings:
            if one.get("source") == here and _fits(kind, str(one.get("routing_key", "")), key):
                if one.get("destination_type") == "queue":
                    found[str(one.get("destination"))] = None
                else:
                    waiting.append(str(one.get("destination")))
    return sorted(found), sure


def _fits(kind: str, pattern: str, key: str) -> bool:
    if kind == "direct":
        return pattern == key
    return _matches(pattern.split(".")[:MOST_WORDS], key.split(".")[:MOST_WORDS]) if kind == "topic" else True


def _matches(pattern: Sequence[str], words: Sequence[str]) -> bool:
    """Whether a topic's pattern fits: `*` is one word, `#` none or more. Row by row, so that many `#` cost no more than few."""
    fits = [True, *(False for _ in words)]  # fits[n]: the pattern so far fits the first n words
    for part in pattern:
        if part == "#":
            for at in range(1, len(fits)):
                fits[at] = fits[at] or fits[at - 1]
        else:
            fits = [False, *(fits[at] and part in ("*", word) for at, word in enumerate(words))]
    return fits[-1]


def exchange_hints(exchange: str, key: str, queues: Sequence[Row], found: tuple[Sequence[str], bool]) -> list[str]:
    """Return what to mind of an exchange: that it takes the message nowhere, to several queues, to queues nobody reads. Pure."""
    names, sure = found
    with_key = f" with key {key}" if key else ""
    if not names:
        return [f"exchange {exchange} takes a message{with_key} to no queue: RabbitMQ would return it"] if sure else []
    hints = []
    if len(names) > 1:
        count = f"{len(names)} queues" if sure else f"up to {len(names)} queues, by its headers"
        hints.append(
            f"exchange {exchange} takes it to {count} ({some(names)}): the consumers of each get it, also those that did well with it before"
        )
    consumers = {str(one.get("name")): one.get("consumers") for one in queues}
    idle = [name for name in names if consumers.get(name) == 0]
    if idle:
        verb = "has" if len(idle) == 1 else "have"
        hints.append(f"{some(idle)} {verb} no consumer now: the message waits there")
    return hints


def shovel_hints(shovels: Sequence[Row], *, queue: str, died_in: str) -> list[str]:
    """Return whether a shovel takes messages away from where it goes, or brings it back from where it died by itself. Pure."""
    found = []
    for one in shovels:
        name, source = str(one.get("name", ""))[:100], one.get("src_queue")
        target = str(
            one.get("dest_queue") or one.get("dest_exchange") or one.get("dest_address") or "where each came from"
        )
        if source == queue and queue:
            found.append(f"shovel {name} takes every message of queue {queue} away, to {target}")
        elif source == died_in and died_in:
            found.append(
                f"shovel {name} sends every message of {died_in} to {target} by itself: what it took before the harvester is sent twice with this replay"
            )
    return found
