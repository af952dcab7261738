"""The states of compensations and steps, and what the docs say of them."""

from pathlib import Path

from messages.compensation.states import (
    ENDED,
    NEEDS_A_PERSON,
    STATES,
    STEP_OVER,
    STEP_STATES,
    STEP_TRANSITIONS,
    STEP_WORDS,
    TRANSITIONS,
    WORDS,
    diagram,
    end_of,
)

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "compensation.md").read_text()


def test_the_docs_draw_both_dicts_and_every_state_has_words():
    assert diagram() in DOCS
    assert diagram(STEP_TRANSITIONS, "waiting") in DOCS
    assert set(WORDS) == set(STATES)
    assert set(STEP_WORDS) == set(STEP_STATES)


def test_every_state_is_reached_and_leads_to_an_end():
    for ways, first, over in ((TRANSITIONS, "proposed", ENDED), (STEP_TRANSITIONS, "waiting", STEP_OVER)):
        reached, queue = {first}, [first]
        while queue:
            for after in ways[queue.pop()].values():
                if after not in reached:
                    reached.add(after)
                    queue.append(after)
        assert reached | {"irreversible"} == set(ways) | {"irreversible"}
        assert over


def test_partial_is_never_done():
    assert end_of(["done", "by_hand"]) == "finish"
    for other in ("skipped", "irreversible"):
        assert end_of(["done", other]) == "finish_partly"
    assert set(STEP_STATES) > NEEDS_A_PERSON
