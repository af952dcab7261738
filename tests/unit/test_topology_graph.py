"""Counts of events → who sends to whom, and how it goes."""

from __future__ import annotations

import random

import pytest

from messages.models.stream import Operation
from messages.topology.graph import build_graph, health_of, near, of_flow, system_key
from messages.topology.picture import Addresses, draw_map, rate_words
from messages.topology.sides import Cell

NAMES = {1: "shop", 2: "erp", 3: "billing", 4: "shipping", 5: "waybill"}
SEND, TAKE, RECEIVE, CREATE = Operation.SEND, Operation.PROCESS, Operation.RECEIVE, Operation.CREATE
SHOP, ERP, BILLING, WAYBILL = system_key(1), system_key(2), system_key(3), system_key(5)
NOWHERE = Addresses(system=lambda node: f"/?{node.name}", line=lambda edges: "/")


def edges_of(*cells: Cell) -> list[tuple[str, str, str, int, int]]:
    graph = build_graph(cells, names=NAMES)
    return [(edge.source, edge.target, edge.tie, edge.count, edge.failed) for edge in graph.edges]


def test_one_who_sends_and_one_who_takes_at_a_destination_are_tied():
    found = edges_of(
        Cell(1, 1, "orders", SEND, 10, 0), Cell(1, 2, "orders", RECEIVE, 9, 0), Cell(1, 2, "orders", TAKE, 9, 2)
    )

    assert found == [(SHOP, ERP, "destination", 9, 2)]


def test_a_message_that_is_created_and_sent_is_counted_once():
    found = edges_of(
        Cell(1, 1, "orders", CREATE, 10, 0), Cell(1, 1, "orders", SEND, 10, 0), Cell(1, 2, "orders", TAKE, 10, 0)
    )

    assert found == [(SHOP, ERP, "destination", 10, 0)]


def test_a_system_sends_and_takes_as_many_as_its_lines_have():
    cells = [Cell(1, 1, "orders", operation, 120, 3) for operation in (CREATE, SEND)]
    cells += [Cell(1, 2, "orders", operation, 117, 8) for operation in (RECEIVE, TAKE, Operation.SETTLE)]
    cells += [Cell(1, 2, "orders", Operation.OTHER, 5, 0), Cell(1, 2, "returns", TAKE, 10, 0)]

    nodes = build_graph(cells, names=NAMES).nodes

    told = {
        key: (one.sent, one.taken, one.processed, one.count, one.failed) for key, one in nodes.items() if one.system_id
    }
    assert told == {SHOP: (120, 0, 0, 120, 3), ERP: (0, 127, 127, 132, 8)}


def test_a_try_that_failed_to_be_processed_and_to_be_settled_failed_once():
    found = edges_of(
        Cell(1, 1, "orders", CREATE, 44, 4), Cell(1, 1, "orders", SEND, 44, 4), Cell(1, 2, "orders", RECEIVE, 40, 0),
        Cell(1, 2, "orders", TAKE, 40, 4), Cell(1, 2, "orders", Operation.SETTLE, 40, 4),
    )  # fmt: skip

    assert found == [(SHOP, ERP, "destination", 44, 8)]


def test_an_exchange_and_a_queue_bound_to_it_are_tied_by_their_flow():
    found = edges_of(Cell(1, 1, "exchange", SEND, 5, 0), Cell(1, 2, "queue", TAKE, 5, 0))

    assert found == [(SHOP, ERP, "flow", 5, 0)]


def test_each_line_of_a_flow_has_the_destinations_of_its_own_sender_and_receiver():
    graph = build_graph(
        [
            Cell(1, 1, "ex.orders", SEND, 9, 0), Cell(1, 2, "q.erp", TAKE, 9, 0), Cell(1, 3, "q.mail", TAKE, 8, 0),
            Cell(1, 3, "q.a", RECEIVE, 1, 0),
        ],
        names=NAMES,
    )  # fmt: skip

    assert {edge.target: edge.destination for edge in graph.edges} == {
        ERP: "ex.orders → q.erp",
        BILLING: "ex.orders → q.mail",
    }


def test_destinations_of_different_flows_are_not_tied():
    graph = build_graph([Cell(1, 1, "orders", SEND, 5, 0), Cell(2, 2, "orders", TAKE, 4, 0)], names=NAMES)

    assert [(edge.tie, edge.count) for edge in graph.edges] == [("nobody", 5), ("nobody", 4)]
    assert [node.name for node in graph.nodes.values() if node.kind == "unknown"] == ["receiver", "sender"]
    assert [(edge.source == SHOP, edge.target == ERP) for edge in graph.edges] == [(True, False), (False, True)]


