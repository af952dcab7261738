"""What to mind before a message goes to an address of Artemis, and which queues hold dead letters; when messages expire. Pure.

Sources: Artemis documentation, "Address Model", "Address Settings", "Message Redelivery and Undelivered Messages", and the rows of its
management operation listQueues.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from messages.connectors.activemq.expiry import moment_ms, time_to_live_ms
from messages.connectors.activemq.names import address_of, queue_of
from messages.connectors.base import Found
from messages.connectors.naming import MOST_FOUND, why_dead_letters
from messages.connectors.spans import some, span

DEFAULT_ATTEMPTS = 10
Row = Mapping[str, Any]  # of listQueues; numbers come as text
Settings = Mapping[str, Any]  # of getAddressSettingsAsJSON; what is not set is left out


def count_of(row: Row, name: str) -> int | None:
    text = str(row.get(name, ""))
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None


def expiry_hints(properties: Mapping[str, object], *, now: datetime) -> list[str]:
    """Return whether a letter carries an expiry that is past or near, or had one that the broker took away. Pure."""
    try:
        at = moment_ms(properties.get("expires"))
    except ValueError:
        return []
    if at is None:
        lived = time_to_live_ms(properties)
        if lived is None:
            return []
        return [
            f"it had {span(round(lived / 1000))} to live when it was first sent; that was taken away when it died: it goes out without an end, "
            "unless you keep it"
        ]
    left = at / 1000 - now.timestamp()
    if left <= 0:
        return [
            "it carries an expiry that is past: the broker drops it, or moves it to where expired messages go, before anybody has it. "
            "Send it without"
        ]
    return [f"it carries its own expiry: it expires in {span(round(left))} if nobody takes it"]


def artemis_hints(
    name: str, rows: Sequence[Row], settings: Settings, *, multicast: bool, died_in: str, circle: Sequence[str] = ()
) -> list[str]:
    """Return what to mind of an address of Artemis. Pure.

    name     address, or address::queue. multicast: whether it is sent as to a topic.
    rows     the queues of the address. circle: addresses from it back to it by their dead-letter addresses, [] when there is none.
    """
    address = address_of(name)
    return [*_takers(name, rows, multicast=multicast), *_settings(address, settings, died_in=died_in, circle=circle)]


def _takers(name: str, rows: Sequence[Row], *, multicast: bool) -> list[str]:
    address = address_of(name)
    if "::" in name:
        taking = [row for row in rows if row.get("name") == queue_of(name)]
        if not taking:
            return [f"Artemis has no queue {queue_of(name)} at address {address} any more"]
        return _unread(taking)
    kind = "MULTICAST" if multicast else "ANYCAST"
    taking = [row for row in rows if row.get("routingType") == kind]
    if multicast:
        return _subscribers(address, taking)
    if not taking and rows:
        return [
            f"address {address} is a topic with {len(rows)} subscriber{'s' if len(rows) > 1 else ''} and has no queue: "
            "a replay goes into a queue that Artemis makes for it, if it may, and not to them"
        ]
    if not taking:
        return [f"there is no queue at address {address}: Artemis makes one if it may, and nobody reads it yet"]
    if len(taking) > 1:
        names = some(sorted(str(row.get("name")) for row in taking))
        return [
            f"address {address} has {len(taking)} queues ({names}): Artemis gives it to one of them",
            *_unread(taking),
        ]
    return _unread(taking)


def _subscribers(address: str, rows: Sequence[Row]) -> list[str]:
    if not rows:
        return [f"nobody has subscribed to topic {address}: Artemis drops the message"]
    filtered = sum(bool(row.get("filter")) for row in rows)
    words = f", {filtered} of them by a filter" if filtered else ""
    one = len(rows) == 1
    again = "" if one else ": all get it, also those that did well with it before"
    return [f"topic {address} has {len(rows)} subscriber{'' if one else 's'}{words}{again}"]


def _unread(rows: Sequence[Row]) -> list[str]:
    if any(count_of(row, "consumerCount") != 0 for row in rows):
        return []
    name = rows[0].get("name") if len(rows) == 1 else f"any queue of address {rows[0].get('address')}"
    return [f"nobody consumes {'queue ' if len(rows) == 1 else ''}{name} now: the message waits there"]


def _settings(address: str, settings: Settings, *, died_in: str, circle: Sequence[str]) -> list[str]:
    found = []
    attempts, target = (
        settings.get("maxDeliveryAttempts", DEFAULT_ATTEMPTS),
        str(settings.get("deadLetterAddress") or ""),
    )
    tries = "after one failed delivery" if attempts == 1 else f"after {attempts} failed deliveries"
    if circle:
        found.append(
            f"dead letters go in a circle: {' → '.join(circle)}. If it fails again it comes back by itself, and so on"
        )
    elif isinstance(attempts, int) and attempts > 0 and not target:
        found.append(
            f"address {address} has no dead-letter-address: if it fails again Artemis drops it {tries}, and nobody sees it any more"
        )
    elif (
        isinstance(attempts, int)
        and attempts > 0
        and died_in
        and target not in (address_of(died_in), queue_of(died_in))
    ):
        found.append(
            f"if it fails again Artemis moves it to {target} {tries}, not to {died_in} where this one died: is {target} harvested too?"
        )
    for key, words in (
        ("expiryDelay", "lets a message without an expiry of its own expire after"),
        ("maxExpiryDelay", "lets no message live longer than"),
    ):
        if (delay := count_of(settings, key)) is not None and delay > 0:
            found.append(f"address {address} {words} {span(delay / 1000)}")
    return found


def dead_letter_queues(rows: Sequence[Row], settings: Mapping[str, Settings]) -> list[Found]:
    """Return the queues of addresses to which others dead-letter or expire, then queues by their names. settings: by address. Pure."""
    queues = {
        str(row.get("name")): row
        for row in rows
        if row.get("internalQueue") != "true" and row.get("temporary") != "true"
    }
    whys: dict[str, str] = {}
    for key, words in (
        ("deadLetterAddress", "sends its dead letters there"),
        ("expiryAddress", "sends what expires there"),
    ):
        for address, said in settings.items():
            target = str(said.get(key) or "")
            for name, row in queues.items():
                if target and row.get("address") == target and target != address:
                    whys.setdefault(name, f"address {address} {words}")
    sure = frozenset(whys)
    for name in queues:
        if name not in whys and (why := why_dead_letters(name)):
            whys[name] = why
    return [
        Found(queue=_fully(queues[name]), why=why, waiting=count_of(queues[name], "messageCount"), sure=name in sure)
        for name, why in list(whys.items())[:MOST_FOUND]
    ]


def _fully(row: Row) -> str:
    """Return how a queue is named to the harvester: address::queue where the two differ."""
    name, address = str(row.get("name")), str(row.get("address") or row.get("name"))
    return name if name == address else f"{address}::{name}"
