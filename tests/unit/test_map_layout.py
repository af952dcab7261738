"""The layout of the map: no box over another, the same picture for the same estate, whatever names and cycles there are."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as some

from messages.topology.layout import HEIGHT, MOST_LAYERS, WIDTH, Box, lay_out

NAMES = some.sampled_from([*"abcdefghijkl", "<b>x</b>", "→", "", " ", "a\nb"])
LINES = some.lists(some.tuples(NAMES, NAMES), max_size=40)


def overlap(one: Box, other: Box) -> bool:
    return abs(one.x - other.x) < WIDTH and abs(one.y - other.y) < HEIGHT


@given(some.lists(NAMES, max_size=15), LINES)
def test_no_two_boxes_overlap_and_all_are_inside(names, lines):
    found = lay_out(names, lines)

    assert {box.key for box in found.boxes} == set(names)
    for number, box in enumerate(found.boxes):
        assert 0 <= box.x <= found.width - WIDTH
        assert 0 <= box.y <= found.height - HEIGHT
        assert not any(overlap(box, other) for other in found.boxes[number + 1 :])
    known = {(a, b) for a, b in lines if a != b and {a, b} <= set(names)}
    assert {(curve.source, curve.target) for curve in found.curves} == known


@given(some.lists(NAMES, max_size=15), LINES, some.randoms())
def test_the_order_of_what_is_given_changes_nothing(names, lines, chance):
    mixed_names, mixed_lines = list(names), list(lines)
    chance.shuffle(mixed_names)
    chance.shuffle(mixed_lines)

    assert lay_out(mixed_names, mixed_lines) == lay_out(names, lines)


def test_a_chain_runs_from_left_to_right_and_a_cycle_is_cut_once():
    columns = {box.key: box.x for box in lay_out("abc", [("a", "b"), ("b", "c"), ("c", "a")]).boxes}

    assert len(set(columns.values())) == 3


@pytest.mark.parametrize("lines", [[], [("a", "a")], [("a", "z")]])
def test_a_line_to_itself_or_to_nothing_is_not_drawn(lines):
    assert lay_out(["a"], lines).curves == ()


def test_nothing_is_an_empty_picture():
    found = lay_out([], [])

    assert (found.boxes, found.curves, found.width, found.height) == ((), (), 0, 0)


def test_a_long_chain_and_a_dense_estate_stay_bounded():
    chance = random.Random(7)
    names = [f"system {number}" for number in range(40)]
    chain = lay_out(names, list(itertools.pairwise(names)))
    dense = lay_out(names, [(chance.choice(names), chance.choice(names)) for _ in range(120)])

    for found in (chain, dense):
        assert len({box.x for box in found.boxes}) <= MOST_LAYERS
        assert sum(len(curve.path) for curve in found.curves) < 60_000
