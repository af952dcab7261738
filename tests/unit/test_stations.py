"""How long the hop to each station of a journey took, and where nobody can say."""

from __future__ import annotations

import pytest

from messages.journeys.hops import handovers_of
from messages.journeys.seen import Seen, timed
from messages.journeys.stations import stations_of
from tests.unit.test_hops import CRM, ERP, OTHER, PROCESS, SEND, SETTLE, SHOP, SYSTEMS, seen

BILLING = 4


def call(system: int, at_ms: float, took_ms: float = 0) -> Seen:
    """A span about no message."""
    return seen(system, 0, at_ms, took_ms, message_uid=None)


@pytest.mark.parametrize(
    ("events", "hops_ms"),
    [
        ([seen(SHOP, SEND, 0, 2), seen(ERP, PROCESS, 10, 5)], {"erp": 8}),
        (  # an exchange has two queues, the ERP tries three times, the CRM answers: the shop's last event is after all of it
            [seen(SHOP, SEND, 0), *(seen(ERP, PROCESS, at, 5, outcome=2) for at in (2_000, 3_000, 5_000)),
             seen(BILLING, PROCESS, 4_000, 5), seen(ERP, SEND, 5_010, message_uid=OTHER), seen(CRM, PROCESS, 8_000, 5, message_uid=OTHER),
             seen(SHOP, SETTLE, 9_000)],
            {"erp": 2_000, "billing": None, "crm": None},
        ),
        (  # of several messages the one that waited longest, not the first
            [seen(SHOP, SEND, 0), seen(SHOP, SEND, 1, message_uid=OTHER), seen(ERP, PROCESS, 10), seen(ERP, PROCESS, 501, message_uid=OTHER)],
            {"erp": 500},
        ),
        ([call(SHOP, 0, 5), call(ERP, 12, 3)], {"erp": 7}),  # no message: from the end there to the beginning here
        ([call(SHOP, 0, 50), call(ERP, 12, 3)], {"erp": None}),  # a call inside of a call
        ([call(SHOP, 0, 50), call(SHOP, 10, 1), call(ERP, 12, 3)], {"erp": None}),  # the last to begin there is not the last to end
        ([seen(SHOP, SEND, 0), seen(ERP, PROCESS, 10), seen(CRM, PROCESS, 3_700)], {"erp": 10, "crm": None}),  # both got it from the shop
    ],
    ids=["plain", "fan-out", "several messages", "one after the other", "inside", "inside of an earlier one", "from elsewhere"],
)  # fmt: skip
def test_a_hop_took_what_it_took_from_the_station_before_and_what_is_not_known_is_not_said(
    events: list[Seen], hops_ms: dict[str, float | None]
):
    placed, _, _ = timed(events, {})

    for counted in (False, True):
        first, *others = stations_of(placed, SYSTEMS | {BILLING: "billing"}, handovers_of(placed, []), counted=counted)

        assert first.hop_us is None
        assert {one.system: one.hop_us and one.hop_us / 1000 for one in others} == hops_ms


@pytest.mark.parametrize(
    ("queues", "state", "note"),
    [
        ([("q.booking", 2), ("q.stock", 1)], "failed", "failed"),
        ([("q.stock", 1), ("q.booking", 2), ("q.booking", 2)], "failed", "failed, 2 attempts"),
        ([("q.booking", 2), ("q.booking.retry", 2), ("q.stock", 1)], "failed", "failed, 2 attempts"),
        ([("q.booking", 2), ("q.stock", 1), ("q.booking_retry_0", 1)], "passed", "processed"),
        ([("q.booking", 2), (None, 1)], "passed", "processed"),
        ([("q.booking", 1), ("q.stock", 1)], "passed", "processed"),
    ],
)
def test_a_system_that_takes_a_message_from_two_of_its_queues_failed_where_it_did_in_one(
    queues: list[tuple[str | None, int]], state: str, note: str
):
    done = [
        seen(ERP, PROCESS, at * 100, 5, destination=queue, outcome=outcome)
        for at, (queue, outcome) in enumerate(queues, 1)
    ]
    placed, _, _ = timed([seen(SHOP, SEND, 0, destination="ex.orders"), *done], {})

    _, erp = stations_of(placed, SYSTEMS, handovers_of(placed, []), counted=False)

    assert (erp.state, erp.note) == (state, note)
