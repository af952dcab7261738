"""What the suites of several files share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contracts.sqs_estate import Estate


@pytest.fixture
def estate(localstack: str) -> Iterator[Estate]:
    """An application's queues and topics in a private SQS and SNS."""
    estate = Estate(localstack)
    yield estate
    for client in (estate.sqs, estate.sns):
        client.close()


@pytest.fixture(scope="session")
def redis_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a Redis of the tests' own lives, which may be killed."""
    return tmp_path_factory.mktemp("redis")
