"""A whole product with Elasticsearch: it builds its index by itself; killed and started again it has everything, and pages never fail."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.engines.elasticsearch import Elasticsearch
from tests.factories import event
from tests.product import Product, wait_until

pytestmark = [pytest.mark.fault, pytest.mark.engine, pytest.mark.timeout(240)]
Q = "/api/v1/messages?limit=500&q=system:shop%20-status:dead"


@pytest.fixture
def product(elasticsearch_engine: Elasticsearch) -> Iterator[Product]:
    prefix = elasticsearch_engine.prefix()
    product = Product.prepared(
        "search", ELASTICSEARCH_URL=elasticsearch_engine.url, ELASTICSEARCH_PREFIX=prefix
    ).start()
    yield product
    product.stop()
    elasticsearch_engine.forget(prefix)


def asked(product: Product, path: str, key: str, body: Any = None) -> tuple[Any, str]:
    """Return (the answer, its header Waybill-Search)."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(product.base + path, data, headers), timeout=20) as answer:
        return json.loads(answer.read()), answer.headers.get("Waybill-Search") or ""


def test_killed_and_back_it_has_everything(product: Product, elasticsearch_engine: Elasticsearch):
    agent, key = product.agent_key("shop agent"), product.api_key()
    sent: set[str] = set()

    def send(count: int) -> None:
        events = [event(message_id=f"long-enough-message-{len(sent) + number:05d}") for number in range(count)]
        assert asked(product, "/ingest/v1/events", agent, events)[0]["accepted"] == count
        sent.update(one["message_id"] for one in events)

    def found() -> tuple[set[str], str]:
        answer, by = asked(product, Q, key)
        return {row["message_id"] for row in answer["results"]}, by

    def kill_the_worker() -> None:
        lines = product.descendants()
        for pid, line in lines.items():
            if "celery" in line and " worker" in line:
                os.kill(pid, signal.SIGKILL)

    send(100)
    assert found()[0] == sent
    wait_until(lambda: found() == (sent, "elasticsearch"), seconds=120, what="the index to be built")

    elasticsearch_engine.kill()
    send(100)
    kill_the_worker()
    names, by = found()
    assert names == sent
    assert by.startswith("postgresql; degraded=")

    elasticsearch_engine.start()
    send(50)
    wait_until(lambda: found() == (sent, "elasticsearch"), seconds=120, what="the index to catch up")
    status = json.loads(product.manage("search", "status", "--json"))
    assert [(one["state"], one["refused"]) for one in status["environments"]] == [("live", 0)]
