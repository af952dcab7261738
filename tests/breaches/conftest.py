"""What tests of alerts share."""

from __future__ import annotations

from types import SimpleNamespace

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
    found = [SimpleNamespace(pk=number, name=f"channel {number}") for number in range(1, 10)]
    monkeypatch.setattr("alerts.breaches.channels.find_channels", lambda actor, environment: found)
