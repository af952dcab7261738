"""The pure rules of breaches: states, clocks, what holds back what, what is owed to whom and when; over a change of summer time, too."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.breaches.holding import Matcher, Standing, fits, holders
from alerts.breaches.reference import number_of, reference_of
from alerts.breaches.routing import Case, Route, Step, Told, owed
from alerts.breaches.rules import HOLD_DOWN, Clocks, judge
from alerts.breaches.states import OPEN, STATES, TRANSITIONS, state_after, states_before
from alerts.conditions import Holds
from console.core.calendars import working_time
from tests.breaches.breaching import NOON, after

LOOKS = st.lists(st.tuples(st.sampled_from(list(Holds)), st.integers(1, 600)), max_size=40)


@given(looks=LOOKS, pending_s=st.integers(0, 900))
def test_a_breach_fires_only_on_yes_after_its_time_and_clears_only_on_no_after_the_hold_down(looks, pending_s):
    """A model keeps the measured time alone: what passed while nothing could be measured counts for nothing."""
    state, clocks, now = "pending", Clocks(fires_at=NOON + timedelta(seconds=pending_s)), NOON
    held_s, well_s, unknown = 0, None, False
    for holds, seconds in looks:
        now += timedelta(seconds=seconds)
        if not unknown:
            held_s += seconds
            well_s = None if well_s is None else well_s + seconds
        found = judge(state, clocks, holds, now)
        clocks = found.clocks
        unknown = holds is Holds.UNKNOWN
        if unknown:
            assert found.happening == ""
            continue
        if holds is Holds.YES:
            well_s = None
            assert (found.happening == "fire") is (state == "pending" and held_s >= pending_s)
        else:
            well_s = 0 if well_s is None else well_s
            expected = "calm" if state == "pending" else "clear" if well_s >= HOLD_DOWN.total_seconds() else ""
            assert found.happening == expected
        if found.happening in ("calm", "clear"):
            return
        state = state_after(found.happening) if found.happening else state


@given(st.lists(st.sampled_from(sorted({one for ways in TRANSITIONS.values() for one in ways})), max_size=30))
def test_no_walk_over_the_transitions_leaves_the_states(walk):
    state = "pending"
    for happening in walk:
        if state in states_before(happening):
            state = state_after(happening)
            if state == "gone":
                return
    assert state in STATES
    assert (state in OPEN) is (state != "resolved")


@pytest.mark.parametrize(
    ("text", "number"),
    [("B-12", 12), ("b12", 12), (" 12 ", 12), ("B-0", None), ("x", None), ("B-" + "9" * 19, None), ("١٢", None)],
)  # fmt: skip
def test_a_reference_is_read_as_people_write_it(text, number):
    assert number_of(text) == number
    assert number is None or number_of(reference_of(number)) == number


def standing(
    pk: int, source: str = "objective", key: str = "7", severity: str = "page", flows: tuple[int, ...] = (), scope: tuple[int, ...] = (),
) -> Standing:  # fmt: skip
    return Standing(
        pk=pk, source=source, key=key, severity=severity, flow_ids=frozenset(flows), scope=frozenset(scope), labels={"a": "1"}
    )  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([standing(1), standing(2, severity="ticket")], {2: 1}),
        ([standing(1, key="7:fast"), standing(2, key="7:slow", severity="ticket")], {2: 1}),
        ([standing(1, key="7"), standing(2, key="70", severity="ticket")], {}),
        ([standing(1), standing(2, source="group", severity="ticket")], {}),
        ([standing(1), standing(2)], {}),
        (
            [standing(1, "agent", "5", scope=(1, 2)), standing(2, flows=(1,)), standing(3, flows=(1, 3)), standing(4)],
            {2: 1},
        ),
        ([standing(1, "agent", "5", scope=(1,)), standing(2, "agent", "6", scope=(1,), flows=(1,))], {}),
        ([standing(1, "agent", "5"), standing(2, flows=(1,))], {}),
        (
            [standing(3, "agent", "5", scope=(1,)), standing(1, flows=(1,)), standing(2, severity="ticket")],
            {1: 3, 2: 1},
        ),
    ],
)
def test_who_holds_back_whom(rows, expected):
    assert holders(rows) == expected
    assert holders(rows[::-1]) == expected


@pytest.mark.parametrize(
    ("matcher", "expected"),
    [
        (Matcher(), True), (Matcher(flow_id=1), True), (Matcher(flow_id=2), False), (Matcher(key="7"), True), (Matcher(key="8"), False),
        (Matcher(labels={"a": "1"}), True), (Matcher(labels={"a": "2"}), False), (Matcher(labels={"b": "1"}), False),
        (Matcher(source="agent"), False), (Matcher(severity="page"), True),
    ],
)  # fmt: skip
def test_what_a_silence_fits(matcher, expected):
    assert fits(matcher, standing(1, flows=(1,))) is expected


def test_a_silence_of_one_flow_does_not_fit_a_breach_that_is_about_another_one_too():
    assert not fits(Matcher(flow_id=1), standing(1, flows=(1, 2)))


# what is owed -------------------------------------------------------------------------------------------------------------

ROUTE = Route(
    page_channels=(1,), ticket_channels=(2,), wait=timedelta(seconds=30), repeat=timedelta(hours=4), quiet=timedelta(minutes=30),
    steps=(Step(after=timedelta(minutes=15), channels=(8,)), Step(after=timedelta(minutes=45), channels=(9,))),
)  # fmt: skip
BERLIN = Route(
    page_channels=(1,), ticket_channels=(2,), wait=timedelta(), repeat=timedelta(hours=4), quiet=timedelta(),
    working=working_time([1, 2, 3, 4, 5], 8 * 60, 18 * 60, "Europe/Berlin"),
)  # fmt: skip


def fired_case(**changes) -> Case:
    return Case(**{"state": "firing", "severity": "page", "fired_at": NOON, **changes})


def told(minutes: float = 0, **changes) -> Told:
    return Told(**{"said": "firing", "began_at": NOON, "told_at": after(minutes=minutes), **changes})


@pytest.mark.parametrize(
    ("case", "known", "expected"),
    [
        (fired_case(), Told(), ("firing", after(seconds=30), (1,))),
        (fired_case(severity="ticket"), Told(), ("firing", after(seconds=30), (2,))),
        (fired_case(held=True), Told(), None),
        (fired_case(), told(), ("escalated", after(minutes=15), (8,))),
        (fired_case(), told(15, step=1), ("escalated", after(minutes=45), (9,))),
        (fired_case(), told(45, step=2), ("firing", after(hours=4, minutes=45), (1, 8, 9))),
        (fired_case(held=True), told(), None),
        (fired_case(state="acknowledged"), told(), ("acknowledged", after(hours=1), ())),
        (fired_case(state="acknowledged"), told(said="acknowledged"), None),
        (fired_case(state="acknowledged"), Told(), None),
        (fired_case(state="resolved"), told(), ("resolved", after(hours=1), ())),
        (fired_case(state="resolved"), told(said="acknowledged"), ("resolved", after(hours=1), ())),
        (fired_case(state="resolved"), told(said="resolved"), None),
        (fired_case(state="resolved", held=True), told(), ("resolved", after(hours=1), ())),
        (fired_case(state="resolved"), Told(), None),
        # it came back five minutes after it was first told: it is told when the quiet time is over
        (fired_case(fired_at=after(minutes=5)), told(said="resolved"), ("firing", after(minutes=30), (1,))),
        (fired_case(fired_at=after(minutes=50)), told(said="resolved"), ("firing", after(minutes=50.5), (1,))),
    ],
)  # fmt: skip
def test_what_is_owed_next(case, known, expected):
    found = owed(case, known, ROUTE, after(hours=1))

    assert (found and (found.happening.value, found.at, found.channels)) == expected


@pytest.mark.parametrize(
    ("fired_at", "at"),
    [
        ("2026-11-25 10:00", "2026-11-25 10:00"),
        ("2026-11-25 17:00", "2026-11-26 07:00"),  # 18:00 in Berlin: the next morning
        ("2026-11-27 20:00", "2026-11-30 07:00"),  # Friday night: Monday
        ("2026-10-23 20:00", "2026-10-26 07:00"),  # the clocks went back on Sunday: 08:00 is an hour later in UTC than on Friday
        ("2026-10-22 20:00", "2026-10-23 06:00"),
        ("2026-03-27 20:00", "2026-03-30 06:00"),  # and forward
        ("2026-03-26 20:00", "2026-03-27 07:00"),
    ],
)  # fmt: skip
def test_tickets_wait_for_the_morning_of_their_zone_and_pages_for_nothing(fired_at, at):
    moment, opens = (datetime.fromisoformat(one).replace(tzinfo=UTC) for one in (fired_at, at))

    ticket = owed(fired_case(severity="ticket", fired_at=moment), Told(), BERLIN, moment)
    page = owed(fired_case(fired_at=moment), Told(), BERLIN, moment)

    assert ticket is not None
    assert page is not None
    assert (ticket.at, page.at) == (opens, moment)


@given(
    state=st.sampled_from(["pending", "firing", "acknowledged", "resolved"]),
    said=st.sampled_from(["", "firing", "acknowledged", "resolved"]),
    held=st.booleans(),
    step=st.integers(0, 3),
    minutes=st.integers(0, 3000),
)
def test_nobody_is_told_twice_of_the_same_state_but_by_repeats_and_nobody_of_an_end_who_knew_no_beginning(
    state, said, held, step, minutes
):
    known = Told() if said == "" else Told(said=said, began_at=NOON, told_at=after(minutes=minutes), step=step)

    found = owed(fired_case(state=state, held=held), known, ROUTE, after(minutes=minutes))

    if found is None:
        return
    assert state != "pending"
    if found.happening.value in ("resolved", "acknowledged"):
        assert said not in ("", found.happening.value)
    if found.happening.value in ("firing", "escalated"):
        assert not held
        assert found.first is (said != "firing")
