"""The outbox of notices: what is written, tried, given up, kept to a rate, tested and forgotten."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import IntegrityError, connections, transaction

from alerts.delivery.claim import claim
from alerts.delivery.errors import DeliveryState
from alerts.delivery.notifiers.base import Telling, Told
from alerts.delivery.notifiers.memory import ANSWERS, MEMORY, TOLD
from alerts.delivery.pace import MOST_TRIES
from alerts.delivery.sending import at_once, look
from alerts.delivery.services import expire, send_again, send_test, tell
from alerts.models import Channel, NoticeDelivery
from alerts.notices import Happening
from console.core.errors import Forbidden
from console.identity.models import Role
from tests.delivery.notices import memory_channel, notice
from tests.delivery.outbox import LATER, REFUSED, go, place, say, states, told
from tests.factories import ROOT, actor, person

pytestmark = pytest.mark.django_db


# into the outbox ----------------------------------------------------------------------------------------------------
def test_a_notice_is_written_for_every_channel_that_is_on_and_sent_once():
    one, two, off = memory_channel(), memory_channel(), memory_channel(enabled=False)

    assert tell(notice(), [one.pk, two.pk, off.pk, 4711]) == 2
    assert dict(TOLD) == {}
    assert (go(), go()) == (2, 0)

    assert (told(one), told(two), told(off)) == ([("firing", False)], [("firing", False)], [])
    row = NoticeDelivery.objects.get(channel=one)
    assert (row.state, row.attempt, row.next_at, row.answer) == ("delivered", 1, None, "kept in memory")
    [attempt] = row.attempts.all()
    assert (attempt.number, attempt.result, attempt.status, attempt.response) == (1, "taken", 200, "kept in memory")


def test_a_notice_goes_the_way_of_its_callers_transaction():
    channel = memory_channel()

    with transaction.atomic():
        tell(notice(), [channel.pk])
        transaction.set_rollback(True)

    assert NoticeDelivery.objects.count() == 0


def test_a_worker_is_told_after_the_commit_and_a_dead_broker_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
):
    def away() -> None:
        raise ConnectionError("no broker")

    monkeypatch.setattr("alerts.tasks.send_notices.delay", away)
    channel = memory_channel()

    with django_capture_on_commit_callbacks(execute=True):
        say(Happening.FIRING, channels=[channel])

    assert go() == 1


def test_what_was_told_is_frozen():
    channel = memory_channel(title_template="{severity}: {title}", text_template="{summary} {flow}")
    say(Happening.FIRING, channels=[channel])

    go()

    [one] = TOLD[place(channel)]
    assert (one.title, one.text) == (
        "page: Orders delivered in 5 min",
        "12 of 340 orders of the last hour came late. orders: shop → erp",
    )
    assert one.notice == one.opened == notice()
    assert list(one.notice.links) == ["Open the breach", "Runbook"]  # the console's page is the first


# tries --------------------------------------------------------------------------------------------------------------
def test_what_fails_is_tried_again_under_the_same_key_and_recorded_try_by_try():
    channel = memory_channel()
    ANSWERS[place(channel)] = [LATER, LATER]
    say(Happening.FIRING, channels=[channel])

    assert [go(), go(1), go(7), go(8), go(30)] == [1, 0, 1, 0, 1]

    row = NoticeDelivery.objects.get()
    assert (row.state, row.attempt) == ("delivered", 3)
    assert list(row.attempts.values_list("result", "status")) == [("later", 503), ("later", 503), ("taken", 200)]
    assert TOLD[place(channel)][0].key == f"waybill-{row.pk}"


def test_what_is_refused_is_given_up_at_once_and_may_be_sent_again():
    channel = memory_channel()
    ANSWERS[place(channel)] = [REFUSED]
    say(Happening.FIRING, channels=[channel])
    go()
    row = NoticeDelivery.objects.get()
    assert (row.state, row.answer, row.attempt) == ("dead", "HTTP 400: no", 1)

    send_again(row, by=ROOT)
    assert states(channel) == ["queued"]
    with pytest.raises(DeliveryState):
        send_again(row, by=ROOT)
    go()

    row.refresh_from_db()
    assert (row.state, row.attempt, row.attempts.count()) == ("delivered", 2, 2)


def test_after_the_last_try_it_is_given_up_in_words():
    channel = memory_channel()
    ANSWERS[place(channel)] = [LATER] * 99
    say(Happening.FIRING, channels=[channel])

    for _ in range(MOST_TRIES):
        NoticeDelivery.objects.update(next_at=datetime.now(UTC))
        Channel.objects.update(failures=0, rests_until=None)
        go()

    row = NoticeDelivery.objects.get()
    assert (row.state, row.attempt) == ("dead", MOST_TRIES)
    assert row.answer == "given up after 11 tries: HTTP 503: not now"


def test_what_cannot_be_told_within_a_day_is_given_up_whatever_is_before_it():
    channel = memory_channel()
    say(Happening.FIRING, channels=[channel])
    Channel.objects.update(enabled=False)

    go(25 * 3600)

    assert NoticeDelivery.objects.get().answer == "given up: it could not be told within a day"
    assert states(channel) == ["dead"]


def test_a_receiver_that_asks_to_be_left_alone_is():
    channel = memory_channel()
    ANSWERS[place(channel)] = [Told(result="later", answer="HTTP 429", status=429, retry_after_s=120)]
    say(Happening.FIRING, channels=[channel])
    say(Happening.FIRING, channels=[channel], thread="another")

    assert (go(), go(100), go(125)) == (1, 0, 2)


def test_a_channel_that_fails_five_times_in_a_row_rests_then_one_try_decides_and_all_go_when_it_is_back():
    channel = memory_channel()
    ANSWERS[place(channel)] = [LATER] * 6
    for number in range(8):
        say(Happening.FIRING, channels=[channel], thread=f"breach-{number}")

    assert go() == 5  # then it rests
    channel.refresh_from_db()
    assert channel.is_resting
    assert (go(20), go(31)) == (0, 1)  # one try; it fails, and it rests longer
    assert go(60) == 0
    assert go(31 + 62) == 8

    channel.refresh_from_db()
    assert (channel.failures, channel.rests_until, set(states(channel))) == (0, None, {"delivered"})


def test_a_kind_that_is_declared_no_more_ends_in_words(settings: Any):
    channel = memory_channel()
    say(Happening.FIRING, channels=[channel])
    settings.CONSOLE_NOTIFIERS = {}

    go()

    assert NoticeDelivery.objects.get().answer == "there is no channel kind “memory” any more"


def test_a_notifier_that_raises_holds_up_nobody(monkeypatch: pytest.MonkeyPatch):
    one, two = memory_channel(), memory_channel()
    real = MEMORY.tell

    def broken(telling: Telling, said: Any, allowed: Any) -> Told:
        if said["name"] == place(one):
            raise ZeroDivisionError("secret")
        return real(telling, said, allowed)

    monkeypatch.setattr(MEMORY, "tell", broken)
    say(Happening.FIRING, channels=[one, two])

    go()

    assert (states(one), states(two)) == (["failed"], ["delivered"])
    assert NoticeDelivery.objects.get(channel=one).answer == "the notifier failed: ZeroDivisionError"


# a rate -------------------------------------------------------------------------------------------------------------
def test_a_channel_keeps_its_rate(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(MEMORY, "a_second", 1.0)
    channel = memory_channel()
    for number in range(3):
        say(Happening.FIRING, channels=[channel], thread=f"breach-{number}")

    assert claim(channel.pk)
    assert claim(channel.pk) is None
    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=1.1), tick=True):
        assert claim(channel.pk)
        assert claim(channel.pk) is None


# tests, and rows that are forgotten ---------------------------------------------------------------------------------
def test_a_test_is_sent_at_once_and_once_a_press():
    channel = memory_channel()

    first = send_test(channel, by=ROOT, token="pressed-once")
    again = send_test(channel, by=ROOT, token="pressed-once")

    assert (first.pk, first.state, first.happening) == (again.pk, "delivered", "test")
    assert len(TOLD[place(channel)]) == 1


def test_a_test_that_fails_is_not_tried_again_behind_a_persons_back():
    channel = memory_channel()
    ANSWERS[place(channel)] = [LATER]

    assert send_test(channel, by=ROOT).state == "dead"
    assert (go(600), TOLD[place(channel)]) == (0, [])


def test_only_administrators_send_tests_and_again():
    channel = memory_channel()
    ANSWERS[place(channel)] = [REFUSED]
    say(Happening.FIRING, channels=[channel])
    go()
    operator = actor(person("operator", Role.OPERATOR))

    with pytest.raises(Forbidden):
        send_test(channel, by=operator)
    with pytest.raises(Forbidden):
        send_again(NoticeDelivery.objects.get(), by=operator)


def test_what_ended_is_forgotten_after_ninety_days_and_what_waits_is_not():
    channel = memory_channel()
    say(Happening.FIRING, channels=[channel])
    go()
    say(Happening.FIRING, channels=[channel], thread="waits")

    expire(now=datetime.now(UTC) + timedelta(days=91))

    assert states(channel) == ["queued"]


def test_a_row_that_ended_and_is_to_be_tried_cannot_be():
    channel = memory_channel()
    say(Happening.FIRING, channels=[channel])

    with pytest.raises(IntegrityError), transaction.atomic():
        NoticeDelivery.objects.update(state="delivered")
    with pytest.raises(IntegrityError), transaction.atomic():
        NoticeDelivery.objects.update(repeat_at=datetime.now(UTC))


@pytest.mark.usefixtures("committed")
@pytest.mark.django_db(transaction=True)
def test_an_open_transaction_that_tells_holds_up_no_sender_and_is_not_held_up():
    channel = memory_channel()
    say(Happening.FIRING, channels=[channel])
    begun, release = threading.Event(), threading.Event()

    def long_transaction() -> None:
        try:
            with transaction.atomic():
                tell(notice(thread="another"), [channel.pk])
                begun.set()
                release.wait(20)
        finally:
            connections.close_all()

    writer = threading.Thread(target=long_transaction)
    writer.start()
    assert begun.wait(20)
    try:
        assert look(begin=at_once) == 1
        assert states(channel) == ["delivered"]
    finally:
        release.set()
        writer.join()
    assert look(begin=at_once) == 1