def test_several_senders_share_what_was_taken():
    found = edges_of(
        Cell(1, 1, "orders", SEND, 30, 0), Cell(1, 3, "orders", SEND, 10, 0), Cell(1, 2, "orders", TAKE, 40, 8)
    )

    assert found == [(SHOP, ERP, "destination", 30, 6), (BILLING, ERP, "destination", 10, 2)]


def test_a_line_from_one_sender_is_what_its_receiver_did_whatever_waits():
    backlog = build_graph(
        [Cell(1, 1, "orders", SEND, 1000, 0), Cell(1, 2, "orders", TAKE, 50, 10), Cell(1, 3, "orders", TAKE, 50, 0)],
        names=NAMES,
    )
    batches = build_graph(
        [Cell(1, 1, "topic", SEND, 300, 0), Cell(1, 2, "topic", RECEIVE, 4, 0), Cell(1, 3, "topic", TAKE, 10, 4)],
        names=NAMES,
    )

    found = [[(one.count, one.failed, one.health, one.about) for one in graph.edges] for graph in (backlog, batches)]

    assert found == [
        [(50, 10, "failing", False), (50, 0, "well", False)],
        [(4, 0, "well", False), (10, 4, "failing", False)],
    ]


def test_of_several_senders_each_has_its_share_of_what_failed():
    found = edges_of(
        Cell(1, 1, "orders", SEND, 6, 0), Cell(1, 3, "orders", SEND, 2, 0), Cell(1, 2, "orders", TAKE, 8, 6)
    )

    assert found == [(SHOP, ERP, "destination", 6, 5), (BILLING, ERP, "destination", 2, 1)]


def test_what_a_sender_failed_to_send_is_tries_of_its_own_line():
    found = edges_of(
        Cell(1, 1, "orders", SEND, 60, 0), Cell(1, 3, "orders", SEND, 20, 20), Cell(1, 2, "orders", TAKE, 60, 0)
    )

    assert found == [(SHOP, ERP, "destination", 60, 0), (BILLING, ERP, "destination", 20, 20)]


@pytest.mark.parametrize(
    ("senders", "takers", "about"),
    [
        ([(5, 0)], [(4, 1), (3, 0)], False),  # whoever took it, it was this one's
        ([(5, 1)], [(4, 1), (3, 0)], True),  # which of the two was the failed one for?
        ([(5, 0), (3, 0)], [(8, 0)], False),  # all of it was taken, and went well
        ([(5, 0), (3, 0)], [(8, 1)], True),
        ([(5, 0), (3, 0)], [(7, 0)], True),
        ([(5, 0), (3, 0)], [(4, 0), (4, 0)], True),
    ],
)
def test_a_share_is_said_to_be_one(senders, takers, about):
    cells = [Cell(1, 10 + at, "orders", SEND, *side) for at, side in enumerate(senders)]
    cells += [Cell(1, 20 + at, "orders", TAKE, *side) for at, side in enumerate(takers)]
    graph = build_graph(cells, names={cell.system_id: f"system {cell.system_id}" for cell in cells})

    words = [line.words for line in draw_map(graph, minutes=1, addresses=NOWHERE).lines]

    assert {edge.about for edge in graph.edges} == {about}
    assert all((": about" in one) is about for one in words)


AT_EXCHANGE, FAILING = Cell(1, 1, "ex", SEND, 1000, 0), Cell(1, 2, "q", TAKE, 1121, 120)
REPLAYS, REQUEUED = Cell(1, 5, "q", SEND, 3, 0), Cell(1, 3, "q", SEND, 5, 0)


