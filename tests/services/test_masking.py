"""A masked secret is nowhere in the database, whatever the format, the endpoint and the kind of rule."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
import zstandard
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from messages.ingest import catalog
from messages.masking.services import NewRule, add_masking_rule
from messages.models import DeadLetter, Event, IngestReject, MaskingHit, MaskingRule, Message, Payload
from messages.payloads.seal import unseal
from messages.payloads.services import open_data_key
from messages.replay.services import ReplayNotAllowed, check_replayable
from tests.factories import ROOT, agent_key, environment, event, letter, memory_connection, push

pytestmark = pytest.mark.django_db
SECRET = "4929133385711847"
CARD = r"\b\d{16}\b"
EVENTS, LETTERS, CLOUD = "/ingest/v1/events", "/ingest/v1/dead-letters", "/ingest/v1/cloudevents"
PROTOBUF = "application/x-protobuf"


def rule(kind: str, expression: str, **more: Any) -> MaskingRule:
    made = add_masking_rule(environment(), NewRule(kind=kind, expression=expression, **more), by=ROOT)
    catalog.forget()
    return made


def everything_stored() -> str:
    """Return every table's rows as text, and every payload and refused item opened."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname <> 'messaging_maskingrule'"
        )
        texts = []
        for (table,) in cursor.fetchall():
            cursor.execute(f"SELECT t::text FROM {table} t")
            texts += [row[0] for row in cursor.fetchall()]
    for row in [*Payload.objects.all(), *IngestReject.objects.all()]:
        sealed = row.sealed if isinstance(row, Payload) else row.raw
        key = open_data_key(row.data_key_id)
        content = unseal(key, bytes(sealed), environment_id=row.environment_id, row_id=row.id.bytes)
        texts += [content.body.decode("utf-8", "replace"), repr(content.headers), repr(content.properties)]
    return "\n".join(texts)


def opened(row_id: Any) -> Any:
    row = Payload.objects.get(id=row_id)
    return unseal(
        open_data_key(row.data_key_id), bytes(row.sealed), environment_id=row.environment_id, row_id=row.id.bytes
    )


def json_body(secret: str) -> str:
    return json.dumps({"order_no": "4711", "business": {"card": secret}, "list": [{"card": secret}]})


def xml_body(secret: str) -> str:
    return f"<order no='4711'><card note='{secret}'>{secret}</card></order>"


def native(body: str, secret: str, content_type: str) -> Any:
    payload = {"content_type": content_type, "body": body, "headers": {"X-Card": secret}}
    return push(EVENTS, [event(payload=payload, attributes={"x-card": secret})], key=agent_key())


def native_base64(body: str, secret: str, content_type: str) -> Any:
    payload = {"content_type": content_type, "body_base64": base64.b64encode(body.encode()).decode()}
    return push(EVENTS, [event(payload=payload, keys={"x-card": secret})], key=agent_key())


def cloud_event(body: str, secret: str, content_type: str) -> Any:
    item = {
        "specversion": "1.0", "id": uuid4().hex, "source": "https://shop.example/orders", "type": "orders", "datacontenttype": content_type,
        "xcard": secret, "data": json.loads(body) if "json" in content_type else body,
    }  # fmt: skip
    return push(CLOUD, item, key=agent_key(), content_type="application/cloudevents+json")


def cloud_event_binary(body: str, secret: str, content_type: str) -> Any:
    named = {"HTTP_CE_ID": "1", "HTTP_CE_SOURCE": "/shop", "HTTP_CE_TYPE": "orders", "HTTP_CE_SPECVERSION": "1.0"}
    return push(CLOUD, body.encode(), key=agent_key(), content_type=content_type, **named)


def otlp(body: str, secret: str, content_type: str, *, as_bytes: bool = False) -> Any:
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "shop"
    resource.resource.attributes.add(key="business.x-card").value.string_value = secret
    span = resource.scope_spans.add().spans.add(trace_id=b"t" * 16, span_id=b"s" * 8, name="send", kind=4)
    span.attributes.add(key="messaging.destination.name").value.string_value = "orders"
    span.attributes.add(key="http.request.header.x-card").value.string_value = secret
    span.attributes.add(key="waybill.payload.content_type").value.string_value = content_type
    value = span.attributes.add(key="waybill.payload").value
    if as_bytes:
        value.bytes_value = body.encode()
    else:
        value.string_value = body
    return push("/v1/traces", request.SerializeToString(), key=agent_key(), content_type=PROTOBUF)


def otlp_bytes(body: str, secret: str, content_type: str) -> Any:
    return otlp(body, secret, content_type, as_bytes=True)


