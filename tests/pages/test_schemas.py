"""Settings → Schemas: the list, the editor, its preview; who may do what; and what pages show of encoded bodies."""

from __future__ import annotations

import base64
import gzip
import html
import json

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from console.audit.models import AuditEntry
from console.identity.models import Role
from messages.models import Message, Schema
from messages.schemas.services import NewSchema, add_schema
from tests.factories import ROOT, agent_key, environment, event, person, push, stored_letter
from tests.http.test_rest_schemas import AVRO, CARDS, FRAMED, PAID, letter_of, paid_letter
from tests.services.test_masking import SECRET, rule
from tests.unit.test_schemas_avro import ORDER, SAID, written
from tests.unit.test_schemas_protobuf import SOURCE

pytestmark = pytest.mark.django_db
PAGE, NEW = "/settings/schemas/", "/settings/schemas/new/"
WANTED = {
    "name": "Orders",
    "format": "avro",
    "definition": AVRO,
    "message": "",
    "ids": "42, 57",
    "destination": "",
    "sample": "",
}
PART = {"HX-Request": "true"}


def client(name: str, role: Role | None = None, **more: str) -> Client:
    found = Client()
    found.force_login(person(name, role, **more))
    return found


def text_of(answer: object) -> str:
    return html.unescape(answer.content.decode())  # type: ignore[attr-defined]


def schema(name: str = "Orders", definition: str = AVRO, **more: object) -> Schema:
    said = {"format": "avro", "ids": [42], **more}
    return add_schema(environment(), NewSchema(name=name, definition=definition, **said), by=ROOT)  # type: ignore[arg-type]


def test_an_administrator_adds_a_schema_and_a_stored_body_is_read_by_it():
    page = client("ada", Role.ADMINISTRATOR)
    letter = letter_of(FRAMED)
    before = text_of(page.get(f"/dead-letters/{letter.pk}/"))

    answer = page.post(NEW, WANTED, follow=True)

    made = Schema.objects.get()
    assert (made.name, made.ids, made.created_by) == ("Orders", [42, 57], "ada")
    assert "bodies are read by it from now on" in text_of(answer)
    assert AuditEntry.objects.get(action="schema.added").object_label == "Orders"
    assert "Confluent framing, schema id 42: no schema with this id is configured (Settings → Schemas)." in before
    assert "00000000  00 00 00 00 2a" in before
    shown = text_of(page.get(f"/dead-letters/{letter.pk}/"))
    assert "Confluent framing, schema id 42 · Avro by the schema Orders" in shown
    assert "1284.50" in shown
    assert "00000000  00 00 00 00 2a" not in shown
    listed = text_of(page.get(PAGE))
    assert "42, 57" in listed
    assert "No schema yet" not in listed


def test_without_a_schema_the_list_says_what_one_is_for():
    assert "No schema yet" in text_of(client("ada", Role.ADMINISTRATOR).get(PAGE))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"definition": "{"}, "it is not JSON"),
        ({"definition": SOURCE}, "it is not JSON"),
        ({"definition": "message A { strin a = 1; }", "format": "protobuf"}, "Line 1, column 13"),
        ({"definition": SOURCE, "format": "protobuf"}, "say which message: shop.v1.Order, shop.v1.Refund"),
        ({"format": "thrift"}, "thrift is not one of the available choices"),
        ({"name": " "}, "This field is required"),
        ({"ids": ""}, "say which bodies it is for"),
        ({"ids": "42; 57"}, "Numbers with commas between them"),
        ({"ids": "99999999999"}, "Numbers with commas between them"),
        ({"ids": "9999999999"}, "each between 1 and 2,147,483,647"),
    ],
)
def test_a_schema_that_cannot_be_is_refused_in_words(changes: dict[str, str], words: str):
    answer = client("ada", Role.ADMINISTRATOR).post(NEW, {**WANTED, **changes})

    assert answer.status_code == 422
    assert words.lower() in text_of(answer).lower()
    assert not Schema.objects.exists()


