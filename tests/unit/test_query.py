"""The query language: anything is read or refused in words, what is read reads again as itself, and refusals point and suggest."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.identity.actor import SYSTEM
from messages.changes.asking import condition_of
from messages.search.conditions import Scope
from messages.search.parse import parse_query
from messages.search.postgres import DEAD_LETTERS, EVENTS, MESSAGES, to_q
from messages.search.query import (
    EVERYTHING,
    BadQuery,
    Compare,
    Exists,
    Not,
    Or,
    Prefix,
    Query,
    Range,
    Refused,
    Term,
    all_of,
    any_of,
    none_of,
    text_of,
)  # fmt: skip
from messages.search.reading import MOST_TERMS, MOST_WORDS
from messages.search.scan import DEEPEST, LONGEST, token_before

# What the grammar is made of, in any order: far more of it parses than of free text.
pieces = st.sampled_from(
    ["a", "flow", "order_no", "4711-2209", ":", " ", "(", ")", "AND", "OR", "NOT", "TO", "-", "+", '"', '"a b"', "[", "]", "{", "}",
     "*", "?", "~", "^", "/", "\\", "'", ">", ">=", "<", "!", "&&", "||", "now-1d", "2026-11-24T10:00:00Z", "é", "→", "🚚", "\x00", "\n"]
)  # fmt: skip
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="*?\n\x00"), min_size=1, max_size=8).filter(
    lambda name: not name.isspace() and not name.startswith("!")
)
values = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=8)
stems = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\x00"), min_size=1, max_size=8)
leaves = (
    st.builds(Term, st.none() | names, values)
    | st.builds(Prefix, st.none() | names, stems)
    | st.builds(Exists, names)
    | st.builds(Compare, names, st.sampled_from([">", ">=", "<", "<="]), values)
    | st.builds(Range, names, values, values, st.booleans(), st.booleans())
)
trees = st.recursive(
    leaves | st.just(EVERYTHING),
    lambda inner: (
        st.builds(lambda parts: all_of(*parts), st.lists(inner, min_size=1, max_size=4))
        | st.builds(lambda parts: any_of(*parts), st.lists(inner, min_size=1, max_size=4))
        | st.builds(none_of, inner)
    ),
    max_leaves=12,
)


def read_again(text: str) -> None:
    with contextlib.suppress(BadQuery):
        query = parse_query(text)
        assert parse_query(query.text) == query
        assert parse_query(query.text).text == query.text


def refusal_of(text: str) -> BadQuery | None:
    try:
        parse_query(text)
    except BadQuery as refused:
        return refused
    return None


@given(st.text())
def test_any_text_is_read_or_refused_and_what_is_read_reads_again(text: str):
    read_again(text)


@given(st.lists(pieces, max_size=25).map("".join))
def test_any_pieces_of_the_grammar_are_read_or_refused(text: str):
    read_again(text)


@given(trees)
def test_every_tree_reads_from_its_own_text(tree: object):
    assert parse_query(text_of(tree)).root == tree  # type: ignore[arg-type]


@given(st.text(st.characters(categories=["Cs", "Lu", "Zs"])))
def test_halves_of_surrogate_pairs_and_nul_reach_no_database(text: str):
    with contextlib.suppress(BadQuery):
        parse_query(text + "\x00a").text.encode()


@given(st.lists(pieces, max_size=25).map("".join), st.integers(-3, 40))
def test_a_refusal_points_into_the_text_and_suggests_something_that_differs(text: str, cursor: int):
    token = token_before(text, cursor)
    assert token is None or 0 <= token.start <= len(text)

    refused = refusal_of(text)

    assert refused is None or refused.column is None or 1 <= refused.column <= len(text) + 1
    assert refused is None or refused.suggestion != text


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ('status:dead flow:orders order_no:4711 "timed out" age:>1h -system:crm',) * 2,
        ("a AND b", "a b"),
        ("a OR b c", "(a OR b) c"),
        ("a b AND c OR d", "a ((b c) OR d)"),
        ("NOT (a b)", "-(a b)"),
        ("--a", "a"),
        ("+a -b", "a -b"),
        ("flow:(a OR b)",) * 2,
        ("flow:a OR flow:b", "flow:(a OR b)"),
        ("at:[2026-11-24T10:00:00Z TO *]", "at:>=2026-11-24T10:00:00Z"),
        ("a:{1 TO 5]",) * 2,
        ("a:[* TO *]", "a:*"),
        ("a:[-5 TO 5]", 'a:["-5" TO 5]'),
        ("*:*", ""),
        ("* OR a", "* OR a"),
        ("a\\:b", '"a:b"'),
        ("a* a\\*", 'a* "a*"'),
        ('x:"a*"',) * 2,
        ("TO", '"TO"'),
    ],
)  # fmt: skip
def test_the_normal_text(text: str, normal: str):
    assert parse_query(text).text == normal


@pytest.mark.parametrize(
    ("text", "column", "suggestion"),
    [
        ("(a", 1, "(a)"),
        ("a)", 2, "a"),
        ("((a", 2, "((a))"),
        ("((((", 4, ""),
        ("stauts:(", 8, ""),
        ("flow:(a OR", 6, ""),
        ("age:>-1h", 6, "age:>1h"),
        ("duration:<=-2s", 12, "duration:<=2s"),
        ("age:-1h", 5, ""),
        ("at:>-1h", 5, ""),
        ('x "abc', 3, 'x "abc"'),
        ('error:"', 7, ""),
        ('error:" \\', 7, ""),
        ("a AND", 6, ""),
        ("AND a", 1, ""),
        ("a OR OR b", 6, ""),
        ("a && b", 3, "a AND b"),
        ("a || b", 3, "a OR b"),
        ("!status:failed", 1, "-status:failed"),
        ("flow:a:b", 6, 'flow:"a:b"'),
        ("destination:/queue/orders", 13, 'destination:"/queue/orders"'),
        ("https://shop/x", 7, '"https://shop/x"'),
        ("a:-5", 3, 'a:"-5"'),
        ("a:>-5", 4, ""),
        ("'a b'", 1, '"a b"'),
        ("wh?t", 3, '"wh?t"'),
        ("*end", 1, "end"),
        ("error:*timeout*", 7, "error:timeout"),
        ("a*end", 2, '"a*end"'),
        ("at:>2026-11-24 10:00 flow:x", 16, "at:>2026-11-24T10:00Z flow:x"),
        ("at:>2026-11-24 10:00:00.5 x", 16, "at:>2026-11-24T10:00:00.5Z x"),
        ("at:>2026-11-24 10:00Z", 16, "at:>2026-11-24T10:00Z"),
        ("(at:>2026-11-24 10:00:00+01:00)", 17, '(at:>"2026-11-24T10:00:00+01:00")'),
        ("error:*-5*", 7, 'error:"*-5*"'),
        ("*AND*", 1, '"*AND*"'),
        ("flow:a - ", 8, "flow:a"),
        ("x AND - y", 7, "x AND -y"),
        ("400 - Bad Request", 5, '"400 - Bad Request"'),
        ("flow:a - status:dead", 8, "flow:a -status:dead"),
        ("near~2 x", 5, "near x"),
        ("near^2 x", 5, "near x"),
        ('""', 1, ""),
        (">5", 1, ""),
        ("a OR +b", 6, ""),
        ("at:[now-1d TO now", 4, ""),
        ("at:[now-1d to now]", 12, "at:[now-1d TO now]"),
        ("age:{1h To 2h}", 9, "age:{1h TO 2h}"),
        ("at:>2026-11-24T10:00:00+01:00", 27, 'at:>"2026-11-24T10:00:00+01:00"'),
        ("at:[2026-11-24T10:00:00+01:00 TO *]", 27, 'at:["2026-11-24T10:00:00+01:00" TO *]'),
        ("(" * 21 + "a" + ")" * 21, DEEPEST + 1, ""),
        ("x" * 5000, LONGEST + 1, ""),
    ],
)  # fmt: skip
def test_a_refusal_says_the_column_and_what_to_write(text: str, column: int, suggestion: str):
    with pytest.raises(BadQuery) as refused:
        parse_query(text)

    assert (refused.value.column, refused.value.suggestion) == (column, suggestion)
    if suggestion:
        parse_query(suggestion)


def test_too_many_values_or_levels_are_refused_before_a_database_is_asked():
    parse_query(" ".join(["k:a"] * MOST_TERMS))
    parse_query(" ".join(["a"] * MOST_WORDS))

    with pytest.raises(BadQuery):
        parse_query(" ".join(["k:a"] * (MOST_TERMS + 1)))
    with pytest.raises(BadQuery):
        parse_query(" ".join(["a"] * (MOST_WORDS + 1)))
    with pytest.raises(BadQuery):
        parse_query("a:(" * 15 + "b" + ")" * 15)
    for deep in ("-" * 3000 + "a", "NOT " * 900 + "a"):
        with pytest.raises(BadQuery):
            parse_query(deep)


def test_a_query_knows_its_fields_and_is_narrowed_without_its_source_changing():
    query = parse_query("status:failed (order_no:1 OR word)")

    narrowed = query.also(Term("flow", "orders: shop → erp"))

    assert query.fields == {"status", "order_no"}
    assert narrowed.text == 'status:failed (order_no:1 OR word) flow:"orders: shop → erp"'
    assert narrowed.source == query.source
    assert Query().also() == Query(EVERYTHING)
    assert hash(query) == hash(parse_query(query.text))


def test_a_refused_leaf_is_shown_in_the_readers_own_text():
    query = parse_query("a  status:(faild OR dead)")
    leaf = query.root.parts[1].parts[0]  # type: ignore[union-attr]

    refusal = query.refusal(Refused(leaf, "no", instead="failed"))
    on_field = query.refusal(Refused(leaf, "no", part="field", instead="state"))

    assert (refusal.column, refusal.suggestion) == (12, "a  status:(failed OR dead)")
    assert (on_field.column, on_field.suggestion) == (4, "a  state:(faild OR dead)")
    assert query.refusal(Refused(Term("x", "y"), "of a page")).column is None


def test_threads_do_not_disturb_each_other():
    texts = [f"field{n}:value{n} OR (a{n} b{n})" if n % 3 else f"broken{n} (" for n in range(400)]

    def read(text: str) -> object:
        try:
            return parse_query(text)
        except BadQuery as refused:
            return refused.column

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(read, texts))

    assert together == [read(text) for text in texts]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sta", (0, None, "sta")),
        ("a sta", (2, None, "sta")),
        ("-sta", (1, None, "sta")),
        ("(sta", (1, None, "sta")),
        ("status:fai", (7, "status", "fai")),
        ("-status:", (8, "status", "")),
        ('flow:"orders: sh', (5, "flow", "orders: sh")),
        ("flow:(orders OR in", (16, "flow", "in")),
        ("flow:(orders) in", (14, None, "in")),
        ("age:>", (4, "age", ">")),
        ('a "some wo', None),
        ("at:[now-1d TO no", None),
        ("at:[now-1d TO now] st", (19, None, "st")),
        ('error:"index [4" st', (17, None, "st")),
        ('error:("a (b" OR c) st', (20, None, "st")),
        ('flow:("a )" OR st', (15, "flow", "st")),
        ("", (0, None, "")),
        ("🚚 st", (2, None, "st")),
    ],
)
def test_the_token_before_the_cursor(text: str, expected: tuple[int, str | None, str] | None):
    token = token_before(text, len(text))

    assert (token and (token.start, token.field, token.written)) == expected


def test_trees_have_one_form():
    a, b, c = (Term(None, one) for one in "abc")

    assert all_of(a, all_of(b, c)) == all_of(a, b, c)
    assert any_of(any_of(a), b) == Or((a, b))
    assert none_of(none_of(a)) == a
    assert none_of(EVERYTHING) == Not(EVERYTHING)


@pytest.mark.parametrize(
    ("target", "text", "suggestion"),
    [
        ("messages", "status:failed;flow:orders", "status:failed flow:orders"),
        ("messages", "status:failed||status:dead", "status:failed OR status:dead"),
        ("messages", "status:failed;flow:orders;system:shop", "status:failed flow:orders system:shop"),
        ("messages", "status:faild;flow:orders", "status:failed flow:orders"),
        ("messages", "status:failed:dead", ""),
        ("messages", "flow:orders,order_no:4711", 'flow:"orders,order_no:4711"'),
        ("messages", "age:>1h;status:dead", "age:>1h status:dead"),
        ("messages", "status:open;flow:orders", ""),
        ("dead-letters", "status:open;flow:orders", "status:open flow:orders"),
        ("dead-letters", "died_of:expired:x", "died_of:expired"),
        ("events", "operation:'send'", 'operation:"send"'),
        ("events", "operation:'sned'", "operation:send"),
        ("messages", "group:a:b", ""),
        ("messages", "id:a:b", 'id:"a:b"'),
        ("changes", "kind:deployment;system:erp", "kind:deployment system:erp"),
        ("changes", "order_no:a:b", ""),
        ("messages", "order_no:>-5", ""),
        ("", "status:ok;flow:orders", "status:ok flow:orders"),
    ],
)
def test_what_is_suggested_is_taken_by_the_fields(target: str, text: str, suggestion: str):
    with pytest.raises(BadQuery) as refused:
        parse_query(text, target)

    assert refused.value.suggestion == suggestion


asking = st.lists(
    st.sampled_from(
        ["status", "flow", "died_of", "reason", "age", "at", "duration", "group", "id", "reconciled", "order_no", "stauts", "queue", "operation",
         ":", ":", ":", ";", ",", " ", " ", "failed", "faild", "open", "send", "1h", "2M", "now-1d", "G-7", "4711", "'", "-", "!", ">", "*", "(", ")"]
    ),
    min_size=3,
    max_size=14,
).map("".join)  # fmt: skip


@given(
    asking | st.lists(pieces, max_size=25).map("".join),
    st.sampled_from(["messages", "events", "dead-letters", "changes"]),
)
def test_every_suggestion_is_taken(text: str, target: str):
    now = datetime.now(UTC)
    scope = Scope(actor=SYSTEM, environments=[], now=now, since=now, by_days=False)

    def ask(q: str) -> None:
        query = parse_query(q, target)
        if target == "changes":
            condition_of(query, is_hidden=lambda name: False)
        else:
            to_q(query, {one.name: one for one in (MESSAGES, EVENTS, DEAD_LETTERS)}[target], scope)

    suggestion = ""
    try:
        ask(text)
    except BadQuery as refused:
        suggestion = refused.suggestion

    if suggestion:
        assert suggestion != text
        ask(suggestion)
