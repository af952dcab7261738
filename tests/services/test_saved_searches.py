"""Saved searches: whose they are, who sees what through them, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.test import override_settings

from console.audit.models import AuditEntry
from console.core.errors import Conflict, Forbidden, Invalid, NotFound
from console.identity.models import Membership, Role, Team, User
from messages.models import Flow, OutboxMail, SavedSearch
from messages.saved import assessing, matching
from messages.saved.access import get_visible_saved_search, visible_saved_searches
from messages.saved.assessing import look_at_subscriptions
from messages.saved.matching import count_matches, find_matches
from messages.saved.queries import count_of, counts_of
from messages.saved.services import (
    NewSearch,
    Wish,
    change_search,
    remove_search,
    save_search,
    subscribe,
)
from messages.search.query import BadQuery
from messages.search.window import BadWindow
from tests.factories import ROOT, actor, environment, person, stored_letter

pytestmark = pytest.mark.django_db
DEAD = SavedSearch.Of.DEAD_LETTERS.value


def ada(role: Role = Role.OPERATOR) -> User:
    found = person("ada", role)
    found.email = "ada@example.com"
    found.save(update_fields=["email"])
    return found


def saved(user: User, q: str = "status:waiting", of: str = DEAD, **more: Any) -> SavedSearch:
    return save_search(environment(), of, NewSearch(name=more.pop("name", "Stuck"), q=q, **more), by=actor(user))


def look(minutes: float = 0) -> int:
    """Look at what is due so many minutes from now."""
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=minutes), tick=True):
        return look_at_subscriptions()


def subjects() -> list[str]:
    return list(OutboxMail.objects.order_by("id").values_list("subject", flat=True))


# searches --------------------------------------------------------------------------------------------------------------
def test_a_saved_search_is_its_owners_until_it_is_shared_with_a_team():
    user, mate, stranger = ada(), person("mate", Role.VIEWER), person("stranger", Role.VIEWER, team="Others")
    team = Team.objects.get(name="Order team")

    search = saved(user)
    seen_before = [visible_saved_searches(actor(one)).count() for one in (user, mate, stranger)]
    change_search(search, NewSearch(name="Stuck", q="status:waiting", team_id=team.pk), by=actor(user))

    assert seen_before == [1, 0, 0]
    assert [visible_saved_searches(actor(one)).count() for one in (user, mate, stranger)] == [1, 1, 0]
    with pytest.raises(NotFound):
        get_visible_saved_search(actor(stranger), search.pk)
    with pytest.raises(Forbidden):
        change_search(search, NewSearch(name="x", q=""), by=actor(mate))
    with pytest.raises(Forbidden):
        remove_search(search, by=actor(mate))


def test_an_administrator_of_the_team_changes_what_is_shared_with_it_and_a_change_of_rights_ends_it():
    user, admin = ada(), person("admin", Role.ADMINISTRATOR)
    team = Team.objects.get(name="Order team")
    search = saved(user, team_id=team.pk)

    change_search(search, NewSearch(name="Stuck again", q="status:open", team_id=team.pk), by=actor(admin))
    Membership.objects.filter(user=user).delete()

    search.refresh_from_db()
    assert (search.name, search.q, search.owner) == ("Stuck again", "status:open", user)
    assert not visible_saved_searches(actor(user)).exists()
    with pytest.raises(Forbidden):
        change_search(search, NewSearch(name="x", q=""), by=actor(user))


def test_an_administrator_of_everything_sees_what_is_shared_and_nobodys_own():
    user, root = ada(), person("root")
    root.is_superuser = True
    root.save(update_fields=["is_superuser"])
    saved(user, name="Mine")
    shared = saved(user, name="Ours", team_id=Team.objects.get(name="Order team").pk)

    assert list(visible_saved_searches(actor(root))) == [shared]
    remove_search(shared, by=actor(root))


def test_a_search_that_breaks_a_look_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch):
    user = ada()
    for name in ("a", "b"):
        subscribe(saved(user, name=name), Wish(when="matches"), by=actor(user))
    stored_letter()
    find = assessing.find_matches

    def breaking(reader: Any, search: SavedSearch, **more: Any) -> Any:
        if search.name == "a":
            raise RuntimeError("a fault of ours")
        return find(reader, search, **more)

    with monkeypatch.context() as patched:
        patched.setattr(assessing, "find_matches", breaking)
        assert look() == 1

    assert look(2) == 1  # and it is looked at again
    assert subjects() == ["[production] b: 1 dead letter", "[production] a: 1 dead letter"]


def test_nobody_shares_with_a_team_that_is_not_theirs():
    user, others = ada(), Team.objects.create(name="Others")

    with pytest.raises(NotFound):
        saved(user, team_id=others.pk)


def test_what_the_audit_list_says_of_a_search_of_ones_own_is_not_its_name():
    user = ada()
    search = saved(user, name="secret plan")

    remove_search(search, by=actor(user))

    assert set(AuditEntry.objects.values_list("action", "object_label")) == {
        ("saved_search.added", "a search of one's own"),
        ("saved_search.removed", "a search of one's own"),
    }


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (NewSearch(name=" ", q=""), Invalid),
        (NewSearch(name="x" * 81, q=""), Invalid),
        (NewSearch(name="x", q="stauts:dead"), BadQuery),
        (NewSearch(name="x", q="("), BadQuery),
        (NewSearch(name="x", q="", window="a week"), BadWindow),
        (NewSearch(name="x", q="", window="1" * 40), Invalid),
    ],
)
def test_a_search_that_cannot_be_asked_is_not_saved(said: NewSearch, error: type[Exception]):
    user = ada()

    with pytest.raises(error):
        save_search(environment(), "messages", said, by=actor(user))

    assert not SavedSearch.objects.exists()


def test_a_name_is_given_once_a_list_and_a_command_owns_nothing():
    user = ada()
    saved(user)

    saved(user, q="", of="messages")
    with pytest.raises(Conflict):
        saved(user)
    with pytest.raises(Forbidden):
        save_search(environment(), "messages", NewSearch(name="x", q=""), by=ROOT)


def test_it_counts_what_its_reader_may_see_and_a_query_that_no_longer_parses_is_broken_in_words():
    user, mate = ada(), person("mate", Role.VIEWER, team="Others")
    stored_letter(keys={"order_no": "1"})
    stored_letter(keys={"order_no": "2"})
    Flow.objects.update(team=Team.objects.get(name="Order team"))
    search = saved(user)

    assert (count_matches(actor(user), search), count_matches(actor(mate), search)) == (2, 0)
    assert [row.title for row in find_matches(actor(user), search).rows] == ["Order 2", "Order 1"]
    SavedSearch.objects.filter(pk=search.pk).update(q="stauts:dead")  # as if a field had been renamed
    search.refresh_from_db()

    assert count_of(actor(user), search).count is None
    assert "the query cannot be read: dead letters have no stauts" in count_of(actor(user), search).problem


def test_what_is_shown_is_of_the_flows_that_a_mail_asks_the_rights_of_however_many_there_are(
    monkeypatch: pytest.MonkeyPatch,
):
    """Of more than are counted any are: the flows of those that the mail shows must be asked for all the same."""
    monkeypatch.setattr(matching, "COUNT_CAP", 0)
    user = ada()
    letters = [stored_letter(origin=f"queue.{number % 3}") for number in range(12)]

    found = find_matches(actor(user), saved(user, of=DEAD, q="status:open"))

    assert found.flows == tuple(sorted({letter.flow_id for letter in letters}))
    assert len(found.flows) == 3


@pytest.mark.parametrize("of", ["messages", DEAD])
def test_rows_come_newest_first_for_several_keys_as_for_one_field(of: str):
    user = ada()
    for number in (1, 2, 3):
        stored_letter(keys={"order_no": str(number)}, origin="orders")
    for q in ("order_no:(1 OR 2 OR 3)", "flow:orders"):
        found = find_matches(actor(user), saved(user, name=q, q=q, of=of))

        assert (found.count, [row.title for row in found.rows]) == (3, ["Order 3", "Order 2", "Order 1"])


def test_searches_that_take_too_long_are_given_up_and_the_rest_is_not_counted(monkeypatch: pytest.MonkeyPatch):
    user = ada()
    searches = [saved(user, name=str(number)) for number in range(3)]
    monkeypatch.setattr("messages.saved.queries.COUNTING_S", -1.0)

    found = counts_of(actor(user), searches)

    assert {one.count for one in found.values()} == {None}


@override_settings(SEARCH_BACKEND="elasticsearch")
@pytest.mark.parametrize("of", ["messages", DEAD])
def test_words_of_payloads_are_refused_in_words_that_are_true_with_elasticsearch(of: str):
    with pytest.raises(BadQuery, match="a search for words of payloads cannot be saved: only Elasticsearch finds them"):
        saved(ada(), q="flow:orders payload:refused", of=of)
