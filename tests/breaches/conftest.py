"""What tests of alerts share."""

from __future__ import annotations

import pytest

from tests.breaches.breaching import Outbox


@pytest.fixture
def outbox(monkeypatch: pytest.MonkeyPatch) -> Outbox:
    """Take what would be handed to delivery, which has its own tests."""
    found = Outbox()
    monkeypatch.setattr("alerts.breaches.telling.send", found)
    return found


@pytest.fixture(autouse=True)
def channels(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are channels 1 to 9 in production, whatever delivery has."""
    names = {number: f"channel {number}" for number in range(1, 10)}
    for module in ("channels", "views_policies"):
        monkeypatch.setattr(f"alerts.breaches.{module}.names_of_channels", lambda actor, environment: names)
