"""A journey with 20,000 events: counted whole, failures found first and never folded away, unfolded page by page."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.db.models import Value
from django.db.models.functions import Concat
from django.test import Client
from django.test.utils import CaptureQueriesContext

from console.identity.models import Role, Team
from messages.journeys import gather
from messages.journeys.queries import journey_of_trace, steps_of_fold
from messages.journeys.usual import _stop
from messages.models import Event, Flow, Message, MessageStatus
from tests.factories import ROOT, agent_key, api_key, environment, event, person, push
from tests.pages.people import signed_in, text_of

pytestmark = pytest.mark.django_db
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
FANS = 10_000

SPREAD = """
INSERT INTO messaging_event (occurred_at, id, received_at, environment_id, flow_id, system_id, agent_id, message_uid, message_id, trace_id,
    span_id, operation, outcome, duration_us, name, destination, error_type, error_message, keys, attributes)
SELECT occurred_at + n * interval '1 millisecond', gen_random_uuid(), received_at, environment_id, flow_id, system_id, agent_id,
    md5('message' || n)::uuid, 'message ' || n, CASE WHEN operation = 2 THEN trace_id ELSE md5('trace' || n)::uuid END,
    lpad(to_hex(n), 16, CASE WHEN operation = 2 THEN 'a' ELSE 'b' END), operation,
    CASE WHEN operation = 4 AND n %% 5000 = 7 THEN 2 ELSE outcome END, duration_us, name, destination,
    CASE WHEN operation = 4 AND n %% 5000 = 7 THEN 'ErpTimeout' END, NULL, '{}', '{}'
