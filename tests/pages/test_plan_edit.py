"""The page on which the messages of a plan are edited: without scripts, one message and many, and who may do what."""

from __future__ import annotations

import base64
import gzip
import html
import json

import pytest
from django.test import Client

from console.identity.models import Role
from messages.models import DeadLetter, Plan
from messages.plans.sealed import opened_edits
from messages.plans.services import start_plan
from tests.factories import ROOT, memory_connection, person, stored_letter
from tests.plans.test_editing import MENDED, SECRET, edits, set_edits
from tests.plans.test_plans import begin, letters, plan_of
from tests.services.test_masking import rule

pytestmark = pytest.mark.django_db
EMPTY = {"kind": [""], "name": [""], "text": [""], "type": ["string"]}


@pytest.fixture
def page() -> Client:
    found = Client()
    found.force_login(person("op", Role.OPERATOR))
    return found


def text_of(answer: object) -> str:
    return html.unescape(answer.content.decode())  # type: ignore[attr-defined]


def address(plan: Plan) -> str:
    return f"/plans/{plan.reference}/edit/"


def test_a_letter_is_edited_as_text_previewed_and_saved(page: Client):
    memory_connection()
    letter = stored_letter(body='{\r\n"order_no": "4711"\r\n}')
    assert "Edit and replay" in text_of(page.get(f"/dead-letters/{letter.pk}/"))

    made = page.post(f"/dead-letters/{letter.pk}/edit/", {"reason": "a typing error"})
    plan = Plan.objects.get()
    shown = text_of(page.get(made["Location"]))
    form = {"body": '{\r\n"order_no": "4712"\r\n}', "header-0": "other"}
    preview = text_of(page.post(address(plan) + "?do=preview", form))
    before = opened_edits(Plan.objects.get())
    saved = text_of(page.post(address(plan), form, follow=True))

    assert made["Location"] == address(plan)
    assert '"order_no": "4711"' in shown
    assert '<del>1</del>"' in preview.replace("&quot;", '"')
    assert "would be refused" not in preview
    assert before == ()
    assert "are saved. Nothing is sent until it is started" in saved
    assert '"order_no": "4712"' in saved
    body, header = opened_edits(Plan.objects.get())
    assert (body.text, header.name, header.value) == ('{\r\n"order_no": "4712"\r\n}', "message-id", "other")


def test_a_form_that_changes_nothing_makes_no_edit(page: Client):
    letter = stored_letter(body="\n\nleading\nlines\n", content_type="text/plain")
    plan = plan_of([letter])
    page.post(address(plan), {"body": "\r\n\r\nleading\r\nlines\r\n"} | EMPTY)
    assert opened_edits(Plan.objects.get()) == ()


def test_steps_are_added_previewed_and_saved_for_many(page: Client):
    memory_connection()
    plan = plan_of(letters(3))
    steps = {
        "kind": ["jq", "set_header", "remove_header", "regex", "json_patch", ""],
        "name": ["", "x-a", "x-b", "4711", "", ""],
        "text": [".vat = 1", "1", "", "4712", '[{"op": "add", "path": "/n", "value": 1.50}]', ""],
        "type": ["string"] * 6,
    }
    more = text_of(page.post(address(plan) + "?do=more", steps))
    preview = text_of(page.post(address(plan) + "?do=preview", steps, headers={"HX-Request": "true"}))
    page.post(address(plan), steps)

    assert "Step 7" in more
    assert "3 of 3." in preview
    assert "<h1>" not in preview
    assert [type(one).__name__ for one in opened_edits(Plan.objects.get())] == ["Jq", "SetHeader", "RemoveHeader", "Regex", "JsonPatch"]  # fmt: skip
    again = text_of(page.get(address(plan)))
    assert ".vat = 1" in again
    assert "1.50" in again


@pytest.mark.parametrize(
    ("slot", "words"),
    [
        (("jq", "", "{"), "Step 1 (jq): jq: error"),
        (("json_patch", "", "nope"), "Step 1 (json_patch): it is not JSON"),
        (("regex", "(", ""), "Step 1 (regex): column 2"),
        (("set_header", "replay-id", "1"), "is set or left out by every replay"),
        (("nonsense", "", ""), "a step's kind is one of"),
        (("body", "", ""), "give text or body_base64"),
    ],
)
def test_a_refusal_keeps_what_was_written(page: Client, slot: tuple[str, str, str], words: str):
    plan = plan_of(letters(2))
    form = dict(zip(("kind", "name", "text"), slot, strict=True)) | {"type": "string"}
    for do in ("", "?do=preview"):
        answer = page.post(address(plan) + do, form)
        assert answer.status_code == 422
        assert words.lower() in text_of(answer).lower()
        assert slot[1] in text_of(answer)
    assert opened_edits(Plan.objects.get()) == ()


