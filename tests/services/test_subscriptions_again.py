"""Subscriptions that are saved again, ended and begun anew: what was told is gone on from, where the wish is the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from console.core.errors import NotFound
from console.identity.models import Membership
from messages.models import Subscription
from messages.saved.services import (
    Wish,
    subscribe,
    unsubscribe,
)
from tests.factories import actor, stored_letter
from tests.services.test_saved_searches import ada, look, saved, subjects

pytestmark = pytest.mark.django_db


def test_one_who_subscribes_again_is_told_of_the_new_wish():
    user = ada()
    search = saved(user)
    subscribe(search, Wish(when="silent", minutes=5), by=actor(user))
    row = subscribe(search, Wish(when="matches", digest_minutes=60), by=actor(user))
    assert (row.when, row.minutes, Subscription.objects.count()) == ("matches", None, 1)

    unsubscribe(search, by=actor(user))

    with pytest.raises(NotFound):
        unsubscribe(search, by=actor(user))


def test_a_wish_that_is_saved_again_goes_on_from_what_was_told():
    user = ada()
    search = saved(user)
    subscribe(search, Wish(when="matches"), by=actor(user))
    letter = stored_letter()
    look(1)

    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=10), tick=True):
        row = subscribe(search, Wish(when="matches", digest_minutes=60), by=actor(user))

    assert row.state == "raised"
    assert look(12) == 0
    letter.delete()
    assert (look(20), look(22)) == (1, 0)
    assert subjects() == ["[production] Stuck: 1 dead letter", "[production] Stuck: it matches nothing any more"]


def test_silence_that_was_told_and_is_saved_again_is_told_to_be_over():
    user = ada()
    search = saved(user)
    wish = Wish(when="silent", minutes=30, days=range(1, 8))
    subscribe(search, wish, by=actor(user))
    look(1)

    subscribe(search, wish, by=actor(user))
    stored_letter()

    assert look(10) == 1
    assert subjects() == ["[production] Stuck: nothing for 30 min", "[production] Stuck: it matches again"]


@pytest.mark.parametrize(
    "wish", [Wish(when="matches"), Wish(when="silent", minutes=120, days=range(1, 8)), Wish(when="silent", minutes=30)]
)
def test_another_wish_begins_anew_and_what_it_finds_is_not_the_end_of_what_another_one_told(wish: Wish):
    user = ada()
    search = saved(user)
    subscribe(search, Wish(when="silent", minutes=30, days=range(1, 8)), by=actor(user))
    look(1)

    row = subscribe(search, wish, by=actor(user))

    assert (row.state, row.told) == ("new", "")


def test_one_that_has_stopped_begins_anew():
    user = ada()
    search = saved(user)
    subscribe(search, Wish(when="matches"), by=actor(user))
    held = list(Membership.objects.filter(user=user))
    Membership.objects.filter(user=user).delete()
    look(1)
    stopped = Subscription.objects.get().state
    Membership.objects.bulk_create(held)

    row = subscribe(search, Wish(when="matches"), by=actor(user))

    assert (stopped, row.state, row.told, row.problem) == ("stopped", "new", "", "")
    assert look(10) == 0
