"""REST of schemas, and of payloads that are read by them."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from typing import Any
from uuid import uuid4

import pytest

from console.audit.models import AuditEntry
from console.identity.models import Membership, Role
from messages.connectors.kafka.decode import Record, decode_record
from messages.models import DeadLetter, Replay, Schema
from messages.payloads.queries import stored_content
from messages.replay.outgoing import outgoing
from messages.schemas.avro import read_schema
from tests.factories import agent_key, environment, push, stored_letter
from tests.http.test_rest_administration import Caller
from tests.services.test_masking import SECRET, rule
from tests.unit.test_schemas_avro import ORDER, READ, SAID, written
from tests.unit.test_schemas_decoding import confluent
from tests.unit.test_schemas_protobuf import SOURCE

pytestmark = pytest.mark.django_db
AVRO = json.dumps(ORDER)
WANTED: dict[str, Any] = {
    "environment": "production",
    "name": "Orders",
    "format": "avro",
    "definition": AVRO,
    "ids": [42],
}
FRAMED = confluent(42, written(ORDER, SAID))
CARDS = {
    "type": "record",
    "name": "Paid",
    "fields": [{"name": "card", "type": "string"}, {"name": "ok", "type": "boolean"}],
}
PAID = confluent(43, written(CARDS, {"card": SECRET, "ok": True}))


def letter_of(body: bytes, **more: Any) -> DeadLetter:
    return stored_letter(body=None, body_base64=base64.b64encode(body).decode(), content_type="application/octet-stream", **more)  # fmt: skip


def test_schemas_are_added_read_changed_and_removed():
    environment()
    admin = Caller("admin", Role.ADMINISTRATOR)

    made = admin("post", "schemas", WANTED)
    one = f"schemas/{made.json()['id']}"
    proto = {
        "name": "Protos",
        "format": "protobuf",
        "definition": SOURCE,
        "message": "shop.v1.Order",
        "destination": "x.*",
    }
    changed = admin("put", one, proto)
    listed = admin("get", "schemas?environment=production").json()["results"]
    alone = admin("get", one).json()
    gone = admin("delete", one, {"reason": "closed"})

    assert made.status_code == 201, made.content
    assert (made.json()["ids"], made.json()["fingerprint"]) == ([42], read_schema(AVRO).fingerprint)
    assert (changed.status_code, changed.json()["format"], changed.json()["ids"]) == (200, "protobuf", [])
    assert listed == [alone]
    assert gone.status_code == 204
    assert AuditEntry.objects.get(action="schema.removed").reason == "closed"
    assert AuditEntry.objects.get(action="schema.changed").details == {
        "changed": ["definition", "destination", "format", "ids", "message", "name"]
    }
    assert AuditEntry.objects.get(action="schema.added").details == {"format": "avro", "destination": "", "ids": [42]}
    assert not Schema.objects.exists()


def test_what_a_registry_answers_is_taken_as_it_is():
    environment()
    answer = json.dumps({"subject": "orders-value", "id": 42, "version": 1, "schema": AVRO})

    made = Caller("admin", Role.ADMINISTRATOR)("post", "schemas", WANTED | {"definition": answer, "ids": []})

    assert (made.status_code, made.json()["ids"], made.json()["definition"]) == (201, [42], AVRO)


def test_a_preview_says_what_a_sample_is_and_keeps_nothing():
    environment()
    admin = Caller("admin", Role.ADMINISTRATOR)
    said = {"environment": "production", "format": "avro", "definition": AVRO, "sample": gzip.compress(FRAMED).hex()}

    found = admin("post", "schemas/preview", said).json()
    misfit = admin("post", "schemas/preview", said | {"sample": "00"}).json()
    bad = admin("post", "schemas/preview", said | {"sample": "%"})

    assert json.loads(found["json"])["order_no"] == "4711"
    assert '"total": 1284.50' in found["json"]
    assert found["steps"] == ["gzip", "Confluent framing, schema id 42", "Avro by the schema this one"]
    assert misfit["problem"].startswith("the schema this one does not fit: at byte ")
    assert (bad.status_code, bad.json()["code"]) == (400, "invalid")
    assert not Schema.objects.exists()
    assert not AuditEntry.objects.filter(action__startswith="schema.").exists()


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"definition": "{"}, 400, "bad_schema"),
        ({"definition": AVRO + "\x00"}, 400, "invalid"),
        ({"format": "protobuf"}, 400, "bad_schema"),
        ({"format": "thrift"}, 400, "invalid"),
        ({"ids": []}, 400, "invalid"),
        ({"ids": [0]}, 400, "invalid"),
        ({"ids": [2**31]}, 400, "invalid"),
        ({"ids": "x"}, 400, "invalid"),
        ({"name": "a\x00b"}, 400, "invalid"),
        ({"environment": "elsewhere"}, 404, "not_found"),
    ],
)
def test_a_schema_that_cannot_be_is_a_problem(changes: dict[str, object], status: int, code: str):
    environment()

    answer = Caller("admin", Role.ADMINISTRATOR)("post", "schemas", WANTED | changes)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert not Schema.objects.exists()


def test_only_administrators_of_the_environment_change_schemas():
    environment()
    admin, operator = Caller("admin", Role.ADMINISTRATOR), Caller("operator", Role.OPERATOR)
    stranger = Caller("stranger", Role.ADMINISTRATOR, team="Other team")
    Membership.objects.filter(user__username="stranger").update(environment=environment("staging"))
    made = admin("post", "schemas", WANTED).json()
    one = f"schemas/{made['id']}"
    changed = {name: value for name, value in WANTED.items() if name != "environment"}
    tried = {name: value for name, value in WANTED.items() if name not in ("name", "ids")} | {"sample": "00"}

    assert len(operator("get", "schemas").json()["results"]) == 1
    assert operator("get", one).status_code == 200
    assert stranger("get", "schemas").json()["results"] == []
    for method, path, body in [
        ("post", "schemas", WANTED | {"name": "b"}), ("put", one, changed), ("delete", one, {"reason": "x"}),
        ("post", "schemas/preview", tried),
    ]:  # fmt: skip
        assert operator(method, path, body).status_code == 403, path
        assert stranger(method, path, body).status_code == 404, path
    assert admin("delete", one, {}).status_code == 400
    assert admin("post", "schemas", WANTED).status_code == 409
    admin("post", "schemas", WANTED | {"name": "b"})
    assert admin("put", one, changed | {"name": "b"}).status_code == 409
    assert Schema.objects.count() == 2


@pytest.mark.parametrize("path", ["schemas", "schemas/preview"])
@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"environment": "a\\u0000b"}', b"null", b"\xff", b'{"definition": {}}']
)
def test_bad_bodies_are_problems_never_a_500(path: str, body: bytes):
    environment()
    answer = Caller("root", superuser=True)("post", path, body)

    assert answer.status_code in {400, 404}, answer.content
    assert "code" in answer.json()


def payload_of(letter: DeadLetter) -> dict[str, Any]:
    answer = Caller("operator", Role.OPERATOR)("get", f"dead-letters/{letter.pk}/payload")
    assert answer.status_code == 200, answer.content
    return dict(answer.json())


def test_a_payload_is_told_as_it_is_stored_and_as_people_read_it():
    environment()
    Caller("admin", Role.ADMINISTRATOR)("post", "schemas", WANTED)
    packed = gzip.compress(FRAMED)

    told = payload_of(letter_of(packed))

    assert base64.b64decode(told["body_base64"]) == packed
    assert told["body"] is None
    assert told["readable"] == {
        "text": READ, "content_type": "application/json", "problem": "", "truncated": False, "masked": {}, "withheld": "",
        "steps": [f"gzip, {len(packed)} B → {len(FRAMED)} B", "Confluent framing, schema id 42", "Avro by the schema Orders"],
    }  # fmt: skip


def test_a_record_of_kafka_is_read_as_its_header_and_its_frame_say_and_goes_back_as_it_came():
    environment()
    Caller("admin", Role.ADMINISTRATOR)("post", "schemas", WANTED | {"destination": "shop.*"})
    packed = gzip.compress(zlib.compress(FRAMED))
    headers = (("content-encoding", b"deflate, gzip"), ("kafka_dlt-original-topic", b"shop.orders"))
    record = Record(topic="shop.orders-dlt", partition=1, offset=7, value=packed, timestamp_ms=1_795_647_345_091, headers=headers)  # fmt: skip

    answer = push("/ingest/v1/dead-letters", [decode_record(record, broker="kafka")], key=agent_key())
    letter = DeadLetter.objects.get()
    told = payload_of(letter)

    assert answer.json()["accepted"] == 1
    assert told["readable"]["text"] == READ
    assert told["readable"]["steps"][0] == f"deflate, gzip, {len(packed)} B → {len(FRAMED)} B"
    content = stored_content(letter.environment_id, letter.pk, letter.payload_on)
    replay = Replay(
        dead_letter=letter, destination=letter.origin, trace_id=uuid4(), span_id="1" * 16, requested_by="olga"
    )
    assert outgoing(replay, content, 1).body == packed


def test_a_broker_s_property_says_how_a_body_is_packed():
    letter = letter_of(zlib.compress(b'{"order_no": "4711"}'), properties={"content_encoding": "deflate"})

    assert payload_of(letter)["readable"]["text"] == '{"order_no": "4711"}'


def test_a_plain_body_is_told_once():
    told = payload_of(stored_letter(body='{"order_no": "4711"}'))

    assert told["body"] == '{"order_no": "4711"}'
    assert (told["readable"]["text"], told["readable"]["steps"], told["readable"]["problem"]) == (None, [], "")


def test_a_payload_that_cannot_be_read_says_why():
    told = payload_of(letter_of(FRAMED))

    assert told["readable"]["problem"] == "Confluent framing, schema id 42: no schema with this id is configured (Settings → Schemas)"  # fmt: skip
    assert (told["readable"]["text"], told["readable"]["steps"]) == (None, [])
    assert base64.b64decode(told["body_base64"]) == FRAMED


def paid_letter(**rules: Any) -> tuple[DeadLetter, int]:
    """Return a letter with a card number that only a schema opens, and the rule that keeps what it cannot read."""
    environment()
    made = rule(rules.pop("kind", "json_path"), rules.pop("expression", "$..card"), drop_unreadable=False, **rules)
    said = WANTED | {"definition": json.dumps(CARDS), "ids": [43], "name": "Paid"}
    assert Caller("admin", Role.ADMINISTRATOR)("post", "schemas", said).status_code == 201
    letter = letter_of(PAID)
    assert not letter.content_masked
    return letter, made.pk


def test_what_only_a_schema_opens_is_masked_to_be_shown_and_its_stored_bytes_are_withheld():
    letter, number = paid_letter(keep_last=4)

    told = payload_of(letter)

    assert told["readable"]["text"] == '{"card":"•••1847","ok":true}'
    assert told["readable"]["masked"] == {str(number): 1}
    assert (told["body"], told["body_base64"]) == (None, None)
    assert SECRET not in json.dumps(told)
    assert base64.b64encode(PAID).decode() not in json.dumps(told)


def test_what_came_packed_before_its_rule_is_masked_to_be_shown():
    letter = letter_of(gzip.compress(json.dumps({"card": SECRET}).encode()))
    made = rule("json_path", "$..card")

    told = payload_of(letter)

    assert told["readable"]["text"] == '{"card":"•••"}'
    assert told["readable"]["masked"] == {str(made.pk): 1}
    assert told["body_base64"] is None


def test_what_no_rule_matches_is_told_whole():
    letter, _ = paid_letter(expression="$..iban")

    told = payload_of(letter)

    assert json.loads(told["readable"]["text"])["card"] == SECRET
    assert base64.b64decode(told["body_base64"]) == PAID


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (gzip.compress(b"no JSON at all"), "cannot be applied to what is in it"),
        (gzip.compress(json.dumps({"card": SECRET, "x": "y" * 5_000_000}).encode()), "it is too large to be masked by rule"),
    ],
)  # fmt: skip
def test_what_a_rule_cannot_be_applied_to_is_withheld(body: bytes, words: str):
    letter = letter_of(body)
    rule("json_path", "$..card")

    told = payload_of(letter)

    assert words in told["readable"]["withheld"]
    assert (told["readable"]["text"], told["body"], told["body_base64"]) == (None, None, None)
