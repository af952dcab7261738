"""Settings → Mappings: the list, the editor, its preview; and who may do what."""

from __future__ import annotations

import html
import json

import pytest
from django.test import Client

from console.audit.models import AuditEntry
from console.identity.models import Role
from messages.mappings.shipped import EVENTBRIDGE, LOGIC_APPS
from messages.models import Event, Mapping
from tests.factories import agent_key, environment, person, push
from tests.http.test_mapped import mapping

pytestmark = pytest.mark.django_db
PAGE, NEW = "/settings/mappings/", "/settings/mappings/new/"
WANTED = {
    "name": "Shop events", "slug": "shop", "definition": json.dumps(EVENTBRIDGE.definition), "enabled": "on", "sample": "",
}  # fmt: skip


def client(name: str, role: Role | None = None, **more: str) -> Client:
    found = Client()
    found.force_login(person(name, role, **more))
    return found


def text_of(answer: object) -> str:
    return html.unescape(answer.content.decode())  # type: ignore[attr-defined]


def test_an_administrator_starts_from_a_shipped_one_saves_a_copy_and_it_reads_from_then_on():
    page = client("ada", Role.ADMINISTRATOR)

    offered = text_of(page.get(f"{NEW}?from=eventbridge"))
    answer = page.post(NEW, WANTED, follow=True)

    assert '"destination": "$.detail-type"' in offered
    assert "6a7e8feb-b491-4cf7-a9f1-bf3703467718" in offered  # of the sample, already tried
    made = Mapping.objects.get()
    assert (made.slug, made.created_by, made.enabled) == ("shop", "ada", True)
    assert "/ingest/v1/mapped/shop from now on" in text_of(answer)
    assert 'curl -sS http://testserver/ingest/v1/mapped/shop -H "Authorization: Bearer KEY"' in text_of(answer)
    assert AuditEntry.objects.get(action="mapping.added").object_label == "Shop events (shop)"
    assert push("/ingest/v1/mapped/shop", EVENTBRIDGE.sample.encode(), key=agent_key()).json()["accepted"] == 1
    assert Event.objects.count() == 1
    assert "…/mapped/shop" in text_of(page.get(PAGE))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"definition": "{"}, "it is not JSON"),
        ({"definition": '{"event": {"fields": {"id": "$["}}}'}, "the field 'system' is missing"),
        ({"slug": "Shop"}, "small letters, digits and hyphens"),
        ({"slug": "a b"}, "Enter a valid “slug”"),
        ({"name": " "}, "This field is required"),
        ({"signature_header": "X-Sign"}, "give the one that the sender signs with"),
        ({"signature_header": "x sign", "secret": "s"}, "letters, digits and hyphens"),
    ],
)
def test_a_mapping_that_cannot_be_is_refused_in_words(changes: dict[str, str], words: str):
    answer = client("ada", Role.ADMINISTRATOR).post(NEW, {**WANTED, **changes})

    assert answer.status_code == 422
    assert words.lower() in text_of(answer).lower()
    assert not Mapping.objects.exists()


def test_the_same_address_twice_is_refused():
    mapping("shop")

    answer = client("ada", Role.ADMINISTRATOR).post(NEW, WANTED)

    assert answer.status_code == 422
    assert "There is a mapping 'shop' already" in text_of(answer)


