"""The same order as CloudEvents in binary, structured and batched mode, by the CloudEvents SDK."""

import os
from datetime import UTC, datetime

import requests
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

ADDRESS = os.environ["WAYBILL"] + "/ingest/v1/cloudevents"
KEY = {"Authorization": f"Bearer {os.environ['WAYBILL_AGENT_KEY']}"}


def event(number: int, kind: str, data: dict[str, object]) -> CloudEvent:
    attributes = {
        "id": f"python-order-event-{number}",
        "source": "https://shop.example/orders",
        "type": kind,
        "subject": "Bestellung für Zoë",
        "time": datetime.now(UTC),
        "datacontenttype": "application/json",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }
    return CloudEvent(attributes, data)


def send(headers: dict[str, str], body: bytes) -> None:
    requests.post(ADDRESS, data=body, headers=KEY | headers, timeout=10).raise_for_status()


binary = to_binary_event(event(1, "order.created", {"order_no": "4711"}))
send(binary.headers, binary.body)

structured = to_structured_event(event(2, "order.paid", {"order_no": "4711", "invoice_no": "R-9"}))
send(structured.headers, structured.body)

batch = [to_structured_event(event(number, "order.shipped", {"order_no": "4711"})).body for number in (3, 4)]
send({"content-type": "application/cloudevents-batch+json"}, b"[" + b",".join(batch) + b"]")
