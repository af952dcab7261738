"""REST of saved searches and subscriptions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from console.identity.models import Role, Team, User
from messages.models import DeadLetter, OutboxMail, SavedSearch, Subscription
from messages.saved.assessing import look_at_subscriptions
from tests.factories import environment, stored_letter
from tests.http.test_rest_administration import Caller

pytestmark = pytest.mark.django_db
WANTED = {"environment": "production", "of": "dead-letters", "name": "Stuck", "q": "status:waiting"}


def test_a_search_is_saved_read_with_its_count_changed_listed_and_removed():
    stored_letter()
    ada = Caller("ada", Role.OPERATOR)

    made = ada("post", "saved-searches", WANTED)
    one = f"saved-searches/{made.json()['id']}"
    changed = ada("put", one, {"name": "Open", "q": "status:open", "window": "7d", "team": Team.objects.get().pk})
    listed = ada("get", "saved-searches?of=dead-letters&limit=1").json()

    assert (made.status_code, made.json()["count"], made.json()["owner"]) == (201, 1, "ada")
    assert made.json()["page"] == "/dead-letters/?q=status%3Awaiting&state=all"
    assert (changed.status_code, changed.json()["name"], changed.json()["window"]) == (200, "Open", "7d")
    assert [row["name"] for row in listed["results"]] == ["Open"]
    assert ada("get", "saved-searches?of=messages").json()["results"] == []
    assert ada("delete", one).status_code == 204
    assert ada("get", one).status_code == 404


def test_a_count_that_ends_at_its_cap_says_that_there_are_more(monkeypatch: pytest.MonkeyPatch):
    for module in ("messages.saved.matching", "messages.api.saved"):
        monkeypatch.setattr(f"{module}.COUNT_CAP", 10)
    for n in range(11):
        stored_letter(origin=str(n))
    ada = Caller("ada", Role.OPERATOR)

    one = ada("post", "saved-searches", WANTED).json()
    ada("put", f"saved-searches/{one['id']}/subscription", {"when": "matches"})
    look_at_subscriptions()
    told = ada("get", f"saved-searches/{one['id']}/subscription").json()
    DeadLetter.objects.latest("pk").delete()
    fewer = ada("get", f"saved-searches/{one['id']}").json()

    assert (one["count"], one["at_least"]) == (10, True)
    assert (told["count"], told["at_least"]) == (10, True)
    assert (fewer["count"], fewer["at_least"]) == (10, False)


def test_a_subscription_says_when_it_matched_was_told_and_looks_next():
    ada = Caller("ada", Role.OPERATOR)
    environment()
    one = f"saved-searches/{ada('post', 'saved-searches', WANTED).json()['id']}/subscription"
    assert ada("get", one).status_code == 404

    put = ada(
        "put", one, {"when": "silent", "minutes": 30, "begins": "08:00", "ends": "18:00", "time_zone": "Europe/Berlin"}
    )
    assert (put.status_code, put.json()["state"], put.json()["begins"]) == (200, "new", "08:00")
    ada("put", one, {"when": "matches", "digest_minutes": 60})
    User.objects.update(email="ada@example.com")
    stored_letter()
    look_at_subscriptions()
    told = ada("get", one).json()

    assert (told["state"], told["count"], told["minutes"]) == ("raised", 1, None)
    assert told["last_matched_at"]
    assert told["told_at"]
    assert told["next_look_at"] > told["told_at"]
    assert [mail["state"] for mail in told["mails"]] == ["waiting"]
    assert told["cannot_tell"] == ""
    assert ada("put", one, told).json()["digest_minutes"] == 60
    assert ada("delete", one).status_code == 204


def test_a_subscription_that_can_reach_nobody_says_so_at_once_and_tells_what_lasts_when_it_can():
    ada, root = Caller("ada", Role.OPERATOR), Caller("root", superuser=True)
    environment()
    one = f"saved-searches/{ada('post', 'saved-searches', WANTED).json()['id']}/subscription"
    stored_letter()

    put = ada("put", one, {"when": "matches"}).json()
    assert put["cannot_tell"].startswith("you have no mail address here: an administrator of the console sets it")
    assert look_at_subscriptions() == 0
    untold = ada("get", one).json()
    assert (untold["state"], untold["told_at"], untold["mails"]) == ("raised", None, [])
    root("patch", f"users/{User.objects.get(username='ada').pk}", {"email": "ada@example.com"})
    Subscription.objects.update(next_look_at=datetime.now(UTC))

    assert look_at_subscriptions() == 1
    told = ada("get", one).json()
    assert (told["cannot_tell"], [mail["state"] for mail in told["mails"]]) == ("", ["waiting"])
    assert OutboxMail.objects.get().to == "ada@example.com"


def test_a_search_is_shared_with_a_team_by_its_name_and_kept_so_by_who_reads_and_writes_it():
    ada, bo = Caller("ada", Role.OPERATOR), Caller("bo", Role.VIEWER)
    Team.objects.create(name="Stock team")

    made = ada("post", "saved-searches", WANTED | {"team": "Order team"})
    one = f"saved-searches/{made.json()['id']}"
    read = ada("get", one).json()
    kept = ada("put", one, read).json()
    refused = ada("put", one, read | {"team": "Stock team"})

    assert (made.status_code, read["team"], read["team_name"]) == (
        201,
        Team.objects.get(name="Order team").pk,
        "Order team",
    )
    assert (kept["team_name"], bo("get", one).status_code, refused.status_code) == ("Order team", 200, 404)


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"q": "stauts:dead"}, 400, "bad_query"),
        ({"window": "soon"}, 400, "bad_window"),
        ({"of": "events"}, 400, "invalid"),
        ({"name": "\x00 "}, 400, "invalid"),
        ({"team": 999}, 404, "not_found"),
        ({"team": "Nobody's team"}, 404, "not_found"),
        ({"team": ["Order team"]}, 400, "invalid"),
        ({"team": 10**30}, 404, "not_found"),
        ({"environment": "elsewhere"}, 404, "not_found"),
    ],
)
def test_a_search_that_cannot_be_is_a_problem(changes: dict[str, Any], status: int, code: str):
    environment()
    answer = Caller("ada", Role.OPERATOR)("post", "saved-searches", WANTED | changes)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert not SavedSearch.objects.exists()


@pytest.mark.parametrize(
    "body",
    [
        {"when": "x"},
        {"when": "silent"},
        {"when": "matches", "days": [9]},
        {"when": "matches", "begins": "25:00"},
        {"when": "silent", "minutes": 10**20},
        [],
    ],
)
def test_a_wish_that_cannot_be_is_a_problem(body: Any):
    environment()
    ada = Caller("ada", Role.OPERATOR)
    one = f"saved-searches/{ada('post', 'saved-searches', WANTED).json()['id']}/subscription"

    assert ada("put", one, body).status_code == 400


def test_rights_are_those_of_pages():
    environment()
    ada = Caller("ada", Role.OPERATOR)
    made = ada("post", "saved-searches", WANTED | {"team": Team.objects.get().pk}).json()
    private = ada("post", "saved-searches", WANTED | {"name": "Mine"}).json()
    mate, stranger = Caller("mate", Role.VIEWER), Caller("stranger", Role.ADMINISTRATOR, team="Others")
    one = f"saved-searches/{made['id']}"

    assert mate("get", one).status_code == 200
    assert mate("put", one, {"name": "x", "q": ""}).status_code == 403
    assert mate("delete", one).status_code == 403
    for who, address in [
        (stranger, one),
        (mate, f"saved-searches/{private['id']}"),
        (mate, "saved-searches/x"),
        (mate, "saved-searches/" + "9" * 30),
    ]:
        assert who("get", address).status_code == 404
        assert who("put", address, {"name": "x", "q": ""}).status_code == 404
        assert who("delete", address).status_code == 404
        assert who("put", f"{address}/subscription", {"when": "matches"}).status_code == 404
    assert stranger("get", "saved-searches").json()["results"] == []
