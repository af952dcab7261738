"""The outbox of notices: order, leases, tries, the circuit, what is superseded, what a kill leaves behind, and several workers at once."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import IntegrityError, connections, transaction

from alerts.delivery import sending
from alerts.delivery.claim import claim
from alerts.delivery.errors import DeliveryState
from alerts.delivery.notifiers.base import Telling, Told
from alerts.delivery.notifiers.memory import ANSWERS, MEMORY, TOLD
from alerts.delivery.pace import MOST_TRIES
from alerts.delivery.sending import at_once, deliver, look
from alerts.delivery.services import NewChannel, change_channel, expire, send_again, send_test, tell
from alerts.models import Channel, DeliveryAttempt, NoticeDelivery
from alerts.notices import Happening
from console.core.errors import Forbidden
from console.identity.models import Role
from tests.delivery.notices import memory_channel, notice
from tests.factories import ROOT, actor, person
from tests.product import wait_until

pytestmark = pytest.mark.django_db
LATER = Told(result="later", answer="HTTP 503: not now", status=503)
REFUSED = Told(result="refused", answer="HTTP 400: no", status=400)


@pytest.fixture(autouse=True)
def forget() -> None:
    TOLD.clear()
    ANSWERS.clear()


def place(channel: Channel) -> str:
    return str(channel.settings["name"])


def told(channel: Channel) -> list[tuple[str, bool]]:
    return [(one.notice.happening.value, one.untold) for one in TOLD[place(channel)]]


def states(channel: Channel) -> list[str]:
    return list(NoticeDelivery.objects.filter(channel=channel).order_by("pk").values_list("state", flat=True))


def go(seconds: float = 0) -> int:
    """Send what is due so many seconds from now."""
    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=seconds), tick=True):
        return look(begin=at_once)


def say(*happenings: Happening, channels: list[Channel], **changes: Any) -> None:
    for happening in happenings:
        tell(notice(happening, **changes), [one.pk for one in channels])


# into the outbox -----------------------------------------------------------------------------------------------------
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


# tries ---------------------------------------------------------------------------------------------------------------
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


# order ---------------------------------------------------------------------------------------------------------------
def test_what_happens_to_a_breach_is_told_in_its_order():
    channel = memory_channel()
    say(Happening.FIRING, Happening.ACKNOWLEDGED, channels=[channel])
    go()
    say(Happening.RESOLVED, channels=[channel])
    go()

    assert told(channel) == [("firing", False), ("acknowledged", False), ("resolved", False)]


def test_nothing_overtakes_what_is_under_way_in_its_thread_and_other_threads_go_on():
    channel = memory_channel()
    say(Happening.FIRING, channels=[channel])
    first = claim(channel.pk)
    assert first
    say(Happening.RESOLVED, channels=[channel])
    say(Happening.FIRING, channels=[channel], thread="another")

    other = claim(channel.pk)
    assert other
    assert other.delivery.thread == "another"
    assert claim(channel.pk) is None
    deliver(first)

    over = claim(channel.pk)
    assert over
    assert over.delivery.happening == "resolved"
    deliver(over)
    assert told(channel) == [("firing", False), ("resolved", False)]


def test_nothing_overtakes_what_waits_to_be_tried_again():
    channel = memory_channel()
    ANSWERS[place(channel)] = [LATER]
    say(Happening.FIRING, Happening.ACKNOWLEDGED, channels=[channel])

    assert (go(), go(1)) == (1, 0)
    go(7)

    assert told(channel) == [("firing", False), ("acknowledged", False)]


def test_what_was_over_before_it_could_be_told_is_told_once():
    channel = memory_channel()
    ANSWERS[place(channel)] = [LATER]
    say(Happening.FIRING, channels=[channel])
    go()
    say(Happening.ESCALATED, Happening.RESOLVED, channels=[channel])

    go(7)

    assert told(channel) == [("resolved", True)]
    assert states(channel) == ["superseded", "superseded", "delivered"]


def test_an_end_whose_beginning_was_told_does_not_say_that_it_was_not():
    channel, late = memory_channel(), memory_channel()
    say(Happening.FIRING, channels=[channel])
    go()
    say(Happening.RESOLVED, channels=[channel, late])
    go()

    assert (told(channel)[-1], told(late)) == (("resolved", False), [("resolved", False)])


def test_the_end_is_told_although_the_beginning_was_refused_and_then_the_beginning_is_not_sent_again():
    channel = memory_channel()
    ANSWERS[place(channel)] = [REFUSED]
    say(Happening.FIRING, channels=[channel])
    go()
    say(Happening.RESOLVED, channels=[channel])
    go()
    assert told(channel) == [("resolved", True)]

    with pytest.raises(DeliveryState, match="told since that it is over"):
        send_again(NoticeDelivery.objects.order_by("pk")[0], by=ROOT)


# what forgets is told again ------------------------------------------------------------------------------------------
def test_a_receiver_that_forgets_is_told_again_until_it_is_over(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(MEMORY, "repeat_s", 60.0, raising=False)
    channel = memory_channel()
    say(Happening.FIRING, channels=[channel])

    assert [go(), go(30), go(61), go(62), go(122)] == [1, 0, 1, 0, 1]
    say(Happening.RESOLVED, channels=[channel])
    assert [go(123), go(400)] == [1, 0]

    assert [one for one, _ in told(channel)] == ["firing", "firing", "firing", "resolved"]
    assert DeliveryAttempt.objects.count() == 2
    assert NoticeDelivery.objects.filter(repeat_at__isnull=False).count() == 0


def test_what_was_acknowledged_is_repeated_in_place_of_what_fired(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(MEMORY, "repeat_s", 60.0, raising=False)
    channel = memory_channel()
    say(Happening.FIRING, Happening.ACKNOWLEDGED, channels=[channel])
    go()

    assert go(61) == 1

    assert [one for one, _ in told(channel)] == ["firing", "acknowledged", "acknowledged"]


def test_a_channel_that_is_switched_off_repeats_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(MEMORY, "repeat_s", 60.0, raising=False)
    channel = memory_channel()
    say(Happening.FIRING, channels=[channel])
    go()

    change_channel(channel, NewChannel(kind="memory", name="off", settings=channel.settings, enabled=False), by=ROOT)

    assert (go(61), NoticeDelivery.objects.get().repeat_at) == (0, None)


# workers that die, and several of them ---------------------------------------------------------------------------------
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


# a rate --------------------------------------------------------------------------------------------------------------
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


# tests, and rows that are forgotten ----------------------------------------------------------------------------------
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
