"""Text that was written to be slow to read. Each of these took from seconds to hours before; the limits leave room for a busy machine."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import pytest

from console.core.nesting import deeper_than
from messages.payloads.render import MOST_DEPTH, SHOWN_LINES, render_body, render_stack
from messages.search.parse import parse_query
from messages.search.query import BadQuery
from messages.search.scan import token_before


def refused(text: str) -> None:
    with contextlib.suppress(BadQuery):
        parse_query(text)


SLOW: dict[str, Callable[[], object]] = {
    "a string of JSON that never ends": lambda: deeper_than(64, b'["' + b'\\"' * 40_000),
    "a Java trace that is one long line": lambda: render_stack("\tat " + "a " * 30_000),
    "JSON that grows by being indented": lambda: render_body(
        b"[" * 900 + b"1," * 120_000 + b"1" + b"]" * 900, "application/json"
    ),
    "a query of one long word with a colon too many": lambda: refused("a" * 3_990 + " :b"),
    "a query of backslashes": lambda: refused("\\" * 3_998 + "*?"),
    "a query of nothing but signs": lambda: refused("-" * 3_999 + "a"),
    "a query of open phrases": lambda: refused('a"' * 1_999),
    "a token to complete in a thousand open brackets": lambda: token_before("a:(" * 1_300, 3_900),
    "CSV of many rows and one very wide": lambda: render_body(b"a,b\n" * 4_999 + b"," * 200_000, "text/csv"),
}


@pytest.mark.parametrize("read", SLOW.values(), ids=SLOW)
def test_text_made_to_be_slow_is_read_at_once(read: Callable[[], object]):
    begun = time.perf_counter()

    read()

    assert time.perf_counter() - begun < 3


@pytest.mark.parametrize(
    ("text", "deep"),
    [
        (b"[" * 64 + b"]" * 64, False),
        (b"[" * 65 + b"]" * 65, True),
        (b'{"a":' * 65 + b"1" + b"}" * 65, True),
        (b"[[],[]]" * 100, False),
        (b'["' + b"[" * 100 + b'"]', False),
        (b'["\\"' + b"[" * 100 + b'"]', False),
        (b'["\\\\",' + b"[" * 100, True),
        (b'["\n' + b"[" * 100 + b'"]', False),
    ],
    ids=["64", "65", "objects", "wide", "in a string", "after a quote", "after a backslash", "after a line's end"],
)
def test_only_brackets_outside_strings_count_as_depth(text: bytes, deep: bool):
    assert deeper_than(64, text) is deep


def test_deep_json_is_shown_as_it_was_written():
    text = "[" * (MOST_DEPTH + 1) + "]" * (MOST_DEPTH + 1)

    body = render_body(text.encode(), "application/json")

    assert (body.kind, body.lines) == ("text", [text])


def test_a_long_body_is_cut_and_says_so():
    body = render_body(b"[" + b"1," * (SHOWN_LINES + 10) + b"1]", "application/json")

    assert (len(body.lines), body.truncated) == (SHOWN_LINES, True)


def test_each_frame_of_a_java_trace_is_highlighted_and_a_line_that_is_no_frame_is_shown_as_it_is():
    lines = render_stack("a.B: <x>\n\tat a.C.d(C.java:12)\n\n" + "<" * 301)

    assert [str(line) for line in lines[2:]] == ["", "&lt;" * 301]
    assert lines[0].startswith("<span")
    assert "&lt;" in lines[0]
    assert lines[1].startswith('<span class="w">\t</span>')
