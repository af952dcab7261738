"""Two bodies compared: what they have in common, place by place, line by line; bounded whatever they are."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages.compare.canonical import MOST_LINES, canonical
from messages.compare.changes import changes_between_trees
from messages.compare.lines import MOST_STEPS, Work, common_lines
from messages.compare.rows import LONGEST_LINE, MOST_ROWS, rows_of

few = st.lists(st.sampled_from("abcd"), max_size=25)


@given(few, few)
def test_common_lines_are_the_same_and_in_order_on_both_sides(left: list[str], right: list[str]):
    pairs = common_lines(left, right)

    assert all(left[x] == right[y] for x, y in pairs)
    assert all(a < c and b < d for (a, b), (c, d) in pairwise(pairs))


@given(few, few)
def test_the_rows_have_every_line_that_is_not_folded_away(left: list[str], right: list[str]):
    found = rows_of(left, right, common_lines(left, right))

    hidden = sum(row.hidden for row in found.rows)
    assert [row.left.text for row in found.rows if row.left] == left if not hidden else True
    assert sum(1 for row in found.rows if row.left) + hidden == len(left)
    assert sum(1 for row in found.rows if row.right) + hidden == len(right)
    differ = found.added + found.removed + found.changed
    assert (differ == 0) == (left == right)


def test_a_line_put_in_between_moves_none_of_the_others():
    left = [f"line {number}" for number in range(40)]
    right = [*left[:20], "new", *left[20:]]

    found = rows_of(left, right, common_lines(left, right))

    assert (found.added, found.removed, found.changed) == (1, 0, 0)
    assert [row.kind for row in found.rows] == ["gap", "same", "same", "same", "added", "same", "same", "same", "gap"]


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (["x"] * 60_000, ["x", "y"] * 30_000),
        ([str(n % 7) for n in range(50_000)], [str(n % 11) for n in range(50_000)]),
        ([str(n) for n in range(50_000)], [str(n) for n in reversed(range(50_000))]),
        ([f"{n} {n % 3}" for n in range(50_000)], [f"{n} {n % 4}" for n in range(50_000)]),
    ],
    ids=["one line over and over", "no line occurs once", "turned round", "every other one changed"],
)
def test_hostile_texts_cost_a_bounded_number_of_steps(left: list[str], right: list[str]):
    work = Work()

    pairs = common_lines(left, right, work)

    assert all(left[x] == right[y] for x, y in pairs)
    assert work.left > -MOST_STEPS  # no step is larger than the texts
    assert len(rows_of(left, right, pairs).rows) <= MOST_ROWS


def test_what_differs_in_a_line_is_marked_and_a_line_of_megabytes_is_cut_around_it():
    (row,) = rows_of(["total: 12.50 EUR"], ["total: 12.75 EUR"], []).rows
    assert row.left
    assert row.right
    assert (row.left.before, row.left.differs, row.left.after) == ("total: 12.", "50", " EUR")
    assert row.right.differs == "75"

    (row,) = rows_of(["a" * 3_000_000 + "b" + "c" * 99], ["a" * 3_000_000 + "d" + "c" * 99], []).rows
    assert row.left
    assert row.left.differs == "b"
    assert len(row.left.text) < LONGEST_LINE + 10


@pytest.mark.parametrize(
    ("body", "content_type", "kind", "lines"),
    [
        (b'{"b":1284.50,"a":[1,{}]}', "application/json", "json", ["{", '  "a": [', "    1", "    {}", "  ]", '  "b": 1284.50', "}"]),
        (b'{"a":1,"a":2}', "application/json", "text", ['{"a":1,"a":2}']),
        (b"[" * 500 + b"]" * 500, "application/json", "text", ["[" * 500 + "]" * 500]),
        (b"{broken", "application/json", "text", ["{broken"]),
        (b'["\\ud800"]', "application/json", "json", ["[", '  "?"', "]"]),
        (b"NaN", "application/json", "text", ["NaN"]),
        (b"<a y='2' x='1'>\n <b>t</b><c></c>\n</a>", "text/xml", "xml", ['<a x="1" y="2">', "  <b>t</b>", "  <c/>", "</a>"]),
        (b'<n:a xmlns:n="urn:x" n:k="v"/>', "", "xml", ['<n:a xmlns:n="urn:x" n:k="v"/>']),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "text/xml", "text", ['<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>']),
        (b'a;"b;c"\n1;2\n', "text/csv", "csv", ["a │ b;c", "1 │ 2"]),
        (b"one\ntwo", "text/plain", "text", ["one", "two"]),
        (b"\x00\x01", "application/octet-stream", "hex", ["00000000  00 01" + " " * 42 + "  ··"]),
        (b"", "", "empty", []),
    ],
    ids=["json", "twins", "deep", "broken", "half a pair", "not a number", "xml", "namespaces", "dtd", "csv", "text", "binary", "empty"],
)  # fmt: skip
def test_a_body_becomes_lines_that_can_be_compared(body: bytes, content_type: str, kind: str, lines: list[str]):
    found = canonical(body, content_type)

    assert (found.kind, found.lines) == (kind, lines)


@given(st.binary(max_size=300), st.sampled_from(["application/json", "text/xml", "text/csv", ""]))
def test_no_body_raises(body: bytes, content_type: str):
    canonical(body, content_type)


def test_a_document_of_thousands_of_namespaces_is_text():
    """Each element was asked for all of them: 400 of them over 200 elements, 8 KB, took 4 s."""
    prefixes = " ".join(f'xmlns:a{number}="u{number}"' for number in range(101))
    nested = "".join(f'<b xmlns:a="u{number}">' for number in range(50)) + "</b>" * 50

    assert canonical(f"<r {prefixes}>{'<x/>' * 50}</r>".encode(), "text/xml").kind == "text"
    beside = '<x xmlns:a="u"/>' * 500
    assert canonical(f"<r>{beside}{nested}</r>".encode(), "text/xml").kind == "xml"


def test_five_megabytes_of_a_hundred_thousand_lines_are_cut_and_said_to_be():
    found = canonical(b"x" * 49 + b"\n" + b"".join(b"%049d\n" % n for n in range(100_000)), "text/plain")

    assert found.cut
    assert len(found.lines) == MOST_LINES


@pytest.mark.parametrize(
    ("left", "right", "changes"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, []),
        ({"customer": {"vat": "DE1"}}, {"customer": {}}, [("customer.vat", "removed", '"DE1"', "")]),
        ({"a": 1}, {"a": "1"}, [("a", "type changed", "1", '"1"')]),
        ({"a": 1.50}, {"a": 1.5}, []),
        ({"lines": [1, 2, 3]}, {"lines": [9, 1, 2, 3]}, [("lines[0]", "added", "", "9")]),
        ({"lines": [{"p": 1}]}, {"lines": [{"p": 2}]}, [("lines[0].p", "changed", "1", "2")]),
        ({"odd name": 1}, {}, [('["odd name"]', "removed", "1", "")]),
        ([], {"a": 1}, [("the whole", "type changed", "[]", "object of 1 member")]),
    ],
)  # fmt: skip
def test_json_is_compared_place_by_place(left: object, right: object, changes: list[tuple[str, str, str, str]]):
    found, more = changes_between_trees(left, right)

    assert [(one.path, one.kind, one.left, one.right) for one in found] == changes
    assert not more


def test_a_number_written_otherwise_is_a_change():
    left, right = canonical(b'{"a": 1.50}', "").tree, canonical(b'{"a": 1.5}', "").tree

    assert [(one.left, one.right) for one in changes_between_trees(left, right)[0]] == [("1.50", "1.5")]


def test_a_number_that_became_a_text_within_a_list_is_a_change():
    left, right = (
        canonical(b'{"lines": [{"qty": 1}, 2]}', "").tree,
        canonical(b'{"lines": [{"qty": "1"}, "2"]}', "").tree,
    )

    found, _ = changes_between_trees(left, right)
    assert [(one.path, one.kind) for one in found] == [("lines[0].qty", "type changed"), ("lines[1]", "type changed")]


def test_more_changes_than_are_told_are_said_to_be():
    found, more = changes_between_trees({str(n): n for n in range(900)}, {})

    assert len(found) == 200
    assert more
