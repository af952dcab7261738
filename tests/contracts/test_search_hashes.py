"""Masked values are found by who knows them, on both back ends, and are stored nowhere."""

from __future__ import annotations

import json
import secrets
from dataclasses import replace
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from console.identity.models import Role
from messages.masking.hashes import HASH, key_of_environment, keyed_hash
from messages.masking.services import NewRule, add_masking_rule
from messages.models import DeadLetter, Message
from messages.search.naming import name_of
from tests.conftest import forget_everything
from tests.contracts.test_search_backends import Lists, lists  # noqa: F401  a fixture
from tests.factories import ROOT, actor, agent_key, api_key, environment, event, letter, person, push

pytestmark = [pytest.mark.django_db, pytest.mark.engine]
SECRET = "DE811193231"


@pytest.fixture
def masked(db: None) -> None:
    for kind, expression, name in (
        ("json_path", "$.customer.vat", "customer.vat"),
        ("header", "x-iban", "iban"),
        ("json_path", "$.pin", ""),
    ):
        add_masking_rule(environment(), NewRule(kind=kind, expression=expression, found_as=name), by=ROOT)
    forget_everything()
    body = {
        "content_type": "application/json",
        "body": json.dumps({"customer": {"vat": SECRET}, "pin": "1234", "order_no": "7"}),
    }
    other = body | {"body": json.dumps({"customer": {"vat": "ATU99999999"}})}
    plain = body | {"body": json.dumps({"customer": {"name": "x"}})}
    events = [
        event(message_id=f"h{number}", payload=one, keys={"order_no": str(7 + number)})
        for number, one in enumerate((body, other, plain))
    ]
    assert push("/ingest/v1/events", events, key=agent_key()).json()["accepted"] == 3
    dead = letter(
        message_id="h3", body=json.dumps({"customer": {"vat": SECRET}}), headers=[{"name": "x-iban", "type": "string", "value": "DE02 1203"}],
    )  # fmt: skip
    assert push("/ingest/v1/dead-letters", [dead], key=agent_key("harvester")).json()["accepted"] == 1


def test_who_knows_the_value_finds_what_had_it(masked: None, lists: Lists):  # noqa: F811
    asked = {
        f"customer.vat:{SECRET}": ["h0", "h3"], f"customer.vat:({SECRET} OR ATU99999999)": ["h0", "h1", "h3"], "customer.vat:*": ["h0", "h1", "h3"],
        "customer.vat:DE811193232": [], f"key.customer.vat:{SECRET} order_no:7": ["h0"], "pin:1234": [], f"key.vat:{SECRET}": [],
    }  # fmt: skip

    assert {q: lists.names(q) for q in asked} == asked
    assert lists.dead(f"customer.vat:{SECRET}") == lists.dead('iban:"DE02 1203"') == ["h3"]
    mate, viewer = actor(person("mate", Role.OPERATOR)), actor(person("viewer", Role.VIEWER))
    assert (lists.names(f"customer.vat:{SECRET}", mate), lists.names(f"customer.vat:{SECRET}", viewer)) == (
        ["h0", "h3"],
        [],
    )
    assert lists.names("customer.vat:*", viewer) == ["h0", "h1", "h3"]


def test_the_value_is_stored_nowhere_and_its_hash_is_no_name(masked: None):
    with connection.cursor() as cursor:
        for table in (
            "messaging_event",
            "messaging_message",
            "messaging_deadletter",
            "messaging_maskingrule",
            "audit_auditentry",
        ):
            cursor.execute(f"SELECT count(*) FROM {table} t WHERE t::text LIKE %s", [f"%{SECRET}%"])
            assert cursor.fetchone()[0] == 0, table

    keys = Message.objects.get(message_id="h0").keys
    assert set(keys) == {"order_no", "customer.vat"}
    assert HASH.fullmatch(keys["customer.vat"])
    assert keys["customer.vat"] == DeadLetter.objects.get().keys["customer.vat"]
    assert name_of(keys, "h0").tags == ()
    assert name_of({"customer.vat": keys["customer.vat"]}, "h0").title == "Message h0"


def test_hashes_differ_by_name_environment_and_key_and_survive_a_change_of_the_master_key(masked: None, settings: Any):
    key, other = key_of_environment(b"k" * 32, 1), key_of_environment(b"k" * 32, 2)
    hashes = {
        keyed_hash(key, "a", "x"),
        keyed_hash(key, "b", "x"),
        keyed_hash(other, "a", "x"),
        keyed_hash(key, "ax", ""),
    }
    assert len(hashes) == 4

    config = settings.CONFIG

    settings.CONFIG = replace(
        config, given_master_key=secrets.token_hex(32), given_previous_master_key=config.master_key().hex()
    )
    assert Lists("postgresql").names(f"customer.vat:{SECRET}") == ["h0", "h3"]


def test_rest_and_the_page_take_the_name(db: None):
    user = person("boss", Role.ADMINISTRATOR)
    rule = {"environment": "production", "kind": "json_path", "expression": "$.vat", "found_as": "vat"}
    client, header = Client(), {"HTTP_AUTHORIZATION": f"Bearer {api_key(user)}"}
    made = client.post("/api/v1/rules/masking", rule, content_type="application/json", **header)
    refused = client.post(
        "/api/v1/rules/masking", rule | {"found_as": "x" * 65}, content_type="application/json", **header
    )
    client.force_login(user)
    posted = client.post(
        "/settings/masking/", {"kind": "json_path", "expression": "$.iban", "found_as": "iban", "drop_unreadable": "on"}
    )
    page = client.get("/settings/masking/").content.decode()

    assert (made.status_code, made.json()["found_as"], refused.status_code, posted.status_code) == (
        201,
        "vat",
        400,
        303,
    )
    assert page.count("found by its hash as") == 2
