"""Which queue dead-letters to which, read off the lists of RabbitMQ's management API. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from messages.connectors.base import Found
from messages.connectors.naming import MOST_FOUND, why_dead_letters


def dead_letter_queues(queues: Sequence[Mapping[str, Any]], bindings: Sequence[Mapping[str, Any]]) -> list[Found]:
    """Return queues that others dead-letter to, by argument or policy, then those whose names say so. Pure.

    A dead-letter exchange may route by headers or patterns: every queue bound to it counts.
    """
    whys: dict[str, str] = {}
    depths = {str(one["name"]): one.get("messages") for one in queues if one.get("name")}
    for name, targets in edges_of(queues, bindings).items():
        for target in targets:
            if target in depths and target != name:
                whys.setdefault(target, f"{name} sends its dead letters there")
    sure = frozenset(whys)
    for name in depths:
        if name not in whys and (why := why_dead_letters(name)):
            whys[name] = why
    return [
        Found(queue=name, why=why, waiting=_count(depths[name]), sure=name in sure)
        for name, why in list(whys.items())[:MOST_FOUND]
    ]


def edges_of(queues: Sequence[Mapping[str, Any]], bindings: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return queue → the queues that its dead letters may go to, for those that dead-letter. Pure."""
    bound: dict[str, list[str]] = {}
    for one in bindings:
        if one.get("destination_type") == "queue" and one.get("source"):
            bound.setdefault(str(one["source"]), []).append(str(one.get("destination")))
    edges: dict[str, list[str]] = {}
    for one in queues:
        name, said = str(one.get("name", "")), _settings(one)
        if (exchange := said.get("exchange")) is not None:
            edges[name] = bound.get(exchange, []) if exchange else [said.get("key") or name]
    return edges


def topology_hints(
    queues: Sequence[Mapping[str, Any]], bindings: Sequence[Mapping[str, Any]], *, queue: str, died_in: str
) -> list[str]:
    """Return what to mind of a queue: a circle of dead-lettering through it, a time to live. Pure."""
    hints = []
    circle = _circle(edges_of(queues, bindings), queue)
    if circle:
        way = " → ".join(circle)
        hints.append(
            f"dead letters go in a circle: {way}. If it fails again it comes back by itself, unless it is harvested from {died_in} first"
        )
    target = next((one for one in queues if one.get("name") == queue), None)
    ttl = _ttl_ms(target) if target else None
    if ttl is not None:
        hints.append(f"queue {queue} lets a message expire after {ttl / 1000:g} s if nobody takes it")
    return hints


def _circle(edges: Mapping[str, Sequence[str]], start: str) -> list[str]:
    """Return the shortest way of dead-lettering from this queue back to it, [] when there is none."""
    ways, seen = deque([[start]]), set()
    while ways:
        way = ways.popleft()
        for following in edges.get(way[-1], ()):
            if following == start:
                return [*way, start]
            if following not in seen:
                seen.add(following)
                ways.append([*way, following])
    return []


def _ttl_ms(queue: Mapping[str, Any]) -> int | None:
    for name, key in (("arguments", "x-message-ttl"), ("effective_policy_definition", "message-ttl")):
        values = queue.get(name)
        if isinstance(values, Mapping) and (ttl := _count(values.get(key))) is not None:
            return ttl
    return None


def expiry_hints(properties: Mapping[str, object]) -> list[str]:
    """Return when a message with these AMQP properties expires, or that it was to (milliseconds as text). Pure."""
    if (seconds := _seconds(properties.get("expiration"))) is not None:
        return [f"it carries its own time to live: it expires {seconds:g} s after it is sent if nobody takes it"]
    if (seconds := _seconds(properties.get("original_expiration"))) is not None:
        return [
            f"it had {seconds:g} s to live; RabbitMQ took that away when it died: it goes out without an end, unless you keep it"
        ]
    return []


def _seconds(expiration: object) -> float | None:
    text = str(expiration or "")
    return int(text) / 1000 if text.isascii() and text.isdigit() and len(text) <= 15 else None


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