def test_the_same_name_twice_is_refused():
    schema()

    answer = client("ada", Role.ADMINISTRATOR).post(NEW, WANTED)

    assert answer.status_code == 422
    assert "There is a schema 'Orders' already" in text_of(answer)


def test_a_schema_is_changed_and_removed_with_a_reason():
    made = schema()
    page = client("ada", Role.ADMINISTRATOR)
    one = f"{PAGE}{made.pk}/"

    shown = text_of(page.get(one))
    changed = page.post(
        one,
        {
            **WANTED,
            "format": "protobuf",
            "definition": SOURCE,
            "message": "shop.v1.Order",
            "ids": "",
            "destination": "shop.*",
        },
    )
    made.refresh_from_db()
    refused = page.post(f"{one}remove/", {"reason": " "})
    page.post(f"{one}remove/", {"reason": "the topic is closed"})

    assert 'value="42"' in shown
    assert changed.status_code == 303
    assert (made.format, made.ids, made.destination, bool(made.compiled), made.fingerprint) == (
        "protobuf",
        [],
        "shop.*",
        True,
        "",
    )
    assert refused.status_code == 422
    assert "say why" in text_of(refused).lower()
    assert not Schema.objects.exists()
    assert AuditEntry.objects.get(action="schema.removed").reason == "the topic is closed"


def test_a_preview_shows_what_a_sample_is_as_page_and_as_part_and_saves_nothing():
    page = client("ada", Role.ADMINISTRATOR)
    said = {"definition": AVRO, "format": "avro", "sample": base64.b64encode(FRAMED).decode()}

    whole = page.post(f"{NEW}?do=preview", said)
    part = page.post(f"{NEW}?do=preview", said, headers=PART)

    text = text_of(whole)
    assert "Confluent framing, schema id 42 · Avro by the schema this one" in text
    assert "1284.50" in text
    assert "<html" in text
    assert part.content.decode().lstrip().startswith('<div id="schema-preview"')
    assert not Schema.objects.exists()
    assert not AuditEntry.objects.filter(action__startswith="schema.").exists()


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"definition": "{"}, 422, "Schema: it is not JSON"),
        ({"sample": "?"}, 422, "Sample: a sample is given in hex or in base64"),
        ({"sample": "00"}, 200, "the schema this one does not fit: at byte "),
        ({"sample": "1f8b0000"}, 200, "it is packed as gzip, and broken: unknown compression method"),
        ({"sample": ""}, 200, "What the schema makes of the sample stands here"),
    ],
)
def test_a_preview_says_what_is_wrong_with_schema_or_sample(changes: dict[str, str], status: int, words: str):
    said = {"definition": AVRO, "format": "avro", "sample": "00", **changes}

    answer = client("ada", Role.ADMINISTRATOR).post(f"{NEW}?do=preview", said, headers=PART)

    assert answer.status_code == status
    assert words.lower() in text_of(answer).lower()


def test_others_look_and_change_nothing_and_strangers_see_nothing():
    made = schema()
    environment("staging")
    viewer, stranger = client("vic", Role.VIEWER), client("eve", Role.ADMINISTRATOR, slug="staging")
    one = f"{PAGE}{made.pk}/"

    seen = text_of(viewer.get(PAGE)) + text_of(viewer.get(one))

    assert "shop.Order" in seen
    assert "New schema" not in seen
    assert "<textarea" not in seen
    assert viewer.get(NEW).status_code == 403
    assert "Orders" not in text_of(stranger.get(PAGE))
    for path in (one, f"{one}?do=preview", f"{one}remove/"):
        assert viewer.post(path, {**WANTED, "reason": "x"}).status_code == 403, path
        assert stranger.post(path, {**WANTED, "reason": "x"}).status_code == 404, path
    for path in (NEW, f"{NEW}?do=preview"):
        assert viewer.post(path, WANTED).status_code == 403, path
    assert Schema.objects.count() == 1