def dead_letter(body: str, secret: str, content_type: str, **more: Any) -> Any:
    headers = [
        {"name": "x-card", "type": "string", "value": secret},
        {"name": "X-CARD-2", "type": "bytes", "value": base64.b64encode(secret.encode()).decode()},
        {"name": "x-card-3", "type": "int", "value": 4711},
    ]
    named = {"x-card": secret, "headers": {"x-card": secret}}
    asked = letter(origin="orders", body=body, content_type=content_type, headers=headers, properties=named, **more)
    return push(LETTERS, [asked], key=agent_key())


def packed(pack: Callable[[bytes], bytes], encoding: str) -> Any:
    def send(body: str, secret: str, content_type: str) -> Any:
        data = base64.b64encode(pack(body.encode())).decode()
        return dead_letter("", secret, content_type, content_encoding=encoding, body_base64=data)

    return send


ENTRIES = {
    "native": native,
    "native, base64": native_base64,
    "cloudevents": cloud_event,
    "cloudevents, binary": cloud_event_binary,
    "otlp": otlp,
    "otlp, bytes": otlp_bytes,
    "dead letter": dead_letter,
    "dead letter, gzip": packed(gzip.compress, "gzip"),
    "dead letter, deflate": packed(zlib.compress, "deflate"),
    "dead letter, zstd that says nothing": packed(zstandard.compress, ""),
}
BODIES = {"application/json": json_body, "application/xml": xml_body}


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("content_type", BODIES)
def test_what_the_rules_of_every_kind_name_is_stored_nowhere(entry: str, content_type: str):
    rule("json_path", "$..card", drop_unreadable=False)
    rule("xpath", "//card", drop_unreadable=False)
    rule("xpath", "//@note", drop_unreadable=False)
    rule("header", "*x-card*")
    rule("header", "xcard")

    answer = ENTRIES[entry](BODIES[content_type](SECRET), SECRET, content_type)

    assert answer.status_code == 200, answer.content
    assert Payload.objects.count() == 1
    assert SECRET not in everything_stored()
    assert base64.b64encode(SECRET.encode()).decode() not in everything_stored()
    assert "•••" in everything_stored()


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("content_type", [*BODIES, "text/plain"])
def test_what_a_regular_expression_matches_is_stored_nowhere(entry: str, content_type: str):
    rule("regex", CARD)
    make = BODIES.get(content_type, lambda secret: f"UNB+UNOA:3+{secret}'")

    answer = ENTRIES[entry](make(SECRET), SECRET, content_type)

    assert answer.status_code == 200, answer.content
    assert Payload.objects.count() == 1
    assert SECRET not in everything_stored()
    assert "•••" in everything_stored()


def test_a_body_that_a_span_carries_as_bytes_is_stored_as_these_bytes():
    otlp_bytes(json_body(SECRET), SECRET, "application/json")

    assert opened(Payload.objects.get().id).body.decode() == json_body(SECRET)


def test_text_that_an_attribute_carries_as_bytes_is_masked_like_text():
    rule("regex", CARD)
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add(trace_id=b"t" * 16, span_id=b"s" * 8)
    span.attributes.add(key="note").value.bytes_value = f"card {SECRET}".encode()

    assert push("/v1/traces", request.SerializeToString(), key=agent_key(), content_type=PROTOBUF).status_code == 200

    assert Event.objects.get().attributes["note"] == "card •••"


def test_without_rules_the_same_is_stored_as_it_came():
    native(json_body(SECRET), SECRET, "application/json")

    assert everything_stored().count(SECRET) >= 3
    assert Payload.objects.get().masked is None


def test_errors_reasons_and_logged_exceptions_are_masked_by_regular_expressions():
    rule("regex", CARD)
    words = {"type": f"Declined {SECRET}", "message": f"card {SECRET} declined", "stack": f"at pay({SECRET})"}
    logs = ExportLogsServiceRequest()
    record = logs.resource_logs.add().scope_logs.add().log_records.add(trace_id=b"t" * 16, span_id=b"s" * 8)
    for name in ("exception.type", "exception.message", "exception.stacktrace"):
        record.attributes.add(key=name).value.string_value = f"no {SECRET}"

    push(
        EVENTS,
        [event(outcome="error", error=words, name=f"pay {SECRET}", attributes={"n": int(SECRET)})],
        key=agent_key(),
    )
    push(LETTERS, [letter(error=words, reason=f"declined {SECRET}", keys={"card": SECRET})], key=agent_key())
    push("/v1/logs", logs.SerializeToString(), key=agent_key(), content_type=PROTOBUF)

    assert SECRET not in everything_stored()
    assert Event.objects.get().error_message == "card ••• declined"
    assert Event.objects.get().attributes["n"] == "•••"
    assert DeadLetter.objects.get().reason == "declined •••"
    assert DeadLetter.objects.get().content_masked is False