@pytest.mark.parametrize(
    ("cells", "lines"),
    [
        ([AT_EXCHANGE, FAILING, REPLAYS], [(WAYBILL, ERP, 3, 0, True), (SHOP, ERP, 1118, 120, True)]),
        ([FAILING, REPLAYS], [(WAYBILL, ERP, 3, 0, True), ("unknown", ERP, 1118, 120, True)]),
        ([Cell(1, 1, "q", SEND, 1000, 0), FAILING, REPLAYS], [(WAYBILL, ERP, 3, 0, True), (SHOP, ERP, 1118, 120, True)]),
        ([AT_EXCHANGE, FAILING, Cell(1, 5, "ex", SEND, 3, 0)], [(WAYBILL, ERP, 3, 0, True), (SHOP, ERP, 1118, 120, True)]),
        ([FAILING, Cell(1, 5, "ex", SEND, 3, 0)], [(WAYBILL, ERP, 3, 0, True), ("unknown", ERP, 1118, 120, True)]),
        (  # another sends again as well
            [AT_EXCHANGE, FAILING, REPLAYS, REQUEUED],
            [(BILLING, ERP, 5, 1, True), (WAYBILL, ERP, 3, 0, True), (SHOP, ERP, 1113, 119, True)],
        ),
        (  # of another queue of the exchange nothing was sent again
            [AT_EXCHANGE, FAILING, REPLAYS, Cell(1, 4, "q2", TAKE, 900, 9)],
            [(WAYBILL, ERP, 3, 0, True), (SHOP, ERP, 1118, 120, True), (SHOP, system_key(4), 900, 9, False)],
        ),
        (  # all were there, and went well
            [AT_EXCHANGE, Cell(1, 2, "q", TAKE, 1003, 0), REPLAYS],
            [(WAYBILL, ERP, 3, 0, False), (SHOP, ERP, 1000, 0, False)],
        ),
        (  # most of it waits
            [AT_EXCHANGE, Cell(1, 2, "q", TAKE, 150, 0), Cell(1, 5, "q", SEND, 200, 0)],
            [(WAYBILL, ERP, 75, 0, True), (SHOP, ERP, 75, 0, True)],
        ),
        ([Cell(1, 2, "q", TAKE, 150, 0), Cell(1, 5, "q", SEND, 200, 0)], [(WAYBILL, ERP, 150, 0, False)]),
        (  # none of them left
            [AT_EXCHANGE, FAILING, Cell(1, 5, "q", SEND, 3, 3)],
            [(WAYBILL, ERP, 3, 3, False), (SHOP, ERP, 1121, 120, False)],
        ),
    ],
)  # fmt: skip
def test_who_sends_again_what_another_sent_has_at_most_what_it_sent(cells, lines):
    graph = build_graph(cells, names=NAMES)

    found = {
        (edge.source.partition(" 1 ")[0], *(edge.target, edge.count, edge.failed, edge.about)) for edge in graph.edges
    }

    assert found == set(lines)


@pytest.mark.parametrize(
    ("again", "taken", "lines"),
    [
        (1, (201, 0), [(BILLING, 1, 0, False), (SHOP, 200, 0, False)]),
        (1, (201, 201), [(BILLING, 1, 1, True), (SHOP, 200, 200, True)]),
        (200, (400, 200), [(BILLING, 200, 100, True), (SHOP, 200, 100, True)]),
    ],
)
def test_who_sends_into_a_queue_does_not_cut_off_who_sends_to_its_exchange(again, taken, lines):
    graph = build_graph(
        [Cell(1, 1, "ex", SEND, 200, 0), Cell(1, 2, "q", TAKE, *taken), Cell(1, 3, "q", SEND, again, 0)], names=NAMES
    )

    assert [(one.source, one.count, one.failed, one.about) for one in graph.edges] == lines


def test_what_is_tried_again_is_of_who_sent_it_though_others_of_its_flow_send_on_to_nobody_known():
    hops = [
        Cell(1, 1, "in", SEND, 100, 0), Cell(1, 2, "in", TAKE, 900, 800), Cell(1, 2, "mid", SEND, 100, 0),
        Cell(1, 3, "mid", TAKE, 130, 0), Cell(1, 3, "out", SEND, 130, 0),
    ]  # fmt: skip
    copies = [Cell(2, 1, "in", SEND, 100, 0), Cell(2, 2, "in", TAKE, 130, 30), Cell(2, 4, "audit", SEND, 500, 0)]

    tied = [[one for one in edges_of(*cells) if one[2] != "nobody"] for cells in (hops, copies)]

    assert tied == [
        [(SHOP, ERP, "destination", 900, 800), (ERP, BILLING, "destination", 130, 0)],
        [(SHOP, ERP, "destination", 130, 30)],
    ]


def test_a_receiver_that_puts_back_does_not_cut_off_who_sends_to_the_exchange():
    found = edges_of(Cell(1, 1, "ex", SEND, 100, 0), Cell(1, 2, "q", TAKE, 120, 20), Cell(1, 2, "q", SEND, 20, 0))

    assert found == [(SHOP, ERP, "flow", 120, 20)]