FROM messaging_event CROSS JOIN generate_series(1, %s) n WHERE trace_id = %s"""
LINKS = """
INSERT INTO messaging_trace_link (occurred_at, environment_id, trace_id, span_id, linked_trace_id, linked_span_id)
SELECT now(), %s, md5('trace' || n)::uuid, lpad(to_hex(n), 16, 'b'), %s, lpad(to_hex(n), 16, 'a') FROM generate_series(1, %s) n"""


def fan_out(count: int = FANS) -> None:
    """One trace sends `count` messages; each is processed in a trace of its own that links back. Two of 10,000 fail."""
    at = datetime.now(UTC) - timedelta(minutes=5)
    one = {"trace_id": TRACE, "message_id": "the first of them all"}
    sent = event(**one, span_id="aa" * 8, occurred_at=at.isoformat(), duration_ms=1)
    done = event(**one, span_id="bb" * 8, system="erp", operation="process", duration_ms=4,
                 occurred_at=(at + timedelta(milliseconds=50)).isoformat())  # fmt: skip
    assert push("/ingest/v1/events", [sent, done], key=agent_key()).json()["accepted"] == 2
    with connection.cursor() as cursor:
        cursor.execute(SPREAD, [count, UUID(TRACE)])
        cursor.execute(LINKS, [environment().pk, UUID(TRACE), count])


def journey() -> Any:
    return journey_of_trace(ROOT, [environment()], UUID(TRACE))


@pytest.mark.parametrize(("fails", "state", "note"), [(3, "failed", "1 of 20 failed"), (None, "passed", "processed")])
def test_a_station_of_a_small_fan_out_has_failed_where_one_message_did(fails: int | None, state: str, note: str):
    at, wrong = datetime.now(UTC) - timedelta(minutes=5), {"outcome": "error", "error": {"type": "T", "message": "no"}}
    sent = [
        event(message_id=f"part {number} of the batch", trace_id=TRACE, occurred_at=at.isoformat())
        for number in range(20)
    ]
    done = [
        one
        | {
            "id": f"done {number}",
            "system": "erp",
            "operation": "process",
            "occurred_at": (at + timedelta(seconds=number)).isoformat(),
        }
        | (wrong if number == fails else {})
        for number, one in enumerate(sent)
    ]
    push("/ingest/v1/events", [*sent, *done], key=agent_key())

    assert [(one.system, one.state, one.note) for one in journey().stations][1:] == [("erp", state, note)]


@pytest.mark.parametrize(
    ("of_their_own", "named", "statuses"),
    [
        (True, True, {MessageStatus.DELIVERED: 8, MessageStatus.FAILED: 4}),
        (False, False, {MessageStatus.DELIVERED: 8, MessageStatus.FAILED: 4}),
        (True, False, {MessageStatus.MOVING: 12, MessageStatus.DELIVERED: 8, MessageStatus.FAILED: 4}),
    ],
)
def test_a_native_batch_is_about_the_messages_that_it_links_to_and_status_station_and_hop_say_the_same(
    of_their_own: bool, named: bool, statuses: dict[int, int]
):
    """Three batches of four, the second failed. Where links do not name the ids of the messages, nobody knows those by what they lead to."""
    at = datetime.now(UTC) - timedelta(minutes=5)

    def sent(number: int, *, named: bool) -> dict[str, Any]:
        message_id = f"invoice {number} of the night" if named else ""
        return {"trace_id": f"{number + 1:032x}", "span_id": f"{number + 1:016x}", "message_id": message_id}

    sends = [event(occurred_at=at.isoformat(), **sent(number, named=of_their_own)) for number in range(12)]
    wrong = {"outcome": "error", "error": {"type": "T", "message": "no"}}
    batches = [
        event(
            system="erp",
            operation="process",
            message_id="",
            trace_id=TRACE,
            occurred_at=(at + timedelta(seconds=1 + number)).isoformat(),
            links=[sent(one, named=named) for one in range(4 * number, 4 * number + 4)],
            **(wrong if number == 1 else {}),
        )
        for number in range(3)
    ]
    push("/ingest/v1/events", [*sends, *batches], key=agent_key())

    found = journey()

    assert Counter(Message.objects.values_list("status", flat=True)) == statuses
    assert [(one.system, one.state, one.note) for one in found.stations][1:] == [("erp", "failed", "4 of 12 failed")]
    (hop,) = found.hops
    assert (hop.messages, hop.failed, hop.batches) == (12, 4, 12)


@pytest.mark.parametrize(("after", "state"), [(30, "passed"), (5, "failed"), (None, "failed")])
def test_a_replay_whose_copy_has_an_id_of_its_own_and_passed_takes_the_failure_back(after: int | None, state: str):
    at, wrong = datetime.now(UTC) - timedelta(minutes=5), {"outcome": "error", "error": {"type": "T", "message": "no"}}

    def one(message_id: str, system: str, seconds: int, **more: Any) -> dict[str, Any]:
        when = (at + timedelta(seconds=seconds)).isoformat()
        return event(message_id=message_id, system=system, trace_id=TRACE, occurred_at=when, **more)

    events = [one("the order of 4711", "shop", 0), one("the order of 4711", "erp", 1, operation="process", **wrong)]
    events += [one("the order of 4711", "waybill", 10)]
    events += [] if after is None else [one("its copy in SQS", "erp", after, operation="process")]
    push("/ingest/v1/events", events, key=agent_key())

    assert [(station.system, station.state) for station in journey().stations] == [("shop", "passed"), ("erp", state)]


@pytest.mark.parametrize(
    ("failed", "replayed", "passed", "copied", "state", "note"),
    [
        (3, 3, 1, False, "failed", "2 of 3 failed"),
        (4, 2, 1, False, "failed", "3 of 4 failed"),
        (3, 3, 3, False, "passed", "processed"),
        (3, 3, 1, True, "failed", "2 of 4 failed"),
        (1, 1, 1, True, "passed", "processed"),
    ],
)
def test_a_pass_after_a_replay_takes_back_the_failure_of_its_own_message_only(
    failed: int, replayed: int, passed: int, copied: bool, state: str, note: str
):
    """copied: whether the broker gave what was sent again an id of its own, as SQS does, and the receiver a trace that links to the replay's."""
    at, wrong = datetime.now(UTC) - timedelta(minutes=5), {"outcome": "error", "error": {"type": "T", "message": "no"}}

    def one(number: int, system: str, seconds: int, trace: str = TRACE, **more: Any) -> dict[str, Any]:
        when = (at + timedelta(seconds=seconds)).isoformat()
        named = {"message_id": f"order {number} of the batch", "trace_id": trace} | more
        return event(system=system, occurred_at=when, **named)

    def link(number: int) -> dict[str, Any]:
        return {"links": [{"trace_id": f"{number + 1:032x}", "span_id": f"{number + 1:016x}"}]}

    events = [one(number, "shop", 0) for number in range(failed)]
    events += [one(number, "erp", 1, operation="process", **wrong) for number in range(failed)]
    for number in range(replayed):
        first = {"links": [{"trace_id": TRACE, "span_id": "0" * 15 + "1"}]}
        events.append(one(number, "waybill", 10 + number, f"{number + 1:032x}", span_id=f"{number + 1:016x}", **first))
    for number in range(passed):
        own = {"message_id": f"copy {number} of SQS", **link(number)} if copied else {}
        trace = f"{number + 101:032x}" if copied else f"{number + 1:032x}"
        events.append(one(number, "erp", 30, trace, span_id=f"{number + 201:016x}", operation="process", **own))
    push("/ingest/v1/events", events, key=agent_key())

    found = {station.system: (station.state, station.note) for station in journey().stations}

    assert found == {"shop": ("passed", "sent"), "erp": (state, note)}