def test_a_packed_body_is_shown_unpacked_and_the_caption_says_so():
    plain = json.dumps({"order_no": "4711", "note": "x" * 90_000}).encode()
    letter = letter_of(gzip.compress(plain))

    shown = text_of(client("olga", Role.OPERATOR).get(f"/dead-letters/{letter.pk}/"))

    assert f"gzip, {len(gzip.compress(plain))} B → 88 KB" in shown
    assert "4711" in shown


def test_a_broken_body_is_shown_as_bytes_with_one_sentence():
    letter = letter_of(gzip.compress(b"x" * 1000)[:-5])

    shown = text_of(client("olga", Role.OPERATOR).get(f"/dead-letters/{letter.pk}/"))

    assert "It is packed as gzip, and broken: it is cut." in shown
    assert "00000000  1f 8b 08" in shown


def test_the_message_page_reads_bodies_by_their_destination():
    schema(ids=[], destination="shop.*")
    payload = {"content_type": "avro/binary", "body_base64": base64.b64encode(written(ORDER, SAID)).decode()}
    assert (
        push("/ingest/v1/events", [event(destination="shop.orders", payload=payload)], key=agent_key()).json()[
            "accepted"
        ]
        == 1
    )

    shown = text_of(client("olga", Role.OPERATOR).get(f"/messages/{Message.objects.get().id}/"))

    assert "Avro by the schema Orders" in shown
    assert "1284.50" in shown


def test_what_is_masked_to_be_shown_is_nowhere_on_the_page():
    letter, number = paid_letter(keep_last=4)

    shown = text_of(client("olga", Role.OPERATOR).get(f"/dead-letters/{letter.pk}/"))

    assert "•••1847" in shown
    assert f"1 value masked by rule {number}, only here" in shown
    assert SECRET not in shown
    assert SECRET.encode().hex(" ", 1)[:20] not in shown


def test_what_a_rule_cannot_be_applied_to_is_not_shown():
    letter = letter_of(gzip.compress(f"card {SECRET}".encode()))
    rule("json_path", "$..card")

    shown = text_of(client("olga", Role.OPERATOR).get(f"/dead-letters/{letter.pk}/"))

    assert "cannot be applied to what is in it" in shown
    assert SECRET not in shown


def test_who_may_not_read_payloads_does_not_read_decoded_ones():
    schema("Paid", json.dumps(CARDS), ids=[43])
    letter = letter_of(PAID)

    shown = text_of(client("vic", Role.VIEWER).get(f"/dead-letters/{letter.pk}/"))

    assert "only operators of" in shown.lower()
    assert SECRET not in shown


def test_any_bytes_in_a_body_make_a_page():
    schema("Paid", json.dumps(CARDS), ids=[43], destination="erp.*")
    schema("There", SOURCE, format="protobuf", message="shop.v1.Order", ids=[], destination="*")
    page = client("olga", Role.OPERATOR)
    for body in (
        b"\x00",
        b"\x1f\x8b",
        b"\x28\xb5\x2f\xfd",
        b"Obj\x01",
        b"\xc3\x01" * 9,
        b"\x00\x00\x00\x00\x2b\x02",
        PAID[:-1],
        b"\xff" * 50,
    ):
        letter = letter_of(body)
        assert page.get(f"/dead-letters/{letter.pk}/").status_code == 200, body


def test_a_schema_of_another_environment_reads_nothing_here():
    add_schema(environment("staging"), NewSchema(name="Orders", format="avro", definition=AVRO, ids=[42]), by=ROOT)
    letter = letter_of(FRAMED)

    shown = text_of(client("olga", Role.OPERATOR).get(f"/dead-letters/{letter.pk}/"))

    assert "no schema with this id is configured" in shown
    assert "1284.50" not in shown


def test_a_body_in_json_asks_for_no_schema():
    schema()
    letter = stored_letter()
    page = client("olga", Role.OPERATOR)

    with CaptureQueriesContext(connection) as asked:
        shown = text_of(page.get(f"/dead-letters/{letter.pk}/"))

    assert "4711" in shown
    assert [one["sql"] for one in asked if "messaging_schema" in one["sql"]] == []
