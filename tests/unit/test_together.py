"""The order of `make test`: what is shared stays together, what is long goes first, and the lists name what there is."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests import ending
from tests.ending import ENDS, note_places, pytest_fixture_setup, stop_what_is_over
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


def test_long_files_go_first_then_those_that_share_engines_then_those_of_many_tests():
    many, few = [f"tests/a.py::test_{n}" for n in range(30)], ["tests/b.py::test", "tests/c.py::test[a::b]"]
    demo = [f"{file}::test" for file in TOGETHER[DEMO]]
    long = f"{TOGETHER[FIRST[0]][1]}::test"

    found = in_order([*few, *demo, *many, long], early={DEMO, "tests/c.py"})

    assert found == [FIRST[0], DEMO, "tests/c.py", "tests/a.py", "tests/b.py"]


def test_what_is_shared_stops_when_nothing_from_the_next_test_on_may_ask_for_it():
    session, ended = SimpleNamespace(stash=pytest.Stash()), []

    def item(nodeid: str, *names: str) -> Any:
        return SimpleNamespace(nodeid=nodeid, fixturenames=names, stash=pytest.Stash(), session=session)

    def start(name: str) -> None:
        pytest_fixture_setup(
            SimpleNamespace(argname=name, finish=lambda request: ended.append(name)), SimpleNamespace(session=session)
        )

    items = [
        item("tests/a.py::test_1", "shared", "tmp_path"),
        item("tests/a.py::test_2"),
        item("tests/b.py::test", "demo"),
        item("tests/c.py::test"),
    ]
    note_places(session, items, {"tests/a.py": 0, "tests/b.py": 1, "tests/c.py": 2})
    so_far = []
    for one, following in itertools.zip_longest(items, items[1:]):
        for name in one.fixturenames:
            start(name)
        stop_what_is_over(one, following)
        so_far.append(list(ended))

    assert so_far == [[], ["shared"], ["shared", "demo"], ["shared", "demo"]]


def test_a_fixture_of_the_session_is_told_to_the_hook(demo_of_a_session: None, request: pytest.FixtureRequest):
    assert "demo_of_a_session" in request.session.stash[ENDS]


@pytest.fixture(scope="module", autouse=True)
def shares_one_more() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ending, "SHARED", (*ending.SHARED, "demo_of_a_session"))
        yield


@pytest.fixture(scope="session")
def demo_of_a_session() -> None: ...
