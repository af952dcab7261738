"""Pages through HTTP: who sees them, what they say, what they do, with and without htmx."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from console.audit.models import AuditEntry
from console.identity.models import Agent, Key, Role
from messages.models import Connection, DeadLetter, Flow, FlowRule, Message, Replay
from tests.factories import agent_key, environment, event, memory_connection, person, push, stored_letter

pytestmark = pytest.mark.django_db

LISTS = [
    "/",
    "/messages/",
    "/dead-letters/",
    "/flows/",
    "/connections/",
    "/agents/",
    "/audit/",
    "/settings/",
    "/settings/refused/",
]
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
REPLAY = {"HTTP_HX_REQUEST": "true", "HTTP_HX_TARGET": "letter"}


def signed_in(
    name: str = "root", role: Role | None = Role.ADMINISTRATOR, *, superuser: bool = False, team: str = "Order team"
) -> Client:
    user = person(name, role, team=team)
    if superuser:
        user.is_superuser = True
        user.save(update_fields=["is_superuser"])
    client = Client()
    client.force_login(user)
    return client


def text_of(response: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def journey_of_two(order: str = "4711") -> None:
    """A shop sends, the ERP fails: two events of one trace and message."""
    common = {
        "trace_id": TRACE,
        "destination": "erp.orders",
        "message_id": f"order-{order}-long-enough",
        "keys": {"order_no": order},
    }
    failed = {
        "type": "ErpTimeout",
        "message": "erp did not answer",
        "stack": 'Traceback (most recent call last):\n  File "erp.py", line 1\nErpTimeout: no',
    }
    body = {"content_type": "application/json", "body": '{"order_no": "4711", "note": "<script>alert(1)</script>"}'}
    events = [
        event(**common, span_id="a" * 16, payload=body),
        event(
            **common,
            id=f"erp-{order}",
            system="erp",
            operation="process",
            span_id="b" * 16,
            parent_span_id="a" * 16,
            outcome="error",
            error=failed,
            attributes={"erp.client": "<b>42</b>"},
        ),
    ]
    assert push("/ingest/v1/events", events, key=agent_key()).json()["accepted"] == 2


def objects() -> list[str]:
    """Addresses of one of each object."""
    journey_of_two()
    letter = stored_letter(message_id="order-4711-long-enough", trace_id=TRACE, keys={"order_no": "4711"})
    connection = memory_connection()
    message = Message.objects.get()
    flow, agent = Flow.objects.filter(environment=environment()).first(), Agent.objects.first()
    assert flow
    assert agent
    return [
        f"/messages/{message.id}/", f"/dead-letters/{letter.pk}/", f"/flows/{flow.pk}/", f"/connections/{connection.pk}/",
        f"/agents/{agent.pk}/", f"/j/{TRACE}",
    ]  # fmt: skip


def test_every_page_has_one_heading_a_title_and_nothing_inline():
    paths = [*LISTS, "/settings/teams/", *objects()]
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


# actions on a letter -------------------------------------------------------------------------------------------------


def test_a_replay_without_scripts_is_a_303_to_the_letter_that_says_what_happens():
    memory_connection()
    letter = stored_letter()
    client = signed_in("operator", Role.OPERATOR)

    answer = client.post(f"/dead-letters/{letter.pk}/replay/", {"reason": "erp answers again"})
    page = client.get(answer["Location"])

    assert answer.status_code == 303
    assert "It waits for a worker." in text_of(page)
    assert 'hx-trigger="every 2s"' in page.content.decode()
    assert "operator replayed it to erp.orders. erp answers again" in text_of(page)


def test_the_confirmation_names_destination_and_environment():
    memory_connection()
    letter = stored_letter()
    page = signed_in("operator", Role.OPERATOR).get(f"/dead-letters/{letter.pk}/")

    assert "Send it to erp.orders again, in production" in text_of(page)
    assert 'data-key="r"' in page.content.decode()


def test_a_replay_without_reason_is_422_with_the_same_part_and_the_words():
    memory_connection()
    letter = stored_letter()
    client = signed_in("operator", Role.OPERATOR)

    answer = client.post(f"/dead-letters/{letter.pk}/replay/", {"reason": "  "}, headers={"HX-Request": "true"})

    assert answer.status_code == 422
    assert answer.content.decode().lstrip().startswith('<div class="stack" id="letter"')
    assert "say why: the reason is kept in the audit list" in text_of(answer)
    assert Replay.objects.count() == 0


def test_the_second_of_two_operators_is_told_that_somebody_was_faster():
    memory_connection()
    letter = stored_letter()
    first, second = signed_in("first", Role.OPERATOR), signed_in("second", Role.OPERATOR)
    first.post(f"/dead-letters/{letter.pk}/replay/", {"reason": "mine"})

    answer = second.post(f"/dead-letters/{letter.pk}/discard/", {"reason": "mine"})

    assert answer.status_code == 422
    assert "somebody replayed or discarded it" in text_of(answer)


@pytest.mark.parametrize("action", ["replay", "discard", "restore", "send-again", "mark-processed"])
def test_a_viewer_may_not_act_and_a_get_is_refused(action: str):
    memory_connection()
    letter = stored_letter()
    viewer = signed_in("viewer", Role.VIEWER)

    assert viewer.post(f"/dead-letters/{letter.pk}/{action}/", {"reason": "why not"}).status_code in {403, 422}
    assert viewer.get(f"/dead-letters/{letter.pk}/{action}/").status_code == 405
    assert DeadLetter.objects.get().state == "open"
    assert AuditEntry.objects.filter(object_kind="deadletter").count() == 0


def test_without_a_connection_the_page_says_what_is_missing():
    letter = stored_letter()
    page = signed_in("operator", Role.OPERATOR).get(f"/dead-letters/{letter.pk}/")

    assert "It cannot be replayed yet. Production has no connection named “redis”" in text_of(page)


def test_discard_and_restore_keep_their_reasons():
    letter = stored_letter()
    client = signed_in("operator", Role.OPERATOR)

    client.post(f"/dead-letters/{letter.pk}/discard/", {"reason": "a test order"})
    assert DeadLetter.objects.get().resolution == "discarded"
    client.post(f"/dead-letters/{letter.pk}/restore/", {"reason": "not a test"})

    page = client.get(f"/dead-letters/{letter.pk}/")
    assert DeadLetter.objects.get().state == "open"
    assert "operator discarded it a test order" in text_of(page)
    assert "operator restored it not a test" in text_of(page)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("sending", "A worker is sending it now"),
        ("sent", "the broker has not confirmed it"),
        ("confirmed", "Whether erp processed it is known when its own event arrives"),
        ("unknown", "It may or may not have been sent"),
        ("refused", "The broker will not take it"),
        ("failed_again", "It failed again"),
    ],
)
def test_the_outcome_is_said_in_plain_words(state: str, words: str):
    memory_connection()
    letter = stored_letter()
    client = signed_in("operator", Role.OPERATOR)
    client.post(f"/dead-letters/{letter.pk}/replay/", {"reason": "again"})
    lease = {"lease_until": "2099-01-01T00:00:00Z"} if state == "sending" else {"lease_until": None}
    Replay.objects.update(state=state, **lease)

    page = client.get(f"/dead-letters/{letter.pk}/")

    assert words in text_of(page)
    assert ("hx-trigger" in page.content.decode()) == (state in {"sending", "sent", "confirmed"})


def test_an_unknown_replay_is_marked_by_a_person_and_says_that_nothing_proves_it():
    memory_connection()
    letter = stored_letter()
    client = signed_in("operator", Role.OPERATOR)
    client.post(f"/dead-letters/{letter.pk}/replay/", {"reason": "again"})
    Replay.objects.update(state="unknown")

    client.post(f"/dead-letters/{letter.pk}/mark-processed/", {"reason": "seen in erp"})

    page = client.get(f"/dead-letters/{letter.pk}/")
    assert "Closed without proof." in text_of(page)
    assert "proved by" not in text_of(page)


# overview and first run ----------------------------------------------------------------------------------------------


def test_the_verdict_counts_what_waits_by_flow_and_cause():
    for number in range(3):
        stored_letter(origin="erp.orders", error={"type": "ErpTimeout", "message": f"no answer {number}"})
    stored_letter(origin="invoices", error={"type": "ValueError", "message": "vat_number is required"})
    page = signed_in(superuser=True).get("/")

    assert re.search(r"2 flows are failing\. 4 messages wait for a person, the oldest for \d+ s ?\.", text_of(page))
    assert "3 failed in erp.orders with ErpTimeout" in text_of(page)
    urls = re.findall(r'href="(/dead-letters/\?q=[^"]+)"', page.content.decode())
    client = signed_in("again", Role.ADMINISTRATOR)
    assert [len(client.get(url.replace("&amp;", "&")).context["rows"]) for url in urls] == [3, 1]


def test_when_nothing_waits_the_overview_says_so():
    journey_of_two()

    assert "Nothing is failing. No message waits for a person in production." in text_of(
        signed_in(superuser=True).get("/")
    )


def test_the_first_run_makes_a_real_key_shown_once_and_its_light_turns_green():
    environment()
    client = signed_in()
    assert "Waiting for the first event" in text_of(client.get("/"))

    shown = client.post("/first-run/key")
    key = re.search(r"wb_agent_\w+", shown.content.decode())
    assert key
    assert shown["Cache-Control"] == "no-store"
    assert "wb_agent" not in client.get("/").content.decode()

    assert "hx-trigger" in client.get("/first-run/light").content.decode()
    assert push("/ingest/v1/events", [event()], key=key[0]).status_code == 200
    light = client.get("/first-run/light")
    assert "The first event is here." in text_of(light)
    assert "hx-trigger" not in light.content.decode()


def test_only_administrators_make_keys():
    environment()
    for path in ("/first-run/key", "/agents/"):
        answer = signed_in(f"operator {path}", Role.OPERATOR).post(path, {"name": "mine"})
        assert answer.status_code in {403, 422}
    assert Key.objects.count() == 0


# catalog -------------------------------------------------------------------------------------------------------------


def test_an_administrator_changes_a_flow_and_an_operator_may_not():
    journey_of_two()
    flow = Flow.objects.get()
    said = {
        "criticality": "high",
        "runbook_url": "https://wiki.example/erp",
        "description": "",
        "receiver_is_idempotent": "on",
        "team": "",
    }

    assert signed_in("operator", Role.OPERATOR).post(f"/flows/{flow.pk}/", said).status_code == 422
    assert signed_in().post(f"/flows/{flow.pk}/", said).status_code == 303

    flow.refresh_from_db()
    assert (flow.criticality, flow.receiver_is_idempotent) == ("high", True)
    assert AuditEntry.objects.get(action="flow.changed").details.keys() == {
        "criticality",
        "runbook_url",
        "receiver_is_idempotent",
    }


def test_rules_are_added_moved_and_removed_and_a_double_one_is_refused():
    environment()
    client = signed_in()
    for pattern in ("orders.*", "*.dlq"):
        assert (
            client.post("/settings/", {"kind": "flow", "pattern": pattern, "flow": "orders: shop → erp"}).status_code
            == 303
        )
    again = client.post("/settings/", {"kind": "flow", "pattern": "orders.*", "flow": "x"})
    assert (again.status_code, "there is a rule for orders.* already" in text_of(again)) == (422, True)

    second = FlowRule.objects.get(pattern="*.dlq")
    assert client.post(f"/settings/rules/flow/{second.pk}/up").status_code == 303
    assert [rule.pattern for rule in FlowRule.objects.all()] == ["*.dlq", "orders.*"]
    client.post(f"/settings/rules/flow/{second.pk}/remove")
    assert [rule.pattern for rule in FlowRule.objects.all()] == ["orders.*"]
    viewer = signed_in("viewer", Role.VIEWER)
    assert viewer.post("/settings/", {"kind": "flow", "pattern": "a", "flow": "b"}).status_code == 403
    assert viewer.post(f"/settings/rules/flow/{FlowRule.objects.get().pk}/remove").status_code == 403


def test_a_connection_is_added_approved_and_never_shows_its_secret():
    environment()
    client = signed_in()
    said = {
        "name": "redis",
        "kind": "redis-streams",
        "address": "redis://broker.example:6379/0",
        "username": "waybill",
        "secret": "s3cret-words",
    }

    made = client.post("/connections/", said)
    client.post(f"{made['Location']}approve")

    found = Connection.objects.get()
    page = client.get(made["Location"])
    assert found.approved_by == "root"
    assert "s3cret" not in page.content.decode() + client.get("/connections/").content.decode()
    assert "Password set" in text_of(page)
    refused = client.post("/connections/", said | {"name": "two", "address": "redis://user:pass@broker.example"})
    assert (refused.status_code, "not into the address" in text_of(refused)) == (422, True)
    operator = signed_in("operator", Role.OPERATOR)
    assert operator.post("/connections/", said | {"name": "three"}).status_code == 422
    assert operator.post(f"/connections/{found.pk}/withdraw").status_code == 422
    assert client.post(f"/connections/{found.pk}/nonsense").status_code == 404


def test_an_agents_key_is_shown_once_and_revoked():
    environment()
    client = signed_in()

    shown = client.post("/agents/", {"name": "harvest-eu"})
    key = re.search(r"wb_agent_\w+", shown.content.decode())
    assert key
    agent = Agent.objects.get()
    assert key[0] not in client.get(f"/agents/{agent.pk}/").content.decode()
    assert push("/ingest/v1/events", [event()], key=key[0]).status_code == 200

    client.post(f"/agents/{agent.pk}/keys/{Key.objects.get().pk}/revoke")

    assert Key.objects.get().revoked_at is not None
    assert (
        signed_in("operator", Role.OPERATOR).post(f"/agents/{agent.pk}/keys/{Key.objects.get().pk}/revoke").status_code
        == 403
    )


def test_teams_are_for_superusers_and_a_role_takes_effect():
    journey_of_two()
    root = signed_in(superuser=True)
    nobody = signed_in("nobody", None)
    assert signed_in("admin of one", Role.ADMINISTRATOR).get("/settings/teams/").status_code == 403

    assert root.post("/settings/teams/", {"do": "team", "name": "Billing team"}).status_code == 303
    team = re.search(r'<option value="(\d+)">Billing team', root.get("/settings/teams/").content.decode())
    assert team
    root.post(
        "/settings/teams/",
        {"do": "member", "username": "nobody", "team": team[1], "environment": "production", "role": "1"},
    )

    assert nobody.get("/messages/").status_code == 200
    assert root.post("/settings/teams/", {"do": "user", "username": "eve", "password": "short"}).status_code == 422
    assert (
        root.post(
            "/settings/teams/",
            {"do": "member", "username": "none", "team": "x", "environment": "production", "role": "9"},
        ).status_code
        == 422
    )


def test_what_is_being_replayed_does_not_wait_for_a_person():
    memory_connection()
    stored_letter()
    letter = stored_letter()
    client = signed_in(superuser=True)
    client.post(f"/dead-letters/{letter.pk}/replay/", {"reason": "again"})
    assert "1 message waits for a person" in text_of(client.get("/"))
    assert "1 more is being replayed" in text_of(client.get("/"))

    client.post(f"/dead-letters/{DeadLetter.objects.get(state='open').pk}/replay/", {"reason": "again"})

    assert "2 messages are being replayed in production; nothing else waits." in text_of(client.get("/"))
