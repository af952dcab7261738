"""Stops a product that files share once a worker of xdist goes on to another unit: an idle one costs a tenth of a core, the demo a sixth.

A plugin: a conftest.py below the root is not asked about fixtures of the session. Who asks for a product is in its unit
(tests/unit/test_together.py); asked for once more all the same, it is started once more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from tests.together import FIXTURES, unit_of

ENDS = pytest.StashKey[dict[str, Callable[[], None]]]()  # fixture → what stops it


def pytest_fixture_setup(fixturedef: Any, request: Any) -> None:
    if fixturedef.argname in FIXTURES:
        request.session.stash.setdefault(ENDS, {})[fixturedef.argname] = partial(fixturedef.finish, request)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    yield
    if nextitem is not None and hasattr(item.config, "workerinput"):  # alone, files of other units come between
        stop_others(item.session, unit_of(nextitem.nodeid))


def stop_others(session: pytest.Session, unit: str) -> None:
    """Stop every product but that of this unit."""
    ends = session.stash.get(ENDS, {})
    for name in [one for one in ends if FIXTURES[one] != unit]:
        ends.pop(name)()
