"""What is told of saved searches: rights of the moment, one mail an occurrence, nothing lost with a worker."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.db import connection
from django.test import override_settings

from console.audit.models import AuditEntry
from console.core.errors import Invalid
from console.identity.models import Membership, Role, Team, User
from messages.masking.services import NewRule, add_masking_rule
from messages.models import Flow, OutboxMail, SavedSearch, Subscription
from messages.reconcile.services import remove_reconciliation
from messages.saved import assessing
from messages.saved.assessing import claim, look_at, look_at_subscriptions, settle
from messages.saved.matching import TooSlow
from messages.saved.queries import count_of
from messages.saved.services import (
    NewSearch,
    Wish,
    change_search,
    subscribe,
)
from tests.factories import ROOT, actor, agent_key, environment, event, person, push, stored_letter
from tests.services.reconciling import compared
from tests.services.test_saved_searches import ada, look, saved, subjects

pytestmark = pytest.mark.django_db


def test_it_tells_once_when_it_matches_with_links_and_no_payload_and_once_when_it_is_over():
    user = ada()
    search = saved(user)
    subscribe(search, Wish(when="matches"), by=actor(user))
    assert look() == 0
    letter = stored_letter(
        keys={"order_no": "4711"},
        body="the body of the order",
        error={"type": "E", "message": "the words of the error", "stack": ""},
    )

    assert (look(2), look(4), look(8)) == (1, 0, 0)

    mail = OutboxMail.objects.get()
    assert (mail.to, mail.subject) == ("ada@example.com", "[production] Stuck: 1 dead letter")
    assert f"/dead-letters/{letter.pk}/?environment=production" in mail.body
    assert "Order 4711" in mail.body
    assert "the body" not in mail.body
    assert "the words" not in mail.body
    letter.delete()
    assert (look(20), look(22)) == (1, 0)
    assert subjects()[1] == "[production] Stuck: it matches nothing any more"
    assert Subscription.objects.get().state == "calm"


def test_a_set_of_a_reconciliation_that_is_removed_is_told_as_unreadable_and_never_as_nothing_any_more():
    user = ada()
    letter = stored_letter(message_id="m-1", origin="orders", keys={"order_no": "1"})
    one = compared("1\n", of=letter.flow)
    search = saved(user, q=f"reconciled:{one.pk}.failed", of="messages")
    subscribe(search, Wish(when="matches"), by=actor(user))
    assert look(1) == 1

    remove_reconciliation(one, by=ROOT)

    assert (look(10), look(25)) == (1, 0)
    assert subjects() == ["[production] Stuck: 1 message", "[production] Stuck: it cannot be searched"]
    assert "The query cannot be read: there is no such reconciliation here" in OutboxMail.objects.latest("id").body
    counted = count_of(actor(user), search)
    assert counted.count is None
    assert counted.problem.endswith("take the search from its page (at column 12)")


def test_what_was_told_is_remembered_while_there_is_no_address_and_told_once():
    user = ada()
    subscribe(saved(user), Wish(when="matches"), by=actor(user))
    letter = stored_letter(keys={"order_no": "4711"})
    assert look(1) == 1

    User.objects.update(email="")
    assert (look(10), look(20)) == (0, 0)
    User.objects.update(email="ada@example.com")
    assert look(30) == 0
    User.objects.update(email="")
    letter.delete()
    assert look(40) == 0
    User.objects.update(email="ada@example.com")

    assert (look(50), look(60)) == (1, 0)
    assert subjects() == ["[production] Stuck: 1 dead letter", "[production] Stuck: it matches nothing any more"]


def test_what_was_told_to_nobody_before_an_upgrade_is_told_once_there_is_an_address():
    user = ada()
    subscribe(saved(user), Wish(when="matches"), by=actor(user))
    stored_letter(keys={"order_no": "4711"})
    assert look(1) == 1
    User.objects.update(email="")

    import_module("messages.migrations.0061_told_to_nobody").forget(apps, None)
    assert look(10) == 0
    User.objects.update(email="ada@example.com")

    assert (look(20), look(30)) == (1, 0)


def test_what_a_masking_rule_replaced_stands_in_no_mail():
    user = ada()
    add_masking_rule(environment(), NewRule(kind="regex", expression="4[0-9]{15}"), by=ROOT)
    subscribe(saved(user, q="status:waiting"), Wish(when="matches"), by=actor(user))
    stored_letter(keys={"card_no": "4111111111111111"}, body='{"card_no": "4111111111111111"}')

    assert look(1) == 1

    mail = OutboxMail.objects.get()
    assert "4111111111111111" not in mail.subject + mail.body


def test_news_come_at_most_once_in_the_digest_interval_and_not_without_news():
    user = ada()
    subscribe(saved(user), Wish(when="matches", digest_minutes=30), by=actor(user))
    stored_letter()
    assert look(1) == 1

    stored_letter()
    told = [look(minutes) for minutes in (10, 20, 29, 32, 34, 70)]

    assert told == [0, 0, 0, 1, 0, 0]
    assert subjects()[-1] == "[production] Stuck: 2 dead letters now"


def test_silence_is_told_in_working_time_alone_and_messages_count_by_when_they_were_first_seen():
    user = ada()
    search = saved(user, q="flow:orders", of="messages", name="Orders come")
    push("/ingest/v1/events", [event(destination="orders")], key=agent_key())
    subscribe(search, Wish(when="silent", minutes=30, days=range(1, 8)), by=actor(user))

    assert (look(0), look(20)) == (0, 0)
    assert look(40) == 1
    assert subjects() == ["[production] Orders come: nothing for 30 min"]
    assert look(50) == 0

    Subscription.objects.update(days=[(datetime.now(UTC) + timedelta(days=3)).isoweekday()])
    at = datetime.now(UTC) + timedelta(hours=1)
    assert look_at_subscriptions(now=at) == 0
    row = Subscription.objects.get()
    assert row.state == "raised"  # nothing is judged on a free day
    assert row.next_look_at == (datetime.now(UTC) + timedelta(days=3)).replace(
        hour=0, minute=0, second=0, microsecond=0
    )


def test_rights_that_were_removed_stop_it_and_it_says_so_without_what_it_looks_for():
    owner, user = person("owner", Role.OPERATOR), ada()
    team = Team.objects.get(name="Order team")
    search = saved(owner, q="order_no:4711", name="Stuck", team_id=team.pk)
    subscribe(search, Wish(when="matches"), by=actor(user))
    stored_letter(keys={"order_no": "4711"})
    Membership.objects.filter(user=user).delete()

    assert (look(1), look(10), look(600)) == (1, 0, 0)

    mail, row = OutboxMail.objects.get(), Subscription.objects.get()
    assert (row.state, row.next_look_at) == ("stopped", None)
    assert row.problem == "you may not see this saved search any more: your rights have changed"
    assert "this subscription has stopped" in mail.subject
    assert "4711" not in mail.body
    assert AuditEntry.objects.filter(action="subscription.stopped").count() == 1


def test_it_counts_with_the_subscribers_rights_of_the_moment():
    user = ada()
    subscribe(saved(user), Wish(when="matches"), by=actor(user))
    stored_letter()
    Flow.objects.update(team=Team.objects.create(name="Others"))

    assert look(1) == 0
    Flow.objects.update(team=None)
    assert look(3) == 1


def test_a_switched_off_account_is_stopped_and_written_to_no_more():
    user = ada()
    subscribe(saved(user), Wish(when="matches"), by=actor(user))
    User.objects.filter(pk=user.pk).update(is_active=False)

    look(1)

    mail = OutboxMail.objects.get()
    assert (mail.state, mail.to, mail.answer) == ("given_up", "", "its receiver has no mail address")


def test_a_query_that_no_longer_parses_is_told_once_as_broken_and_once_when_it_works_again():
    user = ada()
    search = saved(user)
    subscribe(search, Wish(when="matches"), by=actor(user))
    SavedSearch.objects.update(q="stauts:dead")

    assert (look(1), look(15)) == (1, 0)
    assert Subscription.objects.get().state == "broken"
    change_search(search, NewSearch(name="Stuck", q="status:open"), by=actor(user))

    assert look(16) == 1
    assert subjects() == [
        "[production] Stuck: it cannot be searched", "[production] Stuck: it matches nothing any more",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "wish",
    [
        Wish(when="sometimes"),
        Wish(when="silent"),
        Wish(when="silent", minutes=0),
        Wish(when="silent", minutes=10_081),
        Wish(when="silent", minutes=5, digest_minutes=60),
        Wish(when="matches", minutes=5),
        Wish(when="matches", digest_minutes=4),
        Wish(when="matches", days=[]),
        Wish(when="matches", days=[0]),
        Wish(when="matches", from_minute=60, until_minute=60),
        Wish(when="matches", time_zone="Mars/Olympus"),
    ],
)
def test_a_wish_that_cannot_be_is_refused(wish: Wish):
    user = ada()
    search = saved(user)

    with pytest.raises(Invalid):
        subscribe(search, wish, by=actor(user))


def test_a_worker_that_dies_after_its_claim_loses_nothing_and_one_that_comes_back_late_tells_nothing():
    user = ada()
    subscribe(saved(user), Wish(when="matches"), by=actor(user))
    stored_letter()
    now = datetime.now(UTC) + timedelta(seconds=1)

    dead = claim(now)
    assert dead is not None
    assert claim(now) is None  # it is leased
    assert look(2) == 1

    assert settle(dead, look_at(dead, now), now) is False
    assert OutboxMail.objects.count() == 1


def test_an_edit_while_a_worker_looks_is_not_overwritten_by_what_it_saw():
    user = ada()
    search = saved(user)
    subscribe(search, Wish(when="matches"), by=actor(user))
    stored_letter()
    now = datetime.now(UTC) + timedelta(seconds=1)
    looking = claim(now)
    assert looking is not None
    found = look_at(looking, now)

    change_search(search, NewSearch(name="Stuck", q="status:closed"), by=actor(user))

    assert settle(looking, found, now) is False
    assert look(1) == 0


def race(times: int, work: Any) -> None:
    """Run in so many threads at once, each with a connection of its own."""
    barrier = threading.Barrier(times)

    def run() -> None:
        try:
            barrier.wait()
            work()
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_two_beats_at_once_tell_once(committed: None):
    user = ada()
    for number in range(5):
        subscribe(saved(user, name=str(number)), Wish(when="matches"), by=actor(user))
    stored_letter()

    race(4, look_at_subscriptions)

    assert OutboxMail.objects.count() == 5
    assert set(Subscription.objects.values_list("state", "told_count")) == {("raised", 1)}


def test_without_the_attempt_the_occurrence_still_keeps_a_second_mail_out(
    committed: None, monkeypatch: pytest.MonkeyPatch
):
    """The negative control: with the claim switched off, two look at the same row, and the row's lock and the occurrence decide."""
    user = ada()
    subscribe(saved(user), Wish(when="matches"), by=actor(user))
    stored_letter()
    row = Subscription.objects.select_related("search__environment", "owner").get()
    looks: list[bool] = []

    def unguarded() -> None:
        now = datetime.now(UTC)
        looks.append(settle(row, look_at(row, now), now))

    race(2, unguarded)

    assert len(looks) == 2
    assert OutboxMail.objects.count() == 1


