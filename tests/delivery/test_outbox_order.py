"""In which order notices of a breach are told, what is told once, and what is told again to a receiver that forgets."""

from __future__ import annotations

from datetime import timedelta

import pytest

from alerts.delivery.claim import claim
from alerts.delivery.errors import DeliveryState
from alerts.delivery.notifiers.memory import ANSWERS, MEMORY
from alerts.delivery.sending import deliver
from alerts.delivery.services import NewChannel, change_channel, send_again
from alerts.models import DeliveryAttempt, NoticeDelivery, Telling
from alerts.notices import Happening
from tests.breaches.breaching import fired, policy
from tests.delivery.notices import memory_channel
from tests.delivery.outbox import LATER, REFUSED, go, place, say, states, told
from tests.factories import ROOT

pytestmark = pytest.mark.django_db


# order --------------------------------------------------------------------------------------------------------------
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


def test_an_end_says_that_its_own_beginning_could_not_be_told_though_an_earlier_one_was():
    channel = memory_channel()
    for happening in (Happening.FIRING, Happening.RESOLVED):
        say(happening, channels=[channel])
        go()
    ANSWERS[place(channel)] = [LATER]
    say(Happening.FIRING, channels=[channel])
    go()
    say(Happening.RESOLVED, channels=[channel])

    go(7)

    assert told(channel) == [("firing", False), ("resolved", False), ("resolved", True)]


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


# what forgets is told again -----------------------------------------------------------------------------------------
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


def test_an_end_that_was_written_while_its_beginning_was_marked_ends_the_repetition(monkeypatch: pytest.MonkeyPatch):
    """Neither transaction saw what the other one wrote."""
    monkeypatch.setattr(MEMORY, "repeat_s", 60.0, raising=False)
    channel = memory_channel()
    say(Happening.FIRING, channels=[channel])
    go()
    repeat_at = NoticeDelivery.objects.get().repeat_at
    say(Happening.RESOLVED, channels=[channel])
    NoticeDelivery.objects.filter(happening="firing").update(repeat_at=repeat_at)
    go()

    assert go(61) == 0

    assert [one for one, _ in told(channel)] == ["firing", "resolved"]
    assert not NoticeDelivery.objects.filter(repeat_at__isnull=False).exists()


def test_what_was_acknowledged_is_repeated_in_place_of_what_fired(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(MEMORY, "repeat_s", 60.0, raising=False)
    channel = memory_channel()
    say(Happening.FIRING, Happening.ACKNOWLEDGED, channels=[channel])
    go()

    assert go(61) == 1

    assert [one for one, _ in told(channel)] == ["firing", "acknowledged", "acknowledged"]


def test_what_is_open_for_months_is_repeated_and_what_nobody_will_end_is_not(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(MEMORY, "repeat_s", 60.0, raising=False)
    channel = memory_channel()
    say(Happening.FIRING, channels=[channel])
    go()
    sent = NoticeDelivery.objects.get()
    NoticeDelivery.objects.update(created_at=sent.created_at - timedelta(days=31))
    policy(page_channels=(channel.pk,), ticket_channels=(channel.pk,))
    known = {"thread": sent.thread, "said": "firing", "began_at": sent.created_at, "told_at": sent.created_at}
    tellings = Telling.objects.filter(breach=fired())
    tellings.update(**known)

    assert [go(61), go(122)] == [1, 1]
    tellings.delete()
    assert (go(183), NoticeDelivery.objects.get().repeat_at) == (0, None)


def test_a_channel_that_is_switched_off_repeats_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(MEMORY, "repeat_s", 60.0, raising=False)
    channel = memory_channel()
    say(Happening.FIRING, channels=[channel])
    go()

    change_channel(channel, NewChannel(kind="memory", name="off", settings=channel.settings, enabled=False), by=ROOT)

    assert (go(61), NoticeDelivery.objects.get().repeat_at) == (0, None)


def test_an_end_that_was_given_up_is_not_sent_again_once_it_was_told_that_it_fires_anew():
    channel = memory_channel()
    say(Happening.FIRING, channels=[channel])
    go()
    ANSWERS[place(channel)] = [REFUSED]
    say(Happening.RESOLVED, channels=[channel])
    go()
    say(Happening.FIRING, channels=[channel])
    go()

    with pytest.raises(DeliveryState, match="told since"):
        send_again(NoticeDelivery.objects.get(state="dead"), by=ROOT)
