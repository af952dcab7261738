"""Hop latency: what of it was the queue, what processing, what between attempts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from messages.journeys.hops import Figures, handovers_of, hops_of, waits_of
from messages.journeys.seen import Seen, attempts_of, timed

START = datetime(2026, 11, 26, 8, tzinfo=UTC)
TRACE, OTHER, MESSAGE = UUID(int=1), UUID(int=2), UUID(int=9)
SHOP, ERP, CRM = 1, 2, 3
SYSTEMS = {SHOP: "shop", ERP: "erp", CRM: "crm"}


def seen(system: int, operation: int, at_ms: float, took_ms: float = 0, **more: Any) -> Seen:
    fields: dict[str, Any] = {
        "id": uuid4(), "occurred_at": START + timedelta(milliseconds=at_ms), "trace_id": TRACE, "span_id": None, "parent_span_id": None,
        "message_uid": MESSAGE, "agent_id": system, "system_id": system, "operation": operation, "outcome": 1, "destination": "orders",
        "duration_us": int(took_ms * 1000), "clamped_from": None, "correlation_id": None,
    }  # fmt: skip
    return Seen(**(fields | more))


CREATE, SEND, RECEIVE, PROCESS, SETTLE = 1, 2, 3, 4, 5


@pytest.mark.parametrize(
    ("events", "queue_ms", "processing_ms", "retry_ms", "attempts"),
    [
        ([seen(SHOP, SEND, 0, 2), seen(ERP, PROCESS, 10, 5)], 8, 5, 0, 1),
        ([seen(SHOP, SEND, 0, 2), seen(ERP, RECEIVE, 7, 1), seen(ERP, PROCESS, 10, 5), seen(ERP, SETTLE, 15)], 8, 5, 0, 1),
        ([seen(SHOP, SEND, 0, 2), seen(ERP, RECEIVE, 7, 1)], 5, 1, 0, 1),
        ([seen(ERP, RECEIVE, 0, 50), seen(SHOP, SEND, 20, 2)], 28, 0, 0, 1),  # a long poll that began before there was anything
        ([seen(SHOP, SEND, 0, 30), seen(ERP, PROCESS, 10, 5)], 0, 5, 0, 1),  # the confirmation came after the receiver was at work
        ([seen(SHOP, SEND, 0), seen(ERP, PROCESS, 10, 5, outcome=2), seen(ERP, PROCESS, 115, 5)], 10, 10, 100, 2),
        ([seen(SHOP, SEND, 0), seen(ERP, PROCESS, 10, outcome=2), seen(ERP, PROCESS, 115)], 10, 0, 105, 2),  # that took no time
        ([seen(SHOP, SEND, 0), seen(ERP, PROCESS, 10, 50), seen(ERP, PROCESS, 20, 5)], 10, 50, 0, 1),  # one span inside another
        ([seen(SHOP, SEND, 0), seen(SHOP, SEND, 100), seen(ERP, PROCESS, 110, 5)], 10, 5, 0, 1),  # sent again: the last before it counts
    ],
    ids=["plain", "received first", "received only", "long poll", "late confirmation", "retry", "retry at once", "nested", "sent twice"],
)  # fmt: skip
def test_a_hop_is_split(events: list[Seen], queue_ms: int, processing_ms: int, retry_ms: int, attempts: int):
    placed, _, _ = timed(events, {})

    (one,) = handovers_of(placed, [])

    assert (one.queue_us, one.processing_us, one.retry_us, one.attempts) == (
        queue_ms * 1000, processing_ms * 1000, retry_ms * 1000, attempts,
    )  # fmt: skip


def test_a_batch_send_is_the_sending_of_each_message_whose_creating_it_links_to():
    uids = [UUID(int=20 + number) for number in range(3)]
    created = [seen(SHOP, CREATE, at, 1, message_uid=uid, span_id=f"c{at}") for at, uid in enumerate(uids)]
    batch = seen(SHOP, SEND, 5, 5, message_uid=None, span_id="batch")
    taken = [seen(ERP, PROCESS, 30 + 10 * at, 5, message_uid=uid, span_id=f"p{at}") for at, uid in enumerate(uids)]
    links = [(TRACE, "batch", TRACE, one.span_id) for one in created]
    placed, _, _ = timed([*created, batch, *taken], {})

    (hop,) = hops_of(handovers_of(placed, links), SYSTEMS)

    assert (hop.sender, hop.receiver, hop.messages, hop.attempts) == ("shop", "erp", 3, 1)
    assert (hop.queue, hop.processing) == (
        Figures(median_us=30_000, longest_us=40_000),
        Figures(median_us=5_000, longest_us=5_000),
    )


def test_each_receiver_of_one_message_has_a_hop_of_its_own_and_one_that_failed_comes_first():
    events = [seen(SHOP, SEND, 0), seen(ERP, PROCESS, 10, 1), seen(CRM, PROCESS, 30, 1, outcome=2)]
    placed, _, _ = timed(events, {})

    hops = hops_of(handovers_of(placed, []), SYSTEMS)

    assert [(one.receiver, one.failed, one.queue.longest_us) for one in hops] == [
        ("crm", 1, 30_000),
        ("erp", 0, 10_000),
    ]


def test_a_batch_receive_is_a_hop_of_each_message_that_it_links_to():
    sends = [seen(SHOP, SEND, 10 * n, 1, message_uid=UUID(int=100 + n), span_id=f"{n:016x}") for n in range(3)]
    batch = seen(ERP, RECEIVE, 40, 5, message_uid=None, trace_id=OTHER, span_id="b" * 16)
    placed, _, _ = timed([*sends, batch], {})
    links = [(OTHER, "b" * 16, TRACE, f"{n:016x}") for n in range(3)]

    (hop,) = hops_of(handovers_of(placed, links), SYSTEMS)

    assert (hop.messages, hop.batches) == (3, 3)
    assert hop.queue == Figures(median_us=29_000, longest_us=39_000)


def test_a_batch_receive_waited_as_long_as_the_message_of_it_that_waited_longest():
    sends = [seen(SHOP, SEND, 10 * n, 1, message_uid=UUID(int=100 + n), span_id=f"{n:016x}") for n in range(3)]
    batch = seen(ERP, PROCESS, 40, 5, message_uid=None, trace_id=OTHER, span_id="b" * 16)
    alone = [seen(SHOP, SEND, 50), seen(ERP, PROCESS, 52)]
    placed, _, _ = timed([*sends, batch, *alone], {})
    links = [(OTHER, "b" * 16, TRACE, f"{n:016x}") for n in range(3)]

    waits = waits_of(handovers_of(placed, links))

    assert waits == {batch.id: 39_000, alone[1].id: 2_000}


def test_what_nobody_sent_or_nobody_took_is_no_hop():
    placed, _, _ = timed(
        [seen(SHOP, SEND, 0), seen(ERP, PROCESS, 5, message_uid=UUID(int=5)), seen(ERP, SETTLE, 6)], {}
    )

    assert handovers_of(placed, []) == []


def test_a_message_that_goes_on_under_its_id_was_sent_by_who_sent_it_to_where_it_was_taken():
    """The ERP sends it on, fails, and tries again: that attempt took what the shop sent, and the CRM what the ERP sent first."""
    events = [
        seen(SHOP, SEND, 0),
        seen(ERP, PROCESS, 10, 5, outcome=2),
        seen(ERP, SEND, 12, destination="contacts"),
        seen(ERP, PROCESS, 100, 5),
        seen(CRM, RECEIVE, 5, 15, destination="contacts"),  # a long poll that began before
        seen(SHOP, PROCESS, 130, 1, destination="a queue behind an exchange"),
    ]
    placed, _, _ = timed(events, {})

    hops = hops_of(handovers_of(placed, []), SYSTEMS)

    assert {(one.sender, one.receiver, one.attempts, one.failed, one.queue.longest_us) for one in hops} == {
        ("shop", "erp", 2, 0, 10_000),
        ("erp", "crm", 1, 0, 8_000),
        ("erp", "shop", 1, 0, 118_000),
    }


def test_a_long_poll_took_what_was_sent_before_its_end_and_a_receive_with_work_inside_what_was_sent_before_its_beginning():
    def figures_of(*taken: Seen) -> list[tuple[int, int, int, int]]:
        placed, _, _ = timed([seen(SHOP, SEND, 0), seen(SHOP, SEND, 60_000), *taken], {})
        found = handovers_of(placed, [])
        return [(one.queue_us, one.processing_us, one.retry_us, one.attempts) for one in found]

    polls = [seen(ERP, RECEIVE, 40, 5), seen(ERP, RECEIVE, 950, 59_140)]
    works = [seen(ERP, PROCESS, 41, 5), seen(ERP, PROCESS, 60_091, 5)]
    around = [seen(ERP, RECEIVE, 40, 60_050), seen(ERP, PROCESS, 41, 60_040)]

    assert figures_of(*polls) == [(40_000, 5_000, 0, 1), (90_000, 0, 0, 1)]
    assert figures_of(*polls, *works) == [(41_000, 5_000, 0, 1), (91_000, 5_000, 0, 1)]
    assert figures_of(*around) == [(41_000, 60_040_000, 0, 1)]


def test_a_hop_has_failed_when_the_last_that_was_told_of_it_is_a_failure_and_a_message_given_back_tells_nothing():
    def failed(*further: Seen) -> list[int]:
        placed, _, _ = timed([seen(SHOP, SEND, 0), seen(ERP, PROCESS, 10, 5), *further], {})
        return [one.failed for one in hops_of(handovers_of(placed, []), SYSTEMS)]

    assert failed(seen(ERP, RECEIVE, 20, 1, outcome=2)) == [1]
    assert failed(seen(ERP, PROCESS, 20, 5, outcome=2), seen(ERP, SETTLE, 30, outcome=0)) == [1]
    assert failed(seen(ERP, PROCESS, 20, 5, outcome=2), seen(ERP, SETTLE, 30, outcome=1)) == [0]


def test_two_queues_of_one_system_are_two_hops_and_those_of_its_retries_are_attempts():
    events = [
        seen(SHOP, SEND, 0, destination="ex.orders"),
        *(
            seen(ERP, PROCESS, at, 5, outcome=2, destination=queue)
            for at, queue in ((10, "q.booking"), (110, "q.booking.retry-1"))
        ),
        seen(ERP, PROCESS, 2_010, 20, destination="q.stock"),
        seen(ERP, SETTLE, 2_031, destination="q.stock"),
    ]
    placed, _, _ = timed(events, {})

    booking, stock = hops_of(handovers_of(placed, []), SYSTEMS)

    assert (booking.destination, booking.messages, booking.failed, booking.attempts) == ("q.booking", 1, 1, 2)
    assert (stock.destination, stock.messages, stock.failed, stock.attempts) == ("q.stock", 1, 0, 1)
    assert (booking.retry.longest_us, stock.retry.longest_us, stock.queue.longest_us) == (95_000, 0, 2_010_000)
    assert attempts_of(placed) == {events[1].id: 1, events[2].id: 2}


def test_one_queue_under_two_names_of_a_receipt_and_its_work_is_one_hop():
    events = [
        seen(SHOP, SEND, 0, destination="ex.orders"),
        seen(ERP, RECEIVE, 10, 1, destination="ex.orders:created"),
        seen(ERP, PROCESS, 12, 5, destination="q.booking"),
        seen(ERP, SETTLE, 18, destination=None),
    ]
    placed, _, _ = timed(events, {})

    (one,) = hops_of(handovers_of(placed, []), SYSTEMS)

    assert (one.destination, one.messages, one.attempts, one.queue.longest_us) == ("ex.orders", 1, 1, 12_000)
