"""Alerts from end to end: a promise, failures, a signed webhook and a mail; somebody takes it; it is over; an alert from elsewhere."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alerts.delivery.notifiers.webhook import signature
from tests.engines.receiver import Came, Receiver, receiving
from tests.factories import event
from tests.loops import Corner
from tests.product import Product, call, wait_until
from tests.services.test_outbox import Mailbox

SECRET = "0123456789abcdef-signing"
WITHIN_S = 90  # an alert leaves within it; see the bar
BRIDGE = "from alerts.models import Breach; Breach.objects.filter(pk={0}).update(clear_since='2020-01-01T00:00:00Z')"


def told(receiver: Receiver, happening: str) -> list[tuple[Came, dict[str, Any]]]:
    """Return what the receiver was told of a breach by a request whose signature is right."""
    found = []
    for came in list(receiver.came):
        said = json.loads(came.body)
        expected = signature(SECRET, came.headers["waybill-timestamp"], came.body)
        assert came.headers["waybill-signature"] == f"v1={expected}"
        if said["happening"] == happening:
            found.append((came, said))
    return found


def pushed(corner: Corner, path: str, body: Any, key: str) -> Any:
    status, answer = call("POST", corner.base + path, key=key, body=body)
    assert status == 200, answer
    return answer


def channel(corner: Corner, **about: Any) -> int:
    return int(corner.ask("POST", "channels", {"environment": corner.environment, **about})["id"])


def flow_named(corner: Corner, name: str) -> bool:
    return any(one["name"] == name for one in corner.listed("flows"))


def promise(corner: Corner, flow: str) -> int:
    said = {
        "environment": corner.environment,
        "flow": flow,
        "name": "Orders arrive",
        "kind": "success",
        "target": "0.99",
    }
    return int(corner.ask("POST", "objectives", said)["id"])


def an_alert(flow: str) -> dict[str, Any]:
    """Return a webhook as Alertmanager sends it."""
    began = (datetime.now(UTC) - timedelta(minutes=3)).isoformat()
    labels = {"alertname": "DiskFull", "severity": "critical", "flow": flow}
    one = {"status": "firing", "labels": labels, "annotations": {"summary": "/var is full"}, "startsAt": began,
           "endsAt": "0001-01-01T00:00:00Z", "fingerprint": "abc123", "generatorURL": "https://prometheus.example.com/g"}  # fmt: skip
    return {"version": "4", "status": "firing", "receiver": "waybill", "alerts": [one]}


def deliveries(corner: Corner) -> list[dict[str, Any]]:
    return corner.listed("deliveries")


@pytest.mark.timeout(480)
def test_a_broken_promise_is_told_taken_and_over(corner: Corner, shared: Product, mailbox: Mailbox):
    key = corner.agent_key("programs")
    pushed(corner, "/ingest/v1/events", [event(destination="alert.orders") for _ in range(3)], key)
    wait_until(lambda: flow_named(corner, "alert.orders"), seconds=30, what="the flow")
    with receiving() as receiver:
        corner.ask("POST", "approved-hosts", {"host": receiver.url.removeprefix("http://")})
        hook = channel(
            corner, kind="webhook", name="Bridge", settings={"url": receiver.url}, secrets={"secret": SECRET}
        )
        mail = channel(corner, kind="mail", name="Order team", settings={"to": "orders@example.com"})
        policy = {"environment": corner.environment, "page_channels": [hook, mail], "ticket_channels": [], "wait_s": 0}
        corner.ask("POST", "alerting/policies", policy)
        objective = promise(corner, "alert.orders")

        failing = [
            event(destination="alert.orders", system="erp", operation="process", outcome="error", error={"type": "ErpTimeout", "message": "no answer"})
            for _ in range(10)
        ]  # fmt: skip
        pushed(corner, "/ingest/v1/events", failing, key)
        [(_, fired)] = wait_until(lambda: told(receiver, "firing"), seconds=WITHIN_S, what="the page")
        [breach] = corner.ask("GET", f"breaches?environment={corner.environment}&severity=page")["results"]
        where = f"breaches/{breach['reference']}"
        corner.ask("POST", f"{where}/acknowledge", {"reason": "on it"})
        [(_, taken)] = wait_until(lambda: told(receiver, "acknowledged"), seconds=WITHIN_S, what="who has it")

        corner.ask("DELETE", f"objectives/{objective}")
        shared.manage("shell", "-c", BRIDGE.format(breach["reference"].removeprefix("B-")))  # its two minutes are over
        [(_, over)] = wait_until(
            lambda: told(receiver, "resolved"), seconds=200, what="the end"
        )  # 200: a look may have been under way
        wait_until(
            lambda: any(b"Resolved" in one for one in mailbox.taken), seconds=WITHIN_S, what="the mail of the end"
        )
        wait_until(
            lambda: {line["state"] for line in deliveries(corner)} == {"delivered"}, seconds=30, what="their marks"
        )

    assert (breach["title"], breach["source"], breach["key"]) == ("Orders arrive", "objective", str(objective))
    assert (fired["severity"], fired["environment"], fired["labels"]["flow"]) == (
        "page",
        corner.environment,
        "alert.orders",
    )
    assert fired["thread"] == taken["thread"] == over["thread"]
    assert fired["ends_at"] is None
    assert over["ends_at"] is not None
    one = corner.ask("GET", where)
    assert (one["state"], one["acknowledged_by"]) == ("resolved", "admin")
    assert {line["kind"] for line in one["timeline"]} >= {"fired", "told", "acknowledged", "resolved"}
    channels_told = {(line["channel_id"], line["happening"]) for line in deliveries(corner)}
    assert channels_told == {(one, what) for one in (hook, mail) for what in ("firing", "acknowledged", "resolved")}
    assert b"To: orders@example.com" in mailbox.taken[0]


def test_an_alert_from_elsewhere_appears_with_its_flow_and_ends(corner: Corner):
    key = corner.agent_key("alertmanager")
    pushed(corner, "/ingest/v1/events", [event(destination="alert.invoices")], key)
    wait_until(lambda: flow_named(corner, "alert.invoices"), seconds=30, what="the flow")
    firing = an_alert("alert.invoices")

    assert pushed(corner, "/ingest/v1/alertmanager", firing, key) == {"accepted": 1, "rejected": []}
    [told_us] = corner.listed("external-alerts")
    firing["alerts"][0] |= {"status": "resolved", "endsAt": datetime.now(UTC).isoformat()}
    pushed(corner, "/ingest/v1/alertmanager", firing, key)
    [over] = corner.listed("external-alerts")

    assert (told_us["name"], told_us["flow"], told_us["status"]) == ("DiskFull", "alert.invoices", "firing")
    assert told_us["summary"] == "/var is full"
    assert (over["id"], over["status"]) == (told_us["id"], "resolved")
    assert over["ends_at"] is not None
