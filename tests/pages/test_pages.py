"""Pages through HTTP: who sees them and what they say."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from console.audit.models import AuditEntry
from console.identity.models import Membership, Role, Team, User
from messages.models import Flow, Message
from tests.factories import agent_key, environment, event, push
from tests.pages.people import LISTS, journey_of_two, objects, signed_in, text_of

pytestmark = pytest.mark.django_db


def test_every_page_has_one_heading_a_title_and_nothing_inline():
    paths = [*LISTS, "/settings/teams/", "/docs/errors", *objects()]
    client = signed_in(superuser=True)

    for path in paths:
        page = client.get(path)
        html = page.content.decode()
        assert page.status_code == 200, path
        assert len(re.findall(r"<h1[ >]", html)) == 1, path
        assert re.search(r"<title>[^<·]+ · production · Waybill</title>", html), path
        assert not re.search(r"<script>|<style|\sstyle=|\son\w+=", html), path


def test_a_stranger_is_led_to_sign_in_and_htmx_moves_the_whole_page():
    for path in [*LISTS, *objects()]:
        assert Client().get(path)["Location"].startswith("/sign-in/?next=/"), path

    part = Client().get("/", headers={"HX-Request": "true"})

    assert part["HX-Redirect"].startswith("/sign-in/")


def test_somebody_without_any_team_is_told_so_in_words():
    environment()
    client = signed_in("nobody", None)

    page = client.get("/")

    assert page.status_code == 403
    assert "ask an administrator to add you to a team" in text_of(page)


def test_a_flow_of_another_team_does_not_exist_for_a_stranger_and_the_team_mate_sees_it():
    paths = objects()
    mate = signed_in("mate", Role.VIEWER)
    stranger = signed_in("stranger", Role.ADMINISTRATOR, team="Other team")
    Flow.objects.update(team_id=mate.get("/").wsgi_request.user.memberships.get().team_id)

    for path in (path for path in paths if "/agents/" not in path and "/connections/" not in path):
        assert mate.get(path).status_code == 200, path
        assert stranger.get(path).status_code == 404, path
    assert "4711" not in text_of(stranger.get("/messages/")) + text_of(stranger.get("/dead-letters/"))
    assert "Nothing has arrived" in text_of(stranger.get("/"))


def test_a_viewer_sees_no_payload_and_no_buttons_that_act():
    _, letter, *_ = objects()
    page = signed_in("viewer", Role.VIEWER).get(letter)

    assert "Only operators of production may read payloads" in text_of(page)
    assert "Discard" not in text_of(page)
    assert AuditEntry.objects.filter(action="payload.read").count() == 0


@pytest.mark.parametrize(
    ("role", "further_role", "shown"), [(Role.OPERATOR, Role.VIEWER, False), (Role.VIEWER, Role.OPERATOR, True)]
)
def test_a_body_is_shown_by_the_flow_that_brought_it_which_may_be_another_teams_than_the_messages(
    role: Role, further_role: Role, shown: bool
):
    sent = {"message_id": "one id for both hops"}
    body = {"content_type": "application/json", "body": '{"iban": "DE02 1203"}'}
    taken = event(**sent, system="erp", operation="process", destination="erp.queue", payload=body)
    push("/ingest/v1/events", [event(**sent), taken], key=agent_key())
    message = Message.objects.select_related("flow").get()
    client = signed_in("reader", role, team="Order team")
    further = Team.objects.create(name="Finance team")
    Membership.objects.create(user=User.objects.get(), team=further, environment=environment(), role=further_role)
    Flow.objects.filter(name="erp.queue").update(team=further)
    Flow.objects.filter(pk=message.flow_id).update(team=Team.objects.get(name="Order team"))

    page = client.get(f"/messages/{message.id}/")

    assert message.flow.name == "orders"
    assert ("DE02 1203" in text_of(page)) is shown
    assert ("Only operators of Finance team may read payloads of erp.queue" in text_of(page)) is not shown


def test_message_page_says_where_it_failed_why_and_shows_the_body_escaped():
    message, *_ = objects()
    page = signed_in("operator", Role.OPERATOR).get(message)
    words, html = text_of(page), page.content.decode()

    assert "Order 4711" in words
    assert "Why it stopped erp did not answer ErpTimeout at erp, 3 attempts" in words
    assert "tied by" in words
    assert "&lt;script&gt;" in html
    assert "<script>alert" not in html
    assert "&lt;b&gt;42&lt;/b&gt;" in html
    assert "Traceback" in words


@pytest.mark.parametrize(
    "path",
    ["/m/%00", "/m/" + "x" * 3000, "/m/none", "/k/%F0%9F%92%A9/%ff", "/k/order_no/%00", "/k/order_no/none", "/j/none", "/j/" + "0" * 32,
     "/messages/00000000-0000-0000-0000-000000000000/", "/dead-letters/00000000-0000-0000-0000-000000000000/",
     "/flows/99999999999999999999999/", "/agents/99999999999999999999999/", "/connections/99999999999999999999999/"],
)  # fmt: skip
def test_an_address_that_leads_nowhere_is_a_designed_404(path: str):
    page = signed_in(superuser=True).get(path)

    assert page.status_code == 404
    assert "Search for the number that you have" in text_of(page)


def test_deep_links_lead_to_the_message_by_its_id_and_by_its_number():
    message, *_ = objects()
    client = signed_in(superuser=True)

    assert client.get("/m/order-4711-long-enough")["Location"] == message
    assert client.get("/k/order_no/4711")["Location"] == message


def test_a_number_of_several_messages_gives_a_choice():
    journey_of_two()
    push("/ingest/v1/events", [event(keys={"order_no": "4711"}, destination="invoices")], key=agent_key())
    page = signed_in(superuser=True).get("/k/order_no/4711")

    assert "2 messages have order_no 4711" in text_of(page)


def test_an_object_of_another_environment_switches_to_it_so_that_the_colour_is_right():
    push("/ingest/v1/events", [event(keys={"order_no": "77"})], key=agent_key("there", "staging"))
    journey_of_two()
    client = signed_in(superuser=True)
    path = f"/messages/{Message.objects.get(environment__slug='staging').id}/"

    switched = client.get(path)

    assert switched["Location"] == f"{path}?environment=staging"
    assert "env-red" in client.get(switched["Location"]).content.decode()
    assert "Order 77" in text_of(client.get(path))


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example", "javascript:alert(1)", "", "http://[", "/\\evil.example"]
)
def test_the_environment_switch_goes_nowhere_else(target: str):
    environment("staging")
    client = signed_in(superuser=True)

    answer = client.post("/environment/", {"environment": "staging", "next": target})

    assert (answer.status_code, answer["Location"]) == (303, "/")
    assert client.get("/").context["environment"].slug == "staging"


def test_the_environment_switch_returns_to_the_page_without_its_old_environment():
    environment("staging")
    client = signed_in(superuser=True)

    answer = client.post("/environment/", {"environment": "staging", "next": "/messages/?q=a&environment=production"})

    assert answer["Location"] == "/messages/?q=a"
    assert client.post("/environment/", {"environment": "no\x00ne"}).status_code == 404


@pytest.mark.parametrize("path", ["/messages/", "/dead-letters/"])
def test_a_query_that_cannot_be_read_is_shown_where_it_breaks(path: str):
    objects()
    page = signed_in(superuser=True).get(path, {"q": "status:failed ) erp", "flow": "erp.orders"})

    assert page.status_code == 400
    assert "This query cannot be read" in text_of(page)
    assert '<mark class="hit">' in page.content.decode()


def test_a_state_that_no_dead_letter_has_is_answered_with_those_that_there_are():
    objects()
    client = signed_in(superuser=True)

    odd = client.get("/dead-letters/", {"state": "zz"})
    plan = client.get("/plans/new/", {"of": "query", "state": "zz"})

    for page in (odd, plan):
        assert page.status_code == 400
        assert "state is one of waiting, closed, all, not “zz”" in text_of(page).replace("State", "state")
    assert "This cannot be shown" in text_of(odd)
    assert "Order 4711" not in text_of(odd)
    assert "aria-invalid" not in odd.content.decode()  # the query is not what is wrong


def test_lists_filter_and_say_what_to_do_when_nothing_matches():
    objects()
    client = signed_in(superuser=True)

    assert "Order 4711" in text_of(
        client.get("/messages/", {"status": "dead", "flow": "erp.orders", "q": "order_no:4711 OR order_no:4712"})
    )
    assert "Nothing matches" in text_of(
        client.get("/messages/", {"status": "delivered", "q": "order_no:4711 OR order_no:4712"})
    )
    assert "Order 4711" in text_of(client.get("/dead-letters/", {"reason": "delivery_limit"}))
    assert "Nothing matches" in text_of(client.get("/dead-letters/", {"reason": "expired", "q": "a OR erp"}))
    assert "No dead letter was closed yet" in text_of(client.get("/dead-letters/", {"state": "closed"}))
    assert client.get("/messages/", {"cursor": "junk"}).status_code == 400
