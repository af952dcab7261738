"""What tests of delivery share: nothing that an earlier one told, and a mail server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from alerts.delivery.notifiers.memory import ANSWERS, TOLD
from tests.engines.mailbox import SlowMailbox, mail_server


@pytest.fixture(autouse=True)
def forget() -> None:
    TOLD.clear()
    ANSWERS.clear()


@pytest.fixture
def mailbox(settings: Any) -> Iterator[SlowMailbox]:
    with mail_server(settings) as box:
        yield box
