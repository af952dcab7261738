"""Workers that die while they tell, and several of them at once."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connections, transaction

from alerts.delivery import sending
from alerts.delivery.claim import claim
from alerts.delivery.notifiers.base import Telling, Told
from alerts.delivery.notifiers.memory import ANSWERS, MEMORY, TOLD
from alerts.delivery.pace import MOST_TRIES
from alerts.delivery.sending import at_once, deliver, look
from alerts.delivery.services import NewChannel, change_channel, create_channel, remove_channel, send_again
from alerts.models import Channel, NoticeDelivery
from alerts.notices import Happening
from console.core.errors import NotFound
from tests.delivery.notices import memory_channel
from tests.delivery.outbox import REFUSED, go, place, say, states, told
from tests.engines.mailbox import SlowMailbox
from tests.factories import ROOT, environment
from tests.product import wait_until
from tests.services.test_groups_at_once import at_once as together
from tests.services.test_groups_at_once import until, waits_for_a_lock

pytestmark = pytest.mark.django_db


def test_a_worker_that_dies_while_it_tells_leaves_it_to_the_next_under_the_same_key(monkeypatch: pytest.MonkeyPatch):
    class Killed(BaseException):
        pass

    def die(*_: object, **__: object) -> None:
        raise Killed

    channel = memory_channel()
    say(Happening.FIRING, channels=[channel])
    with monkeypatch.context() as patched:
        patched.setattr(sending, "mark", die)
        with pytest.raises(Killed):
            go()
    assert (states(channel), go(1)) == (["sending"], 0)

    assert go(60) == 1

    row = NoticeDelivery.objects.get()
    assert (row.state, row.attempt) == ("delivered", 2)
    assert {one.key for one in TOLD[place(channel)]} == {f"waybill-{row.pk}"}
    assert len(TOLD[place(channel)]) == 2  # at least once, and the receiver can tell


def test_a_worker_that_was_given_up_marks_nothing_over_the_next_ones_mark():
    channel = memory_channel()
    say(Happening.FIRING, channels=[channel])
    slow = claim(channel.pk)
    assert slow
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=5), tick=True):
        quick = claim(channel.pk)
        assert quick
        ANSWERS[place(channel)] = [REFUSED]
        deliver(quick)
        deliver(slow)

    row = NoticeDelivery.objects.get()
    assert (row.state, row.attempt) == ("dead", 2)
    assert list(row.attempts.values_list("number", "result")) == [(1, "taken"), (2, "refused")]


def test_one_that_ends_every_worker_is_given_up():
    channel = memory_channel()
    say(Happening.FIRING, channels=[channel])
    for number in range(MOST_TRIES + 1):
        with time_machine.travel(datetime.now(UTC) + timedelta(minutes=number), tick=True):
            assert claim(channel.pk)

    go(20 * 60)

    assert NoticeDelivery.objects.get().answer == "given up: 11 workers ended while they told it"


def test_a_channel_removed_while_it_is_told_hurts_nobody():
    channel = memory_channel()
    say(Happening.FIRING, channels=[channel])
    claimed = claim(channel.pk)
    assert claimed

    Channel.objects.get(pk=channel.pk).delete()

    assert deliver(claimed).result == "taken"


@pytest.mark.usefixtures("committed")
@pytest.mark.django_db(transaction=True)
def test_who_removes_a_channel_waits_for_a_worker_that_claims_and_nobody_waits_in_a_circle():
    channel = memory_channel()
    say(Happening.FIRING, channels=[channel])
    begun = threading.Event()

    def claim_step_by_step() -> int:
        with transaction.atomic():
            Channel.objects.select_for_update(no_key=True).get(pk=channel.pk)
            begun.set()
            until(waits_for_a_lock)
            return NoticeDelivery.objects.filter(channel=channel).update(state="sending")

    def remove() -> str:
        begun.wait(20)
        remove_channel(channel, by=ROOT, reason="nobody reads it")
        return "removed"

    assert together(claim_step_by_step, remove) == [1, "removed"]
    assert not Channel.objects.exists()


def test_what_is_done_with_a_channel_that_was_removed_meanwhile_finds_none():
    channel = memory_channel()
    say(Happening.FIRING, channels=[channel])
    delivery = NoticeDelivery.objects.select_related("channel__environment").get()
    Channel.objects.filter(pk=channel.pk).delete()

    for act in (
        lambda: change_channel(channel, NewChannel(kind=MEMORY.kind, name="x"), by=ROOT),
        lambda: send_again(delivery, by=ROOT),
        lambda: remove_channel(channel, by=ROOT, reason="nobody reads it"),
    ):
        with pytest.raises(NotFound, match="removed meanwhile"):
            act()


@pytest.mark.usefixtures("committed")
@pytest.mark.django_db(transaction=True)
def test_a_channel_is_removed_with_a_notice_that_is_written_meanwhile():
    channel = memory_channel()
    say(Happening.FIRING, channels=[channel])
    now = datetime.now(UTC)
    NoticeDelivery.objects.update(state="delivered", next_at=None, finished_at=now, repeat_at=now)
    begun = threading.Event()

    def write() -> str:
        with transaction.atomic():
            # of the same thread: it speaks for the one before, which waits for no repeat
            say(Happening.FIRING, channels=[channel])
            begun.set()
            until(waits_for_a_lock)
        return "written"

    def remove() -> str:
        begun.wait(20)
        remove_channel(channel, by=ROOT, reason="nobody reads it")
        return "removed"

    assert together(write, remove) == ["written", "removed"]
    assert not Channel.objects.exists()


@pytest.mark.usefixtures("committed")
@pytest.mark.django_db(transaction=True)
def test_four_workers_at_once_tell_everything_once_and_in_order():
    channels = [memory_channel() for _ in range(3)]
    for number in range(10):
        say(Happening.FIRING, Happening.ACKNOWLEDGED, Happening.RESOLVED, channels=channels, thread=f"breach-{number}")
        say(Happening.FIRING, channels=channels, thread=f"single-{number}")
    errors: list[BaseException] = []

    def work() -> None:
        try:
            until = time.monotonic() + 20
            while NoticeDelivery.objects.filter(finished_at__isnull=True).exists() and time.monotonic() < until:
                look(budget_s=1.0, begin=at_once)
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert errors == []
    assert set(NoticeDelivery.objects.values_list("state", "attempt")) <= {("delivered", 1), ("superseded", 0)}
    for channel in channels:
        keys = [one.key for one in TOLD[place(channel)]]
        assert len(keys) == len(set(keys))
        assert [one for one in told(channel) if one[0] == "resolved"] == [("resolved", True)] * 10
        assert len([one for one in told(channel) if one[0] == "firing"]) == 10


@pytest.mark.usefixtures("committed")
@pytest.mark.django_db(transaction=True)
def test_a_task_goes_after_seconds_while_what_is_slow_ends_in_its_thread(monkeypatch: pytest.MonkeyPatch):
    slow, quick = memory_channel(), memory_channel()
    release, real = threading.Event(), MEMORY.tell

    def slowly(telling: Telling, said: Any, allowed: Any) -> Told:
        if said["name"] == place(slow):
            release.wait(30)
        return real(telling, said, allowed)

    monkeypatch.setattr(MEMORY, "tell", slowly)
    say(Happening.FIRING, channels=[slow, quick])

    assert look(budget_s=4.0) == 2
    assert (states(slow), states(quick)) == (["sending"], ["delivered"])
    say(Happening.FIRING, channels=[quick], thread="another")
    assert look(budget_s=4.0) == 1  # the next task is not held up
    release.set()
    for thread in threading.enumerate():
        if thread.name.startswith("notice"):
            thread.join(10)

    assert (states(slow), len(TOLD[place(slow)])) == (["delivered"], 1)


@pytest.mark.usefixtures("committed")
@pytest.mark.django_db(transaction=True)
def test_no_more_threads_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch):
    release, real, lock, under_way, most = threading.Event(), MEMORY.tell, threading.Lock(), [0], [0]

    def slowly(*given: Any) -> Told:
        with lock:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
        release.wait(30)
        with lock:
            under_way[0] -= 1
        return real(*given)

    monkeypatch.setattr(MEMORY, "tell", slowly)
    channels = [memory_channel() for _ in range(12)]
    say(Happening.FIRING, channels=channels)

    def begin_all() -> bool:
        look(budget_s=1.0)
        return under_way[0] >= sending.MOST_THREADS

    wait_until(begin_all, seconds=30, what="as many threads as there is room for")
    assert look(budget_s=0.5) == 0  # the others wait
    release.set()
    wait_until(
        lambda: look(budget_s=1.0) == 0 and set(NoticeDelivery.objects.values_list("state")) == {("delivered",)},
        seconds=30,
        what="the rest",
    )

    assert most[0] == sending.MOST_THREADS


@pytest.mark.usefixtures("committed")
@pytest.mark.django_db(transaction=True)
def test_a_mail_server_that_takes_its_time_holds_up_no_other_channel(mailbox: SlowMailbox):
    mailbox.wait_s = 6.0
    mails = [
        create_channel(environment(), NewChannel(kind="mail", name=name, settings={"to": "ada@example.com"}), by=ROOT)
        for name in ("one", "two", "three")
    ]
    for number in range(4):
        say(Happening.FIRING, channels=mails, thread=f"breach-{number}")
    quick = memory_channel()
    assert look(budget_s=2.0) == sending.MOST_SLOW

    say(Happening.FIRING, channels=[quick])
    look(budget_s=2.0)

    assert states(quick) == ["delivered"]
    wait_until(
        lambda: look(budget_s=1.0) == 0 and set(NoticeDelivery.objects.values_list("state")) == {("delivered",)},
        seconds=90,
        what="the mails",
    )
    assert len(mailbox.taken) == 12
