"""The order of `make test`: what is shared stays together, what is long goes first, and the lists name what there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.together import DEMO, FIRST, FIXTURES, TOGETHER, in_order, unit_of

ROOT = Path(__file__).resolve().parents[2]


def test_every_file_that_is_named_is_there():
    named = {file for files in TOGETHER.values() for file in files} | (set(FIRST) - set(TOGETHER))

    assert sorted(file for file in named if not (ROOT / file).is_file()) == []


def test_who_asks_for_a_shared_product_is_in_its_group(request: pytest.FixtureRequest):
    """Of the tests that this session has collected: all of them in `make test`."""
    strays = {
        (item.nodeid.split("::")[0], fixture)
        for item in request.session.items
        for fixture in getattr(item, "fixturenames", ())
        if fixture in FIXTURES and unit_of(item.nodeid) != FIXTURES[fixture]
    }

    assert strays == set()


def test_long_files_go_first_then_those_of_many_tests_and_the_demo_before_the_small_ones():
    many, few = [f"tests/a.py::test_{n}" for n in range(30)], ["tests/b.py::test", "tests/c.py::test[a::b]"]
    demo = [f"{file}::test" for file in TOGETHER[DEMO]]
    long = f"{TOGETHER[FIRST[0]][1]}::test"

    assert in_order([*few, *demo, *many, long]) == [FIRST[0], "tests/a.py", DEMO, "tests/b.py", "tests/c.py"]