def test_lines_are_together_what_was_taken_and_what_was_not_sent_and_none_failed_more_often_than_it_tried():
    chosen = random.Random(7)
    names = {number: f"system {number}" for number in range(8)} | {0: "waybill"}
    for _ in range(500):
        sides = [(number, chosen.choice([3, 40, 1000])) for number in chosen.sample(range(8), chosen.randint(2, 8))]
        cells = [
            Cell(1, number, "orders", SEND if at < len(sides) // 2 else TAKE, count, chosen.choice([0, 1, count // 2, count]))
            for at, (number, count) in enumerate(sides)
        ]  # fmt: skip

        edges = build_graph(cells, names=names).edges

        taken = sum(cell.count for cell in cells if cell.operation == TAKE)
        unsent = sum(cell.failed for cell in cells if cell.operation == SEND)
        assert sum(edge.count for edge in edges) == taken + unsent
        assert sum(edge.failed for edge in edges) == sum(cell.failed for cell in cells)
        assert all(0 <= edge.failed <= edge.count for edge in edges)
        went = sum(cell.count - cell.failed for cell in cells if (cell.system_id, cell.operation) == (0, SEND))
        assert all(
            edge.count - edge.unsent <= went
            for edge in edges
            if edge.source == system_key(0) and edge.tie == "destination"
        )


def test_a_receiver_that_puts_back_what_it_could_not_do_is_no_sender_to_itself():
    found = edges_of(
        Cell(1, 1, "orders", SEND, 10, 0), Cell(1, 2, "orders", SEND, 1, 0), Cell(1, 2, "orders", TAKE, 11, 0)
    )

    assert found == [(SHOP, ERP, "destination", 11, 0)]


def test_many_who_send_and_many_who_take_meet_at_the_destination():
    names = {number: f"system {number}" for number in range(20)}
    cells = [Cell(1, number, "bus", SEND if number < 10 else TAKE, 1, 0) for number in range(20)]

    graph = build_graph(cells, names=names)

    assert len(graph.edges) == 20
    assert [node.name for node in graph.nodes.values() if node.kind == "destination"] == ["bus"]


def test_a_system_without_a_name_for_the_reader_is_not_there():
    graph = build_graph([Cell(1, 99, "orders", SEND, 5, 0)], names=NAMES, waiting={(1, 99): 4})

    assert (graph.nodes, graph.edges) == ({}, [])


@pytest.mark.parametrize(
    ("count", "failed", "waiting", "quiet", "health"),
    [
        (100, 0, 0, False, "well"),
        (100, 4, 0, False, "failures"),
        (100, 5, 0, False, "failing"),
        (100, 0, 1, False, "failing"),
        (100, 0, 0, True, "quiet"),
        (100, 1, 0, True, "failures"),
    ],
)
def test_health_is_the_worst_of_what_is_known(count, failed, waiting, quiet, health):
    graph = build_graph(
        [Cell(1, 1, "orders", SEND, count, failed)], names=NAMES, waiting={(1, 1): waiting}, quiet=[1] if quiet else []
    )

    assert graph.nodes[SHOP].health == health


def test_health_of_an_estimate_never_divides_by_nothing():
    assert [health_of(0, 0), health_of(0, 3), health_of(100, 1)] == ["well", "failing", "failures"]


def test_a_click_shows_neighbours_or_the_stations_of_a_flow():
    graph = build_graph(
        [
            Cell(1, 1, "orders", SEND, 5, 0), Cell(1, 2, "orders", TAKE, 5, 0), Cell(2, 2, "invoices", SEND, 5, 0),
            Cell(2, 3, "invoices", TAKE, 5, 0), Cell(3, 4, "alone", Operation.OTHER, 1, 0),
        ],
        names=NAMES,
    )  # fmt: skip

    assert set(near(graph, SHOP).nodes) == {SHOP, ERP}
    assert set(of_flow(graph, 2).nodes) == {ERP, BILLING}
    assert set(of_flow(graph, 3).nodes) == {system_key(4)}


def test_of_many_systems_the_worst_are_drawn_and_the_rest_are_counted():
    names = {number: f"system {number}" for number in range(200)}
    cells = [
        Cell(number, number % 200, f"q{number}", SEND if number % 2 else TAKE, 10, int(number == 150))
        for number in range(400)
    ]

    drawn = draw_map(build_graph(cells, names=names), minutes=60, addresses=NOWHERE)

    assert len(drawn.boxes) == 40
    assert drawn.hidden == 160
    assert "system 150" in {box.name for box in drawn.boxes}


def test_the_one_that_is_looked_at_is_always_drawn():
    names = {number: f"system {number:03}" for number in range(200)}
    cells = [Cell(1, number, "q", SEND, 1, int(number < 100)) for number in range(200)]

    drawn = draw_map(build_graph(cells, names=names), minutes=60, addresses=NOWHERE, focus=system_key(199))

    assert [box.name for box in drawn.boxes if box.focus] == ["system 199"]


@pytest.mark.parametrize(
    ("count", "minutes", "words"),
    [
        (0, 60, "0"),
        (1, 1440, "<0.01"),
        (60, 1440, "0.04"),
        (72, 60, "1.2"),
        (60, 60, "1"),
        (282_660, 60, "4,711"),
        (3, 0, "3"),
    ],
)
def test_a_rate_above_nothing_never_looks_like_nothing(count, minutes, words):
    assert rate_words(count, minutes) == words