@override_settings(EMAIL_BACKEND="django.core.mail.backends.dummy.EmailBackend")
def test_without_a_mail_server_the_mail_is_given_up_with_its_reason():
    user = ada()
    subscribe(saved(user), Wish(when="matches"), by=actor(user))
    stored_letter()

    look(1)

    mail = OutboxMail.objects.get()
    assert (mail.state, mail.answer) == ("given_up", "no mail server is set: EMAIL_URL")


def test_a_look_has_an_end(monkeypatch: pytest.MonkeyPatch):
    user = ada()
    subscribe(saved(user), Wish(when="matches"), by=actor(user))

    assert assessing.look_at_subscriptions(budget_s=0) == 0
    assert Subscription.objects.get().attempt == 0


def test_a_look_that_cannot_say_tells_nothing(monkeypatch: pytest.MonkeyPatch):
    user = ada()
    letter = stored_letter()
    subscribe(saved(user), Wish(when="matches"), by=actor(user))
    assert look(1) == 1
    letter.delete()
    assert look(3) == 0  # calm again, and not told yet: two mails in five minutes would be a storm

    def too_slow(*_: object, **__: object) -> None:
        raise TooSlow("the search took longer than 5 s and was given up: narrow it down")

    monkeypatch.setattr("messages.saved.assessing.find_matches", too_slow)
    assert look(20) == 0  # it told "it matches nothing any more", with nothing seen


