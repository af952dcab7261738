"""Clocks of a journey: which are corrected, by how much, on what evidence, and which are left alone."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from console.core.words import clock_words_of
from messages.journeys.clocks import PROCESS, RECEIVE, SEND, clock_of, corrected, corrections_of
from messages.journeys.stitch import build_journey

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
MESSAGE, TRACE = uuid.uuid4(), uuid.uuid4()
SYSTEMS = {"shop": 1, "erp": 2, "billing": 3}


def ms(milliseconds: float) -> timedelta:
    return timedelta(milliseconds=milliseconds)


def said(system: str, at_ms: float, operation: int = SEND, **changes: Any) -> SimpleNamespace:
    """Return an event of the message as this system's clock tells it, so many ms after noon."""
    given = {
        "id": uuid.uuid4(), "agent_id": 7, "system_id": SYSTEMS[system], "system": SimpleNamespace(name=system), "operation": operation,
        "occurred_at": NOON + ms(at_ms), "received_at": NOON + ms(5_000), "clamped_from": None, "duration_us": 10_000, "outcome": 1,
        "message_uid": MESSAGE, "destination": "orders", "trace_id": TRACE, "span_id": None, "parent_span_id": None, "name": "",
    }  # fmt: skip
    return SimpleNamespace(**given | changes)


def shifts(events: list[Any], ahead: dict[str, timedelta]) -> dict[str, timedelta]:
    readings = {((7, SYSTEMS[system]), NOON): value for system, value in ahead.items()}
    return {one.system: one.shift for one in corrections_of(events, readings).values()}


def test_clocks_that_agree_are_left_alone():
    assert shifts([said("shop", 0), said("erp", 30, RECEIVE)], {"shop": ms(-200), "erp": ms(-150)}) == {}


def test_a_clock_that_was_read_to_be_ahead_is_moved_back():
    assert shifts([said("shop", 0), said("erp", 2430, RECEIVE)], {"erp": ms(2400)}) == {"erp": ms(-2400)}


def test_the_way_here_is_no_clock():
    assert shifts([said("shop", 0), said("erp", 30, RECEIVE)], {"erp": ms(90)}) == {}


def test_a_receiver_that_would_have_been_faster_than_the_sender_is_moved_on_to_the_sending():
    assert shifts([said("shop", 0), said("erp", -3_000, PROCESS)], {"erp": ms(-3_100)}) == {"erp": ms(3_000)}
    assert shifts([said("shop", 0), said("erp", -3_000, PROCESS)], {}) == {"erp": ms(3_000)}


@pytest.mark.parametrize("asked", [{"erp": ms(-6_000)}, {}], ids=["told late", "never read"])
def test_a_long_poll_that_began_before_the_sending_and_ended_after_it_is_no_clock_behind(asked: dict[str, timedelta]):
    poll = said("erp", -3_000, RECEIVE, duration_us=3_090_000, span_id="b" * 16, parent_span_id="a" * 16)

    assert shifts([said("shop", 0, span_id="a" * 16), poll, said("erp", 95, PROCESS)], asked) == {}


def test_a_long_poll_that_ended_before_the_sending_moves_its_clock_on_by_no_more_than_that():
    poll = said("erp", -3_000, RECEIVE, duration_us=2_500_000)

    assert shifts([said("shop", 0), poll], {}) == {"erp": ms(500)}


def test_a_clock_that_was_read_to_be_right_is_not_moved_by_a_strange_order():
    """A resend under the same message id looks like an effect before its cause."""
    assert shifts([said("shop", 0), said("erp", -60_000, RECEIVE)], {"erp": ms(-40)}) == {}


def test_a_sender_ahead_explains_it_before_a_receiver_behind_is_supposed():
    assert shifts([said("shop", 5_000), said("erp", 30, RECEIVE)], {"shop": ms(4_990), "erp": ms(-80)}) == {
        "shop": ms(-4_990)
    }


def test_a_child_does_not_begin_before_its_parent():
    parent = said("shop", 0, 0, message_uid=None, span_id="a" * 16)
    child = said("billing", -700, 0, message_uid=None, span_id="b" * 16, parent_span_id="a" * 16)

    assert shifts([child, parent], {"billing": ms(-900)}) == {"billing": ms(700)}


def test_a_chain_of_clocks_is_corrected_one_after_the_other():
    events = [
        said("shop", 0),
        said("erp", -1_000, RECEIVE),
        said("erp", -900, SEND, destination="invoices"),
        said("billing", -2_000, RECEIVE, destination="invoices"),
    ]

    assert shifts(events, {}) == {"erp": ms(990), "billing": ms(2_080)}


def test_the_consoles_own_replay_is_no_cause_of_the_attempts_before_it():
    replay = said("shop", 60_000, agent_id=None)

    assert shifts([said("erp", 0, RECEIVE), replay], {}) == {}


def test_a_clamped_time_is_ours_already():
    clamped = said("erp", 0, RECEIVE, clamped_from=NOON + timedelta(days=3650))
    corrections = corrections_of([clamped], {((7, 2), NOON): timedelta(days=3650)})

    assert corrections == {}
    assert corrected(clamped, corrections) == clamped.occurred_at


def test_a_journey_is_told_in_the_order_in_which_it_happened():
    sent, received = said("shop", 0), said("erp", -2_970, PROCESS)
    corrections = corrections_of([sent, received], {((7, 2), NOON): ms(-3_000)})

    journey = build_journey([received, sent], {}, corrections=corrections)

    assert [step.system for step in journey.steps] == ["shop", "erp"]
    assert [step.offset_us for step in journey.steps] == [0, 0]
    assert journey.steps[1].correction == corrections[clock_of(received)]
    assert journey.steps[0].correction is None
    assert build_journey([received, sent], {}).steps[0].system == "erp"


@pytest.mark.parametrize(
    ("ahead", "exact", "words"),
    [
        (ms(2400), False, "2.4 s ahead"),
        (ms(60), True, "right"),
        (ms(-3000), True, "3.0 s behind"),
        (ms(-3000), False, "right"),
        (timedelta(minutes=-5), False, "behind, or what it reports is late, by 5 min 00 s"),
    ],
)
def test_a_reading_is_said_in_words(ahead: timedelta, exact: bool, words: str):
    assert clock_words_of(ahead, exact=exact) == words
