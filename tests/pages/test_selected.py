"""The ticked rows: what the confirmation shows is what the action touches, nothing more and nothing less."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from console.audit.models import AuditEntry
from console.identity.models import Role, Team
from messages.models import DeadLetter, Flow, Replay
from tests.factories import environment, memory_connection, stored_letter
from tests.pages.people import signed_in, text_of

pytestmark = pytest.mark.django_db
PATH = "/dead-letters/selected/"


def order(number: int, **changes: Any) -> DeadLetter:
    return stored_letter(keys={"order_no": str(number)}, **changes)


def confirmed(client: Client, do: str, letters: list[DeadLetter]) -> tuple[Any, list[str]]:
    """Open the confirmation; return the page and the ids that its form would send."""
    page = client.get(PATH, {"do": do, "id": [str(letter.pk) for letter in letters]})
    return page, re.findall(r'type="hidden" name="id" value="([^"]+)"', page.content.decode())


def test_every_open_letter_has_a_tick_and_nothing_else_has():
    memory_connection()
    waits, moves = order(1), order(2)
    client = signed_in("operator", Role.OPERATOR)
    client.post(f"/dead-letters/{moves.pk}/replay/", {"reason": "again"})

    for path in ("/dead-letters/", "/dead-letters/?state=all"):
        ticks = re.findall(r'name="id" value="([^"]+)" data-pick-row', client.get(path).content.decode())
        assert ticks == [str(waits.pk)], path
    assert "data-pick" not in signed_in("viewer", Role.VIEWER).get("/dead-letters/").content.decode()


def test_a_replay_of_three_of_four_sends_those_three_longest_waiting_first():
    memory_connection()
    letters = [order(number, failed_at=f"2026-11-{20 - number}T10:00:00Z") for number in range(4)]
    client = signed_in("operator", Role.OPERATOR)

    page, ids = confirmed(client, "replay", letters[:3])
    answer = client.post(PATH, {"do": "replay", "id": ids, "reason": "erp answers again"})
    outcome = client.get(answer["Location"])

    assert "Send 3 dead letters again, in production" in text_of(page)
    assert ids == [str(letter.pk) for letter in reversed(letters[:3])]
    assert answer.status_code == 303
    assert list(Replay.objects.order_by("id").values_list("dead_letter_id", flat=True)) == [
        letter.pk for letter in reversed(letters[:3])
    ]
    assert DeadLetter.objects.get(pk=letters[3].pk).state == "open"
    assert "What became of 3 dead letters" in text_of(outcome)
    assert "3 dead letters on the way to be sent again." in text_of(outcome)
    assert "operator replayed it erp answers again" in text_of(outcome)
    assert 'hx-trigger="every 2s"' in outcome.content.decode()
    assert AuditEntry.objects.filter(action="replay.requested", reason="erp answers again").count() == 3


def test_what_cannot_be_done_is_said_before_and_is_not_in_the_form():
    memory_connection("redis")
    good, elsewhere = order(1), order(2, broker="a broker nobody connected")
    gone = order(3)
    client = signed_in("operator", Role.OPERATOR)
    client.post(f"/dead-letters/{gone.pk}/discard/", {"reason": "a test"})

    page, ids = confirmed(client, "replay", [good, elsewhere, gone])

    assert ids == [str(good.pk)]
    assert "Send 1 dead letter again, in production" in text_of(page)
    assert "2 of the 3 ticked stay as they are" in text_of(page)
    assert "stays: no connection in production is named “a broker nobody connected”" in text_of(page)
    assert "stays: it is not open any more" in text_of(page)


def test_whoever_was_faster_is_told_of_and_the_rest_is_done():
    first, second = order(1), order(2)
    client, other = signed_in("operator", Role.OPERATOR), signed_in("other", Role.OPERATOR)
    _, ids = confirmed(client, "discard", [first, second])
    other.post(f"/dead-letters/{first.pk}/discard/", {"reason": "mine"})

    answer = client.post(PATH, {"do": "discard", "id": ids, "reason": "test orders"})
    words = text_of(client.get(answer["Location"]))

    assert "1 dead letter closed without sending." in words
    assert "Not done. Order 1: this dead letter is not open any more" in words
    assert "other discarded it mine" in words
    assert "operator discarded it test orders" in words


def test_without_a_reason_nothing_is_done_and_the_same_set_stands_there():
    letters = [order(1), order(2)]
    client = signed_in("operator", Role.OPERATOR)
    _, ids = confirmed(client, "discard", letters)

    page = client.post(PATH, {"do": "discard", "id": ids, "reason": " "})

    assert page.status_code == 422
    assert "say why" in text_of(page)
    assert re.findall(r'type="hidden" name="id" value="([^"]+)"', page.content.decode()) == ids
    assert DeadLetter.objects.filter(state="open").count() == 2


def test_a_stranger_and_a_viewer_do_nothing_to_ids_they_know():
    memory_connection()
    letter = order(1)
    viewer = signed_in("viewer", Role.VIEWER)
    Flow.objects.update(team=Team.objects.get(name="Order team"))
    stranger = signed_in("stranger", Role.OPERATOR, team="Other team")

    for client in (viewer, stranger):
        for do in ("replay", "discard"):
            _, ids = confirmed(client, do, [letter])
            client.post(PATH, {"do": do, "id": [str(letter.pk)], "reason": "why not"})
            assert ids == []
    assert "4711" not in text_of(stranger.get(PATH, {"do": "replay", "id": str(letter.pk)}))
    assert "1 of the ticked cannot be seen by you" in text_of(
        stranger.get(PATH, {"do": "replay", "id": str(letter.pk)})
    )
    assert DeadLetter.objects.get().state == "open"
    assert AuditEntry.objects.filter(object_kind="deadletter").count() == 0


def test_a_letter_of_another_environment_is_not_touched_from_here():
    letter = order(1)
    environment("staging")
    client = signed_in(superuser=True)
    _, ids = confirmed(client, "discard", [letter])
    client.post("/environment/", {"environment": "staging", "next": "/"})  # in another tab

    answer = client.post(PATH, {"do": "discard", "id": ids, "reason": "x"})

    assert "1 of the ticked cannot be seen by you in staging any more" in text_of(client.get(answer["Location"]))
    assert DeadLetter.objects.get(pk=letter.pk).state == "open"


@pytest.mark.parametrize(
    "asked",
    [{"do": "replay", "id": "none"}, {"do": "replay", "id": ["\x00"]}, {"id": ["x" * 9000]}, {"do": "replay", "id": ["1"] * 101}],
    ids=["no uuid", "NUL", "huge", "too many"],
)  # fmt: skip
def test_what_is_no_selection_is_a_designed_400(asked: dict[str, Any]):
    client = signed_in(superuser=True)

    assert client.get(PATH, asked).status_code == 400
    assert client.post(PATH, asked | {"reason": "x"}).status_code == 400


def test_nothing_ticked_says_how_to_tick():
    page = signed_in(superuser=True).get(PATH, {"do": "replay"})

    assert "Nothing is ticked" in text_of(page)
