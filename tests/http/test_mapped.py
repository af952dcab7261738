"""Bodies of other platforms pushed to a mapping's address."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from django.test import Client

from console.identity.models import Role
from messages.ingest import catalog
from messages.mappings.services import NewMapping, add_mapping, change_mapping
from messages.mappings.shipped import LOGIC_APPS, SHIPPED
from messages.masking.services import NewRule, add_masking_rule
from messages.models import DeadLetter, Event, IngestReject, LedgerEntry, Mapping
from tests.factories import ROOT, agent_key, environment, person, push
from tests.services.test_masking import everything_stored

pytestmark = pytest.mark.django_db
NOW = "2026-11-24T10:14:02Z"
SIMPLE = {
    "event": {
        "fields": {
            "id": "$.id", "system": "shop", "operation": "send", "occurred_at": "$.at", "destination": "orders",
            "payload.content_type": "application/json", "payload.body": "$",
        }
    },
    "dead_letter": {
        "when": [{"path": "$.dead", "in": [True]}],
        "fields": {"id": "$.id", "broker": "shop", "family": "webhook", "queue": "orders", "body": "$"},
    },
}  # fmt: skip


def mapping(slug: str = "hook", definition: Any = SIMPLE, **more: Any) -> Mapping:
    said = NewMapping(slug=slug, name=slug, definition=json.dumps(definition), **more)
    return add_mapping(environment(), said, by=ROOT)


@pytest.fixture(autouse=True)
def fresh_rules() -> None:
    catalog.forget()


@pytest.mark.parametrize(
    ("slug", "events", "letters"), [("webhook", 1, 1), ("logic-apps", 1, 1), ("eventbridge", 1, 0)]
)
def test_what_vendors_send_becomes_events_and_dead_letters_once(slug: str, events: int, letters: int):
    shipped = SHIPPED[slug]
    mapping(slug, shipped.definition)
    key = agent_key()

    first = push(f"/ingest/v1/mapped/{slug}", shipped.sample.encode(), key=key)
    again = push(f"/ingest/v1/mapped/{slug}", shipped.sample.encode(), key=key)

    assert first.json() == {"accepted": events + letters, "duplicates": 0, "rejected": [], "ignored": 0}
    assert again.json() == first.json()
    assert (Event.objects.count(), DeadLetter.objects.count()) == (events, letters)
    assert not IngestReject.objects.exists()


def test_a_run_that_failed_waits_in_the_inbox_with_its_words():
    mapping("logic-apps", LOGIC_APPS.definition)

    push("/ingest/v1/mapped/logic-apps", LOGIC_APPS.sample.encode(), key=agent_key())

    letter = DeadLetter.objects.get()
    assert (letter.queue, letter.family, letter.reason) == ("order-to-erp", "azure-logic-apps", "Failed: ActionFailed")
    assert (letter.keys, letter.correlation_id) == ({"order_no": "4711"}, "order-4711")
    assert letter.error_message == "An action failed. No dependent actions succeeded."


def test_the_key_may_come_as_the_password_of_http_basic_and_never_in_the_address():
    mapping()
    key = agent_key()
    basic = base64.b64encode(f"any:{key}".encode()).decode()

    def ask(query: str = "", **more: str) -> Any:
        body = json.dumps({"id": 1, "at": NOW})
        return Client().post(f"/ingest/v1/mapped/hook{query}", body, content_type="text/plain", **more)

    assert ask(HTTP_AUTHORIZATION=f"Basic {basic}").json()["accepted"] == 1
    for refused in (
        ask(HTTP_AUTHORIZATION="Basic !!!"),
        ask(HTTP_AUTHORIZATION="Basic " + base64.b64encode(b"\xff:\xff").decode()),
        ask(HTTP_AUTHORIZATION="Basic " + base64.b64encode(key.encode()).decode()),
        ask(query=f"?key={key}"),
    ):
        assert (refused.status_code, refused.json()["code"]) == (401, "invalid_key")


def test_a_signed_mapping_takes_what_its_secret_signs_and_nothing_else():
    made = mapping(signature_header="X-Hub-Signature-256", secret="It's a Secret")
    body = b'{"id": 1, "at": "2026-11-24T10:14:02Z"}'
    sign = hmac.new(b"It's a Secret", body, hashlib.sha256).hexdigest()
    key = agent_key()

    for header in ({}, {"X_HUB_SIGNATURE_256": "sha256=" + "0" * 64}, {"X_HUB_SIGNATURE_256": "ü"}, {"X_HUB_SIGNATURE_256": f"sha1={sign}"}):  # fmt: skip
        refused = push("/ingest/v1/mapped/hook", body, key=key, **{f"HTTP_{k}": v for k, v in header.items()})
        assert (refused.status_code, refused.json()["code"]) == (401, "wrong_signature"), header
    other = push("/ingest/v1/mapped/hook", body + b" ", key=key, HTTP_X_HUB_SIGNATURE_256=f"sha256={sign}")
    assert other.status_code == 401
    assert not Event.objects.exists()
    assert push("/ingest/v1/mapped/hook", body, key=key, HTTP_X_HUB_SIGNATURE_256=f"sha256={sign}").json()["accepted"] == 1  # fmt: skip
    assert push("/ingest/v1/mapped/hook", body, key=key, HTTP_X_HUB_SIGNATURE_256=sign.upper()).status_code == 200
    assert b"Secret" not in bytes(made.secret)


def test_only_an_enabled_mapping_of_the_keys_own_environment_is_there():
    mapping()
    mapping("off", enabled=False)

    assert push("/ingest/v1/mapped/hook", {}, key=agent_key(slug="staging")).status_code == 404
    assert push("/ingest/v1/mapped/off", {}, key=agent_key()).status_code == 404
    assert push("/ingest/v1/mapped/none", {}, key=agent_key()).json()["code"] == "not_found"
    assert Client().get("/ingest/v1/mapped/hook").status_code == 405


def test_bad_items_are_refused_by_index_kept_as_they_came_and_sent_again_when_mended():
    made = mapping()
    body = [{"id": 1, "at": NOW}, {"at": NOW, "n": 1.50}, {"id": 3, "at": "soon"}, {"id": 4, "at": NOW, "dead": True}]

    answer = push("/ingest/v1/mapped/hook", body, key=agent_key()).json()

    assert (answer["accepted"], answer["ignored"]) == (3, 0)
    assert [(one["index"], one["code"]) for one in answer["rejected"]] == [(1, "not_mapped"), (2, "invalid_item")]
    assert answer["rejected"][0]["detail"] == "id: there is nothing at '$.id'"
    rejects = {one.code: one for one in IngestReject.objects.all()}
    assert {one.endpoint for one in rejects.values()} == {"mapped/hook"}

    page = Client()
    page.force_login(person("otto", Role.OPERATOR))
    shown = page.get(f"/ingest/refused/{rejects['not_mapped'].pk}/").content.decode()
    assert "{&quot;at&quot;:&quot;2026-11-24T10:14:02Z&quot;,&quot;n&quot;:1.5}" in shown
    mended = page.post(f"/ingest/refused/{rejects['not_mapped'].pk}/resubmit/", {"text": f'{{"id": 2, "at": "{NOW}"}}'})
    assert mended.status_code == 303

    later = json.loads(json.dumps(SIMPLE))
    later["event"]["fields"]["occurred_at"] = NOW  # the mapping is mended, not the item
    change_mapping(made, NewMapping(slug="hook", name="hook", definition=json.dumps(later)), by=ROOT)
    again = page.post(f"/ingest/refused/{rejects['invalid_item'].pk}/resubmit/", {"text": '{"id": 3, "at": "soon"}'})
    assert again.status_code == 303
    assert Event.objects.count() == 4


def test_a_refused_line_is_mended_to_one_line():
    fields = {"id": "$.id", "system": "shop", "operation": "send", "occurred_at": "$.at"}
    mapping(definition={"body": "lines", "pattern": "id=(?P<id>\\S+) at=(?P<at>\\S+)", "event": {"fields": fields}})
    assert push("/ingest/v1/mapped/hook", b"id=1 at=soon", key=agent_key()).json()["rejected"]
    page = Client()
    page.force_login(person("otto", Role.OPERATOR))
    address = f"/ingest/refused/{IngestReject.objects.get().pk}/resubmit/"

    two = page.post(address, {"text": f"id=1 at={NOW}\nid=2 at={NOW}"})
    with_another = page.post(address, {"text": f"id=1 at={NOW}\nnothing of ours"})
    assert (two.status_code, with_another.status_code, Event.objects.count()) == (422, 422, 0)
    assert "become 2 items" in two.content.decode()
    assert page.post(address, {"text": f"id=1 at={NOW}"}).status_code == 303


def test_the_same_body_is_read_again_after_the_mapping_was_changed():
    made = mapping()
    key, body = agent_key(), {"at": NOW}
    assert len(push("/ingest/v1/mapped/hook", body, key=key).json()["rejected"]) == 1
    mended = json.loads(json.dumps(SIMPLE))
    mended["event"]["fields"]["id"] = "one"

    change_mapping(made, NewMapping(slug="hook", name="hook", definition=json.dumps(mended)), by=ROOT)

    assert push("/ingest/v1/mapped/hook", body, key=key).json()["accepted"] == 1
    assert push("/ingest/v1/mapped/hook", body, key=key).json()["accepted"] == 1  # its first answer
    assert Event.objects.count() == 1
    assert LedgerEntry.objects.count() == 2


def test_masking_acts_on_what_is_made_and_of_what_is_refused_nothing_is_kept():
    secret = "4929133385711847"
    mapping()
    add_masking_rule(environment(), NewRule(kind="json_path", expression="$.card"), by=ROOT)
    catalog.forget()

    good = {"id": 1, "at": NOW, "card": secret, "dead": True}
    bad = {"card": secret, "id": {"card": secret}, "at": secret}
    answer = push("/ingest/v1/mapped/hook", [good, bad], key=agent_key())

    assert (answer.json()["accepted"], len(answer.json()["rejected"])) == (2, 1)
    assert DeadLetter.objects.get().content_masked
    assert IngestReject.objects.get().masked
    assert secret not in everything_stored()


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b"[" * 1000, b'{"a":1,"a":2}', b"null", b"[]", b"5", b'"\\ud800"']
)
def test_no_body_is_worse_than_a_refusal(body: bytes):
    mapping()

    answer = push("/ingest/v1/mapped/hook", body, key=agent_key())

    assert answer.status_code in {200, 400}, answer.content
    assert not Event.objects.exists()
