"""Failed and delivered orders that differ, and what is found of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from console.identity.models import Role
from messages.different.services import find_differences
from messages.models import DeadLetter, Flow
from messages.search.window import Window
from tests.factories import actor, agent_key, event, letter, person, push

FLOW = "erp.orders"


@pytest.fixture(autouse=True)
def nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A cache of the test's own, so that no other test's answer is met; returns what is in it."""
    kept: dict[str, Any] = {}
    own = SimpleNamespace(get=kept.get, set=lambda name, value, timeout: kept.update({name: value}))
    monkeypatch.setattr("console.core.kept.cache", own)
    return kept


def order(number: int, *, vat: bool, **more: Any) -> str:
    customer = {"name": f"customer {number % 3}"} | ({"vat": f"DE{number:06d}"} if vat else {})
    return json.dumps(
        {"order_no": str(number * 7919 % 90_000 + 10_000), "customer": customer, "total": number % 7 * 1.5} | more
    )


def fill(failed: int = 30, delivered: int = 60, *, flow: str = FLOW, first: int = 0, **more: Any) -> None:
    """Orders of one flow: those that failed have no VAT number and came from version 2.4 of the shop."""
    # early in an hour: all of them are of one, or the hour itself would be what is different
    at = (datetime.now(UTC) - timedelta(hours=2)).replace(minute=10)
    events, letters = [], []
    for number in range(failed + delivered):
        ok = number >= failed
        common = {"message_id": f"order {first + number} of {flow} long enough", "destination": flow}
        version = "2.3" if ok or number % 10 == 0 else "2.4"
        events.append(
            event(
                **common, occurred_at=(at + timedelta(seconds=number)).isoformat(), attributes={"service.version": version},
                payload={"content_type": "application/json", "body": order(number, vat=ok or number == 0, **more)},
            )
        )  # fmt: skip
        done = {
            "system": "erp",
            "operation": "process",
            "occurred_at": (at + timedelta(seconds=number + 1)).isoformat(),
        }
        if ok:
            events.append(event(**common, **done))
        else:
            events.append(event(**common, **done, outcome="error", error={"type": "BadVat", "message": "no"}))
            letters.append(
                letter(**common | {"origin": flow}, error={"type": "BadVat", "message": "no", "stack": ""}, failed_at=done["occurred_at"],
                       body=order(number, vat=number == 0, **more))
            )  # fmt: skip
    for one in letters:
        one.pop("destination")
    assert push("/ingest/v1/events", events, key=agent_key()).json()["accepted"] == len(events)
    assert push("/ingest/v1/dead-letters", letters, key=agent_key("harvester")).json()["accepted"] == failed


def window() -> Window:
    now = datetime.now(UTC)
    return Window(since=now - timedelta(days=1), until=now + timedelta(minutes=1))


def said(found: Any) -> dict[str, tuple[int, int, int, int]]:
    return {
        f"{one.place} {one.words}": (one.failed, one.of_failed, one.delivered, one.of_delivered) for one in found.all
    }


def found_by(name: str = "olga", role: Role = Role.OPERATOR) -> Any:
    return find_differences(actor(person(name, role)), Flow.objects.get(name=FLOW), DeadLetter.objects.all(), window())
