"""A receiver that asks to be left alone is: by the replay that it said so to, and by all others over its connection."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from console.identity.models import Role
from messages.catalog.connections import approve_connection, create_connection, withdraw_connection
from messages.models import Connection, Replay
from messages.replay.holds import hold_connection
from messages.replay.sending import send_due, sweep_replays
from messages.replay.services import request_replay
from tests.engines.receiver import Answer, Receiver, receiving
from tests.factories import ROOT, environment, stored_letter
from tests.pages.people import signed_in, text_of

pytestmark = pytest.mark.django_db


def connected(receiver: Receiver, name: str = "shop-api") -> Connection:
    found = create_connection(environment(), name=name, kind="http", address=f"{receiver.url}/in", by=ROOT)
    approve_connection(found, by=ROOT)
    return found


def asked(broker: str = "shop-api") -> Replay:
    """Return a replay that is old enough for the sweep."""
    replay = request_replay(stored_letter(broker=broker), by=ROOT, reason="fixed")
    Replay.objects.filter(pk=replay.pk).update(created_at=datetime.now(UTC) - timedelta(minutes=1))
    return replay


def state(*replays: Replay) -> list[tuple[str, int]]:
    for replay in replays:
        replay.refresh_from_db()
    return [(replay.state, replay.attempt) for replay in replays]


def pass_time(seconds: float) -> None:
    """Let what was written down be so much longer ago."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE messaging_connection SET not_before = not_before - make_interval(secs => %s)", [seconds])
        cursor.execute("UPDATE messaging_replay SET not_before = not_before - make_interval(secs => %s)", [seconds])


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_holds_that_item_and_the_next_ones_of_the_connection_and_no_other(status: int):
    with receiving(Answer(status, headers={"Retry-After": "300"})) as busy, receiving() as other:
        connected(busy), connected(other, "other")
        first, second, elsewhere = asked(), asked(), asked("other")

        for replay in (first, second, elsewhere):
            send_due(replay.connection_id)
        sweep_replays()
        before = (len(busy.came), state(first, second, elsewhere))
        pass_time(290)
        sweep_replays()
        still = len(busy.came)
        pass_time(11)
        sweep_replays()

    assert before == (1, [("queued", 1), ("queued", 0), ("confirmed", 1)])
    assert (still, len(busy.came)) == (1, 3)
    assert state(first, second) == [("confirmed", 2), ("confirmed", 1)]


def test_the_wish_is_said_to_the_operator_and_a_shorter_one_does_not_end_a_longer():
    with receiving(Answer(429, headers={"Retry-After": "300"})) as busy:
        found = connected(busy)
        replay = asked()
        send_due(replay.connection_id)
        found.refresh_from_db()
        before = found.not_before

        hold_connection(found.pk, 1)  # another worker had one in hand already

        replay.refresh_from_db()
        found.refresh_from_db()
    assert "it asks to send nothing for 300 s" in replay.detail
    assert found.not_before == before


def test_a_limit_that_is_used_up_holds_the_next_although_this_one_was_taken():
    with receiving(Answer(202, headers={"RateLimit": '"default";r=0;t=60'})) as busy:
        connected(busy)
        first, second = asked(), asked()

        sweep_replays()
        sweep_replays()
        came = len(busy.came)
        pass_time(61)
        sweep_replays()

    assert (came, state(first, second)) == (1, [("confirmed", 1), ("confirmed", 1)])


def test_what_is_held_takes_no_place_in_the_sweep():
    with receiving(Answer(503, headers={"Retry-After": "60"})) as busy, receiving() as other:
        connected(busy), connected(other, "other")
        first, held, free = asked(), asked(), asked("other")
        send_due(first.connection_id)

        sweep_replays()

    assert state(held, free) == [("queued", 0), ("confirmed", 1)]


def test_a_connection_that_is_withdrawn_and_approved_again_waits_no_longer():
    with receiving(Answer(503, headers={"Retry-After": "60"})) as busy:
        found = connected(busy)
        send_due(asked().connection_id)
        withdraw_connection(found, by=ROOT)

        approve_connection(found, by=ROOT)

    assert found.not_before is None


def test_a_letter_that_waits_for_a_held_connection_says_why():
    with receiving(Answer(503, headers={"Retry-After": "60"})) as busy:
        connected(busy)
        first, second = asked(), asked()
        send_due(first.connection_id)
        client = signed_in("operator", Role.OPERATOR)

        page = client.get(f"/dead-letters/{second.dead_letter_id}/")

    assert "Its receiver asked to be left alone: nothing is sent over shop-api before" in text_of(page)
