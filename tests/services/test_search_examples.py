"""Every example of docs/search.md finds what the page says, in the corpus that the page describes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from messages.search.fields import TARGETS, Kind, fields_of
from messages.search.parse import parse_query
from messages.search.postgres import DEAD_LETTERS, EVENTS, MESSAGES
from messages.search.queries import find_dead_letters, find_events, find_messages
from tests.factories import ROOT, environment
from tests.services.search_corpus import fill

pytestmark = pytest.mark.django_db
PAGE = (Path(__file__).resolve().parents[2] / "docs/search.md").read_text()


def examples(heading: str) -> dict[str, list[str]]:
    """Return {query: message ids} of one table of the page."""
    table = PAGE.split(f"| {heading} |", 1)[1].split("\n\n")[0]
    rows = re.findall(r"^\| `(.+?)` \| ([^|]+) \|", table, re.M)
    return {query: [] if found == "nothing" else sorted(found.split(", ")) for query, found in rows}


def test_every_example_finds_what_the_page_says():
    fill()
    of_messages, of_letters = examples("Query"), examples("Query for dead letters")

    found = {
        q: sorted(
            row.message_id for row in find_messages(ROOT, environments=[environment()], query=parse_query(q)).rows
        )
        for q in of_messages
    }
    letters = {
        q: sorted(
            row.message_id for row in find_dead_letters(ROOT, environments=[environment()], query=parse_query(q)).rows
        )
        for q in of_letters
    }

    assert len(of_messages) > 30
    assert found == of_messages
    assert letters == of_letters


@pytest.mark.parametrize(
    ("q", "count"),
    [
        ("order_no:4711", 2), ("status:error", 2), ("system:erp operation:process", 3), ("agent:shop*", 7),
        ("duration:>=2s", 0), ("NOT error:timeout", 6), ("destination:orders -system:shop", 2), ("NOT agent:shop*", 0),
        ("order_no:* status:error", 1), ("NOT order_no:4711", 5), ("* -system:erp", 4), ("-*", 0), ("* OR timed", 7),
    ],
)  # fmt: skip
def test_events_are_asked_in_the_same_language(q: str, count: int):
    fill()

    assert len(find_events(ROOT, environments=[environment()], query=parse_query(q)).rows) == count


@pytest.mark.parametrize("target", [MESSAGES, EVENTS, DEAD_LETTERS], ids=lambda target: target.name)
def test_every_field_of_the_table_can_be_asked_and_is_on_the_page(target):
    fields = fields_of(target.name)
    fields_section = PAGE.split("## Fields")[1]

    assert set(target.fields) == {field.name for field in fields.values()}
    assert [
        name for name in fields if f"`{name}`" not in fields_section and not name.endswith("_id") and name != "origin"
    ] == []
    assert all(field.kind in Kind and field.what for field in TARGETS[target.name])
    assert [word for field in fields.values() for word in field.choices if word not in fields_section] == []
