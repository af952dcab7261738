"""What tests of delivery share: nothing that an earlier one told."""

from __future__ import annotations

import pytest

from alerts.delivery.notifiers.memory import ANSWERS, TOLD


@pytest.fixture(autouse=True)
def forget() -> None:
    TOLD.clear()
    ANSWERS.clear()
