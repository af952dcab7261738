"""Stops what tests share as soon as none that is left can ask for it: an idle product costs a tenth of a core, each broker some per cent.

A worker of xdist is handed units in the order in which it collected: of what comes after its next test, nothing lies before that.
What is asked for once more all the same is started once more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import pytest

from tests.together import unit_of

BROKERS = ("rabbitmq_broker", "kafka", "localstack", "activemq", "artemis", "elasticsearch_engine", "secured_elasticsearch")  # fmt: skip
SHARED = ("demo", "shared", *BROKERS)  # session fixtures
ANY_BROKER = ("tests/contracts/", "tests/services/test_expiry.py")  # these ask by name while they run
LAST = pytest.StashKey[Mapping[str, int]]()
PLACE = pytest.StashKey[int]()
ENDS = pytest.StashKey[dict[str, Callable[[], None]]]()


def asked_for(item: pytest.Item) -> set[str]:
    """Return what this test may ask for of what is shared."""
    named = set(getattr(item, "fixturenames", ())) & set(SHARED)
    return named | set(BROKERS) if item.nodeid.startswith(ANY_BROKER) else named


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


def note_start(fixture: Any, request: Any) -> None:
    """Remember how to end a fixture that is being set up, when it is one of what is shared."""
    if fixture.argname in SHARED:
        request.session.stash.setdefault(ENDS, {})[fixture.argname] = partial(fixture.finish, request)


def stop_what_is_over(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Stop what nothing from the next test on may ask for; at the end of the session pytest does."""
    last, ends = item.session.stash.get(LAST, {}), item.session.stash.get(ENDS, {})
    if nextitem is None or not last:
        return
    for name in [one for one in ends if last[one] < nextitem.stash[PLACE]]:
        ends.pop(name)()
