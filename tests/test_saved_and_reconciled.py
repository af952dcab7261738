"""The whole product: beat and worker look at a saved search, send its mail, and compare a list that REST sent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from aiosmtpd.controller import Controller

from tests.factories import letter
from tests.ports import free_port
from tests.product import Product, call, wait_until
from tests.services.test_outbox import Mailbox


def asked(
    product: Product, key: str, method: str, path: str, body: Any = None, content_type: str = "application/json"
) -> Any:
    status, answer = call(method, product.base + path, key=key, body=body, content_type=content_type)
    assert status < 300, answer
    return answer


def test_a_mail_arrives_and_a_list_is_compared_without_anybody_looking():
    box = Mailbox()
    controller = Controller(box, hostname="127.0.0.1", port=free_port())
    controller.start()
    product = Product.prepared(
        "saved", EMAIL_URL=f"smtp://127.0.0.1:{controller.port}?from=waybill@example.com"
    ).start()
    try:
        product.manage(
            "shell", "-c", "from console.identity.models import User; User.objects.update(email='ada@example.com')"
        )
        agent = product.agent_key("harvester")
        api = product.api_key()

        def post(path: str, body: Any, key: str = api, method: str = "POST") -> Any:
            return asked(product, key, method, path, body)

        search = {"environment": "production", "of": "dead-letters", "name": "Stuck", "q": "status:waiting"}
        made = post("/api/v1/saved-searches", search)
        post(f"/api/v1/saved-searches/{made['id']}/subscription", {"when": "matches"}, method="PUT")
        post("/ingest/v1/dead-letters", [letter(origin="orders", keys={"order_no": "1"})], agent)
        now = datetime.now(UTC)
        period = {"since": (now - timedelta(days=1)).isoformat(), "until": (now + timedelta(days=1)).isoformat()}
        one = post(
            "/api/v1/reconciliations", {"environment": "production", "flow": "orders", "key": "order_no", **period}
        )
        path = f"/api/v1/reconciliations/{one['id']}"
        asked(product, api, "PUT", f"{path}/list", b"1\n2\n", "text/csv")

        wait_until(lambda: asked(product, api, "GET", path)["state"] == "done", seconds=60, what="the comparison")
        found = asked(product, api, "GET", path)
        wait_until(lambda: box.taken, seconds=120, what="the mail")

        assert (found["failed"], found["never"]) == (1, 1)
        assert b"Subject: [production] Stuck: 1 dead letter" in box.taken[0]
        told = asked(product, api, "GET", f"/api/v1/saved-searches/{made['id']}/subscription")
        assert (told["state"], [mail["state"] for mail in told["mails"]]) == ("raised", ["sent"])
    finally:
        product.stop()
        controller.stop()
