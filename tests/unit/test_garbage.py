"""When Python looks for cyclic garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from console import gunicorn
from console.core.garbage import collector_paused


@pytest.fixture
def as_before() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


def test_a_web_process_puts_what_it_has_loaded_out_of_the_collector_s_sight_once_it_is_loaded(as_before):
    loaded = [object]
    gunicorn.post_fork(None, None)
    assert gc.get_freeze_count() == 0

    gunicorn.post_worker_init(None)

    assert gc.get_freeze_count() > 10_000
    assert not any(one is loaded for one in gc.get_objects())
    assert gc.get_threshold()[0] == 50_000


def fails_while_paused() -> None:
    with collector_paused():
        with collector_paused():
            pass
        assert not gc.isenabled()
        raise ZeroDivisionError


def test_a_pause_inside_a_pause_ends_with_the_outer_one_also_after_an_error():
    with pytest.raises(ZeroDivisionError):
        fails_while_paused()
    assert gc.isenabled()