def test_a_journey_stopped_where_a_message_failed_though_another_passed_there_after():
    at = datetime.now(UTC) - timedelta(minutes=5)

    def one(message_id: str, destination: str, seconds: int, **more: Any) -> dict[str, Any]:
        when = (at + timedelta(seconds=seconds)).isoformat()
        return event(message_id=message_id, destination=destination, trace_id=TRACE, occurred_at=when, **more)

    wrong = {"outcome": "error", "error": {"type": "T", "message": "no"}}
    events = [one("the order of 4711", "orders", 0), one("the reservation of 4711", "stock", 1)]
    events += [one("the order of 4711", "orders", 2, system="erp", operation="process", **wrong)]
    events += [one("the reservation of 4711", "stock", 3, system="erp", operation="process")]
    push("/ingest/v1/events", events, key=agent_key())

    assert _stop(journey()) == (environment().pk, Flow.objects.get(name="orders").pk)


def said(folds: Sequence[Any]) -> list[tuple[str, str, str, int]]:
    return [(one.system, one.operation, one.outcome, one.count) for one in folds]


def test_twenty_thousand_events_are_counted_whole_with_the_failures_first():
    fan_out()

    found = journey()

    assert found.total == 20_002
    assert said(found.folds) == [
        ("erp", "process", "error", 2), ("shop", "send", "ok", FANS + 1), ("erp", "process", "ok", FANS - 1),
    ]  # fmt: skip
    assert len(found.steps) < 50
    assert [step.event.message_id for step in found.steps if step.outcome == "error"] == ["message 7", "message 5007"]
    (hop,) = found.hops
    assert (hop.sender, hop.receiver, hop.messages, hop.failed) == ("shop", "erp", FANS + 1, 2)
    assert hop.queue.median_us == 49_000
    assert hop.processing.median_us == 4_000
    assert [(one.system, one.state, one.note) for one in found.stations] == [
        ("shop", "passed", "sent 10,001"), ("erp", "failed", "2 of 10,001 failed"),
    ]  # fmt: skip
    assert not found.truncated


def test_the_limit_costs_what_went_well_and_no_failure(monkeypatch: pytest.MonkeyPatch):
    fan_out(3_000)
    Event.objects.filter(message_id="message 2999", operation=2).update(outcome=2)
    monkeypatch.setattr(gather, "MOST_SEEN", 1_000)

    found = journey()

    assert found.truncated
    assert found.total == 1_000
    assert said(found.folds)[0] == ("shop", "send", "error", 1)


