"""HTTP from end to end: calls that fail, reported by the SDK, replayed by REST to their own path, proved by the receiver's own event."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from agents.sdk import Waybill
from tests.engines.receiver import Answer, Came, Receiver, receiving
from tests.loops import Corner
from tests.product import wait_until

FAULT = (
    b'<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope"><e:Body><e:Fault><e:Code><e:Value>e:Receiver</e:Value></e:Code>'
    b'<e:Reason><e:Text xml:lang="en">the ledger is closed</e:Text></e:Reason></e:Fault></e:Body></e:Envelope>'
)
FAILURES = (Answer(500, b"out of memory"), Answer(200, FAULT, {"Content-Type": "application/soap+xml"}), Answer(204))


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
def test_failed_calls_are_replayed_to_their_own_path_and_proved_and_a_busy_receiver_is_left_alone(corner: Corner):
    key = corner.agent_key("programs")
    shop, erp = Waybill(corner.base, key, system="shop"), Waybill(corner.base, key, system="erp")

    def replay(number: str) -> str:
        """Replay the one letter of this order by REST; return the replay's path."""
        found = corner.listed("dead-letters", f"order_no:{number}")
        assert [(one["broker"], one["origin"]) for one in found] == [("erp-api", "/api/orders")]
        letters[number] = found[0]
        return f"replays/{corner.replay(found[0])['id']}"

    def state(where: str) -> str:
        return str(corner.ask("GET", where)["state"])

    letters: dict[str, Any] = {}
    with receiving(*FAILURES) as receiver:
        corner.connect(name="erp-api", kind="http", address=f"{receiver.url}/api")
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
