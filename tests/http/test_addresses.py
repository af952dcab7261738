"""Mail addresses of people: set by administrators of the console, on the page and over REST, audited without the address, and shown to nobody else."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from django.core import mail
from django.test import Client

from console.audit.models import AuditEntry
from console.identity.models import Role, User
from messages import tasks
from messages.models import OutboxMail
from messages.reconcile.check_services import NewCheck, add_check
from messages.saved.assessing import look_at_subscriptions
from messages.saved.services import NewSearch, Wish, save_search, subscribe
from tests.factories import actor, environment, person, stored_letter
from tests.http.test_rest_administration import Caller
from tests.pages.people import signed_in, text_of

pytestmark = pytest.mark.django_db
PAGE = "/settings/teams/"
ADA = "ada@example.com"


def pk_of(name: str) -> int:
    return User.objects.get(username=name).pk


def audited() -> list[tuple[str, str, str]]:
    rows = AuditEntry.objects.filter(object_kind="user").order_by("id")
    return [(one.actor, one.action, one.object_label) for one in rows]


def test_rest_makes_a_person_with_an_address_changes_and_clears_it_and_the_audit_list_has_none_of_them():
    environment()
    root = Caller("root", superuser=True)

    made = root("post", "users", {"username": "eve", "password": "long-enough-Secret-1", "email": " Eve@EXAMPLE.com "})
    one = f"users/{made.json()['id']}"
    changed = root("patch", one, {"email": "eve@example.org"}).json()
    again = root("patch", one, {"email": "eve@example.org"}).json()
    cleared = root("patch", one, {"email": ""}).json()

    assert (made.status_code, made.json()["email"]) == (201, "Eve@example.com")
    assert [one["email"] for one in (changed, again, cleared)] == ["eve@example.org", "eve@example.org", ""]
    assert root("get", one).json()["username"] == "eve"
    assert audited() == [
        ("root", "user.created", "eve"),
        ("root", "user.address_set", "eve"),
        ("root", "user.address_changed", "eve"),
        ("root", "user.address_cleared", "eve"),
    ]
    assert "example" not in str(list(AuditEntry.objects.values()))


@pytest.mark.parametrize(
    "said",
    [
        "ada", "ada@", "@example.com", "a b@example.com", "ada@example.com\nBcc: all@example.com", "ada@example.com\r\nX: y",
        "ada@example.com, bob@example.com", "Ada <ada@example.com>", "a\x00b@example.com", '"\x0b"@example.com', "ada@bücher.example",
        "a" * 64 + "@" + "b" * 60 + "." + "c" * 60 + "." + "d" * 60 + "." + "e" * 10 + ".example", 7, ["x@example.com"], None,
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused_in_words_and_nothing_is_changed(said: object):
    environment()
    root = Caller("root", superuser=True)
    User.objects.update(email=ADA)

    refused = root("patch", f"users/{pk_of('root')}", {"email": said})

    assert refused.status_code == 400, refused.content
    assert User.objects.get().email == ADA
    if isinstance(said, str):
        made = root("post", "users", {"username": "eve", "password": "long-enough-Secret-1", "email": said})
        assert (made.status_code, User.objects.count()) == (400, 1)
    assert audited() == []


def test_nobody_but_an_administrator_of_everything_sets_or_lists_addresses_and_each_reads_their_own():
    ada, admin = Caller("ada", Role.OPERATOR), Caller("admin", Role.ADMINISTRATOR)
    User.objects.filter(username="ada").update(email=ADA)
    own = f"users/{pk_of('ada')}"

    for who in (ada, admin):
        for method, path, body in [
            ("patch", own, {"email": "x@example.com"}),
            ("get", own, None),
            ("get", "users", None),
        ]:
            assert who(method, path, body).status_code == 403
    assert ada("get", "account").json()["email"] == ADA
    assert admin("get", "account").json()["email"] == ""
    assert ada("put", "account", {"email": "x@example.com"}).status_code == 405
    assert Caller("root", superuser=True)("patch", "users/999999", {"email": ADA}).status_code == 404
    assert User.objects.get(username="ada").email == ADA


def test_the_page_sets_changes_and_clears_an_address_and_says_what_is_none():
    environment()
    root = signed_in("root", superuser=True)
    mia = person("mia", Role.VIEWER)
    change = {"do": "address", "user": str(mia.pk)}

    done = root.post(PAGE, change | {"email": "mia@example.com"}, follow=True)
    assert "Mails to mia go to mia@example.com." in text_of(done)
    assert 'value="mia@example.com"' in done.content.decode()
    wrong = root.post(PAGE, change | {"email": "mia at example"})
    assert (wrong.status_code, "“mia at example” is no mail address" in text_of(wrong)) == (422, True)
    assert 'value="mia at example"' in wrong.content.decode()
    assert root.post(PAGE, {"do": "address", "user": "x", "email": ""}).status_code == 422
    theirs = Client()
    theirs.force_login(mia)
    assert "mia@example.com" in text_of(theirs.get("/account/password/"))
    assert theirs.post(PAGE, change | {"email": "x@example.com"}).status_code == 403
    assert "mia has no mail address any more" in text_of(root.post(PAGE, change | {"email": ""}, follow=True))
    assert "You have none here" in text_of(theirs.get("/account/password/"))
    new = {"do": "user", "username": "eve", "password": "long-enough-Secret-1", "email": "eve@example.com"}
    assert root.post(PAGE, new).status_code == 303
    assert User.objects.get(username="eve").email == "eve@example.com"


def test_a_check_says_that_its_owner_cannot_be_reached_and_no_address_to_those_who_see_it():
    ada, viewer = Caller("ada", Role.OPERATOR), Caller("viewer", Role.VIEWER)
    flow = stored_letter().flow
    made = add_check(
        flow, NewCheck(name="Every order", key_name="order_no", minute=390), by=actor(User.objects.get(username="ada"))
    )
    one = f"reconciliation-checks/{made.pk}"

    words = viewer("get", one).json()["cannot_tell"]
    assert words.startswith("ada has no mail address here: an administrator of the console sets it")
    assert ada("get", "reconciliation-checks").json()["results"][0]["cannot_tell"] == words
    seen = signed_in("looker", Role.VIEWER).get(f"/reconciliations/checks/{made.pk}/")
    assert re.search("Ada has no mail address here: an administrator", text_of(seen), re.IGNORECASE)
    User.objects.filter(username="ada").update(email=ADA)

    told = viewer("get", one)

    assert told.json()["cannot_tell"] == ""
    assert ADA not in told.content.decode()


def waiting_mail() -> User:
    """Return who a mail of a subscription waits for."""
    user = person("ada", Role.OPERATOR)
    User.objects.filter(pk=user.pk).update(email=ADA)
    search = save_search(environment(), "dead-letters", NewSearch(name="Stuck", q="status:waiting"), by=actor(user))
    subscribe(search, Wish(when="matches"), by=actor(user))
    stored_letter()
    assert look_at_subscriptions() == 1
    OutboxMail.objects.update(next_try_at=datetime.now(UTC))
    return user


def test_a_mail_that_waits_goes_to_the_address_that_was_corrected_meanwhile():
    user = waiting_mail()
    Caller("root", superuser=True)("patch", f"users/{user.pk}", {"email": "ada@example.org"})

    tasks.send_mails()

    assert [one.to for one in mail.outbox] == [["ada@example.org"]]
    assert OutboxMail.objects.get().to == "ada@example.org"


def test_a_mail_that_waits_goes_nowhere_when_its_address_was_cleared_meanwhile():
    user = waiting_mail()
    Caller("root", superuser=True)("patch", f"users/{user.pk}", {"email": ""})

    tasks.send_mails()

    assert mail.outbox == []
    assert [(one.state, one.answer) for one in OutboxMail.objects.all()] == [
        ("given_up", "its receiver has no mail address")
    ]
