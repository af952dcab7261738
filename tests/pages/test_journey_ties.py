"""What ties events to one journey, its evidence on the page and in REST, and what is not followed."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any
from uuid import UUID

import pytest

from console.identity.models import Role
from messages.journeys import gather
from messages.journeys.queries import journey_of_trace
from messages.models import Message
from tests.factories import ROOT, agent_key, api_key, environment, event, person, push
from tests.http.test_access import ask
from tests.pages.people import TRACE, signed_in, text_of

pytestmark = pytest.mark.django_db


def across_platforms() -> None:
    """Shop → queue → ERP in one trace; the CRM's own trace links to it; billing knows the correlation id, the archive the number alone."""
    at = datetime.now(UTC) - timedelta(minutes=2)

    def hop(number: int, **more: Any) -> dict[str, Any]:
        return event(occurred_at=(at + timedelta(seconds=number)).isoformat(), **more)

    events = [
        hop(0, trace_id=TRACE, span_id="a" * 16, message_id="the order of 4711", correlation_id="conversation 7", keys={"order_no": "4711"}),
        hop(1, trace_id=TRACE, span_id="b" * 16, system="erp", operation="process", message_id="the order of 4711"),
        hop(2, trace_id="ee" * 16, span_id="c" * 16, system="crm", operation="process", destination="contacts", message_id="another message there",
            links=[{"trace_id": TRACE, "span_id": "b" * 16}]),
        hop(3, system="billing", operation="process", destination="invoices", message_id="yet another message", correlation_id="conversation 7"),
        hop(4, system="archive", operation="process", destination="files", message_id="a file of the archive", keys={"order_no": "4711"}),
        hop(5, system="archive", operation="settle", destination="files", message_id="a file of the archive"),
    ]  # fmt: skip
    assert push("/ingest/v1/events", events, key=agent_key()).json()["accepted"] == len(events)


def test_a_journey_is_stitched_across_platforms_and_each_tie_shows_its_evidence():
    across_platforms()
    key = api_key(person("vera", Role.VIEWER))

    found = ask(f"journeys/{TRACE}", key).json()

    ids = {step["system"]: step["event"] for step in found["steps"]}
    told = [(step["system"], step["tie"], step["evidence"]["strength"], step["why"]) for step in found["steps"]]
    assert told == [
        ("shop", "trace", "strong", "carries the same trace"),
        ("erp", "trace", "strong", "carries the same trace"),
        ("crm", "link", "strong",
         f"is in a trace tied by a span link: span {'c' * 16} of trace {'ee' * 16} links to span {'b' * 16} of trace {TRACE}"),
        ("billing", "correlation id", "likely",
         "carries the correlation id conversation 7, like shop send; a sender may use one for several journeys"),
        ("archive", "order_no=4711", "weak", "has order_no=4711, like shop send within a day; other journeys may have the same number"),
        ("archive", "message id", "weak", "is about the same message as archive process, which itself is here by a number alone"),
    ]  # fmt: skip
    assert found["steps"][2]["evidence"]["by"] == ids["erp"]
    assert found["ties"] == ["trace", "link", "correlation id", "order_no=4711", "message id"]


def test_the_page_says_the_evidence_and_marks_what_is_weak():
    across_platforms()

    page = signed_in("viewer", Role.VIEWER).get(f"/j/{TRACE}")

    words = text_of(page)
    assert "tied by trace, then link, then correlation id (likely), then order_no=4711 (weak), then message id" in words
    assert "order_no=4711, weak" in words
    assert "The event that brought it" in words
    assert '<span class="chip warn">weak</span>' in page.content.decode()


