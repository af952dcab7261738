"""HTTP from end to end: calls that fail, reported by the SDK, replayed by REST to their own path, proved by the receiver's own event."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from agents.sdk import Waybill
from tests.engines.receiver import Answer, Came, Receiver, receiving
from tests.product import Product, call, wait_until

CONNECT = """
from console.identity.actor import SYSTEM
from console.identity.models import Environment
from messages.catalog.connections import approve_connection, create_connection

production = Environment.objects.get(slug="production")
approve_connection(create_connection(production, name="erp-api", kind="http", address="{url}/api", by=SYSTEM), by=SYSTEM)
"""
FAULT = (
    b'<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope"><e:Body><e:Fault><e:Code><e:Value>e:Receiver</e:Value></e:Code>'
    b'<e:Reason><e:Text xml:lang="en">the ledger is closed</e:Text></e:Reason></e:Fault></e:Body></e:Envelope>'
)
FAILURES = (Answer(500, b"out of memory"), Answer(200, FAULT, {"Content-Type": "application/soap+xml"}), Answer(204))


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    product = Product.prepared(tmp_path_factory.mktemp("http") / "data").start()
    yield product
    product.stop()


def order(shop: Waybill, method: str, url: str, number: str) -> bool:
    """Order as a shop does, and report what failed; return whether it did."""
    with shop.step("send", destination="/api/orders", message_id=number, keys={"order_no": number}) as step:
        headers = {"Message-Id": number, "Traceparent": step.traceparent, "Authorization": "Bearer s3cret"}
        response = requests.request(method, url, json={"order_no": number}, headers=headers, timeout=5)
    return shop.failed_request(response, broker="erp-api", attempts=1, origin="/api/orders")


def process(erp: Waybill, came: Came) -> None:
    """Do the work of an order that came, and tell of it."""
    about = {"message_id": came.headers["message-id"], "traceparent": came.headers["traceparent"]}
    with erp.step("process", destination="/api/orders", **about):
        assert came.body.startswith(b'{"order_no"')


def replayed(receiver: Receiver, number: str) -> list[Came]:
    return [came for came in receiver.came if "replay-id" in came.headers and came.headers["message-id"] == number]


@pytest.mark.timeout(240)
def test_failed_calls_are_replayed_to_their_own_path_and_proved_and_a_busy_receiver_is_left_alone(product: Product):
    api, key = product.api_key(), product.agent_key("programs")
    shop, erp = Waybill(product.base, key, system="shop"), Waybill(product.base, key, system="erp")

    def replay(number: str) -> str:
        """Replay the one letter of this order by REST; return the replay's address."""
        found = call("GET", f"{product.base}/api/v1/dead-letters?q=order_no:{number}", key=api)[1]["results"]
        assert [(one["broker"], one["origin"]) for one in found] == [("erp-api", "/api/orders")]
        where = f"{product.base}/api/v1/dead-letters/{found[0]['id']}/replay"
        status, made = call("POST", where, key=api, body={"reason": "the ERP answers again"})
        assert status == 202, made
        letters[number] = found[0]
        return f"{product.base}/api/v1/replays/{made['id']}"

    def state(where: str) -> str:
        return str(call("GET", where, key=api)[1]["state"])

    letters: dict[str, Any] = {}
    with receiving(*FAILURES) as receiver:
        product.manage("shell", "-c", CONNECT.format(url=receiver.url))
        failed = [
            order(shop, "PUT", f"{receiver.url}/api/orders/4711?from=shop", "4711"),
            order(shop, "POST", f"{receiver.url}/api/soap", "4712"),
            order(shop, "POST", f"{receiver.url}/api/orders", "4713"),
        ]
        assert shop.flush()
        for number in ("4711", "4712"):
            where = replay(number)
            [came] = wait_until(lambda n=number: replayed(receiver, n), seconds=30, what="the replayed order")
            process(erp, came)
            assert erp.flush()
            wait_until(lambda at=where: state(at) == "processed", seconds=60, what="the proof")

        receiver.answers[:] = [Answer(503), Answer(503), Answer(429, headers={"Retry-After": "2"})]
        for number in ("4714", "4715"):
            order(shop, "POST", f"{receiver.url}/api/orders", number)
        assert shop.flush()
        before = len(receiver.came)
        busy = replay("4714")
        wait_until(lambda: len(receiver.came) > before and state(busy) == "queued", seconds=30, what="429")
        replay("4715")
        wait_until(lambda: len(receiver.came) >= before + 3, seconds=60, what="both orders, one of them twice")
    shop.close()
    erp.close()

    assert failed == [True, True, False]
    reasons = {number: (letter["reason"], letter["reason_code"]) for number, letter in letters.items()}
    assert reasons["4711"] == ("HTTP 500", "target_error")
    assert reasons["4712"] == ("SOAP e:Receiver", "target_error")
    assert letters["4712"]["error_message"] == "HTTP 200: SOAP fault e:Receiver: the ledger is closed"
    [first], [second] = replayed(receiver, "4711"), replayed(receiver, "4712")
    assert [(c.method, c.path) for c in (first, second)] == [
        ("PUT", "/api/orders/4711?from=shop"),
        ("POST", "/api/soap"),
    ]
    assert "authorization" not in first.headers  # the connection's own credentials are used, and it has none
    refused, *later = receiver.came[before:]
    assert len(later) == 2
    assert min(came.at for came in later) - refused.at >= 2