def test_messages_with_a_destination_each_are_folded_all_the_same():
    fan_out(300)
    Event.objects.all().update(destination=Concat(Value("reply."), "span_id"))

    found = journey()

    assert [(one.system, one.outcome, one.destination, one.count) for one in found.folds] == [
        ("erp", "error", "many destinations", 1), ("shop", "ok", "many destinations", 301), ("erp", "ok", "many destinations", 300),
    ]  # fmt: skip


def test_a_fold_unfolds_page_by_page_without_a_gap():
    fan_out(300)
    found = journey()
    fold = next(one for one in found.folds if one.system == "erp" and one.outcome == "ok")

    ids, after = [], None
    while True:
        steps, after = steps_of_fold(ROOT, found, fold.ref, after=after, limit=70)
        ids += [step.event.id for step in steps]
        if after is None:
            break

    assert ids == [one.seen.id for one in fold.events]
    assert len(ids) == 300
    assert steps_of_fold(ROOT, found, "none", after=None, limit=70) == ([], None)


def test_the_page_folds_shows_failures_and_unfolds_by_address():
    fan_out(1_000)
    client = signed_in(superuser=True)

    page = text_of(client.get(f"/j/{TRACE}"))

    assert "2,002 events in 2 systems" in page
    assert "failed erp process orders × 1" not in page  # one failure is drawn by itself
    assert "shop send orders × 1,001" in page
    assert "1 of 1,001 failed" in page
    fold = next(one for one in journey().folds if one.system == "shop")
    opened = client.get(f"/j/{TRACE}?open={fold.ref}")
    assert "50 of 1,001" in text_of(opened)
    following = opened.content.decode().split('rel="next" href="')[1].split('"')[0].replace("&amp;", "&").split("#")[0]
    assert "message 51" in text_of(client.get(f"/j/{TRACE}{following}"))
    assert client.get(f"/j/{TRACE}?open=nonsense&after=x").status_code == 200
    assert client.get(f"/j/{TRACE}?open={fold.ref}&after=x").status_code == 400


def test_the_log_says_of_a_fold_that_failed_what_was_not_done():
    sends = [event(message_id=f"part {n} of the batch", trace_id=TRACE) for n in range(120)]
    done = [
        event(message_id=one["message_id"], system="stock", operation="process", outcome="error" if n < 7 else "ok")
        for n, one in enumerate(sends)
    ]
    push("/ingest/v1/events", [*sends, *done], key=agent_key())

    page = text_of(signed_in(superuser=True).get(f"/j/{TRACE}"))

    assert "stock failed to process it from orders, 7 times from here on" in page
    assert "stock processed it from orders, 113 times from here on" in page


def test_a_step_names_the_event_that_brought_it_and_leads_to_it_though_that_is_inside_of_a_fold():
    """The shop sends all in one instant; of the ERP, which has no trace, one fails."""
    sends = [event(message_id=f"part {n} of the batch", trace_id=TRACE) for n in range(120)]
    sends = [one | {"occurred_at": sends[0]["occurred_at"]} for one in sends]
    done = {one["message_id"]: event(message_id=one["message_id"], system="erp", operation="process") for one in sends}
    key = agent_key()
    push("/ingest/v1/events", sends, key=key)
    bringer, message_id = Event.objects.order_by("id").values_list("id", "message_id")[
        60
    ]  # neither the first nor the last
    done[message_id] |= {"outcome": "error", "error": {"type": "T", "message": "no"}}
    push("/ingest/v1/events", list(done.values()), key=key)
    client = signed_in(superuser=True)

    found = journey()

    (failed,) = [step for step in found.steps if step.outcome == "error"]
    assert bringer not in {step.event.id for step in found.steps}
    assert failed.why == "is about the same message as shop send"
    (fold,) = [one for one in found.folds if (one.system, one.outcome) == ("erp", "ok")]
    opened, _ = steps_of_fold(ROOT, found, fold.ref, after=None, limit=50)
    assert {step.why for step in opened} == {failed.why}
    page = client.get(f"/j/{TRACE}").content.decode()
    (link,) = [one for one in re.findall(r'href="([^"]+)">The event that brought it', page) if str(bringer) in one]
    there, anchor = unescape(link).split("#")
    assert anchor == f"event-{bringer}"
    assert f'id="{anchor}"' in client.get(f"/j/{TRACE}{there}").content.decode()