def test_a_preview_shows_events_dead_letters_and_refusals_as_page_and_as_part_and_saves_nothing():
    page = client("ada", Role.ADMINISTRATOR)
    record = json.loads(LOGIC_APPS.sample)["records"][0]
    broken = {**record, "properties": {**record["properties"], "resource": {}}}
    other = {**record, "operationName": "Microsoft.Logic/workflows/workflowRunStarted"}
    late = {
        **record,
        "properties": {**record["properties"], "status": "Succeeded", "startTime": "later", "endTime": None},
    }
    said = {
        "definition": json.dumps(LOGIC_APPS.definition),
        "sample": json.dumps({"records": [record, broken, other, late]}),
    }

    whole = page.post(f"{NEW}?do=preview", said)
    part = page.post(f"{NEW}?do=preview", said, headers={"HX-Request": "true"})

    text = text_of(whole)
    assert "not_mapped: id: there is nothing at '$.properties.resource.runId'" in text
    assert "invalid_item: Invalid RFC3339 encoded datetime - at `$.occurred_at`" in text
    assert '"reason": "Failed: ActionFailed"' in text
    assert "1 item left out" in text
    assert text.count(">event<") == text.count(">dead letter<") == 1
    assert "<html" in text
    assert part.content.decode().lstrip().startswith('<div id="mapping-preview"')
    assert not Mapping.objects.exists()
    assert not AuditEntry.objects.filter(action__startswith="mapping.").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"definition": "{"}, "Definition: it is not JSON"), ({"sample": "{"}, "Sample: the body is not what the mapping says: it is not JSON")],
)  # fmt: skip
def test_a_preview_says_what_is_wrong_with_definition_or_sample(changes: dict[str, str], words: str):
    said = {**WANTED, "sample": "{}", **changes}

    answer = client("ada", Role.ADMINISTRATOR).post(f"{NEW}?do=preview", said, headers={"HX-Request": "true"})

    assert answer.status_code == 422
    assert words in text_of(answer)


def test_a_mapping_is_changed_and_removed_and_its_secret_is_never_shown():
    made = mapping("shop", signature_header="X-Sign", secret="hidden words")
    page = client("ada", Role.ADMINISTRATOR)
    one = f"{PAGE}{made.pk}/"

    changed = page.post(one, {**WANTED, "slug": "other", "signature_header": "X-Sign", "secret": "", "enabled": ""})
    made.refresh_from_db()
    kept = bytes(made.secret)
    shown = text_of(page.get(one))
    refused = page.post(f"{one}remove/", {"reason": " "})
    page.post(f"{one}remove/", {"reason": "the shop is closed"})

    assert changed.status_code == 303
    assert (made.name, made.slug, made.enabled) == ("Shop events", "shop", False)
    assert kept
    assert "hidden words" not in shown
    assert refused.status_code == 422
    assert "say why" in text_of(refused).lower()
    assert not Mapping.objects.exists()
    told = AuditEntry.objects.filter(action__startswith="mapping.").order_by("id")
    assert [one.action for one in told] == ["mapping.added", "mapping.changed", "mapping.removed"]
    assert told[1].details == {"changed": ["definition", "enabled", "name"]}
    assert told[2].reason == "the shop is closed"


def test_without_a_header_the_secret_goes():
    made = mapping("shop", signature_header="X-Sign", secret="hidden words")

    client("ada", Role.ADMINISTRATOR).post(f"{PAGE}{made.pk}/", {**WANTED, "signature_header": "", "secret": ""})

    made.refresh_from_db()
    assert (made.signature_header, bytes(made.secret)) == ("", b"")


def test_others_look_and_change_nothing_and_strangers_see_nothing():
    made = mapping("shop")
    environment("staging")
    viewer, stranger = client("vic", Role.VIEWER), client("eve", Role.ADMINISTRATOR, slug="staging")
    one = f"{PAGE}{made.pk}/"

    seen = text_of(viewer.get(PAGE)) + text_of(viewer.get(one))

    assert "…/mapped/shop" in seen
    assert '"destination": "orders"' in seen
    assert "New mapping" not in seen
    assert "<textarea" not in seen
    assert viewer.get(NEW).status_code == 403
    assert "…/mapped/shop" not in text_of(stranger.get(PAGE))
    for path in (one, f"{one}?do=preview", f"{one}remove/"):
        assert viewer.post(path, {**WANTED, "reason": "x"}).status_code == 403, path
        assert stranger.post(path, {**WANTED, "reason": "x"}).status_code == 404, path
    for path in (NEW, f"{NEW}?do=preview"):
        assert viewer.post(path, WANTED).status_code == 403, path
    assert Mapping.objects.count() == 1
