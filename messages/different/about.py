"""What is known of a message without its body: who sent it and when, its attributes, keys and size. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from messages.different.features import Features, Value, scalar_value, text_value

OF_WHERE = ("service.version", "service.instance.id", "host.name", "k8s.pod.name", "deployment.environment.name")
OF_SENDING, OF_RECEIVING = (1, 2), (3, 4, 5)
MOST_ATTRIBUTES = 60
# What names each message anew says nothing of what it has in common with others.
NAMES_EACH = frozenset(
    {"messaging.message.id", "messaging.message.conversation_id", "cloudevents.event_id", "messaging.kafka.offset"}
)


def about(
    events: Sequence[Any],
    *,
    at: datetime,
    size_bytes: int | None,
    content_type: str,
    is_here: Callable[[Any], bool],
) -> Features:
    """Return the features of one message: only what delivered messages have in the same way, so nothing that its dead letter brought.

    events   of it, in order of time, with operation, system.name, agent.name, destination, attributes, keys. Of receivers only what says where
             they ran is taken, of each the last: what they say of the failure itself, failed messages alone have.
    is_here  whether an event is of where messages failed or passed: a message of an exchange has receivers elsewhere too.
    """
    found = Features()
    _add(found, "hour (UTC)", Value("text", f"{at.astimezone(UTC):%H}", length=2))
    _add(found, "day of the week", Value("text", f"{at.astimezone(UTC):%A}", length=3))
    if size_bytes is not None:
        _add(found, "size in bytes", Value("number", number=float(size_bytes)))
    if content_type:
        _add(found, "content type", text_value(content_type))
    sent = next((one for one in events if one.operation in OF_SENDING), None)
    if sent is not None:
        _add(found, "sending system", text_value(sent.system.name))
        _add(found, "destination", text_value(sent.destination or ""))
        if sent.agent is not None:
            _add(found, "agent of the sender", text_value(sent.agent.name))
        for name, value in sent.keys.items():
            _add(found, f"key {name}", text_value(value))
        for name in sorted(sent.attributes)[:MOST_ATTRIBUTES]:
            if name not in NAMES_EACH:
                _add(found, f"sender's {name}", scalar_value_of(sent.attributes[name]))
    for received in {one.system.name: one for one in events if one.operation in OF_RECEIVING and is_here(one)}.values():
        found.add("receiving system", None, text_value(received.system.name))
        for name in OF_WHERE:
            if name in received.attributes:
                found.add(f"receiver's {name}", None, scalar_value_of(received.attributes[name]))
    return found


def scalar_value_of(value: Any) -> Value:
    """Return a value as the database gives it: numbers are numbers there."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Value("number", str(value), number=float(value) if abs(value) < 1e300 else None)
    return scalar_value(value)


def _add(found: Features, place: str, value: Value) -> None:
    found.add(place, "", value)


def add_headers(found: Features, headers: Sequence[Mapping[str, Any]]) -> None:
    """Add the headers that came with a body, the first 60."""
    for header in headers[:60]:
        name = str(header.get("name", ""))[:120]
        value = header.get("value")
        _add(found, f"header {name}", text_value(value) if isinstance(value, str) else scalar_value_of(value))