def test_rest_has_folds_hops_and_every_step_by_pages():
    fan_out(300)
    key = {"HTTP_AUTHORIZATION": f"Bearer {api_key(person('vera', Role.VIEWER))}"}
    found = Client().get(f"/api/v1/journeys/{TRACE}", **key).json()

    assert found["total"] == 602
    assert found["folded"]
    fold = next(one for one in found["folds"] if one["system"] == "shop")
    assert fold["count"] == 301
    assert found["hops"][0]["queue"] == {"median_us": 49_000, "longest_us": 49_000}
    path, ids = f"/api/v1/journeys/{TRACE}/folds/{fold['ref']}?limit=200", []
    while path:
        answer = Client().get(path, **key).json()
        ids += [step["event"] for step in answer["results"]]
        path = answer["next"]
    assert len(set(ids)) == len(ids) == 301


def test_rest_has_the_steps_of_a_fold_of_a_message_without_a_trace():
    key = {"HTTP_AUTHORIZATION": f"Bearer {api_key(person('vera', Role.VIEWER))}"}
    events = [event(correlation_id="one conversation", system="shop" if n else "crm") for n in range(250)]
    assert push("/ingest/v1/events", events, key=agent_key()).json()["accepted"] == 250
    path = f"/api/v1/messages/{Message.objects.first().id}/journey"

    (fold,) = [one for one in Client().get(path, **key).json()["folds"] if one["system"] == "shop"]
    steps = Client().get(f"{path}/folds/{fold['ref']}?limit=500", **key).json()

    assert fold["count"] == len(steps["results"]) == 249
    assert steps["next"] is None
    assert Client().get(f"{path}/folds/nothing", **key).status_code == 404


def test_what_the_reader_may_not_see_is_not_counted():
    fan_out(300)
    other = Flow.objects.get()
    other.team = Team.objects.create(name="Finance team")
    other.save(update_fields=["team"])

    assert signed_in("viewer", Role.VIEWER).get(f"/j/{TRACE}").status_code == 404


def test_every_query_of_the_walk_is_served_by_an_index():
    fan_out(300)
    Event.objects.filter(operation=2).update(correlation_id="conversation 7", keys={"order_no": "4711"})
    with CaptureQueriesContext(connection) as captured:
        journey()

    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        asked = [one["sql"] for one in captured if "messaging_" in one["sql"] and one["sql"].startswith("SELECT")]
        assert len(asked) > 8
        for sql in asked:
            cursor.execute("EXPLAIN " + sql)
            plan = "\n".join(row[0] for row in cursor.fetchall())
            assert "Seq Scan" not in plan, sql[-400:]


def test_every_bar_of_one_event_leads_to_that_event_though_it_is_not_listed():
    """Two stock systems answer 120 orders, and three times something else was done, which no list of the page shows."""
    sends = [event(message_id=f"part {n} of the batch", trace_id=TRACE) for n in range(120)]
    done = [event(message_id=one["message_id"], system="erp", operation="process") for one in sends]
    rare = [event(message_id=f"a rare thing {n}", trace_id=TRACE, system="wms", operation="create") for n in range(3)]
    push("/ingest/v1/events", [*sends, *done, *rare], key=agent_key())
    client = signed_in(superuser=True)

    page = client.get(f"/j/{TRACE}").content.decode()

    bars = {unescape(one) for one in re.findall(r'href="([^"]*#event-[0-9a-f-]+)"', page)}
    ids = {str(one.id) for one in Event.objects.filter(system__name="wms")}
    assert ids <= {one.split("#event-")[1] for one in bars}
    for bar in bars:
        there, anchor = bar.split("#")
        shown = client.get(f"/j/{TRACE}{there}").content.decode() if there else page
        assert f'id="{anchor}"' in shown
