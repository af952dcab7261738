"""docs/groups.md says the states, classes, normal forms and bounds that the code has."""

from __future__ import annotations

import re
from pathlib import Path

from messages.groups import both, refresh, regroup, ruling
from messages.groups.classes import CLASSES
from messages.groups.figures import CUSTOMERS, FIRST_DOCUMENTS
from messages.groups.fingerprint import normal
from messages.groups.states import diagram

PAGE = (Path(__file__).resolve().parents[2] / "docs/groups.md").read_text()


def test_the_state_diagram_of_groups_is_drawn_from_the_transitions():
    assert diagram() in PAGE


def test_the_table_of_classes_is_the_one_that_groups_are_told_by():
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|$", PAGE, re.M)

    assert rows == [(name, one.words, one.action) for name, one in CLASSES.items()]


def test_the_examples_of_normal_forms_are_what_becomes_of_them():
    table = PAGE.split("| Message | Without its values |")[1].split("\n\n")[0]
    rows = re.findall(r"^\| `(.+?)` \| `(.+?)` \|$", table, re.M)

    assert len(rows) == 5
    assert [normal(message) for message, _ in rows] == [form for _, form in rows]


def test_keys_and_bounds_on_the_page_are_those_of_the_code():
    assert all(f"`{name}`" in PAGE for name in (*CUSTOMERS, *FIRST_DOCUMENTS))
    for number in (refresh.MOST_READ, both.MOST_NAMELESS, ruling.LOOKED_AT, regroup.MOST_PLACED):
        assert f"{number:,}" in PAGE
