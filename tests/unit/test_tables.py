"""CSV of which nobody said how it is written: its delimiter, in linear time whatever it is."""

from __future__ import annotations

import csv
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.core.tables import delimiter_of, rows_of_csv
from messages.compare.canonical import canonical
from messages.different.features import features_of
from messages.payloads.render import render_body

pytestmark = pytest.mark.timeout(20)
HOSTILE = b',"a",\n' * 3 + b"," + b'"' * 4_000 + b"x\n"  # csv.Sniffer took 11 s for 240 of these quotation marks


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("a;b\n1;2\n", [["a", "b"], ["1", "2"]]),
        ('a;"b,c,d"\n1;2,5\n', [["a", "b,c,d"], ["1", "2,5"]]),
        ("a\tb,c\n1\t2\n", [["a", "b,c"], ["1", "2"]]),
        ("a|b\n1|2", [["a", "b"], ["1", "2"]]),
        ('no, "name, first"\n1, x\n', [["no", "name, first"], ["1", "x"]]),
        ("one\ntwo\n", [["one"], ["two"]]),
        ("title\na,b\n", [["title"], ["a", "b"]]),
        ("", []),
    ],
)
def test_the_delimiter_is_the_one_that_the_first_lines_agree_on(text: str, rows: list[list[str]]):
    assert list(rows_of_csv(text)) == rows


@given(st.text(alphabet=',;\t|"\n\r a', max_size=200))
def test_every_text_has_a_delimiter(text: str):
    assert delimiter_of(text) in ",;\t|"
    with suppress(csv.Error):
        list(rows_of_csv(text))


@pytest.mark.parametrize(
    "read",
    [
        lambda: canonical(HOSTILE, "text/csv").kind,
        lambda: render_body(HOSTILE, "text/csv").kind,
        lambda: features_of(HOSTILE, "text/csv"),
    ],
    ids=["compared", "shown", "sampled"],
)
def test_quotation_marks_that_never_end_hold_up_no_page(read):
    assert read()