def test_business_keys_are_found_in_what_masking_left():
    rule("json_path", "$.customer_no")
    rule("header", "business.iban")
    body = json.dumps({"order_no": "4711", "customer_no": "C-77"})

    push(LETTERS, [letter(body=body, origin="orders")], key=agent_key())
    push(
        EVENTS,
        [event(attributes={"business.iban": "DE89", "business.tenant": "eu"}, keys={"order_no": "1"})],
        key=agent_key(),
    )

    assert DeadLetter.objects.get().keys == {"order_no": "4711"}
    assert Event.objects.get().keys == {"tenant": "eu", "order_no": "1"}
    assert "C-77" not in everything_stored()
    assert {key for one in Message.objects.all() for key in one.keys} == {"order_no", "tenant"}


@pytest.mark.parametrize("endpoint", ["events", "letters", "cloudevents", "traces"])
@pytest.mark.parametrize("known", [True, False])
def test_a_refused_item_keeps_its_skeleton_alone(endpoint: str, known: bool):
    key = agent_key()
    if known:
        push(EVENTS, [event(destination="orders")], key=key)
    rule("json_path", "$..card")
    item = {
        "destination": "orders", "origin": "orders", "type": "orders", "payload": {"body": SECRET}, "body": SECRET, "data": {"card": SECRET},
        "attributes": {"a": [SECRET, 4]}, "reason_code": SECRET, "operation": SECRET, SECRET: 1,
    }  # fmt: skip
    span = ExportTraceServiceRequest()
    attributes = span.resource_spans.add().scope_spans.add().spans.add(name=SECRET).attributes
    attributes.add(key="messaging.destination.name").value.string_value = "orders"
    attributes.add(key="card").value.string_value = SECRET
    rule("regex", CARD)

    if endpoint == "traces":
        push("/v1/traces", span.SerializeToString(), key=key, content_type=PROTOBUF)
    elif endpoint == "cloudevents":
        push(CLOUD, [item], key=key, content_type="application/cloudevents-batch+json")
    else:
        push(EVENTS if endpoint == "events" else LETTERS, [item], key=key)

    reject = IngestReject.objects.get()
    assert reject.masked
    assert (reject.flow is not None) == known
    assert SECRET not in everything_stored()
    assert endpoint == "traces" or IngestReject.objects.get().flow or "orders" in everything_stored()