def test_a_search_that_takes_too_long_for_an_hour_is_told_once_and_so_is_its_answer(monkeypatch: pytest.MonkeyPatch):
    user = ada()
    subscribe(saved(user), Wish(when="matches"), by=actor(user))

    def too_slow(*_: object, **__: object) -> None:
        raise TooSlow("the search took longer than 5 s and was given up: narrow it down")

    with monkeypatch.context() as busy:
        busy.setattr("messages.saved.assessing.find_matches", too_slow)
        assert [look(minutes) for minutes in range(1, 101, 11)] == [0, 0, 0, 0, 0, 1, 0, 0, 0, 0]
    stored_letter()

    assert look(120) == 1
    assert subjects() == ["[production] Stuck: it cannot be searched", "[production] Stuck: 1 dead letter"]
    assert Subscription.objects.get().in_vain == 0


@pytest.mark.parametrize("by", ["another query", "another wish"])
def test_looks_in_vain_before_a_search_or_subscription_was_changed_do_not_count(
    by: str, monkeypatch: pytest.MonkeyPatch
):
    user = ada()
    search = saved(user)
    subscribe(search, Wish(when="matches"), by=actor(user))

    def too_slow(*_: object, **__: object) -> None:
        raise TooSlow("the search took longer than 5 s and was given up: narrow it down")

    monkeypatch.setattr("messages.saved.assessing.find_matches", too_slow)
    Subscription.objects.update(in_vain=5)
    if by == "another query":
        change_search(search, NewSearch(name="Stuck", q="state:open flow:x"), by=actor(user))
    else:
        subscribe(search, Wish(when="matches", digest_minutes=60), by=actor(user))

    assert look(1) == 0
    assert (Subscription.objects.get().in_vain, subjects()) == (1, [])


def test_one_look_that_fails_holds_up_no_other(monkeypatch: pytest.MonkeyPatch):
    user, find = ada(), assessing.find_matches
    stored_letter()
    for name in ("Broken", "Stuck"):
        subscribe(saved(user, name=name), Wish(when="matches"), by=actor(user))

    def fails_for_one(who: Any, search: SavedSearch, **more: Any) -> Any:
        if search.name == "Broken":
            raise RuntimeError("nobody thought of this")
        return find(who, search, **more)

    monkeypatch.setattr("messages.saved.assessing.find_matches", fails_for_one)

    assert look(1) == 1
    assert [subject.split("] ")[1].split(":")[0] for subject in subjects()] == ["Stuck"]
