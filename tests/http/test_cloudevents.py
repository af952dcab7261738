"""CloudEvents in the three ways HTTP carries them: the same event gives the same row."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from messages.ingest.cloudevents import BATCHED, STRUCTURED, system_of
from messages.models import Event, IngestReject, Message
from messages.payloads.queries import stored_content
from tests.factories import agent_key, push

pytestmark = pytest.mark.django_db
PATH = "/ingest/v1/cloudevents"
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CREATED: dict[str, Any] = {
    "specversion": "1.0",
    "id": "order-4711-created-by-the-shop",
    "source": "https://shop.example/orders",
    "type": "com.example.order.created",
    "subject": "order/4711",
    "datacontenttype": "application/json",
    "traceparent": f"00-{TRACE}-{SPAN}-01",
    "comexampletenant": "eu",
}
DATA = {"order_no": "4711", "customer": {"customer_no": "K-7"}}


def binary(data: bytes, key: str, **changes: str) -> Any:
    headers = {f"HTTP_CE_{name.upper()}": str(value) for name, value in ({**CREATED} | changes).items()}
    headers.pop("HTTP_CE_DATACONTENTTYPE", None)
    return push(PATH, data, key=key, content_type="application/json", **headers)


@pytest.mark.parametrize("way", ["structured", "batched", "binary"])
def test_the_same_event_gives_the_same_row_in_every_way(way: str):
    key = agent_key()
    answer = {
        "structured": lambda: push(PATH, CREATED | {"data": DATA}, key=key, content_type=STRUCTURED),
        "batched": lambda: push(PATH, [CREATED | {"data": DATA}], key=key, content_type=BATCHED),
        "binary": lambda: binary(json.dumps(DATA).encode(), key),
    }[way]()

    assert answer.json() == {"accepted": 1, "duplicates": 0, "rejected": []}
    event, message = Event.objects.get(), Message.objects.get()
    assert (event.system.name, event.flow.name, event.get_operation_display()) == (
        "shop.example", "com.example.order.created", "send",
    )  # fmt: skip
    assert (event.trace_id.hex, event.parent_span_id, event.message_id) == (TRACE, SPAN, CREATED["id"])
    assert message.keys == {"order_no": "4711"}
    assert event.attributes["comexampletenant"] == "eu"
    assert json.loads(stored_content(event.environment_id, event.id, event.payload_on).body) == DATA


def test_source_and_id_name_the_event_in_whatever_way_it_comes():
    key = agent_key()
    push(PATH, CREATED | {"time": "2026-11-24T10:00:00Z"}, key=key, content_type=STRUCTURED)

    again = push(
        PATH, [CREATED | {"time": "2026-11-24T10:00:00Z", "comexampletenant": "us"}], key=key, content_type=BATCHED
    )
    other = push(PATH, [CREATED | {"source": "/erp/orders"}], key=key, content_type=BATCHED)

    assert (again.json()["duplicates"], other.json()["accepted"]) == (1, 1)


def test_an_event_without_time_meets_its_first_copy_in_another_batch():
    """Its time is when it came, so the copy has another one."""
    key, one = agent_key(), CREATED | {"data": DATA}
    push(PATH, [one], key=key, content_type=BATCHED)

    answer = push(PATH, [one, one | {"id": "another"}], key=key, content_type=BATCHED)

    assert answer.json() == {"accepted": 1, "duplicates": 1, "rejected": []}
    assert Event.objects.count() == 2
    assert Message.objects.get(message_id=CREATED["id"]).event_count == 1


def test_two_binary_events_with_the_same_data_are_two():
    key = agent_key()

    answers = [binary(b'{"same": 1}', key, id=f"a different event number {number}").json() for number in range(2)]

    assert [answer["accepted"] for answer in answers] == [1, 1]


def test_data_keeps_its_bytes_whether_json_text_or_base64():
    key = agent_key()
    given = [
        ({"data": {"b": 1.10, "a": [1]}}, b'{"b":1.10,"a":[1]}'),
        ({"data": "plain words", "datacontenttype": "text/plain"}, b"plain words"),
        ({"data": "a JSON string"}, b'"a JSON string"'),
        ({"data_base64": base64.b64encode(b"\x00\xff").decode(), "datacontenttype": "image/png"}, b"\x00\xff"),
    ]
    items = [json.dumps(CREATED | {"id": f"a long enough id {n}"} | data) for n, (data, _) in enumerate(given)]
    raw = "[" + ",".join(items).replace('{"b": 1.1, "a": [1]}', '{"b":1.10,"a":[1]}') + "]"

    assert push(PATH, raw.encode(), key=key, content_type=BATCHED).json()["accepted"] == 4

    events = {event.message_id: event for event in Event.objects.all()}
    for number, (_, expected) in enumerate(given):
        event = events[f"a long enough id {number}"]
        assert stored_content(event.environment_id, event.id, event.payload_on).body == expected


@pytest.mark.parametrize(
    "poison",
    [
        {"specversion": "0.3"}, {"id": ""}, {"id": "x" * 10_000}, {"source": 7}, {"time": "yesterday"}, {"time": "2026-11-24T10:00:00"},
        {"data_base64": "%%%"}, {"type": None},
    ],
)  # fmt: skip
def test_a_bad_event_is_refused_alone_and_kept(poison: dict[str, Any]):
    good = CREATED | {"id": "the good one of this batch"}

    answer = push(PATH, [CREATED | poison, good], key=agent_key(), content_type=BATCHED).json()

    assert (answer["accepted"], [r["index"] for r in answer["rejected"]]) == (1, [0])
    assert IngestReject.objects.get().endpoint == "cloudevents"


@pytest.mark.parametrize(
    "harmless",
    [
        {"time": "0001-01-01T00:00:00Z"}, {"time": "9999-12-31T23:59:59Z"}, {"subject": "a\x00b"}, {"ext": "\x00"}, {"number": 10**400},
        {"traceparent": "00-0-0-0"}, {"data": {"order_no": "\x00"}}, {"deep": [[[[]]]]},
    ],
)  # fmt: skip
def test_what_is_odd_but_can_be_kept_is_kept(harmless: dict[str, Any]):
    assert push(PATH, CREATED | harmless, key=agent_key(), content_type=STRUCTURED).json()["accepted"] == 1


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{}", "application/json", 400), (b"[1", BATCHED, 400), (b"{", STRUCTURED, 200), (b"{}", BATCHED, 400),
        (b"<a/>", "text/xml", 415), (b"{}", "", 415), (b"[" * 5000, STRUCTURED, 400), (b"\xff\xfe", BATCHED, 400), (b'"\\ud800"', BATCHED, 400),
    ],
)  # fmt: skip
def test_malformed_bodies_never_end_in_a_500(body: bytes, content_type: str, status: int):
    answer = push(PATH, body, key=agent_key(), content_type=content_type)

    assert answer.status_code == status
    assert Event.objects.count() == 0
    assert "code" in answer.json() or len(answer.json()["rejected"]) == 1


@pytest.mark.parametrize(
    ("source", "system"),
    [
        ("https://shop.example/orders", "shop.example"), ("/erp/orders", "erp"), ("erp", "erp"), ("urn:event:from:billing/1", "billing"),
        ("mailto:ops@example.com", "ops@example.com"), ("https://[", "https://["), ("/", "/"), ("//cloud.example/projects", "cloud.example"),
    ],
)  # fmt: skip
def test_a_source_names_its_system(source: str, system: str):
    assert system_of(source) == system
