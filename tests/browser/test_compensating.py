"""An order with payment taken and stock reserved that billing refuses: an operator compensates it in the demo estate."""

from __future__ import annotations

import re

import pytest
import redis
from playwright.sync_api import Page, expect

from agents.demo.names import DID_KEY
from tests.product import Product, call, wait_until


def refused_order(demo: Product, client: redis.Redis) -> tuple[str, str]:
    """Return (dead letter, order number) of an order that billing refused and the live estate took the payment of."""
    key = demo.api_key()

    def found() -> tuple[str, str] | None:
        _, body = call(
            "GET", demo.base + "/api/v1/dead-letters?environment=demo&q=state:open+system:billing&limit=50", key=key
        )
        for one in body["results"]:
            order = one["keys"]["order_no"]
            if client.get(f"{DID_KEY}payment:{order}") == b"taken":
                return one["id"], order
        return None

    letter, order = wait_until(found, seconds=400, what="an order that billing refused")
    return letter, order


@pytest.mark.browser
@pytest.mark.timeout(600)
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
