"""Stops what tests share as soon as none that is left can ask for it: an idle product costs a tenth of a core, one with the demo a sixth.

A worker of xdist is handed units in the order in which it collected: of what comes after its next test, nothing lies before that.
What is asked for once more all the same is started once more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import pytest

from tests.together import unit_of

# fixtures of the session; not brokers: they idle at some per cent, and are asked for by name while tests run
SHARED = ("demo", "shared")
LAST = pytest.StashKey[Mapping[str, int]]()
PLACE = pytest.StashKey[int]()
ENDS = pytest.StashKey[dict[str, Callable[[], None]]]()


def asked_for(item: pytest.Item) -> set[str]:
    """Return what this test may ask for of what is shared."""
    return set(getattr(item, "fixturenames", ())) & set(SHARED)


def units_that_share(items: Iterable[pytest.Item]) -> set[str]:
    return {unit_of(item.nodeid) for item in items if asked_for(item)}


def note_places(session: pytest.Session, items: Iterable[pytest.Item], places: Mapping[str, int]) -> None:
    """Remember the place of each test's unit, and the last place at which each thing may be asked for."""
    last: dict[str, int] = {}
    for item in items:
        place = item.stash[PLACE] = places[unit_of(item.nodeid)]
        for name in asked_for(item):
            last[name] = max(place, last.get(name, place))
    session.stash[LAST] = last


def pytest_fixture_setup(fixturedef: Any, request: Any) -> None:
    """Remember how to end a fixture that is being set up, when it is one of what is shared.

    A hook of a plugin: one of a conftest.py below the root is not asked about fixtures of the session.
    """
    if fixturedef.argname in SHARED:
        request.session.stash.setdefault(ENDS, {})[fixturedef.argname] = partial(fixturedef.finish, request)


def stop_what_is_over(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Stop what nothing from the next test on may ask for; at the end of the session pytest does."""
    last, ends = item.session.stash.get(LAST, {}), item.session.stash.get(ENDS, {})
    if nextitem is None or not last:
        return
    for name in [one for one in ends if one in last and last[one] < nextitem.stash[PLACE]]:
        ends.pop(name)()
