"""What to mind of a destination of ActiveMQ Classic, and which of its queues hold dead letters: by its management, else by names. Pure.

Source: ActiveMQ documentation, "Virtual Destinations", "Message Redelivery and DLQ Handling"; attributes of its MBeans.
"""

from __future__ import annotations

from collections.abc import Sequence

from messages.connectors.activemq.jolokia import Row
from messages.connectors.activemq.names import plain_name
from messages.connectors.base import Found
from messages.connectors.naming import MOST_FOUND, why_dead_letters
from messages.connectors.spans import some

VIRTUAL = "/topic/VirtualTopic."
NOT_TOLD = "ActiveMQ Classic does not tell over STOMP: give the connection the address of its web console"


def classic_hints(
    destination: str, *, died_in: str, queues: Sequence[Row] | None, subscriptions: Sequence[Row] | None
) -> list[str]:
    """Return what to mind; queues, subscriptions: as Jolokia has them, None when it is not to be asked."""
    name = plain_name(destination)
    if "," in name:
        parts = [part.strip() for part in name.split(",")]
        return [f"{name} is a composite destination: the message goes to each of {some(parts)}"]
    if name.startswith(VIRTUAL):
        return _virtual(name.removeprefix("/topic/"), queues)
    if name.startswith("/topic/"):
        return _topic(name.removeprefix("/topic/"), subscriptions)
    if name == plain_name(died_in):
        return [f"it goes back into {name}, where it lies already: whoever harvests that queue brings it here again"]
    return _queue(name, queues)


def _virtual(topic: str, queues: Sequence[Row] | None) -> list[str]:
    if queues is None:
        return [
            f"{topic} is a virtual topic: each queue Consumer.*.{topic} gets it, also those whose consumer did well with it before"
        ]
    names = sorted(
        str(row.get("Name"))
        for row in queues
        if _name(row).startswith("Consumer.") and _name(row).endswith(f".{topic}")
    )
    if not names:
        return [f"{topic} is a virtual topic, and no queue Consumer.*.{topic} is there: nobody gets the message"]
    return [
        f"{topic} is a virtual topic with {len(names)} queue{'' if len(names) == 1 else 's'} ({some(names)}): each gets it, also those whose "
        "consumer did well with it before"
    ]


def _topic(topic: str, subscriptions: Sequence[Row] | None) -> list[str]:
    if subscriptions is None:
        return [
            f"{topic} is a topic: every subscriber gets it, also those that did well with it before, and one that is not there now "
            f"and has no durable subscription never does. How many there are {NOT_TOLD}"
        ]
    mine = [row for row in subscriptions if row.get("DestinationName") == topic]
    if not mine:
        return [f"nobody has subscribed to topic {topic}: ActiveMQ drops the message"]
    away = sum(row.get("Durable") is True and row.get("Active") is False for row in mine)
    picky = sum(bool(row.get("Selector")) for row in mine)
    words = [f"{away} of them away, for whom it is kept"] if away else []
    words += [f"{picky} of them by a selector"] if picky else []
    again = "" if len(mine) == 1 else ": all get it, also those that did well with it before"
    return [
        f"topic {topic} has {len(mine)} subscriber{'' if len(mine) == 1 else 's'}{''.join(f', {one}' for one in words)}{again}"
    ]


def _queue(name: str, queues: Sequence[Row] | None) -> list[str]:
    if queues is None:
        return [f"whether anybody consumes queue {name}, {NOT_TOLD}"]
    row = next((row for row in queues if row.get("Name") == name), None)
    if row is None:
        return [f"there is no queue {name} yet: ActiveMQ makes it, and nobody consumes it"]
    return [f"nobody consumes queue {name} now: the message waits there"] if row.get("ConsumerCount") == 0 else []


def dead_letter_queues(queues: Sequence[Row]) -> list[Found]:
    """Return the queues that the broker itself calls dead-letter queues, then those whose names do."""
    own = [row for row in queues if row.get("DLQ") is True]
    whys = {_name(row): "ActiveMQ itself calls it a dead-letter queue" for row in sorted(own, key=_name)}
    sure = frozenset(whys)
    sizes = {_name(row): row.get("QueueSize") for row in queues}
    for name in sorted(sizes):
        if name not in whys and (why := why_dead_letters(name)):
            whys[name] = why
    return [
        Found(queue=name, why=why, waiting=size if isinstance(size := sizes[name], int) else None, sure=name in sure)
        for name, why in list(whys.items())[:MOST_FOUND]
    ]


def _name(row: Row) -> str:
    return str(row.get("Name"))
