"""A letter that left the queue of a mirror is closed with that word, and opens again when it is there again."""

from __future__ import annotations

import pytest

from console.audit.models import AuditEntry
from console.identity.models import Role
from messages.models import DeadLetter
from tests.factories import agent_key, letter, push
from tests.pages.people import signed_in, text_of

pytestmark = pytest.mark.django_db
GONE = "/ingest/v1/dead-letters/gone"
LETTERS = "/ingest/v1/dead-letters"


def test_what_left_the_queue_is_closed_said_on_its_page_and_can_be_opened_again():
    key = agent_key("mirror")
    push(LETTERS, [letter(id="a"), letter(id="b")], key=key)

    answer = push(GONE, {"ids": ["a", "nobody", "x" * 400]}, key=key)

    assert answer.json() == {"closed": 1}
    gone = DeadLetter.objects.get(resolution="gone")
    client = signed_in(role=Role.OPERATOR)
    page = text_of(client.get(f"/dead-letters/{gone.pk}/"))
    assert "gone from the broker" in page
    assert "somebody took it" in page
    assert "gone from the broker" in text_of(client.get("/dead-letters/?q=state:gone&state=closed"))
    assert client.post(f"/dead-letters/{gone.pk}/restore/", {"reason": "send our copy"}).status_code == 303
    assert DeadLetter.objects.filter(state="open").count() == 2


def test_one_that_is_reported_anew_opens_again():
    key = agent_key("mirror")
    push(LETTERS, [letter(id="a")], key=key)
    push(GONE, {"ids": ["a"]}, key=key)

    again = push(LETTERS, [letter(id="a")], key=key)

    assert again.json()["duplicates"] == 1
    assert DeadLetter.objects.get().state == "open"
    assert list(AuditEntry.objects.order_by("pk").values_list("action", "actor")) == [
        ("dead_letter.gone", "system"),
        ("dead_letter.returned", "system"),
    ]


def test_nobody_closes_letters_of_another_agent_or_those_that_are_on_their_way():
    key = agent_key("mirror")
    push(LETTERS, [letter(id="a"), letter(id="b")], key=key)
    DeadLetter.objects.filter(pk=DeadLetter.objects.earliest("id").pk).update(state="replaying")

    of_another = push(GONE, {"ids": ["a", "b"]}, key=agent_key("other"))
    own = push(GONE, {"ids": ["a", "b"]}, key=key)

    assert (of_another.json(), own.json()) == ({"closed": 0}, {"closed": 1})
    assert sorted(DeadLetter.objects.values_list("state", flat=True)) == ["closed", "replaying"]


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"ids": 3}', b'{"ids": [1]}', b"{}"])
def test_a_report_that_is_none_is_refused(body: bytes):
    assert push(GONE, body, key=agent_key("mirror")).status_code == 400
