"""Mails of subscriptions that wait: they go only while their reader may see all that they tell of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.core import mail

from console.identity.models import Membership, Role, Team, User
from messages import tasks
from messages.models import Flow, OutboxMail, SavedSearch
from messages.saved.services import (
    Wish,
    remove_search,
    subscribe,
    unsubscribe,
)
from tests.factories import actor, agent_key, environment, event, person, push, stored_letter
from tests.services.test_saved_searches import ada, look, saved, subjects

pytestmark = pytest.mark.django_db


def waiting_mail(user: User) -> SavedSearch:
    """Return a search whose mail waits: its server was away."""
    search = saved(user, q="order_no:4711", of="messages")
    subscribe(search, Wish(when="matches"), by=actor(user))
    push("/ingest/v1/events", [event(destination="orders", keys={"order_no": "4711"})], key=agent_key())
    assert look(1) == 1
    OutboxMail.objects.update(state="waiting", next_try_at=datetime.now(UTC), finished_at=None, answer="")
    return search


@pytest.mark.parametrize("end", ["rights", "unsubscribed", "removed"])
def test_a_mail_that_still_waits_when_its_subscription_ends_is_not_sent(end: str):
    user = ada()
    search = waiting_mail(user)
    if end == "rights":
        Membership.objects.filter(user=user).delete()
        look(10)
    elif end == "unsubscribed":
        unsubscribe(search, by=actor(user))
    else:
        remove_search(search, by=actor(user))

    mail = OutboxMail.objects.get(body__contains="4711")
    assert (mail.state, mail.next_try_at) == ("given_up", None)
    assert mail.answer.startswith("not sent: ")


def two_flows_found(user: User) -> dict[str, Flow]:
    """Return two flows, each with a letter of which a mail tells that its server did not take yet."""
    letters = {name: stored_letter(origin=name, keys={"order_no": name}) for name in ("4711", "4712")}
    subscribe(saved(user), Wish(when="matches"), by=actor(user))
    assert look(1) == 1
    return {name: letter.flow for name, letter in letters.items()}


def send(minutes: float) -> list[str]:
    """Send what waits so many minutes from now; return the subjects of everything that was sent."""
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=minutes), tick=True):
        tasks.send_mails()
    return [one.subject for one in mail.outbox]


def to_others(flow: Flow) -> None:
    Flow.objects.filter(pk=flow.pk).update(team=Team.objects.create(name="Others"))


def test_a_mail_that_waits_goes_only_while_its_reader_may_see_all_that_it_tells_of():
    user = ada()
    flows = two_flows_found(user)
    to_others(flows["4712"])

    assert send(2) == []

    held = OutboxMail.objects.get()
    assert (held.state, held.answer) == ("given_up", "its receiver may not see all that it tells of any more")
    assert look(2.5) == 1  # and is told at once what they may see
    assert send(3) == ["[production] Stuck: 1 dead letter"]
    assert "4712" not in mail.outbox[0].body


def test_what_is_counted_and_not_shown_is_asked_too():
    """Ten rows are shown, and the eleventh is of the flow that the reader may not see any more."""
    user = ada()
    hidden = stored_letter(origin="payroll", keys={"order_no": "1"})
    for number in range(10):
        stored_letter(origin="orders", keys={"order_no": f"9{number}"})
    subscribe(saved(user), Wish(when="matches"), by=actor(user))
    assert look(1) == 1
    to_others(hidden.flow)

    assert send(2) == []


@pytest.mark.parametrize("change", ["wider", "switched off", "not shared", "nothing"])
def test_a_mail_that_waits_asks_for_account_and_search_as_they_are_when_it_goes(change: str):
    owner, user = person("owner", Role.OPERATOR), ada()
    search = saved(owner, team_id=Team.objects.get(name="Order team").pk)
    stored_letter()
    subscribe(search, Wish(when="matches"), by=actor(user))
    assert look(1) == 1
    if change == "wider":
        Membership.objects.create(
            user=user, team=Team.objects.create(name="More"), environment=environment(), role=Role.OPERATOR
        )
    elif change == "switched off":
        User.objects.filter(pk=user.pk).update(is_active=False)
    elif change == "not shared":
        SavedSearch.objects.update(team=None)

    assert len(send(2)) == (1 if change in ("wider", "nothing") else 0)


def test_news_that_were_held_back_are_not_forgotten_when_the_right_comes_back():
    """Over is told only to who was told that it began."""
    user = ada()
    search = saved(user, q="flow:orders", of="messages")
    push("/ingest/v1/events", [event(destination="orders")], key=agent_key())
    subscribe(search, Wish(when="silent", minutes=30, days=[1, 2, 3, 4, 5, 6, 7]), by=actor(user))
    assert look(40) == 1
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=45), tick=True):
        push("/ingest/v1/events", [event(destination="orders")], key=agent_key())
    assert (len(send(41)), look(46)) == (1, 1)  # it matches again
    to_others(Flow.objects.get(name="orders"))

    assert len(send(47)) == 1
    assert look(48) == 0  # silent again, for them, as they know
    Flow.objects.update(team=None)

    assert look(50) == 1
    assert subjects()[-1] == "[production] Stuck: it matches again"
