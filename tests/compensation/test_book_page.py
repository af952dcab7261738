"""The compensation book in the browser and over REST: written, tried on a real journey, versions, rights."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from console.audit.models import AuditEntry
from console.identity.models import Role, Team
from messages.compensation.book import export_book, parse_book
from messages.compensation.books import newest_book
from messages.ingest import catalog
from messages.masking.services import NewRule, add_masking_rule
from messages.models import Compensation, CompensationBook, DeadLetter, Flow
from tests.compensation.orders import BOOK, failed_order
from tests.factories import ROOT, api_key, environment, memory_connection, person

pytestmark = pytest.mark.django_db


@pytest.fixture
def letter() -> DeadLetter:
    memory_connection()
    found = failed_order("payment", "stock")
    Flow.objects.filter(pk=found.flow_id).update(team=Team.objects.get_or_create(name="Order team")[0])
    return DeadLetter.objects.select_related("flow").get(pk=found.pk)


def client(name: str, role: Role | None, **more: str) -> Client:
    found = Client()
    found.force_login(person(name, role, **more))
    return found


def address(letter: DeadLetter) -> str:
    return f"/flows/{letter.flow_id}/compensation-book/"


def text_of(answer: Any) -> str:
    return html.unescape(answer.content.decode())


def test_an_administrator_tries_a_book_saves_it_and_exports_what_was_saved(letter):
    page = client("ada", Role.ADMINISTRATOR)
    assert "an example to start from" in text_of(page.get(address(letter)))

    tried = page.post(address(letter) + "?do=try", {"content": BOOK, "on": "", "base": "0"})
    assert text_of(tried).count("1284.50") == 2  # in the title, and in the body that would be sent
    assert "2 steps completed" in text_of(tried)
    assert "Not completed: confirmation mailed" in text_of(tried)
    assert text_of(tried).index("release the articles") < text_of(tried).index("refund 1284.50")
    assert CompensationBook.objects.count() == Compensation.objects.count() == 0
    assert AuditEntry.objects.filter(action="payload.read", object_id=str(letter.pk), actor="ada").count() == 1

    saved = page.post(address(letter), {"content": BOOK, "reason": "first", "base": "0"}, follow=True)
    assert "Version 1 counts" in text_of(saved)
    exported = page.get(address(letter) + "export/").content.decode()
    assert parse_book(exported) == parse_book(BOOK)
    assert AuditEntry.objects.get(action="compensation_book.saved").reason == "first"


def test_a_file_wins_over_the_text_and_what_is_wrong_is_said_beside_it(letter):
    page = client("ada", Role.ADMINISTRATOR)
    file = SimpleUploadedFile("book.yaml", BOOK.encode())
    page.post(address(letter), {"content": "junk", "file": file, "reason": "import", "base": "0"})
    assert newest_book(letter.flow).version == 1

    refused = page.post(address(letter), {"content": "steps: []", "reason": "x", "base": "1"})
    assert refused.status_code == 422
    assert "A book has 1 to 50 steps" in text_of(refused)
    assert "Save as version 2" in text_of(refused)
    binary = SimpleUploadedFile("book.yaml", b"\xff\xfe\x00")
    assert page.post(address(letter), {"file": binary, "reason": "x", "base": "1"}).status_code == 422


def test_of_two_who_change_the_same_version_one_is_told(letter):
    page = client("ada", Role.ADMINISTRATOR)
    page.post(address(letter), {"content": BOOK, "reason": "one", "base": "0"})
    second = page.post(address(letter), {"content": BOOK, "reason": "two", "base": "0"})
    assert second.status_code == 422
    assert "Version 1 was saved since you looked" in text_of(second)


def test_an_ended_book_proposes_nothing_and_its_versions_stay(letter):
    page = client("ada", Role.ADMINISTRATOR)
    page.post(address(letter), {"content": BOOK, "reason": "one", "base": "0"})
    assert page.post(address(letter) + "end/", {"reason": ""}).status_code == 422
    assert 'name="base" value="1"' in text_of(page.get(address(letter)))
    stale = page.post(address(letter) + "end/", {"reason": "of another version", "base": "0"})
    assert (stale.status_code, "Version 1 was saved since" in text_of(stale).replace("version 1", "Version 1")) == (422, True)  # fmt: skip
    page.post(address(letter) + "end/", {"reason": "the shop is sold", "base": "1"})
    assert newest_book(letter.flow) is None
    assert "ended the book" in text_of(page.get(address(letter)))
    assert "payment taken" in text_of(page.get(address(letter) + "?version=1"))
    assert page.get(address(letter) + "?version=9").status_code == 404


def test_who_may_see_the_flow_sees_its_book_and_only_its_administrators_change_it(letter):
    client("ada", Role.ADMINISTRATOR).post(address(letter), {"content": BOOK, "reason": "one", "base": "0"})
    operator = client("olga", Role.OPERATOR)
    assert "payment taken" in text_of(operator.get(address(letter)))
    for path, data in (
        ("", {"content": BOOK, "reason": "x", "base": "1"}),
        ("?do=try", {"content": BOOK}),
        ("end/", {"reason": "x"}),
    ):
        assert operator.post(address(letter) + path, data).status_code == 403, path
    stranger = client("sam", Role.ADMINISTRATOR, team="Other team")
    assert stranger.get(address(letter)).status_code == 404
    assert stranger.get(address(letter) + "export/").status_code == 404
    assert CompensationBook.objects.count() == 1


def test_a_message_of_another_flow_is_not_there_to_try_it_on(letter):
    page = client("ada", Role.ADMINISTRATOR)
    Flow.objects.create(environment=environment(), name="elsewhere")
    for on in ("nobody", "00000000-0000-0000-0000-000000000000", "\x00", "x" * 600):
        answer = page.post(address(letter) + "?do=try", {"content": BOOK, "on": on})
        assert answer.status_code in (422, 200), on
        assert "refund 1284.50" not in text_of(answer) or on == "\x00"
    by_id = page.post(address(letter) + "?do=try", {"content": BOOK, "on": letter.message_id})
    assert "2 steps completed" in text_of(by_id)


@pytest.fixture
def masked(letter: DeadLetter) -> Iterator[None]:
    """A rule for the amount, which came after the body was stored."""
    add_masking_rule(environment(), NewRule(kind="json_path", expression="$.amount"), by=ROOT)
    catalog._rules.clear()
    yield
    catalog._rules.clear()


def test_a_trial_masks_what_a_proposal_masks(letter, masked):
    page, call = client("ada", Role.ADMINISTRATOR), rest("bea", Role.ADMINISTRATOR)
    tried = page.post(address(letter) + "?do=try", {"content": BOOK})
    assert "1284.50" not in text_of(tried)
    assert "values are masked here" in text_of(tried)
    told = call("post", f"flows/{letter.flow_id}/compensation-book/try", {"yaml": BOOK})
    assert "1284.5" not in told.content.decode()
    assert told.json()["steps"][1]["action"]["masked"] is True


def test_what_a_journey_says_is_shown_as_text(letter):
    page = client("ada", Role.ADMINISTRATOR)
    evil = BOOK.replace("title: payment taken", 'title: "<script>alert(1)</script>"')
    assert b"<script>alert(1)" not in page.post(address(letter) + "?do=try", {"content": evil}).content
    page.post(address(letter), {"content": evil, "reason": "<img src=x onerror=1>", "base": "0"})
    assert b"<script>alert(1)" not in page.get(address(letter)).content
    assert b"<img src=x" not in page.get(address(letter)).content


def rest(user: str, role: Role) -> Any:
    key = api_key(person(user, role))

    def call(method: str, path: str, body: Any = None) -> Any:
        return getattr(Client(), method)(
            f"/api/v1/{path}", body, content_type="application/json", HTTP_AUTHORIZATION=f"Bearer {key}"
        )

    return call


def test_rest_saves_reads_tries_and_ends_a_book(letter):
    call, path = rest("ada", Role.ADMINISTRATOR), f"flows/{letter.flow_id}/compensation-book"
    assert call("get", path).status_code == 404
    assert call("put", path, {"yaml": BOOK, "reason": "first", "base": 0}).json()["version"] == 1
    content = call("get", path).json()["content"]
    assert call("put", path, {"content": content, "reason": "same", "base": 1}).json()["yaml"] == export_book(
        parse_book(BOOK)
    )
    stale = call("put", path, {"content": content, "reason": "same", "base": 1})
    assert (stale.status_code, stale.json()["code"]) == (409, "book_changed")
    assert call("put", path, {"content": content, "yaml": BOOK, "reason": "both", "base": 2}).status_code == 400
    assert call("put", path, {"yaml": "steps: [", "reason": "x", "base": 2}).json()["code"] == "bad_yaml"
    trial = call("post", path + "/try", {"yaml": BOOK, "on": str(letter.pk)}).json()
    assert [(step["step"], step["name"]) for step in trial["steps"]] == [(1, "stock"), (2, "payment")]
    assert trial["steps"][1]["action"]["destination"] == "refunds"
    dry = call("post", "compensations", {"letter": str(letter.pk), "dry_run": True}).json()
    assert dry["steps"] == trial["steps"]
    assert [one["version"] for one in call("get", path + "/versions").json()["results"]] == [2, 1]
    assert call("delete", path, {"reason": "over", "base": 2}).json()["ended"] is True
    assert call("get", path + "?version=1").json()["version"] == 1
    assert rest("olga", Role.OPERATOR)("put", path, {"yaml": BOOK, "reason": "x", "base": 3}).status_code == 403