@pytest.mark.parametrize(
    "value",
    [
        {"intValue": f"{SECRET}x"},
        {"intValue": f"{SECRET}{SECRET}"},
        {"intValue": f' 1"{SECRET}'},
        {"intValue": f"it's {SECRET}"},
        {"intValue": "x" * 250 + f" {SECRET}"},
        {"intValue": int(SECRET) / 1e9},
        {"doubleValue": f"-{SECRET}z"},
        {"arrayValue": {"values": int(SECRET)}},
    ],
    ids=str,
)
def test_the_reason_of_a_refused_span_does_not_say_what_is_masked(value: dict[str, object]):
    """The words of protobuf's parser quote what it cannot read, each in its own way."""
    rule("header", "card")
    named = {"key": "messaging.destination.name", "value": {"stringValue": "orders"}}
    spans = [
        {"traceId": "a" * 32, "spanId": str(number) * 16, "attributes": [named, *more]}
        for number, more in enumerate([[], [{"key": "card", "value": value}]], start=1)
    ]

    answer = push("/v1/traces", {"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}, key=agent_key())

    assert answer.json()["partialSuccess"]["rejectedSpans"] == "1"
    assert IngestReject.objects.get().detail.startswith("it cannot be read: Failed to parse attributes field: ")
    for secret in (SECRET, SECRET[:7]):
        assert secret not in everything_stored()
        assert secret not in answer.content.decode()


@pytest.mark.parametrize("value", [f"a'{SECRET}", f"a'b\"{SECRET}", f"it's {'x' * 500} {SECRET}"])
def test_the_reason_of_a_refused_item_does_not_say_what_is_masked(value: str):
    rule("json_path", "$..card")

    push(LETTERS, [letter(reason_code=value)], key=agent_key())

    assert IngestReject.objects.get().detail.startswith("Invalid enum value '•••'")
    assert SECRET not in everything_stored()


def test_an_unreadable_body_is_not_stored_unless_the_rule_says_so_and_is_counted():
    strict = rule("json_path", "$.card")
    push(LETTERS, [letter(body=f"card={SECRET}", origin="orders")], key=agent_key())
    stored = DeadLetter.objects.get()

    assert opened(stored.pk).body.decode() == (
        f"[not stored: masking rule {strict.pk} cannot be applied to this body: it is not JSON]"
    )
    assert stored.content_masked
    assert MaskingHit.objects.filter(rule=strict).values_list("masked", "dropped").get() == (1, 1)

    MaskingRule.objects.update(drop_unreadable=False)
    catalog.forget()
    push(LETTERS, [letter(body=f"card={SECRET}", origin="orders")], key=agent_key())

    assert opened(DeadLetter.objects.latest("id").pk).body.decode() == f"card={SECRET}"


def test_a_masked_dead_letter_is_not_replayed_and_says_why():
    memory_connection()
    rule("json_path", "$.card", keep_last=4)
    push(LETTERS, [letter(body=f'{{"card": "{SECRET}"}}'), letter(body='{"order_no": 1}')], key=agent_key())
    masked, whole = DeadLetter.objects.order_by("-content_masked")

    with pytest.raises(ReplayNotAllowed, match="masked before they were stored; it would be sent with ••• in it"):
        check_replayable(masked, ROOT)
    assert check_replayable(whole, ROOT).name == "redis"
    assert opened(masked.pk).body.decode() == '{"card":"•••1847"}'
    assert list(masked.masked.values()) == [1]
    assert whole.masked == {}


def test_a_packed_body_without_a_match_stays_packed_and_can_be_replayed():
    memory_connection()
    rule("json_path", "$.card")
    data = gzip.compress(b'{"order_no": 1}')

    push(
        LETTERS,
        [letter(body=None, body_base64=base64.b64encode(data).decode(), content_encoding="gzip")],
        key=agent_key(),
    )

    stored = DeadLetter.objects.get()
    assert opened(stored.pk).body == data
    assert check_replayable(stored, ROOT)


def test_an_unpacked_body_loses_its_content_encoding():
    rule("json_path", "$.card")
    data = base64.b64encode(gzip.compress(b'{"card": 1}')).decode()
    headers = [
        {"name": "Content-Encoding", "type": "string", "value": "gzip"},
        {"name": "a", "type": "int", "value": 1},
    ]

    push(
        LETTERS,
        [letter(body=None, body_base64=data, headers=headers, properties={"content_encoding": "gzip"})],
        key=agent_key(),
    )

    content = opened(DeadLetter.objects.get().pk)
    assert (content.body.decode(), content.headers, content.properties) == ('{"card":"•••"}', [headers[1]], {})


def test_a_rule_of_one_flow_leaves_the_others_alone():
    push(EVENTS, [event(destination="orders"), event(destination="invoices")], key=agent_key())
    made = rule("regex", CARD, flow="orders")

    for destination in ("orders", "invoices"):
        push(EVENTS, [event(destination=destination, attributes={"card": SECRET, "is": destination})], key=agent_key())

    seen = {e.attributes["is"]: e.attributes for e in Event.objects.exclude(attributes={})}
    assert seen["orders"] == {"card": "•••", "is": "orders", "waybill.masked": {str(made.pk): 1}}
    assert seen["invoices"] == {"card": SECRET, "is": "invoices"}


def test_a_repeated_event_is_counted_once():
    made = rule("regex", CARD)
    once = event(attributes={"card": SECRET})

    push(EVENTS, [once], key=agent_key())
    push(EVENTS, [once, event()], key=agent_key())

    assert MaskingHit.objects.filter(rule=made).values_list("masked", "dropped").get() == (1, 0)


def test_a_rule_that_is_removed_while_a_process_still_knows_it_harms_no_batch():
    rule("regex", CARD)
    key = agent_key()
    push(EVENTS, [event()], key=key)
    MaskingRule.objects.all().delete()

    answer = push(EVENTS, [event(attributes={"card": SECRET})], key=key)

    assert answer.json()["accepted"] == 1


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    secret=st.text(
        st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zs", "Zl", "Zp"], exclude_characters="•"),
        min_size=6, max_size=20,
    ),
    entry=st.sampled_from(["native", "native, base64", "cloudevents", "otlp", "otlp, bytes", "dead letter", "dead letter, gzip"]),
)  # fmt: skip
def test_any_secret_at_a_json_path_is_stored_nowhere(secret: str, entry: str):
    """Letters that JSON escapes, that repeat, that look like markup: found by where they stand, not by how they look."""
    secret = f"S{secret}S"
    environment()
    if not MaskingRule.objects.exists():
        rule("json_path", "$..card")
        rule("header", "*x-card*")
        rule("header", "xcard")

    answer = ENTRIES[entry](json_body(secret), secret, "application/json")

    assert answer.status_code == 200, answer.content
    stored = everything_stored()
    assert secret not in stored
    assert repr(secret)[1:-1] not in stored
    assert json.dumps(secret)[1:-1] not in stored
