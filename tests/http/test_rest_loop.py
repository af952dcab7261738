"""The first closed loop by REST alone, with curl as a runbook would: a real dead letter, replayed, proved."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from tests.product import Product, wait_until


def curl(product: Product, key: str, path: str, body: dict[str, Any] | None = None) -> Any:
    command = ["curl", "-sS", "--max-time", "20", "-H", f"Authorization: Bearer {key}", product.base + path]
    if body is not None:
        command += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.fault
@pytest.mark.timeout(240)
def test_a_runbook_finds_replays_and_proves_a_stuck_order_with_curl_only(demo: Product):
    key = demo.api_key()
    switch_off(demo, "erp-timeout")

    def stuck() -> Any:
        found = curl(demo, key, "/api/v1/dead-letters?environment=demo&q=state:open+error:Timeout&limit=1")
        return found["results"]

    letter = wait_until(stuck, seconds=60, what="a dead letter of an ERP time-out")[0]
    order = letter["keys"]["order_no"]
    by_number = curl(demo, key, f"/api/v1/dead-letters?environment=demo&q=order_no:{order}")
    assert letter["id"] in [found["id"] for found in by_number["results"]]

    replay = curl(demo, key, f"/api/v1/dead-letters/{letter['id']}/replay", {"reason": "erp answers again"})

    def processed() -> Any:
        now = curl(demo, key, f"/api/v1/replays/{replay['id']}")
        return now if now["state"] == "processed" else None

    done = wait_until(processed, seconds=60, what="the receiver's proof")
    assert done["proof_tie"]
    assert curl(demo, key, f"/api/v1/dead-letters/{letter['id']}")["resolution"] == "processed"
    event = curl(demo, key, f"/api/v1/events/{done['proof_event_id']}")
    assert (event["system"], event["outcome"]) == ("erp", "ok")


def switch_off(product: Product, fault: str) -> None:
    import redis

    redis.Redis.from_url(product.engines()["redis_url"]).hset("waybill-demo:faults", fault, "0")
