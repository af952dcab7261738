"""A compensation over a connection that lives with an agent, from end to end: a real RabbitMQ, and an agent that is killed before it reports."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pika
import pytest

from tests.http.test_two_way_loop import Bench
from tests.loops import Corner, harvesting
from tests.product import call, wait_until

RELEASES = "stock.releases"
BOOK = f"""
steps:
  - name: stock
    title: stock reserved
    happened: {{system: stock}}
    undo:
      title: release {{order}}
      connection: rabbit
      message: {{destination: {RELEASES}}}
      body: "release {{order}}"
      inputs: {{order: {{key: order_no}}}}
"""


def refused(corner: Corner, key: str, number: int) -> dict[str, Any]:
    """An order that billing refused after its stock was reserved; return its dead letter."""
    about = {"trace_id": f"{number:032x}", "keys": {"order_no": f"4711-{number}"}}
    at = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    event = {"id": f"e-{number}", "system": "stock", "operation": "process", "outcome": "ok", "occurred_at": at,
             "message_id": f"reservation-{number}", "destination": "reservations", **about}  # fmt: skip
    letter = {"id": f"d-{number}", "broker": "rabbit", "family": "rabbitmq", "queue": "orders.dlq", "origin": "orders", "system": "billing",
              "message_id": f"order-undone-{number}", "body": "{}", **about}  # fmt: skip
    assert call("POST", f"{corner.base}/ingest/v1/events", key=key, body={"events": [event]})[0] == 200
    assert call("POST", f"{corner.base}/ingest/v1/dead-letters", key=key, body=[letter])[0] == 200
    return next(one for one in corner.listed("dead-letters") if one["message_id"] == f"order-undone-{number}")


def begun(corner: Corner, letter: dict[str, Any]) -> str:
    reference = str(corner.ask("POST", "compensations", {"letter": letter["id"], "reason": "refused"})["reference"])
    corner.ask("POST", f"compensations/{reference}/start")
    return reference


def until(corner: Corner, reference: str, state: str) -> None:
    wait_until(
        lambda: corner.ask("GET", f"compensations/{reference}")["state"] == state,
        seconds=60, what=f"{reference} {state}",
    )  # fmt: skip


def taken(channel: Any) -> list[tuple[str, bytes]]:
    """Take what lies in the queue; return (idempotency key, body) of each."""
    found = []
    while (got := channel.basic_get(RELEASES, auto_ack=True))[0]:
        found.append((str(got[1].headers["x-idempotency-key"]), got[2]))
    return found


@pytest.mark.engine
@pytest.mark.fault
@pytest.mark.timeout(240)
def test_an_agent_undoes_a_step_and_reports_it_though_it_was_killed_before(
    corner: Corner, rabbitmq: str, tmp_path: Path
):
    bench, key = Bench(corner, rabbitmq, tmp_path), corner.agent_key("exporter")
    gate = bench.gate
    with (
        contextlib.closing(gate),
        contextlib.closing(pika.BlockingConnection(pika.URLParameters(rabbitmq))) as connection,
    ):
        channel = connection.channel()
        for queue in (RELEASES, "erp.orders.dlq"):
            channel.queue_declare(queue)
        first, second = refused(corner, key, 1), refused(corner, key, 2)
        corner.ask("PUT", f"flows/{first['flow_id']}/compensation-book", {"yaml": BOOK, "reason": "tests", "base": 0})

        with harvesting(bench.config) as agent:
            done = begun(corner, first)
            until(corner, done, "compensated")
            sent = taken(channel)

            gate.before = lambda path: path.endswith("/results")
            late = begun(corner, second)
            assert gate.held.wait(60)
            agent.kill()
        gate.open(lost=True)
        with harvesting(bench.config):
            until(corner, late, "compensated")

        again = taken(channel)

    steps = [corner.ask("GET", f"compensations/{one}/steps")["results"][0] for one in (done, late)]
    assert sent == [(steps[0]["idempotency_key"], b"release 4711-1")]
    assert again == [(steps[1]["idempotency_key"], b"release 4711-2")]
    assert [one["attempt"] for one in steps] == [1, 1]
