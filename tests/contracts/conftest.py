"""What the suites of several files share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contracts.sqs_estate import Estate


@pytest.fixture
def estate(localstack: str) -> Iterator[Estate]:
    """An application's queues and topics in a private SQS and SNS."""
    estate = Estate(localstack)
    yield estate
    for client in (estate.sqs, estate.sns):
        client.close()
