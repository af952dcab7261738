"""A mail that a real server takes for some of its receivers: who is asked again, what it holds back, how it ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email import message_from_bytes

import pytest

from alerts.delivery.claim import claim
from alerts.delivery.errors import DeliveryState
from alerts.delivery.sending import deliver
from alerts.delivery.services import NewChannel, create_channel, send_again, send_test
from alerts.models import Channel, NoticeDelivery
from alerts.notices import Happening
from tests.delivery.outbox import go, say, states
from tests.engines.mailbox import SlowMailbox
from tests.factories import ROOT, environment

pytestmark = pytest.mark.django_db

ADA, GREY, GONE = "ada@example.com", "grey@example.com", "gone@example.com"
NOT_NOW, NOBODY = "451 not now", "550 no such person"


@pytest.fixture
def channel(mailbox: SlowMailbox) -> Channel:
    """A channel to one whom the server takes and one whom it asks to come later."""
    mailbox.to[GREY] = NOT_NOW
    return create_channel(
        environment(), NewChannel(kind="mail", name="mail", settings={"to": f"{ADA}, {GREY}"}), by=ROOT
    )


def mails(mailbox: SlowMailbox) -> list[tuple[str, str]]:
    """Return (who, what happened) of every mail that the server took."""
    read = [message_from_bytes(one) for one in mailbox.taken]
    return [(one["To"], one["Subject"].split()[1].strip(":")) for one in read]


def the_first() -> NoticeDelivery:
    return NoticeDelivery.objects.earliest("pk")


# who is asked again ---------------------------------------------------------------------------------------------------
def test_a_receiver_whom_the_server_asks_to_come_later_gets_it_later_and_the_others_once(
    mailbox: SlowMailbox, channel: Channel
):
    Channel.objects.update(settings={"to": f"{ADA}, {GREY}, {GONE}"})
    mailbox.to[GONE] = NOBODY
    say(Happening.FIRING, channels=[channel])

    go()
    waits = (the_first().state, the_first().answer, Channel.objects.get().failures)
    mailbox.to[GREY] = ""
    go(10)
    say(Happening.RESOLVED, channels=[channel])
    go(10)

    assert waits == ("failed", f"taken by the mail server, but not for {GREY}: 451; {GONE}: 550", 0)
    assert (the_first().state, the_first().answer) == ("delivered", "taken by the mail server")
    assert mailbox.asked == [ADA, GREY, GONE, GREY, ADA, GREY, GONE]  # the end goes to all
    assert mails(mailbox)[1] == (GREY, "Firing")


def test_who_is_asked_to_come_later_once_more_is_no_failure_of_the_channel(mailbox: SlowMailbox, channel: Channel):
    say(Happening.FIRING, channels=[channel])

    for seconds in (0, 10, 40):
        go(seconds)

    assert (states(channel), the_first().tries, Channel.objects.get().failures) == (["failed"], 3, 0)
    assert the_first().notice["only"] == [GREY]
    assert the_first().answer == f"taken by the mail server for the others, but not for {GREY}: 451"
    assert list(the_first().attempts.order_by("number").values_list("status", flat=True)) == [250, 451, 451]


def test_who_is_refused_for_good_at_last_is_named_and_the_others_have_it(mailbox: SlowMailbox, channel: Channel):
    say(Happening.FIRING, channels=[channel])
    go()
    mailbox.to[GREY] = NOBODY

    go(10)

    assert (states(channel), Channel.objects.get().failures) == (["delivered"], 0)
    assert the_first().answer == f"taken by the mail server for the others, but not for {GREY}: 550"
    assert mails(mailbox) == [(f"{ADA}, {GREY}", "Firing")]


def test_what_nobody_has_is_given_up_when_everybody_is_refused_for_good(mailbox: SlowMailbox, channel: Channel):
    mailbox.to = {ADA: NOBODY, GREY: NOBODY}
    say(Happening.FIRING, channels=[channel])

    go()

    assert states(channel) == ["dead"]


def test_a_channel_that_answers_again_hurries_nobody_who_was_asked_to_come_later(
    mailbox: SlowMailbox, channel: Channel
):
    say(Happening.FIRING, channels=[channel])
    go()
    due = the_first().next_at
    mailbox.to_rcpt = NOT_NOW  # for all: the channel fails
    say(Happening.FIRING, channels=[channel], thread="another")
    go()
    failures = Channel.objects.get().failures
    mailbox.to_rcpt = ""
    say(Happening.FIRING, channels=[channel], thread="a third")
    go()

    assert (failures, Channel.objects.get().failures) == (1, 0)
    assert the_first().next_at == due
    assert the_first().tries == 1


# what it holds back ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("happening", [Happening.ESCALATED, Happening.RESOLVED])
def test_a_newer_notice_goes_to_all_at_once_and_ends_what_only_some_have(
    mailbox: SlowMailbox, channel: Channel, happening: Happening
):
    say(Happening.FIRING, channels=[channel])
    go()
    mailbox.to[GREY] = ""
    say(happening, channels=[channel])

    go()

    to_all = f"{ADA}, {GREY}"
    assert [who for who, _ in mails(mailbox)] == [to_all, to_all]
    assert states(channel) == ["superseded", "delivered"]
    assert the_first().answer == f"the others have it; a newer notice goes to all, also to {GREY}"
    assert b"could not" not in mailbox.taken[1]
    assert go(3_600) == 0


def test_what_only_some_have_is_not_sent_before_the_newer_one_though_it_is_due_first(
    mailbox: SlowMailbox, channel: Channel
):
    say(Happening.FIRING, channels=[channel])
    go()
    NoticeDelivery.objects.update(next_at=datetime.now(UTC) - timedelta(minutes=5))
    say(Happening.ESCALATED, Happening.RESOLVED, channels=[channel])
    mailbox.to[GREY] = ""

    go()

    assert [what for _, what in mails(mailbox)] == ["Firing", "Resolved"]
    assert states(channel) == ["superseded", "superseded", "delivered"]
    assert [one.answer[:10] for one in NoticeDelivery.objects.order_by("pk")[:2]] == ["the others", "it was ove"]


def test_a_newer_notice_waits_for_a_try_under_way_and_no_longer(mailbox: SlowMailbox, channel: Channel):
    say(Happening.FIRING, channels=[channel])
    go()
    NoticeDelivery.objects.update(next_at=datetime.now(UTC))
    Channel.objects.update(next_at=None)  # its pace
    under_way = claim(channel.pk)
    assert under_way
    say(Happening.RESOLVED, channels=[channel])

    assert go() == 0
    deliver(under_way)
    mailbox.to.clear()
    go()

    assert [what for _, what in mails(mailbox)] == ["Firing", "Resolved"]
    assert states(channel) == ["superseded", "delivered"]


@pytest.mark.parametrize("partly", [True, False])
def test_the_end_says_that_the_beginning_could_not_be_told_where_nobody_was_told_it(
    mailbox: SlowMailbox, channel: Channel, partly: bool
):
    mailbox.to[ADA] = "" if partly else NOT_NOW
    say(Happening.FIRING, channels=[channel])
    go()
    mailbox.to.clear()
    say(Happening.RESOLVED, channels=[channel])

    go(10)

    assert states(channel) == ["superseded", "delivered"]
    assert (b"could not" in mailbox.taken[-1]) is not partly


# how it ends ----------------------------------------------------------------------------------------------------------
def test_a_test_that_reached_some_is_not_given_up_and_says_who_did_not_get_it(mailbox: SlowMailbox, channel: Channel):
    told = send_test(channel, by=ROOT)

    assert (told.state, told.answer) == ("delivered", f"taken by the mail server, but not for {GREY}: 451")
    assert (go(600), len(mailbox.taken)) == (0, 1)


def test_a_beginning_is_not_sent_again_when_some_were_told_since_that_it_is_over(
    mailbox: SlowMailbox, channel: Channel
):
    mailbox.to = {ADA: NOBODY, GREY: NOBODY}
    say(Happening.FIRING, channels=[channel])
    go()
    mailbox.to = {GREY: NOT_NOW}
    say(Happening.RESOLVED, channels=[channel])
    go()
    assert states(channel) == ["dead", "failed"]

    with pytest.raises(DeliveryState, match="told since that it is over"):
        send_again(the_first(), by=ROOT)
