"""Clocks from the wire to the page: read off batches and heartbeats, shown with agents, corrected in journeys; late events find their place."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.test import Client

from console.identity.models import Role
from messages.ingest import clocks
from messages.models import ClockReading, Event, Message, RollupHour, RollupMinute
from tests.factories import agent_key, api_key, event, person, push
from tests.pages.people import signed_in, text_of

EVENTS = "/ingest/v1/events"
pytestmark = pytest.mark.django_db
TRACE = "5b" * 16


def at(**ago: float) -> str:
    return (datetime.now(UTC) - timedelta(**ago)).isoformat()


def get(path: str, key: str) -> dict:
    answer = Client().get(path, HTTP_AUTHORIZATION=f"Bearer {key}")
    assert answer.status_code == 200, answer.content
    return answer.json()


def two_hops_with_an_erp_that_is_four_seconds_ahead() -> None:
    message = {"message_id": "order-4711-message-id", "destination": "orders", "trace_id": TRACE}
    push(
        EVENTS, [event(operation="send", occurred_at=at(seconds=1), span_id="1" * 16, **message)], key=agent_key("shop")
    )
    ahead = event(system="erp", operation="process", occurred_at=at(seconds=-4), span_id="2" * 16, **message)
    push(EVENTS, [ahead], key=agent_key("erp"))


def test_an_agents_clock_is_read_off_what_it_reports():
    two_hops_with_an_erp_that_is_four_seconds_ahead()

    readings = {one.system.name: one.ahead for one in ClockReading.objects.select_related("system")}

    assert timedelta(seconds=3) < readings["erp"] <= timedelta(seconds=4)
    assert timedelta(seconds=-30) < readings["shop"] < timedelta(seconds=0)


def test_a_later_batch_that_was_longer_on_its_way_does_not_hide_the_reading():
    two_hops_with_an_erp_that_is_four_seconds_ahead()
    before = ClockReading.objects.get(system__name="erp").ahead_us

    push(EVENTS, [event(system="erp", occurred_at=at(hours=1))], key=agent_key("erp"))

    assert ClockReading.objects.get(system__name="erp").ahead_us == before


def test_the_journey_corrects_the_clock_and_shows_it_as_reported_when_asked():
    two_hops_with_an_erp_that_is_four_seconds_ahead()
    key = api_key(person("vera", Role.VIEWER))

    journey, raw = (
        get(f"/api/v1/journeys/{TRACE}%2F9000000000000000001;o=1", key),
        get(f"/api/v1/journeys/{TRACE}?clock=reported", key),
    )

    (correction,) = journey["corrections"]
    assert correction["system"] == "erp"
    assert -4_000_000 <= correction["shift_us"] < -3_000_000
    assert [step["system"] for step in journey["steps"]] == ["shop", "erp"]
    assert journey["steps"][1]["offset_us"] < 2_500_000 < raw["steps"][1]["offset_us"]
    assert raw["corrections"] == []


def test_the_page_says_which_clock_was_corrected_and_leads_to_the_reported_times():
    two_hops_with_an_erp_that_is_four_seconds_ahead()
    client = signed_in("vera", Role.VIEWER)

    corrected, reported = text_of(client.get(f"/j/{TRACE}")), text_of(client.get(f"/j/{TRACE}?clock=reported"))

    assert "erp moved back" in corrected
    assert "its clock is ahead of ours" in corrected
    assert "As reported" in corrected
    assert "clocks uncorrected" in reported
    assert "moved back" not in reported


def test_agents_show_their_clocks():
    two_hops_with_an_erp_that_is_four_seconds_ahead()
    client, key = signed_in("vera", Role.VIEWER), api_key(person("olga", Role.OPERATOR))
    agents = {one["name"]: one["id"] for one in get("/api/v1/agents", key)["results"]}

    clocks = get(f"/api/v1/agents/{agents['erp']}/clocks", key)["results"]

    assert [(one["system"], one["exact"]) for one in clocks] == [("erp", False)]
    assert clocks[0]["words"].endswith("s ahead")
    assert text_of(client.get("/agents/")).count("s ahead") == 1
    assert "s ahead" in text_of(client.get(f"/agents/{agents['erp']}/"))


def test_a_heartbeat_tells_the_agents_own_clock_behind_or_ahead():
    key = agent_key("harvester")
    push("/ingest/v1/heartbeat", {"sent_at": at(seconds=90)}, key=key)
    push("/ingest/v1/heartbeat", {"sent_at": at(seconds=30)}, key=key)

    reading = ClockReading.objects.get()

    assert reading.system is None
    assert timedelta(seconds=-31) < reading.ahead <= timedelta(seconds=-30)
    assert reading.words.endswith("s behind")
    assert "behind" in text_of(signed_in("vera", Role.VIEWER).get("/agents/"))


@pytest.mark.parametrize("years", [10, -10])
def test_a_clock_years_away_is_clamped_flagged_and_read(years: int):
    now = datetime.now(UTC)
    push(
        EVENTS,
        [
            event(
                system="erp",
                occurred_at=(now + timedelta(days=365 * years)).isoformat(),
                trace_id=TRACE,
                span_id="1" * 16,
            )
        ],
        key=agent_key(),
    )

    (step,) = get(f"/api/v1/journeys/{TRACE}", api_key(person("vera", Role.VIEWER)))["steps"]

    assert step["clamped"]
    assert now - timedelta(days=31) < datetime.fromisoformat(step["at"]) < now + timedelta(minutes=1)
    assert abs(ClockReading.objects.get().ahead) > timedelta(days=3640)


def test_an_event_that_comes_hours_late_lands_in_its_message_its_journey_and_its_minute():
    key = agent_key()
    same = {"message_id": "order-4711-message-id", "destination": "orders", "trace_id": TRACE}
    now = datetime.now(UTC)
    sent, late = now - timedelta(hours=30), now - timedelta(hours=29)
    push(
        EVENTS,
        [event(operation="process", occurred_at=(now - timedelta(minutes=1)).isoformat(), span_id="3" * 16, **same)],
        key=key,
    )

    push(EVENTS, [event(operation="send", occurred_at=sent.isoformat(), span_id="1" * 16, **same)], key=key)
    push(
        EVENTS,
        [
            event(
                operation="process",
                outcome="error",
                error={"type": "T"},
                occurred_at=late.isoformat(),
                span_id="2" * 16,
                **same,
            )
        ],
        key=key,
    )

    message = Message.objects.get()
    journey = get(f"/api/v1/journeys/{TRACE}", api_key(person("vera", Role.VIEWER)))
    assert (message.event_count, message.get_status_display()) == (3, "delivered")
    assert [step["outcome"] for step in journey["steps"]] == ["ok", "error", "ok"]
    assert RollupMinute.objects.get(minute=late.replace(second=0, microsecond=0)).outcome == 2
    assert RollupHour.objects.get(hour=sent.replace(minute=0, second=0, microsecond=0)).count == 1


def test_an_event_that_was_moved_meets_its_first_copy_when_its_time_has_come():
    """A clock 20 minutes ahead: first it is moved to now; sent again a quarter of an hour later, in another batch, it is not moved."""
    key, ahead = agent_key(), event(system="erp", occurred_at=at(minutes=-20))
    push(EVENTS, [ahead], key=key)
    clocks.forget()

    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=16)):
        answer = push(EVENTS, [ahead, event(system="erp", occurred_at=at(minutes=-4))], key=key)

    assert answer.json() == {"accepted": 1, "duplicates": 1, "rejected": []}
    assert Event.objects.get(message_id=ahead["message_id"]).clamped_from is not None
