"""Saved searches on pages: tabs above the lists, the page of one, what is told; and who may do what."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client

from console.identity.models import Role, Team, User
from messages.models import OutboxMail, SavedSearch, Subscription
from messages.saved.assessing import look_at_subscriptions
from tests.factories import agent_key, environment, event, push, stored_letter
from tests.pages.people import signed_in, text_of

pytestmark = pytest.mark.django_db
NEW = "/saved-searches/new/"
WISH = {
    "when": "matches",
    "digest_minutes": "60",
    "days": ["1", "2", "3"],
    "begins": "08:00",
    "ends": "18:00",
    "time_zone": "Europe/Berlin",
}


def save(client: Client, of: str = "dead-letters", **changes: str) -> SavedSearch:
    said = {"name": "Stuck <b>orders</b>", "q": "status:waiting", "window": "", "team": ""} | changes
    answer = client.post(f"{NEW}?of={of}", said)
    assert answer.status_code == 303, text_of(answer)
    return SavedSearch.objects.latest("pk")


def href(answer: Any, words: str) -> str:
    found = re.search(
        rf'<a[^>]*href="([^"]+)"[^>]*>(?:<svg(?:(?!</svg>).)*</svg>)?{words}', answer.content.decode(), re.S
    )
    assert found, words
    return found[1].replace("&amp;", "&")


def test_what_a_list_was_asked_is_saved_and_stands_above_it_as_a_tab_with_its_count():
    client = signed_in("ada", Role.OPERATOR)
    stored_letter(origin="orders")
    stored_letter(origin="invoices")

    form = client.get(href(client.get("/dead-letters/?flow=orders"), "Save this search"))
    q = re.search(r'name="q" value="([^"]*)"[^>]*id="id_q"', form.content.decode())
    assert q
    search = save(client, q=q[1])
    page = client.get("/dead-letters/")
    counts = client.get(re.search(r'hx-get="([^"]+counts[^"]*)"', page.content.decode())[1].replace("&amp;", "&"))  # type: ignore[index]
    opened = client.get(f"/saved-searches/{search.pk}/open/", follow=True)

    assert search.q == "flow:orders status:waiting"
    assert "Stuck &lt;b&gt;orders&lt;/b&gt; <span>1</span>" in counts.content.decode()
    assert "hx-trigger" not in counts.content.decode()
    assert re.search(r'aria-current="page"[^>]*>Stuck', opened.content.decode())
    assert not re.search(r'aria-current="page"[^>]*>Stuck', page.content.decode())
    assert "1 dead letter that is all" in " ".join(text_of(opened).split())


@pytest.mark.parametrize("path", ["/messages/", "/dead-letters/"])
def test_what_cannot_be_read_is_not_offered_to_be_saved(path: str):
    client = signed_in("ada", Role.OPERATOR)

    refused, read = client.get(f"{path}?q=stauts:failed"), client.get(f"{path}?q=flow:orders")

    assert refused.status_code == 400
    assert ("Save this search" in refused.content.decode(), "Save this search" in read.content.decode()) == (
        False,
        True,
    )


def test_messages_have_tabs_of_their_own_and_a_polled_part_has_none():
    client = signed_in("ada", Role.VIEWER)
    push("/ingest/v1/events", [event(destination="orders")], key=agent_key())

    save(client, "messages", name="Orders", q="flow:orders", window="7d")

    page = client.get("/messages/")
    assert "/messages/?q=flow%3Aorders&amp;window=7d" in page.content.decode()
    assert "Orders" not in text_of(client.get("/dead-letters/"))
    assert b"saved-tabs" not in client.get("/messages/", HTTP_HX_REQUEST="true").content


def test_one_whose_query_no_longer_parses_says_so_on_its_page_its_tab_and_its_list():
    client = signed_in("ada", Role.OPERATOR)
    search = save(client)
    SavedSearch.objects.update(q="stauts:dead")

    page, tab = client.get(f"/saved-searches/{search.pk}/"), client.get("/saved-searches/counts?of=dead-letters")
    listed = client.get(f"/saved-searches/{search.pk}/open/", follow=True)

    assert "The query cannot be read: dead letters have no stauts" in text_of(page)
    assert ">broken<" in tab.content.decode()
    assert (page.status_code, tab.status_code, listed.status_code) == (200, 200, 400)
    assert client.get("/dead-letters/").status_code == 200


def test_it_is_edited_renamed_shared_and_removed():
    client = signed_in("ada", Role.OPERATOR)
    search, team = save(client), Team.objects.get(name="Order team")
    page = f"/saved-searches/{search.pk}/"

    answer = client.post(page, {"name": "Open ones", "q": "status:open", "window": "", "team": str(team.pk)})
    bad = client.post(page, {"name": "Open ones", "q": "(", "window": "", "team": ""})

    assert (answer.status_code, bad.status_code) == (303, 422)
    assert "This ( is not closed" in text_of(bad)
    search.refresh_from_db()
    assert (search.name, search.q, search.team) == ("Open ones", "status:open", team)
    assert "Open ones" in text_of(signed_in("mate", Role.VIEWER).get("/saved-searches/"))
    assert client.post(f"{page}remove/").status_code == 303
    assert "No saved search yet" in text_of(client.get("/saved-searches/"))


def test_a_mate_sees_a_shared_one_and_changes_nothing_a_stranger_sees_none():
    ada = signed_in("ada", Role.OPERATOR)
    search = save(ada, team=str(Team.objects.get(name="Order team").pk))
    private = save(ada, name="Mine")
    mate, stranger = signed_in("mate", Role.OPERATOR), signed_in("stranger", Role.ADMINISTRATOR, team="Others")
    page = f"/saved-searches/{search.pk}/"

    assert mate.get(page).status_code == 200
    assert "who alone changes it" in text_of(mate.get(page))
    assert mate.post(page, {"name": "x", "q": ""}).status_code == 403
    assert mate.post(f"{page}remove/").status_code == 403
    assert mate.post(f"{page}subscribe/", WISH).status_code == 303
    for client, address in [(stranger, page), (mate, f"/saved-searches/{private.pk}/")]:
        assert client.get(address).status_code == 404
        assert client.get(f"{address}open/").status_code == 404
        assert client.post(f"{address}remove/").status_code == 404
        assert client.post(f"{address}subscribe/", WISH).status_code == 404
    assert "Stuck" not in text_of(stranger.get("/dead-letters/"))
    assert "Mine" not in text_of(mate.get("/saved-searches/counts?of=dead-letters"))
    assert Subscription.objects.count() == 1


def test_the_page_says_what_was_told_when_it_looks_next_and_why_a_mail_did_not_go():
    client = signed_in("ada", Role.OPERATOR)
    search = save(client)
    page = f"/saved-searches/{search.pk}/"
    untold = client.post(f"{page}subscribe/", WISH, follow=True)
    assert "It is kept, and nothing can be sent: you have no mail address here: an administrator" in text_of(untold)
    assert "You have no mail address here: an administrator of the console sets it, on the page Teams" in text_of(
        untold
    )
    assert "nothing can be sent" in text_of(client.get("/saved-searches/"))
    User.objects.update(email="ada@example.com")
    told = client.post(f"{page}subscribe/", WISH, follow=True)
    stored_letter()
    look_at_subscriptions()
    OutboxMail.objects.update(
        state="given_up", answer="550: no such person", next_try_at=None, finished_at=datetime.now(UTC)
    )

    seen = text_of(client.get(page))

    assert "You are told when it matches, and at most every 60 min while there is more." in text_of(told)
    assert "raised" in seen
    assert "found 1" in seen
    assert "no mail address" not in seen
    assert "at ada@example.com" in seen
    assert "[production] Stuck <b>orders</b>: 1 dead letter" in seen.replace("&lt;", "<").replace("&gt;", ">")
    assert "550: no such person" in seen
    assert client.post(f"{page}unsubscribe/", follow=True).status_code == 200
    assert not Subscription.objects.exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"begins": "8 o'clock"}, "A time of day is written 08:30"),
        ({"when": "silent", "minutes": ""}, "Say for how many minutes nothing may match"),
        ({"days": []}, "Choose at least one working day"),
        ({"time_zone": "Mars"}, "There is no time zone “Mars”"),
        ({"when": "never"}, "Select a valid choice"),
        ({"digest_minutes": "1"}, "News come every 5 to 10,080 minutes"),
    ],
)
def test_a_wish_that_cannot_be_is_refused_in_words(changes: dict[str, Any], words: str):
    client = signed_in("ada", Role.OPERATOR)
    search = save(client)

    answer = client.post(f"/saved-searches/{search.pk}/subscribe/", WISH | changes)

    assert answer.status_code == 422
    assert words in text_of(answer)
    assert not Subscription.objects.exists()


def test_the_list_makes_as_many_queries_for_many_as_for_few_and_tabs_end_at_eight(django_assert_max_num_queries: Any):
    client = signed_in("ada", Role.OPERATOR)
    user = User.objects.get(username="ada")
    for number in range(60):
        SavedSearch.objects.create(environment=environment(), owner=user, of="messages", name=f"{number:02d}", q="")

    with django_assert_max_num_queries(12):
        page = client.get("/saved-searches/")

    assert "50 saved searches" in text_of(page)
    assert "10 saved searches, further down" in text_of(client.get("/saved-searches/" + href(page, "Older")))
    tabs = client.get("/messages/").content.decode()
    assert tabs.count("window=") + tabs.count('href="/messages/?q="') >= 8
    assert "all saved searches" in tabs
