"""What tests of alerts share."""

from __future__ import annotations

import pytest

from tests.alerts.breaching import Outbox


@pytest.fixture
def outbox(monkeypatch: pytest.MonkeyPatch) -> Outbox:
    """Take what would be handed to delivery, which has its own tests."""
    found = Outbox()
    monkeypatch.setattr("alerts.breaches.telling.send", found)
    return found
