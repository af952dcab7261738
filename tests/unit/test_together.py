"""The order of `make test`: what is shared stays together, what is long goes first, and the lists name what there is."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.ending import ENDS, pytest_fixture_setup, stop_others
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


def test_long_files_go_first_then_those_of_many_tests():
    many, few = [f"tests/a.py::test_{n}" for n in range(30)], ["tests/b.py::test", "tests/c.py::test[a::b]"]
    long = [f"{TOGETHER[unit][1]}::test" for unit in reversed(FIRST[:2])]

    assert in_order([*few, *many, *long]) == [*FIRST[:2], "tests/a.py", "tests/b.py", "tests/c.py"]


def test_a_shared_product_stops_when_its_worker_goes_on_to_another_unit():
    session, stopped = SimpleNamespace(stash=pytest.Stash()), []
    for name in ("shared", "demo", "tmp_path"):
        finish = partial(lambda name, request: stopped.append(name), name)
        pytest_fixture_setup(SimpleNamespace(argname=name, finish=finish), SimpleNamespace(session=session))

    so_far = []
    for unit in (DEMO, DEMO, "tests/a.py", "tests/b.py"):
        stop_others(session, unit)  # type: ignore[arg-type]
        so_far.append(list(stopped))

    assert so_far == [["shared"], ["shared"], ["shared", "demo"], ["shared", "demo"]]


def test_the_hook_is_asked_about_fixtures_of_the_session(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(FIXTURES, "one_of_the_session", "tests/unit/test_together.py")

    request.getfixturevalue("one_of_the_session")

    assert request.session.stash[ENDS].pop("one_of_the_session")


@pytest.fixture(scope="session")
def one_of_the_session() -> None: ...
