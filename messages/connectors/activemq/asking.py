"""Questions to Artemis' management about addresses and queues, over whichever protocol `ask` speaks. Nothing is changed by asking.

Source: Artemis documentation, "Management": operations listQueues, getAddressSettingsAsJSON of the resource `broker`.
"""

from __future__ import annotations

import json
import time
from typing import Any, Protocol

from messages.connectors.activemq.names import address_of
from messages.connectors.activemq.topology import Row, Settings, artemis_hints, dead_letter_queues
from messages.connectors.base import BrokerUnavailable, Found

MOST_ROWS = 1000
MOST_ADDRESSES = 500
MOST_HOPS = 5
MAY_NOT = "Artemis answers no question about its queues: this user lacks `manage`"


class Ask(Protocol):
    """Ask a resource for an attribute or to run an operation: the answer as JSON has it, None when there is none, LookupError for a no."""

    def __call__(
        self, resource: str, *, attribute: str = "", operation: str = "", arguments: tuple[object, ...] = ()
    ) -> Any: ...


def find_hints(ask: Ask, name: str, *, multicast: bool, died_in: str, until: float) -> list[str]:
    """Return what to mind of an address, or address::queue; until: of time.monotonic()."""
    address = address_of(name)
    rows = _rows(ask, address)
    if rows is None:
        return [MAY_NOT]
    settings = _settings(ask, address)
    way, here = [address], settings
    while (target := str(here.get("deadLetterAddress") or "")) and target not in way and len(way) <= MOST_HOPS:
        way.append(target)
        if time.monotonic() > until:
            break
        here = _settings(ask, target)
    circle = [*way, address] if target == address and len(way) > 1 else []
    return artemis_hints(name, rows, settings, multicast=multicast, died_in=died_in, circle=circle)


def find_dead_letter_queues(ask: Ask, *, until: float) -> list[Found]:
    """Ask each address where its dead letters and expired messages go; raises BrokerUnavailable with words."""
    rows = _rows(ask, "")
    if rows is None:
        raise BrokerUnavailable(MAY_NOT)
    settings: dict[str, Settings] = {}
    for address in sorted({str(row.get("address")) for row in rows if row.get("internalQueue") != "true"})[
        :MOST_ADDRESSES
    ]:
        if time.monotonic() > until:
            break
        settings[address] = _settings(ask, address)
    return dead_letter_queues(rows, settings)


def _rows(ask: Ask, address: str) -> list[Row] | None:
    """Return the queues of an address, of every one for ""; None when nobody answers."""
    wanted = {"field": "address" if address else "", "operation": "EQUALS" if address else "", "value": address}
    try:
        answer = ask("broker", operation="listQueues", arguments=(json.dumps(wanted), 1, MOST_ROWS))
        found = json.loads(answer)["data"] if isinstance(answer, str) else None
    except (LookupError, ValueError, TypeError):
        return None
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else None


def _settings(ask: Ask, address: str) -> Settings:
    try:
        found = json.loads(ask("broker", operation="getAddressSettingsAsJSON", arguments=(address,)))
    except (LookupError, ValueError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}