def test_what_cannot_be_written_as_text_says_so(page: Client):
    binary = stored_letter(body=None, body_base64="AP8=")
    assert "its body is no text" in text_of(page.get(address(plan_of([binary])))).replace("Its", "its")
    packed = stored_letter(body=None, body_base64=base64.b64encode(gzip.compress(json.dumps({"card": SECRET}).encode())).decode())  # fmt: skip
    plan = plan_of([packed])
    assert SECRET in text_of(page.get(address(plan)))
    rule("json_path", "$.card")
    hidden = text_of(page.get(address(plan)))
    assert SECRET not in hidden
    assert "masked when it is read" in hidden


def test_a_plan_that_has_begun_can_be_looked_at_only(page: Client):
    memory_connection()
    plan = set_edits(plan_of(letters(1)), MENDED, by=ROOT)
    begin(plan)
    shown = text_of(page.get(address(plan)))
    assert "It cannot be changed." in shown
    assert "disabled" in shown
    assert "is running: only a draft can be changed" in text_of(page.post(address(plan), EMPTY))
    letter = DeadLetter.objects.get()
    assert "edited before it was sent" in text_of(page.get(f"/dead-letters/{letter.pk}/"))


def test_messages_are_sent_elsewhere_from_the_page(page: Client):
    line = memory_connection()
    plan = plan_of(letters(1))
    where = f"{address(plan)}destination/"
    refused = page.post(where, {"connection": line.pk, "destination": ""})
    done = text_of(page.post(where, {"connection": line.pk, "destination": "erp.new"}, follow=True))
    assert refused.status_code == 422
    assert "Say where to on redis" in text_of(refused)
    assert "Its messages go to erp.new." in done
    assert Plan.objects.get().destination == "erp.new"
    assert page.post(where, {"connection": "99999999", "destination": "x"}).status_code == 404


def test_who_may_not_read_payloads_sees_no_edits_and_a_stranger_no_plan():
    letter = stored_letter()
    plan = set_edits(plan_of([letter]), edits({"kind": "jq", "program": f'.vat = "{SECRET}"'}), by=ROOT)
    viewer, stranger = Client(), Client()
    viewer.force_login(person("viewer", Role.VIEWER))
    stranger.force_login(person("stranger", Role.ADMINISTRATOR, slug="staging"))
    for client, status in ((viewer, 403), (stranger, 404)):
        for answer in (
            client.get(address(plan)),
            client.post(address(plan), EMPTY),
            client.post(address(plan) + "?do=preview", EMPTY),
            client.post(f"{address(plan)}destination/", {"destination": "x"}),
            client.post(f"/dead-letters/{letter.pk}/edit/", {"reason": "x"}),
        ):
            assert answer.status_code == status
            assert SECRET not in text_of(answer)
    assert Client().get(address(plan)).status_code == 302
    assert "Edit and replay" not in text_of(viewer.get(f"/dead-letters/{letter.pk}/"))
    assert plan.state == "draft"


def test_a_letter_without_a_reason_is_not_made_a_plan_of(page: Client):
    letter = stored_letter()
    answer = page.post(f"/dead-letters/{letter.pk}/edit/", {"reason": " "})
    assert answer.status_code == 422
    assert not Plan.objects.exists()
    assert start_plan


def test_edits_that_cannot_be_opened_are_told_and_written_anew(page: Client):
    plan = set_edits(plan_of([stored_letter()]), MENDED, by=ROOT)
    Plan.objects.filter(pk=plan.pk).update(edits=bytes(plan.edits)[:8] + b"x" * 40)
    assert "cannot be opened" in text_of(page.get(address(plan)))
    page.post(address(plan), {"kind": "jq", "name": "", "text": ".a = 1", "type": "string"})
    assert [type(one).__name__ for one in opened_edits(Plan.objects.get())] == ["Jq"]
