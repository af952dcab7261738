"""An order with payment taken and stock reserved that billing refuses: an operator compensates it in the demo estate."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime
from random import Random
from uuid import uuid4

import pytest
import redis
from playwright.sync_api import Page, expect

from agents.demo.consumer import entry_headers
from agents.demo.names import DID_KEY, ORDERS
from agents.demo.orders import make_order
from agents.demo.work import Publish
from tests.product import Product, call, wait_until


def refused_order(demo: Product, client: redis.Redis) -> tuple[str, str]:
    """Sell an order that billing refuses; return (its dead letter, its number) once its payment is taken and its articles are reserved."""
    number = str(900_000 + secrets.randbelow(90_000))
    order = make_order(number, datetime.now(UTC), Random(number), trouble="vat-missing")
    publish = Publish(stream=ORDERS, body=order.body, keys={"order_no": number, "customer_no": order.customer_no})
    message_id = str(uuid4())
    client.xadd(ORDERS, {**entry_headers(message_id, message_id, publish), "body": order.body})
    address = f"{demo.base}/api/v1/dead-letters?environment=demo&q=state:open+system:billing+order_no:{number}"

    def letter() -> str | None:
        _, body = call("GET", address, key=demo.api_key())
        return body["results"][0]["id"] if body["results"] else None

    found = wait_until(letter, seconds=60, what="the dead letter of an order that billing refused")

    def told() -> bool:
        _, body = call("GET", f"{demo.base}/api/v1/events?environment=demo&q=order_no:{number}", key=demo.api_key())
        return {"payment", "stock"} <= {one["system"] for one in body["results"] if one["operation"] == "process"}

    wait_until(told, seconds=30, what="the spans of its payment and its reservation")
    assert [client.get(f"{DID_KEY}{system}:{number}") for system in ("payment", "stock")] == [b"taken", b"reserved"]
    return found, number


@pytest.mark.browser
@pytest.mark.timeout(240)
def test_payment_and_stock_are_given_back_in_the_demo_s_own_systems(visitor: Page, demo: Product):
    client = redis.Redis.from_url(demo.engines()["redis_url"])
    letter, order = refused_order(demo, client)

    visitor.goto(f"/dead-letters/{letter}/")
    visitor.locator(f"a[href*='/compensations/new/?letter={letter}']").first.click()
    expect(visitor.locator("#proposal")).to_contain_text("payment taken")
    expect(visitor.locator("#proposal")).to_contain_text("articles reserved")
    visitor.fill("[name=reason]", "billing refused it for good")
    visitor.get_by_role("button", name=re.compile("Propose these 2 steps")).click()
    visitor.wait_for_url(re.compile(r"/compensations/C-\d+/"))
    page = visitor.url
    visitor.get_by_role("button", name=re.compile("^Start")).click()

    def compensated() -> bool:
        visitor.goto(page)
        return "compensated" in visitor.locator("#compensation-now .chip").first.inner_text()

    wait_until(compensated, seconds=90, what="“compensated” on the page", every=1.0)
    expect(visitor.locator("main")).to_contain_text("proved by payment")
    expect(visitor.locator("main")).to_contain_text("proved by stock")
    assert (client.get(f"{DID_KEY}payment:{order}") or b"").startswith(b"refunded")
    assert client.get(f"{DID_KEY}stock:{order}") == b"released"

    visitor.goto(f"/dead-letters/{letter}/")
    expect(visitor.locator("#compensation")).to_contain_text("Compensated by C-")
    expect(visitor.locator("#saga")).to_contain_text("payment taken")
    expect(visitor.locator("#saga")).to_contain_text("articles reserved")
    for change in ('status "taken" → "refunded"', 'status "reserved" → "released"'):
        expect(visitor.locator("#saga")).to_contain_text(change)
