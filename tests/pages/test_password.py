"""One's own password: the present one asked, the rules of everybody kept, other sessions ended, the change audited."""

from __future__ import annotations

import json

import pytest
from django.test import Client

from console.audit.models import AuditEntry
from console.identity.models import Role, User
from tests.factories import api_key, person
from tests.pages.people import text_of

pytestmark = pytest.mark.django_db
OLD, NEW = "long-enough-Secret-1", "another-long-Secret-2"
PAGE, REST = "/account/password/", "/api/v1/account/password"


def signed_in(name: str = "mia") -> Client:
    client = Client()
    assert client.post("/sign-in/", {"username": name, "password": OLD}).status_code == 302
    return client


def change(client: Client, *, current: str = OLD, new: str = NEW, again: str | None = None):
    return client.post(PAGE, {"current": current, "new": new, "again": new if again is None else again})


def test_the_new_password_holds_this_session_goes_on_and_the_others_have_ended():
    user = person("mia", Role.VIEWER)
    here, elsewhere = signed_in(), signed_in()

    done = change(here)

    assert (done.status_code, done["Location"]) == (303, PAGE)
    assert "Your password is changed" in text_of(here.get(PAGE))
    assert elsewhere.get("/messages/")["Location"].startswith("/sign-in/")
    user.refresh_from_db()
    assert user.check_password(NEW)
    [entry] = AuditEntry.objects.filter(action="user.password_changed")
    assert (entry.actor, entry.via, entry.object_id, entry.details) == ("mia", "web", str(user.pk), {})


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"current": "wrong"}, "This is not your present password"),
        ({"again": "something-Else-99"}, "not written the same twice"),
        ({"new": "short"}, "at least 12 characters"),
        ({"new": "password1234"}, "too common"),
        ({"new": OLD}, "The new password is the present one"),
    ],
)
def test_what_cannot_be_the_new_password_is_said_and_nothing_is_changed(asked: dict[str, str], words: str):
    user = person("mia", Role.VIEWER)
    client = signed_in()

    refused = change(client, **asked)

    assert refused.status_code == 422
    assert words in text_of(refused)
    user.refresh_from_db()
    assert user.check_password(OLD)
    assert not AuditEntry.objects.filter(action="user.password_changed").exists()


def test_a_session_left_open_is_no_place_to_guess_the_password():
    person("mia", Role.VIEWER)
    client = signed_in()

    answers = [change(client, current=f"guess {n}").status_code for n in range(11)]

    assert answers == [422] * 9 + [429] * 2
    assert "rests for 15 minutes" in text_of(change(client))


def test_somebody_without_an_environment_has_a_password_too_and_a_stranger_signs_in_first():
    person("mia")

    assert change(signed_in()).status_code == 303
    assert Client().get(PAGE)["Location"] == f"/sign-in/?next={PAGE}"


def test_the_menu_leads_there_and_the_admin_writes_no_password_of_its_own():
    user = person("mia", Role.VIEWER)
    User.objects.filter(pk=user.pk).update(is_superuser=True, is_staff=True)
    client = signed_in()

    assert f'href="{PAGE}"' in client.get("/messages/").content.decode()
    fields = {"old_password": OLD, "new_password1": NEW, "new_password2": NEW}
    assert client.post("/admin/password_change/", fields)["Location"] == PAGE
    user.refresh_from_db()
    assert user.check_password(OLD)


def test_rest_changes_it_too_asks_for_the_present_one_and_says_who_asks():
    user = person("mia", Role.OPERATOR)
    key = {"HTTP_AUTHORIZATION": f"Bearer {api_key(user)}", "content_type": "application/json"}
    client, browser = Client(), signed_in()

    wrong = client.put(REST, json.dumps({"current": "x", "new": NEW}), **key)
    done = client.put(REST, json.dumps({"current": OLD, "new": NEW}), **key)

    assert (wrong.status_code, wrong.json()["code"]) == (400, "wrong_password")
    assert done.status_code == 204
    assert browser.get("/messages/").status_code == 302
    assert client.get("/api/v1/account", **key).json() == {
        "username": "mia",
        "email": "",
        "is_superuser": False,
        "roles": [{"environment": "production", "team": "Order team", "role": "operator"}],
    }
    assert AuditEntry.objects.get(action="user.password_changed").via == "api"
