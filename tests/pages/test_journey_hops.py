"""What a journey says of each hop: queue and processing, between which stations it stands, by times that are corrected."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from console.identity.models import Role
from messages.models import ClockReading, Event, Message
from tests.factories import agent_key, api_key, event, person, push
from tests.http.test_access import ask
from tests.pages.people import TRACE, signed_in, text_of

pytestmark = pytest.mark.django_db


def test_hops_say_what_was_queue_and_what_was_processing_on_stations_and_in_rest():
    at = datetime.now(UTC) - timedelta(minutes=2)
    common = {"trace_id": TRACE, "message_id": "the order of 4711"}
    sent = event(**common, occurred_at=at.isoformat(), duration_ms=2)
    tries = [
        event(**common, system="erp", operation="process", outcome=outcome, duration_ms=5,
              occurred_at=(at + timedelta(milliseconds=ms)).isoformat())
        for ms, outcome in ((42, "error"), (1_047, "ok"))
    ]  # fmt: skip
    push("/ingest/v1/events", [sent, *tries], key=agent_key())

    found = ask(f"journeys/{TRACE}", api_key(person("vera", Role.VIEWER))).json()

    (hop,) = found["hops"]
    assert (hop["sender"], hop["receiver"], hop["attempts"]) == ("shop", "erp", 2)
    assert [hop[one]["longest_us"] for one in ("queue", "processing", "retry")] == [40_000, 10_000, 1_000_000]
    assert [(one["system"], one["queue_us"], one["processing_us"]) for one in found["stations"]] == [
        ("shop", None, None), ("erp", 40_000, 10_000),
    ]  # fmt: skip
    page = text_of(signed_in("viewer", Role.VIEWER).get(f"/j/{TRACE}"))
    assert "queue 40 ms, work 10 ms" in page
    assert "2, 1.0 s between" in page
    message = Message.objects.get()
    assert ask(f"messages/{message.id}/journey", api_key(person("victor", Role.VIEWER))).json()["hops"] == found["hops"]


def test_between_stations_stands_what_the_hop_took_and_nothing_where_both_got_it_from_elsewhere():
    """An exchange with two queues, of which the ERP is slower than it retries; the answer to the shop comes last."""
    at = datetime.now(UTC) - timedelta(minutes=2)
    common = {"trace_id": TRACE, "message_id": "the order of 4711", "destination": "orders"}

    def one(seconds: float, **more: Any) -> dict[str, Any]:
        return event(**common | more, occurred_at=(at + timedelta(seconds=seconds)).isoformat())

    failed = [one(s, system="erp", operation="process", outcome="error", destination="q.erp") for s in (2, 3)]
    passed = one(5, system="erp", operation="process", destination="q.erp")
    billed = one(4, system="billing", operation="process", destination="q.billing")
    answered = one(8, system="shop", operation="process", message_id="the answer to 4711", destination="answers")
    push("/ingest/v1/events", [one(0), *failed, billed, passed, answered], key=agent_key())

    found = ask(f"journeys/{TRACE}", api_key(person("vera", Role.VIEWER))).json()

    assert [(one["system"], one["hop_us"], one["queue_us"]) for one in found["stations"]] == [
        ("shop", None, None), ("erp", 2_000_000, 2_000_000), ("billing", None, 4_000_000),
    ]  # fmt: skip
    page = signed_in("viewer", Role.VIEWER).get(f"/j/{TRACE}").content.decode()
    assert re.findall(r'<span class="(hop[^"]*)"><span>([^<]*)</span>', page) == [("hop", "2.0 s"), ("hop idle", "")]


@pytest.mark.parametrize(("operation", "began_s", "took_ms"), [("receive", -3, 3_090), ("process", 2, 0)])
def test_what_a_batch_took_once_was_tried_once_though_its_links_are_found_from_both_ends(
    operation: str, began_s: float, took_ms: int
):
    """A long poll counts from its end, so it is as short as a process that took no time."""
    at = datetime.now(UTC) - timedelta(minutes=2)
    spans = [{"trace_id": f"{number:032x}", "span_id": f"{number:016x}"} for number in (111, 222, 333)]
    sent = [event(message_id=f"order {one['span_id']}", occurred_at=at.isoformat(), **one) for one in spans]
    when = (at + timedelta(seconds=began_s)).isoformat()
    taken = event(
        trace_id=TRACE,
        span_id="b" * 16,
        system="erp",
        operation=operation,
        links=spans,
        occurred_at=when,
        duration_ms=took_ms,
    )
    del taken["message_id"]
    assert push("/ingest/v1/events", [*sent, taken], key=agent_key()).json()["accepted"] == 4
    key = api_key(person("vera", Role.VIEWER))

    hops = [ask(f"journeys/{trace}", key).json()["hops"] for trace in (spans[0]["trace_id"], TRACE)]

    assert [(hop["messages"], hop["attempts"], hop["failed"]) for (hop,) in hops] == [(3, 1, 0)] * 2


def test_what_the_hop_from_a_station_took_stands_there_though_that_station_failed():
    """The ERP sends it on, and fails after that."""
    at = datetime.now(UTC) - timedelta(minutes=2)
    common = {"trace_id": TRACE, "message_id": "the order of 4711"}

    def one(seconds: float, **more: Any) -> dict[str, Any]:
        return event(**common | more, occurred_at=(at + timedelta(seconds=seconds)).isoformat())

    failed = one(3, system="erp", operation="process", outcome="error", error={"type": "T", "message": "no"})
    on, taken = ({"destination": "contacts", "system": system} for system in ("erp", "crm"))
    push("/ingest/v1/events", [one(0), one(2.5, **on), failed, one(6, operation="process", **taken)], key=agent_key())

    page = signed_in("viewer", Role.VIEWER).get(f"/j/{TRACE}").content.decode()

    found = ask(f"journeys/{TRACE}", api_key(person("vera", Role.VIEWER))).json()["stations"]
    assert [(one["system"], one["state"], one["hop_us"]) for one in found] == [
        ("shop", "passed", None), ("erp", "failed", 3_000_000), ("crm", "passed", 3_500_000),
    ]  # fmt: skip
    assert re.findall(r'<span class="(hop[^"]*)"><span>([^<]*)</span>', page) == [("hop", "3.0 s"), ("hop", "3.5 s")]


def test_hops_are_of_corrected_times():
    at = datetime.now(UTC) - timedelta(minutes=2)
    common = {"trace_id": TRACE, "message_id": "the order of 4711"}
    sent = event(**common, occurred_at=at.isoformat())
    done = event(
        **common, system="erp", operation="process", occurred_at=(at + timedelta(milliseconds=2_050)).isoformat()
    )
    push("/ingest/v1/events", [sent], key=agent_key())
    push("/ingest/v1/events", [done], key=agent_key("erp agent"))
    received = Event.objects.get(system__name="erp")
    ClockReading.objects.filter(agent_id=received.agent_id).delete()
    ClockReading.objects.create(
        agent_id=received.agent_id, system_id=received.system_id, exact=True, ahead_us=2_000_000,
        hour=received.received_at.replace(minute=0, second=0, microsecond=0),
    )  # fmt: skip
    key = api_key(person("vera", Role.VIEWER))

    corrected, reported = (ask(f"journeys/{TRACE}{more}", key).json()["hops"][0] for more in ("", "?clock=reported"))

    assert (corrected["queue"]["longest_us"], reported["queue"]["longest_us"]) == (50_000, 2_050_000)


def test_a_long_poll_that_is_told_of_late_is_no_clock_behind_and_no_station_before_the_sender():
    at = datetime.now(UTC) - timedelta(seconds=6)
    common = {"trace_id": TRACE, "message_id": "the order of 4711"}
    polled = event(**common, system="erp", operation="receive", occurred_at=(at - timedelta(seconds=3)).isoformat(), duration_ms=3_090)  # fmt: skip
    push("/ingest/v1/events", [event(**common, occurred_at=at.isoformat())], key=agent_key())
    push("/ingest/v1/events", [polled], key=agent_key("erp agent"))

    found = ask(f"journeys/{TRACE}", api_key(person("vera", Role.VIEWER))).json()

    assert found["corrections"] == []
    assert [(one["system"], one["hop_us"], one["queue_us"]) for one in found["stations"]] == [
        ("shop", None, None), ("erp", 90_000, 90_000),
    ]  # fmt: skip
