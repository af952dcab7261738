"""Deep links from any log line: the one meant, a choice of several, or a page that says what was looked for; ties with their evidence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import quote
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from console.identity.models import Role, Team, User
from messages.journeys import gather
from messages.models import Flow, Message
from tests.factories import ROOT, agent_key, api_key, environment, event, letter, person, push, stored_letter
from tests.http.test_access import ask
from tests.pages.people import TRACE, journey_of_two, signed_in, text_of

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "form",
    [
        TRACE.upper(), "4BF92F35-77B3-4DA6-A3CE-929D0E0E4736", f"00-{TRACE}-00f067aa0ba902b7-01", f"trace_id={TRACE}", f" {TRACE} ",
        f"traceparent: 00-{TRACE}-00f067aa0ba902b7-01", f"Root=1-{TRACE[:8]}-{TRACE[8:]};Parent=53995c3f42cd8ad8;Sampled=1",
    ],
)  # fmt: skip
def test_a_trace_is_found_in_every_form_on_pages_and_in_rest(form: str):
    journey_of_two()

    page = signed_in(superuser=True).get(f"/j/{quote(form, safe='')}")

    assert "Order 4711" in text_of(page)
    if "/" not in form:
        key = api_key(person("vera", Role.VIEWER))
        assert ask(f"journeys/{quote(form, safe='')}", key).json()["trace_ids"][0].replace("-", "") == TRACE


@pytest.mark.parametrize(
    "message_id",
    [
        "orders/2026/11/4711",
        "ID:host-42-1?ssn=1#7",
        "urn:order:4711 / ü ☃",
        "a%2Fb&c=d+e",
        "<id@host.example>",
        "//two",
        "with\ttab",
    ],
)
def test_a_message_id_is_found_whatever_is_in_it(message_id: str):
    push("/ingest/v1/events", [event(message_id=message_id)], key=agent_key())
    client = signed_in(superuser=True)

    answer = client.get(f"/m/{quote(message_id, safe='')}")

    assert answer["Location"] == f"/messages/{Message.objects.get().id}/"


def test_a_question_mark_that_nobody_escaped_is_part_of_the_id():
    push("/ingest/v1/events", [event(message_id="ID:host?part=2")], key=agent_key())

    assert signed_in(superuser=True).get("/m/ID:host?part=2").status_code == 302


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (f"/j/{'ab' * 16}", f"No trace {'ab' * 16} is here that you may see"),
        ("/j/what-a-log-says", "A trace id has 32 hexadecimal digits"),
        ("/m/none/of/these", "No message id none/of/these is here that you may see"),
        ("/k/order_no/4712", "No order_no 4712 is here that you may see"),
        ("/k/größe/1", "No größe 1 is here that you may see"),
        (f"/k/{'x' * 257}/1", "The name of a key has at most 256 bytes"),
    ],
)
def test_nothing_found_says_what_was_looked_for_where_and_what_to_do(path: str, words: str):
    journey_of_two()

    page = signed_in("viewer", Role.VIEWER).get(path)

    assert page.status_code == 404
    assert words in text_of(page)
    assert "Looked in production" in text_of(page)
    assert "As far back as" in text_of(page)
    assert "Search 30 days" in text_of(page)


def test_what_another_team_owns_is_answered_like_what_is_not_there():
    journey_of_two()
    client = signed_in("viewer", Role.VIEWER)
    paths = [f"/j/{TRACE}", "/m/order-4711-long-enough", "/k/order_no/4711"]
    assert [client.get(path).status_code for path in paths] == [200, 302, 302]
    Flow.objects.update(team=Team.objects.create(name="Finance team"))

    answers = [client.get(path) for path in paths]

    assert [answer.status_code for answer in answers] == [404, 404, 404]
    for path, answer in zip(paths, answers, strict=True):
        last = path.rpartition("/")[2]
        none = last[:-1] + ("0" if last[-1] != "0" else "1")
        there, not_there = (
            text_of(one).replace(last, "x").replace(none, "x") for one in (answer, client.get(path[:-1] + none[-1]))
        )
        assert there == not_there


def test_a_trace_of_several_other_environments_gives_a_choice_and_of_one_leads_there():
    for slug in ("staging", "test"):
        push("/ingest/v1/events", [event(trace_id=TRACE)], key=agent_key("there", slug))
    stored_letter()
    client = signed_in(superuser=True)
    client.get("/?environment=production")

    page = client.get(f"/j/{TRACE}")

    assert f"2 environments have trace {TRACE}" in text_of(page)
    key = api_key(User.objects.get(username="root"))
    answer = ask(f"journeys/{TRACE}", key)
    assert (answer.status_code, answer.json()["code"]) == (400, "several_environments")
    assert ask(f"journeys/{TRACE}?environment=staging", key).json()["total"] == 1
    only = "cd" * 16
    push("/ingest/v1/events", [event(trace_id=only)], key=agent_key("there", "staging"))
    assert client.get(f"/j/{only}")["Location"] == f"/j/{only}?environment=staging"


def test_a_trace_pasted_as_a_message_id_and_the_other_way_round_are_pointed_out():
    journey_of_two()
    client = signed_in(superuser=True)

    assert f'href="/j/{TRACE}"' in client.get(f"/m/{TRACE}").content.decode()
    assert 'href="/m/order-4711-long-enough"' in client.get("/j/order-4711-long-enough").content.decode()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("order_no", "4711/2026"),
        ("order_no", "ü ☃ 日本"),
        ("order_no", "a?b#c&d=e"),
        ("order_no", "100%"),
        ("order_no", "%2F"),
        ("order_no", '"quoted" and *'),
        ("order_no", "=cmd|' /C calc'!A0"),
        ("order_no", "<script>alert(1)</script>"),
        ("order_no", "a\\b"),
        ("order_no", "."),
        ("business.order", "x y"),
        ("größe", "38"),
        ("Auftrag Nr", "4711"),
        ("@id", "7"),
    ],
)
def test_a_key_is_found_whatever_is_in_its_value(name: str, value: str):
    push("/ingest/v1/events", [event(keys={name: value}), event(keys={name: "another"})], key=agent_key())
    client = signed_in(superuser=True)

    answer = client.get(f"/k/{quote(name, safe='')}/{quote(value, safe='')}")

    while answer.status_code in (301, 302):
        answer = client.get(answer["Location"])
    assert answer.status_code == 200
    assert answer.request["PATH_INFO"] == f"/messages/{Message.objects.get(keys__contains={name: value}).id}/"
    assert b"<script>alert" not in answer.content


def test_a_number_that_only_events_about_no_message_carry_leads_to_their_journey():
    """A web server tells the number; the producer inside of it does not."""
    web = {"system": "web", "operation": "other", "destination": "", "message_id": ""}
    events = [
        event(**web, trace_id=TRACE, name="POST /orders", keys={"order_no": "4711"}),
        event(trace_id=TRACE),
        event(**web, trace_id="ee" * 16, name="GET /orders", keys={"order_no": "4712"}),
        event(**web, trace_id="ff" * 16, name="PUT /orders", keys={"order_no": "4712"}),
    ]
    assert push("/ingest/v1/events", events, key=agent_key()).json()["accepted"] == 4
    client = signed_in("viewer", Role.VIEWER)

    one, several = client.get("/k/order_no/4711", follow=True), client.get("/k/order_no/4712")

    assert one.request["PATH_INFO"] == f"/j/{TRACE}"
    assert "POST /orders" in text_of(one)
    assert "2 journeys have order_no 4712" in text_of(several)
    assert f'href="/j/{"ff" * 16}?environment=production"' in several.content.decode()
    Flow.objects.update(team=Team.objects.create(name="Finance team"))
    assert [client.get(f"/k/order_no/{number}").status_code for number in ("4711", "4712")] == [404, 404]


def test_a_number_of_a_dead_letter_without_a_message_leads_to_it():
    first = stored_letter(message_id="", keys={"order_no": "4711"})
    client = signed_in("viewer", Role.VIEWER)

    one = client.get("/k/order_no/4711", follow=True)
    stored_letter(message_id="", keys={"order_no": "4711"})
    several = client.get("/k/order_no/4711", follow=True)

    assert not Message.objects.exists()
    assert one.request["PATH_INFO"] == f"/dead-letters/{first.pk}/"
    assert several.request["PATH_INFO"] == "/dead-letters/"
    assert text_of(several).count("Order 4711") == 2
    Flow.objects.update(team=Team.objects.create(name="Finance team"))
    assert client.get("/k/order_no/4711").status_code == 404


def test_a_number_of_dead_letters_of_several_environments_leads_to_a_choice_of_them():
    for slug in ("production", "staging", "test"):
        agent_key("shop agent", slug)
    for slug in ("production", "staging"):
        dead = letter(message_id="", keys={"order_no": "4711"})
        assert push("/ingest/v1/dead-letters", [dead], key=agent_key("harvester", slug)).json()["accepted"] == 1
    client = signed_in(superuser=True)

    choice = client.get("/k/order_no/4711")

    assert "2 environments have order_no 4711" in text_of(choice)
    for slug in ("production", "staging"):
        address = f"/dead-letters/?environment={slug}&state=all&q=key.order_no%3A4711"
        assert f'href="{address.replace("&", "&amp;")}"' in choice.content.decode()
        assert text_of(client.get(address)).count("Order 4711") == 1


@pytest.mark.parametrize(
    ("path", "q"),
    [("/k/customer_no/107", "key.customer_no%3A107"), ("/m/7", "message_id%3A7")],
)
def test_a_choice_of_more_messages_than_a_page_has_leads_to_the_list_of_all(path: str, q: str):
    of_one_id = path.startswith("/m/")
    events = [
        event(**({"message_id": "7", "destination": f"queue {n}"} if of_one_id else {}), keys={"customer_no": "107"})
        for n in range(52)
    ]
    for slug, these in (("production", events[:51]), ("staging", events[51:])):
        push("/ingest/v1/events", these, key=agent_key("there", slug))
    client = signed_in(superuser=True)

    choice = client.get(path)

    assert "50 or more messages have" in text_of(choice)
    addresses = [f"/messages/?environment={slug}&q={q}" for slug in ("production", "staging")]
    assert [f'href="{one.replace("&", "&amp;")}"' in choice.content.decode() for one in addresses] == [True, True]
    assert "50 messages Older" in text_of(client.get(addresses[0]))
    assert "1 message that is all" in text_of(client.get(addresses[1]))


def test_of_more_journeys_than_a_page_has_the_choice_says_that_there_may_be_more():
    web = {"system": "web", "operation": "other", "destination": "", "message_id": "", "keys": {"order_no": "4711"}}
    events = [event(**web, trace_id=f"{number:032x}") for number in range(1, 53)]
    assert push("/ingest/v1/events", events, key=agent_key()).json()["accepted"] == 52

    assert "50 or more journeys have order_no 4711" in text_of(signed_in(superuser=True).get("/k/order_no/4711"))


def test_a_number_of_which_one_journey_fills_a_page_leads_to_a_choice_where_another_has_it_too():
    web = {"system": "web", "operation": "other", "destination": "", "message_id": "", "keys": {"order_no": "4711"}}
    key, client = agent_key(), signed_in(superuser=True)
    push("/ingest/v1/events", [event(**web, trace_id=TRACE) for _ in range(60)], key=key)

    assert client.get("/k/order_no/4711")["Location"] == f"/j/{TRACE}?environment=production"

    earlier = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    push("/ingest/v1/events", [event(**web, trace_id="ee" * 16, occurred_at=earlier)], key=key)
    assert "2 journeys have order_no 4711" in text_of(client.get("/k/order_no/4711"))


def test_the_traces_that_a_number_brings_are_asked_for_together_and_more_than_are_looked_at_are_said(
    monkeypatch: pytest.MonkeyPatch,
):
    events = [
        event(trace_id=f"{trace:032x}", message_id=f"{hop} of trace {trace}, long enough", **({"keys": {"order_no": "9000"}} if hop == 0 else {}))
        for trace in range(1, 7)
        for hop in range(3)
    ]  # fmt: skip
    push("/ingest/v1/events", events, key=agent_key())

    def gathered() -> tuple[int, bool, int]:
        with CaptureQueriesContext(connection) as asked:
            found = gather.gather(
                ROOT,
                [environment()],
                {UUID(int=1)},
                set(),
                datetime.now(UTC),
                correlation=None,
                keys={"order_no": "9000"},
            )
        return len(found.seen), found.truncated, len(asked)

    seen, truncated, statements = gathered()
    assert (seen, truncated) == (18, False)
    assert statements <= 12
    monkeypatch.setattr(gather, "MOST_OWN_TRACES", 4)
    assert gathered()[:2] == (16, True)
    page = text_of(signed_in(superuser=True).get(f"/j/{UUID(int=1).hex}"))
    assert "There is more: a journey is followed to at most 50,000 events" in page
    assert "20 traces of a document number. Counts are of what was looked at." in page
    monkeypatch.setattr(gather, "MOST_OF_AN_OWN_TRACE", 2)
    assert gathered()[0] == 8