def test_what_a_correlation_id_of_thousands_brings_is_counted_and_not_followed_and_the_page_says_so(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(gather, "MOST_FOLLOWED", 2)
    common = {"correlation_id": "run of the night", "system": "billing"}
    strangers = [event(**common, trace_id=f"{number:032x}") for number in range(1, 4)]
    further = [event(trace_id=f"{number:032x}", system="stranger") for number in range(1, 4)]
    first = event(trace_id=TRACE, correlation_id="run of the night")
    push("/ingest/v1/events", [first, *strangers, *further], key=agent_key())

    found = ask(f"journeys/{TRACE}", api_key(person("vera", Role.VIEWER))).json()
    page = signed_in("viewer", Role.VIEWER).get(f"/j/{TRACE}")

    assert [step["system"] for step in found["steps"]].count("billing") == 3
    assert "stranger" not in {step["system"] for step in found["steps"]}
    words = (
        "4 events carry the correlation id run of the night, and over 2 are not followed: "
        "they are here, but not what else is in their traces and about their messages"
    )
    q = 'correlation:"run of the night"'
    assert (found["truncated"], found["not_followed"]) == (
        True,
        [{"kind": "correlation id", "value": "run of the night", "words": words, "q": q}],
    )
    assert f"There is more: {words}. Counts are of what was looked at." in text_of(page)
    assert "4+ events" in text_of(page)
    (address,) = re.findall(r'href="(/messages/\?q=correlation[^"]*)"', page.content.decode())
    assert "4 messages" in text_of(signed_in("reader", Role.VIEWER).get(unescape(address)))


@pytest.mark.parametrize(("most", "said"), [(3, 0), (2, 1)])
def test_a_number_of_more_messages_than_are_looked_at_is_said(monkeypatch: pytest.MonkeyPatch, most: int, said: int):
    monkeypatch.setattr(gather, "MOST_OF_A_KEY", most)
    numbered = [event(keys={"order_no": "4711"}, **({} if n else {"trace_id": TRACE})) for n in range(3)]
    push("/ingest/v1/events", numbered, key=agent_key())

    found = ask(f"journeys/{TRACE}", api_key(person("vera", Role.VIEWER))).json()

    words = "over 2 messages have order_no=4711 within days of it: it brings the events of 2 of them"
    told = [{"kind": "key", "value": "order_no=4711", "words": words, "q": "key.order_no:4711"}]
    assert (found["truncated"], found["not_followed"]) == (bool(said), told[:said])


@pytest.mark.parametrize(("other", "said"), [({}, 1), ({"keys": {"order_no": "4712"}}, 0)])
def test_a_large_trace_that_a_number_is_in_is_said_where_it_is_no_batch(
    monkeypatch: pytest.MonkeyPatch, other: dict[str, Any], said: int
):
    monkeypatch.setattr(gather, "MOST_OF_AN_OWN_TRACE", 2)
    numbered = [event(keys={"order_no": "4711"}, trace_id=trace) for trace in (TRACE, "ee" * 16)]
    push("/ingest/v1/events", [*numbered, *[event(trace_id="ee" * 16, **other) for _ in range(2)]], key=agent_key())

    found = ask(f"journeys/{TRACE}", api_key(person("vera", Role.VIEWER))).json()

    words = "1 other trace has order_no=4711 and over 2 events: only those with the number are here"
    told = [{"kind": "key", "value": "order_no=4711", "words": words, "q": "key.order_no:4711"}]
    assert (found["truncated"], found["not_followed"], found["total"]) == (bool(said), told[:said], 2)


@pytest.mark.parametrize(("traces", "total", "truncated"), [(4, 4, False), (5, 4, True)])
def test_a_chain_of_more_links_than_there_are_rounds_is_cut_and_the_page_says_so(
    traces: int, total: int, truncated: bool
):
    chain = [
        event(
            trace_id=f"{n:032x}", span_id=f"{n:016x}", message_id=f"message {n} of the chain",
            links=[{"trace_id": f"{n - 1:032x}", "span_id": f"{n - 1:016x}"}] if n > 1 else [],
        )
        for n in range(1, traces + 1)
    ]  # fmt: skip
    push("/ingest/v1/events", chain, key=agent_key())

    found = ask(f"journeys/{1:032x}", api_key(person("vera", Role.VIEWER))).json()

    assert (found["total"], found["truncated"]) == (total, truncated)


def test_a_batch_of_several_orders_is_not_tied_by_any_of_their_numbers():
    numbers = [event(trace_id=TRACE, keys={"order_no": number}) for number in ("1", "2")]
    stranger = event(keys={"order_no": "1"}, system="archive")
    push("/ingest/v1/events", [*numbers, stranger], key=agent_key())

    found = ask(f"journeys/{TRACE}", api_key(person("vera", Role.VIEWER))).json()

    assert {step["system"] for step in found["steps"]} == {"shop"}


def test_a_tie_by_number_names_an_event_that_carries_the_number():
    """An order that failed came again under another id; of each only its sending has the number."""
    order, again = {"message_id": "the order of 4711"}, {"message_id": "the order of 4711, again"}
    number, failed = {"keys": {"order_no": "4711"}}, {"system": "erp", "operation": "process", "outcome": "error"}
    push(
        "/ingest/v1/events",
        [event(**order, **number), event(**order, **failed), event(**again, **number)],
        key=agent_key(),
    )
    message = Message.objects.get(**order)

    steps = ask(f"messages/{message.id}/journey", api_key(person("vera", Role.VIEWER))).json()["steps"]

    (sent,) = [one for one in steps if one["message"] == str(message.id) and one["label"] == "shop send"]
    assert [(one["why"], one["evidence"]["by"]) for one in steps if one["tie"] == "order_no=4711"] == [
        ("has order_no=4711, like shop send within a day; other journeys may have the same number", sent["event"])
    ]


def test_a_number_brings_the_rest_of_a_trace_that_has_no_other_number_and_nothing_more_of_a_batch():
    alone, batch = "a1" * 16, "b2" * 16
    events = [
        event(trace_id=TRACE, keys={"order_no": "4711"}),
        event(trace_id=alone, system="crm", destination="contacts", keys={"order_no": "4711"}),
        event(trace_id=alone, system="mailer", destination="letters"),
        event(trace_id=batch, system="nightly", destination="files", keys={"order_no": "4711"}),
        event(trace_id=batch, system="nightly", destination="files", keys={"order_no": "4712"}),
        event(trace_id=batch, system="printer", destination="paper"),
    ]
    push("/ingest/v1/events", events, key=agent_key())

    found = ask(f"journeys/{TRACE}", api_key(person("vera", Role.VIEWER))).json()

    told = {step["system"]: (step["tie"], step["evidence"]["strength"]) for step in found["steps"]}
    assert told == {
        "shop": ("trace", "strong"), "crm": ("order_no=4711", "weak"), "mailer": ("trace", "weak"), "nightly": ("order_no=4711", "weak"),
    }  # fmt: skip
    assert [step["system"] for step in found["steps"]].count("nightly") == 1


def test_links_that_lead_in_a_circle_make_one_journey_of_every_event_once():
    """a links to b, b to c, c to a, and a to itself."""
    traces = [f"{number:032x}" for number in (1, 2, 3)]
    spans = [f"{number:016x}" for number in (1, 2, 3)]
    events = []
    for number in range(3):
        to = (number + 1) % 3
        links = [{"trace_id": traces[to], "span_id": spans[to]}]
        if number == 0:
            links.append({"trace_id": traces[0], "span_id": spans[0]})
        events.append(
            event(trace_id=traces[number], span_id=spans[number], links=links, keys={"order_no": str(number)})
        )
    assert push("/ingest/v1/events", events, key=agent_key()).json()["accepted"] == 3
    key = api_key(person("vera", Role.VIEWER))

    journeys = [ask(f"journeys/{trace}", key).json() for trace in traces]

    assert [len(one["steps"]) for one in journeys] == [3, 3, 3]
    assert all(len({step["event"] for step in one["steps"]}) == 3 for one in journeys)
    assert all(signed_in(f"u{trace[-1]}", superuser=True).get(f"/j/{trace}").status_code == 200 for trace in traces)


def test_of_a_trace_that_is_used_again_a_month_later_the_first_journey_is_shown(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gather, "AFTER", timedelta(hours=1))
    now = datetime.now(UTC)
    times = [now - timedelta(hours=3), now - timedelta(hours=3) + timedelta(minutes=9), now]
    push("/ingest/v1/events", [event(occurred_at=one.isoformat(), trace_id=TRACE) for one in times], key=agent_key())

    found = journey_of_trace(ROOT, [environment()], UUID(TRACE))

    assert [step.at for step in found.steps] == times[:2]
