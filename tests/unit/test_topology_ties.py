"""Flows that are one on their way: which exchange's messages a queue has, by the messages themselves."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from messages.models.stream import Operation
from messages.topology.graph import build_graph, system_key
from messages.topology.sides import Cell
from messages.topology.ties import sending_and_fed, ties_of

NAMES = {1: "shop", 2: "erp", 3: "billing", 4: "gateway", 5: "waybill", 6: "portal"}
SEND, TAKE = Operation.SEND, Operation.PROCESS
SHOP, WAYBILL = system_key(1), system_key(5)
EX, QUEUE, EX2, QUEUE2, HIDDEN = 1, 2, 3, 4, 99


def test_a_queue_keeps_its_exchange_when_its_letters_were_replayed_into_it():
    cells = [
        Cell(1, 1, "ex.orders", SEND, 100, 0), Cell(2, 2, "q.orders", TAKE, 105, 5), Cell(2, 5, "q.orders", SEND, 5, 0)
    ]  # fmt: skip

    assert sending_and_fed(cells, 5) == ({1}, {2})
    graph = build_graph(cells, names=NAMES, ties={2: {1: 100}})

    assert {(edge.source, edge.count, edge.tie, edge.taken_in) for edge in graph.edges} == {
        (SHOP, 100, "messages", 2),
        (WAYBILL, 5, "destination", 2),
    }


def test_a_queue_into_which_somebody_sends_most_of_what_is_taken_is_fed_by_no_other_flow():
    cells = [
        Cell(1, 1, "ex.orders", SEND, 100, 0), Cell(2, 1, "q.orders", SEND, 60, 0), Cell(2, 2, "q.orders", TAKE, 100, 0)
    ]  # fmt: skip

    assert sending_and_fed(cells, 5) == ({1}, set())


def test_queues_that_are_tied_to_their_exchange_have_the_lines_of_one_flow():
    chosen = random.Random(7)
    for _ in range(300):
        cells = [
            Cell(1, number, "ex", SEND, chosen.choice([3, 40, 1000]), chosen.choice([0, 2]))
            for number in chosen.sample(range(3), 2)
        ]
        for queue in range(2, chosen.randint(3, 5)):
            taken = chosen.choice([10, 300])
            cells.append(Cell(queue, queue + 1, f"q{queue}", TAKE, taken, chosen.choice([0, taken // 2])))
            cells += [Cell(queue, 5, f"q{queue}", SEND, 2, 0)] * chosen.randint(0, 1)
        names = NAMES | {number: f"system {number}" for number in (0, 6, 7)}
        _, fed = sending_and_fed(cells, 5)

        tied = build_graph(cells, names=names, ties={queue: {1: 7} for queue in fed}).edges
        ruled = build_graph([replace(cell, flow_id=1) for cell in cells], names=names).edges

        assert [replace(edge, tie="", taken_in=None) for edge in tied] == [replace(edge, tie="") for edge in ruled]
        assert (
            {edge.taken_in for edge in tied if edge.tie == "messages"} <= fed == {cell.flow_id for cell in cells} - {1}
        )


def lines(cells, same):
    """Return (sender, receiver, tries, failed) of each line, each ending named, `?` what nobody reported."""
    graph = build_graph(cells, names=NAMES, ties=ties_of(cells, same, 5))
    name = {key: node.name if node.kind == "system" else "?" for key, node in graph.nodes.items()}
    return {(name[one.source], name[one.target], one.count, one.failed) for one in graph.edges}


FANNED = [Cell(EX, 1, "ex", SEND, 100, 0), Cell(QUEUE, 2, "q", TAKE, 100, 20)]


@pytest.mark.parametrize(
    ("more", "same", "expected"),
    [
        pytest.param([], [({EX, QUEUE}, 100)], {("shop", "erp", 100, 20)}, id="a queue bound to an exchange"),
        pytest.param(
            [Cell(EX2, 2, "q.retry", SEND, 20, 0), Cell(EX2, 2, "q.retry", TAKE, 20, 4)], [({EX, QUEUE}, 80), ({EX, QUEUE, EX2}, 20)],
            {("shop", "erp", 100, 20), ("erp", "erp", 20, 4)}, id="who failed it sends it on to a retry queue",
        ),
        pytest.param(
            [Cell(EX2, 2, "q.dlq", SEND, 20, 0)], [({EX, QUEUE}, 80), ({EX, QUEUE, EX2}, 20)],
            {("shop", "erp", 100, 20), ("erp", "?", 20, 0)}, id="who failed it sends it on to where nobody takes",
        ),
        pytest.param(
            [Cell(EX2, 2, "ex2", SEND, 100, 0), Cell(QUEUE2, 3, "q2", TAKE, 100, 8)], [({EX, QUEUE, EX2, QUEUE2}, 100)],
            {("shop", "erp", 100, 20), ("erp", "billing", 100, 8)}, id="a bridge",
        ),
        pytest.param(
            [Cell(QUEUE2, 2, "q2", SEND, 100, 0), Cell(QUEUE2, 3, "q2", TAKE, 100, 8)], [({EX, QUEUE, QUEUE2}, 100)],
            {("shop", "erp", 100, 20), ("erp", "billing", 100, 8)}, id="a bridge straight into a queue",
        ),
        pytest.param(
            [Cell(EX2, 6, "ex2", SEND, 100, 0)], [({EX, QUEUE, EX2}, 100)],
            {("shop", "?", 100, 0), ("portal", "?", 100, 0), ("?", "erp", 100, 20)}, id="two sent the same and nobody says who before whom",
        ),
        pytest.param([], [({EX, QUEUE}, 60), ({HIDDEN, QUEUE}, 40)], {("shop", "erp", 60, 12), ("?", "erp", 40, 8)}, id="a hidden exchange"),
        pytest.param([], [({EX, QUEUE}, 60), ({QUEUE}, 40)], {("shop", "erp", 60, 12), ("?", "erp", 40, 8)}, id="a sender that reports nothing"),
        pytest.param([], [({HIDDEN, QUEUE}, 100)], {("shop", "?", 100, 0), ("?", "erp", 100, 20)}, id="all of it of a hidden exchange"),
    ],
)  # fmt: skip
def test_what_was_taken_is_of_who_sent_it_last_before_or_of_nobody(more, same, expected):
    assert lines([*FANNED, *more], same) == expected
