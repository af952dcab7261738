"""An oracle: one estate through the real ingest, and every number that a person may see of it beside what a plain model reckons by hand.

Meanings of numbers differed between pages again and again where messages cross flows and teams. A failure says which number, as told to
whom, where. By ruling the order in which agents push decides two things, and the model is given the order for them: a message belongs to
the flow that told of it first (so who sees it, its group, what reconciliations say of it), and is as old as the first batch about it says.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.estate import places, places_of_counts
from tests.estate.asking import Asking
from tests.estate.happenings import ORDERS_OF_PUSHING
from tests.estate.model import Estate
from tests.estate.pushing import make_readers, push_estate

pytestmark = pytest.mark.django_db

TOPICS: dict[str, Callable[[Asking], None]] = {
    "messages": places.tell_messages,
    "events": places.tell_events,
    "dead letters": places.tell_letters,
    "the journey": places.tell_journey,
    "searches": places.tell_searches,
    "what belongs to a group": places.tell_causes_by_search,
    "failure groups": places_of_counts.tell_groups,
    "flows and figures": places_of_counts.tell_flows,
    "the map": places_of_counts.tell_map,
    "reconciliations": places_of_counts.tell_reconciliations,
}


def asked(order: str, *topics: str, looking: bool = False, pages: bool = True) -> Asking:
    batches = ORDERS_OF_PUSHING[order]
    now = push_estate(batches, looking=looking)
    ask = Asking(make_readers(), Estate(batches, now), looked=looking, pages=pages)
    for topic in topics:
        TOPICS[topic](ask)
    return ask


def assert_true(ask: Asking) -> None:
    assert ask.compared
    assert not ask.differences, f"{len(ask.differences)} of {ask.compared}:\n" + "\n".join(ask.differences)


@pytest.mark.parametrize("topics", [list(TOPICS)[:6], list(TOPICS)[6:]], ids=["rows", "counts"])
def test_every_place_tells_each_reader_what_is_true(topics: list[str]):
    assert_true(asked("as it happened", *topics))


@pytest.mark.parametrize("order", [one for one in ORDERS_OF_PUSHING if one != "as it happened"])
def test_it_does_not_matter_in_which_order_agents_push(order: str):
    assert_true(asked(order, *TOPICS, pages=False))


@pytest.mark.parametrize("order", ["as it happened", "newest first"])
def test_it_does_not_matter_when_workers_look(order: str):
    assert_true(asked(order, *TOPICS, looking=True, pages=False))
