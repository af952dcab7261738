"""What is done to one dead letter on its page: with and without htmx, by whom, and what the page says then."""

from __future__ import annotations

import pytest

from console.audit.models import AuditEntry
from console.identity.models import Role, Team
from messages.models import DeadLetter, Flow, Replay
from messages.replay.sending import send_due
from messages.replay.services import request_replay
from tests.factories import ROOT, memory_connection, stored_letter
from tests.pages.people import signed_in, text_of

pytestmark = pytest.mark.django_db


# actions on a letter -------------------------------------------------------------------------------------------------


def test_a_replay_without_scripts_is_a_303_to_the_letter_that_says_what_happens():
    memory_connection()
    letter = stored_letter()
    client = signed_in("operator", Role.OPERATOR)

    answer = client.post(f"/dead-letters/{letter.pk}/replay/", {"reason": "erp answers again"})
    page = client.get(answer["Location"])

    assert answer.status_code == 303
    assert "It waits for a worker." in text_of(page)
    assert 'hx-trigger="every 2s"' in page.content.decode()
    assert "operator replayed it to erp.orders. erp answers again" in text_of(page)


def test_the_confirmation_names_destination_and_environment():
    memory_connection()
    letter = stored_letter()
    page = signed_in("operator", Role.OPERATOR).get(f"/dead-letters/{letter.pk}/")

    assert "Send it to erp.orders again, in production" in text_of(page)
    assert 'data-key="r"' in page.content.decode()


def test_a_replay_without_reason_is_422_with_the_same_part_and_the_words():
    memory_connection()
    letter = stored_letter()
    client = signed_in("operator", Role.OPERATOR)

    answer = client.post(f"/dead-letters/{letter.pk}/replay/", {"reason": "  "}, headers={"HX-Request": "true"})

    assert answer.status_code == 422
    assert answer.content.decode().lstrip().startswith('<div class="stack" id="letter"')
    assert "say why: the reason is kept in the audit list" in text_of(answer)
    assert Replay.objects.count() == 0


def test_the_second_of_two_operators_is_told_that_somebody_was_faster():
    memory_connection()
    letter = stored_letter()
    first, second = signed_in("first", Role.OPERATOR), signed_in("second", Role.OPERATOR)
    first.post(f"/dead-letters/{letter.pk}/replay/", {"reason": "mine"})

    answer = second.post(f"/dead-letters/{letter.pk}/discard/", {"reason": "mine"})

    assert answer.status_code == 422
    assert "somebody replayed or discarded it" in text_of(answer)


@pytest.mark.parametrize("action", ["replay", "discard", "restore", "send-again", "mark-processed"])
def test_a_viewer_may_not_act_and_a_get_is_refused(action: str):
    memory_connection()
    letter = stored_letter()
    viewer = signed_in("viewer", Role.VIEWER)

    assert viewer.post(f"/dead-letters/{letter.pk}/{action}/", {"reason": "why not"}).status_code in {403, 422}
    assert viewer.get(f"/dead-letters/{letter.pk}/{action}/").status_code == 405
    assert DeadLetter.objects.get().state == "open"
    assert AuditEntry.objects.filter(object_kind="deadletter").count() == 0


def test_without_a_connection_the_page_says_what_is_missing():
    letter = stored_letter()
    page = signed_in("operator", Role.OPERATOR).get(f"/dead-letters/{letter.pk}/")

    assert "It cannot be replayed yet. No connection in production is named “redis”" in text_of(page)


def test_discard_and_restore_keep_their_reasons():
    letter = stored_letter()
    client = signed_in("operator", Role.OPERATOR)

    client.post(f"/dead-letters/{letter.pk}/discard/", {"reason": "a test order"})
    assert DeadLetter.objects.get().resolution == "discarded"
    client.post(f"/dead-letters/{letter.pk}/restore/", {"reason": "not a test"})

    page = client.get(f"/dead-letters/{letter.pk}/")
    assert DeadLetter.objects.get().state == "open"
    assert "operator discarded it a test order" in text_of(page)
    assert "operator restored it not a test" in text_of(page)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("sending", "A worker is sending it now"),
        ("sent", "the broker has not confirmed it"),
        ("confirmed", "Whether erp processed it is known when its own event arrives"),
        ("unknown", "It may or may not have been sent"),
        ("refused", "The broker will not take it"),
        ("failed_again", "It failed again"),
    ],
)
def test_the_outcome_is_said_in_plain_words(state: str, words: str):
    memory_connection()
    letter = stored_letter()
    client = signed_in("operator", Role.OPERATOR)
    client.post(f"/dead-letters/{letter.pk}/replay/", {"reason": "again"})
    lease = {"lease_until": "2099-01-01T00:00:00Z"} if state == "sending" else {"lease_until": None}
    Replay.objects.update(state=state, **lease)

    page = client.get(f"/dead-letters/{letter.pk}/")

    assert words in text_of(page)
    assert ('hx-trigger="every ' in page.content.decode()) == (state in {"sending", "sent", "confirmed"})


def test_an_unknown_replay_is_marked_by_a_person_and_says_that_nothing_proves_it():
    memory_connection()
    letter = stored_letter()
    client = signed_in("operator", Role.OPERATOR)
    client.post(f"/dead-letters/{letter.pk}/replay/", {"reason": "again"})
    Replay.objects.update(state="unknown")

    client.post(f"/dead-letters/{letter.pk}/mark-processed/", {"reason": "seen in erp"})

    page = client.get(f"/dead-letters/{letter.pk}/")
    assert "Closed without proof." in text_of(page)
    assert "proved by" not in text_of(page)


def test_a_later_death_in_another_teams_flow_is_not_named_to_who_may_not_see_it():
    memory_connection()
    first = stored_letter(origin="ours")
    replay = request_replay(first, by=ROOT, reason="fixed")
    send_due(replay.connection_id)
    later = stored_letter(origin="theirs", replay_id=str(replay.pk))
    Flow.objects.filter(name="theirs").update(team=Team.objects.create(name="Another team"))

    ours, everybody = signed_in("ours", Role.VIEWER), signed_in("root", superuser=True)

    assert str(later.pk) not in ours.get(f"/dead-letters/{first.pk}/").content.decode()
    assert str(later.pk) in everybody.get(f"/dead-letters/{first.pk}/").content.decode()
