"""Where a second person is asked for above a number, one after the other is as many as together."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test import Client

from console.identity.models import Role, User
from messages.models import DeadLetter, Flow, Plan, Replay
from messages.plans.advance import advance_plan
from messages.plans.services import ApprovalNeeded, start_plan
from messages.replay import limits, services
from messages.replay.services import ReplayNotAllowed, hindrance_of, request_replay
from tests.factories import actor, memory_connection, person
from tests.http.test_rest_administration import Caller
from tests.plans.test_plans import letters, plan_of

MOST = 2


@pytest.fixture
def ada(db: None) -> User:
    memory_connection()
    return person("ada", Role.OPERATOR)


def waiting(count: int) -> list[DeadLetter]:
    found = letters(count)
    Flow.objects.update(approve_above=MOST)
    return [DeadLetter.objects.get(pk=one.pk) for one in found]


def send(one: DeadLetter, by: User) -> Replay:
    return request_replay(one, by=actor(by), reason="fixed")


def test_beyond_the_number_the_next_is_refused_in_words_and_another_person_may(ada):
    first, second, third, fourth = waiting(4)
    send(first, ada), send(second, ada)

    words = hindrance_of(third, actor(ada))
    with pytest.raises(ReplayNotAllowed, match="above 2 a second person must approve: make a plan of it") as refusal:
        send(third, ada)
    assert str(refusal.value) == words
    third.refresh_from_db()
    assert third.state == "open"
    send(third, person("bob", Role.OPERATOR))

    Replay.objects.update(created_at=datetime.now(UTC) - timedelta(minutes=61))
    assert send(fourth, ada).state == "queued"


def test_what_was_refused_went_nowhere_and_counts_not(ada):
    first, second, third = waiting(3)
    send(first, ada), send(second, ada)
    Replay.objects.filter(dead_letter=first).update(state="refused", finished_at=datetime.now(UTC))
    assert hindrance_of(third, actor(ada)) == ""


def test_a_plan_of_the_next_one_needs_the_second_person_and_says_why(ada):
    first, second, third = waiting(3)
    send(first, ada), send(second, ada)
    plan = plan_of([third], by=actor(ada))
    assert plan.approval_why.endswith(
        "asks for a second person for more than 2 messages, and ada sent 2 there within the last hour"
    )
    with pytest.raises(ApprovalNeeded):
        start_plan(plan, by=actor(ada))
    assert plan_of([third], by=actor(person("bob", Role.OPERATOR))).approval_why == ""


def test_plans_one_after_the_other_count_and_approved_ones_do_not(ada):
    first, second, third = waiting(3)
    begun = plan_of([first, second], by=actor(ada))
    start_plan(begun, by=actor(ada))
    assert "make a plan of it" in hindrance_of(third, actor(ada))
    assert plan_of([third], by=actor(ada)).approval_why
    advance_plan(begun.pk)
    assert "make a plan of it" in hindrance_of(third, actor(ada))
    Plan.objects.filter(pk=begun.pk).update(approved_at=datetime.now(UTC), approved_checksum=begun.checksum)
    assert hindrance_of(third, actor(ada)) == ""


def test_a_draft_that_was_made_before_the_others_were_sent_is_asked_again_when_it_starts(ada):
    first, second, third = waiting(3)
    plan = plan_of([third], by=actor(ada))
    assert plan.approval_why == ""
    send(first, ada), send(second, ada)
    with pytest.raises(ApprovalNeeded, match="ada sent 2 there"):
        start_plan(plan, by=actor(ada))


def test_the_number_of_the_whole_console_counts_every_flow(ada, settings):
    first, second, third = letters(3)
    settings.APPROVE_ABOVE = MOST
    send(first, ada), send(second, ada)
    assert hindrance_of(third, actor(ada)).startswith("you sent 2 within the last hour")
    assert plan_of([third], by=actor(ada)).approval_why.startswith("this console asks")


def test_ticked_rows_and_rest_say_the_same(ada):
    first, second, third, fourth = waiting(4)
    send(first, ada)
    browser = Client()
    browser.force_login(ada)
    shown = browser.get("/dead-letters/selected/", {"do": "replay", "id": [str(second.pk), str(third.pk)]})
    assert "where you sent 1 within the last hour" in shown.content.decode()
    caller = Caller("carl", Role.OPERATOR)
    for one in (second, third):
        assert caller("post", f"dead-letters/{one.pk}/replay", {"reason": "x"}).status_code in (200, 201, 202)
    assert "make a plan of it" in caller("get", f"dead-letters/{fourth.pk}").json()["hindrance"]
    refused = caller("post", f"dead-letters/{fourth.pk}/replay", {"reason": "x"})
    assert (refused.status_code, refused.json()["code"]) == (409, "replay_not_allowed")


def at_once(found: list[DeadLetter], ada: User) -> int:
    """Have the same person send all of them at the same moment; return how many went."""
    together = threading.Barrier(len(found))

    def one(letter: DeadLetter) -> int:
        try:
            together.wait()
            send(letter, ada)
            return 1
        except ReplayNotAllowed:
            return 0
        finally:
            connection.close()

    with ThreadPoolExecutor(len(found)) as pool:
        return sum(pool.map(one, found))


@pytest.mark.django_db(transaction=True)
def test_of_many_requests_at_once_no_more_go_than_the_number():
    memory_connection()
    ada = person("ada", Role.OPERATOR)
    assert at_once(waiting(6), ada) == MOST


@pytest.mark.django_db(transaction=True)
def test_without_the_lock_more_would_go(monkeypatch: pytest.MonkeyPatch):
    memory_connection()
    ada = person("ada", Role.OPERATOR)
    counted = limits.sent_lately
    both = threading.Barrier(3)

    def look(name: str, **named: object):
        found = counted(name, **named)
        both.wait(timeout=20)
        return found

    monkeypatch.setattr(services, "hold_count_of", lambda name: None)
    monkeypatch.setattr(limits, "sent_lately", look)
    assert at_once(waiting(3), ada) > MOST
