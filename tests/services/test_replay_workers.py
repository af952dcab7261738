"""Workers that are lost, wake late or meet over one replay: it is sent once, or somebody is told that nobody knows."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, connections

from messages.connectors.base import Published
from messages.dead_letters.services import NotOpen
from messages.models import DeadLetter, Flow, Replay
from messages.replay import sending
from messages.replay.lines import line_to
from messages.replay.sending import send_due, sweep_replays
from messages.replay.services import IllegalTransition, request_replay, send_again
from messages.replay.window import CLAIM, DUE, claim, mark
from tests.factories import ROOT, memory_connection, stored_letter
from tests.services.test_replay import sent_to

pytestmark = pytest.mark.django_db


def lost_worker(replay):
    """Leave the row as a worker does that was killed between send and mark; returns what it had claimed."""
    [claimed] = claim(replay.connection_id, 1)
    assert (claimed.pk, claimed.attempt) == (replay.pk, 1)
    Replay.objects.filter(pk=replay.pk).update(lease_until=datetime.now(UTC) - timedelta(hours=1))
    return claimed


@pytest.mark.parametrize(("idempotent", "state", "attempt"), [(True, "confirmed", 2), (False, "unknown", 1)])
def test_a_worker_lost_between_send_and_mark_ends_in_sent_again_or_unknown_never_in_silence(idempotent, state, attempt):
    memory_connection()
    stored = stored_letter()
    Flow.objects.update(receiver_is_idempotent=idempotent)
    replay = request_replay(stored, by=ROOT, reason="fixed")
    lost_worker(replay)

    sweep_replays()

    replay.refresh_from_db()
    assert (replay.state, replay.attempt) == (state, attempt)


def test_a_zombie_worker_cannot_mark_what_another_attempt_owns():
    memory_connection()
    stored = stored_letter()
    Flow.objects.update(receiver_is_idempotent=True)
    replay = request_replay(stored, by=ROOT, reason="fixed")
    zombie = lost_worker(replay)
    sweep_replays()  # attempt 2 confirms

    marked = mark([zombie], {replay.pk: Published(id="x", result="refused", detail="from the grave")})

    replay.refresh_from_db()
    stored.refresh_from_db()
    assert (marked, replay.state, replay.attempt, stored.state) == (0, "confirmed", 2, "replaying")


def test_a_worker_that_wakes_after_its_lease_does_not_send_beside_the_one_that_took_over():
    found, stored = memory_connection(), stored_letter()
    replay = request_replay(stored, by=ROOT, reason="fixed")
    zombie = lost_worker(replay)
    sweep_replays()

    with line_to(found.pk) as line:
        results = sending._send(line, [zombie])

    assert ([result.result for result in results.values()], sent_to(found)) == (["unavailable"], [])
    assert mark([zombie], results) == 0


def test_a_replay_that_ends_every_worker_is_unknown_after_ten_of_them():
    found, stored = memory_connection(), stored_letter()
    Flow.objects.update(receiver_is_idempotent=True)
    replay = request_replay(stored, by=ROOT, reason="fixed")
    lost_worker(replay)
    Replay.objects.update(attempt=10)

    send_due(replay.connection_id)  # a worker told twice
    sweep_replays()

    replay.refresh_from_db()
    assert (replay.state, replay.attempt, sent_to(found)) == ("unknown", 10, [])


def test_what_a_worker_has_cannot_be_sent_again():
    found, stored = memory_connection(), stored_letter()
    replay = request_replay(stored, by=ROOT, reason="fixed")
    assert len(claim(replay.connection_id, 1)) == 1

    with pytest.raises(IllegalTransition):
        send_again(replay, by=ROOT, reason="impatience")

    replay.refresh_from_db()
    assert (replay.state, replay.attempt, sent_to(found)) == ("sending", 1, [])


def test_of_two_operators_who_replay_at_once_one_wins_and_the_other_is_told(committed):
    memory_connection()
    stored = stored_letter()
    outcomes: list[str] = []
    start = threading.Barrier(2)

    def press() -> None:
        start.wait()
        try:
            request_replay(DeadLetter.objects.get(pk=stored.pk), by=ROOT, reason="fixed")
            outcomes.append("won")
        except NotOpen:
            outcomes.append("told")
        finally:
            connections.close_all()

    threads = [threading.Thread(target=press) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == ["told", "won"]
    assert Replay.objects.count() == 1


def together(ask):
    """Return a function that asks, and answers when eight have asked."""
    meet = threading.Barrier(8, timeout=30)

    def asked(*about):
        answer = ask(*about)
        meet.wait()
        return answer

    return asked


@pytest.mark.parametrize("guarded", [True, False], ids=["with the claim", "negative control: without it"])
def test_eight_workers_given_the_same_replay_send_it_once(guarded, monkeypatch, committed):
    found, stored = memory_connection(), stored_letter()
    replay = request_replay(stored, by=ROOT, reason="fixed")
    if not guarded:
        everything = CLAIM.replace(DUE, "%b > 0").replace("SKIP LOCKED", "").replace("r.attempt + 1", "1")
        monkeypatch.setattr("messages.replay.window.CLAIM", everything)
        monkeypatch.setattr(sending, "standing", together(sending.standing))  # none marks before all have looked
    monkeypatch.setattr(sending, "claim", together(claim))

    def work() -> None:
        send_due(replay.connection_id)
        connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(sent_to(found)) == (1 if guarded else 8)


def test_the_sweep_runs_what_no_worker_was_told_of():
    memory_connection()
    replay = request_replay(stored_letter(), by=ROOT, reason="fixed")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE messaging_replay SET created_at = now() - interval '1 minute'")

    sweep_replays()

    replay.refresh_from_db()
    assert replay.state == "confirmed"
