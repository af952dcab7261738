"""What tests of pages send over."""

from __future__ import annotations

import pytest

from messages.models import Connection
from tests.factories import memory_connection


@pytest.fixture
def line(db: None) -> Connection:
    return memory_connection()
