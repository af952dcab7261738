"""What masking rules take and what they make of bodies: the table of docs/masking.md, bad expressions, hostile bodies."""

from __future__ import annotations

import base64
import gzip
import json
import re
import time
import zlib
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from messages.masking.bodies import mask_body, mask_content
from messages.masking.paths import BadExpression
from messages.masking.rules import KINDS, MARK, Budget, Rule, Work, check_expression, compile_regex, compile_rules
from messages.payloads.seal import Content

CARD = b'{"card":"4111111111111111"}'
DOCS = Path(__file__).resolve().parents[2] / "docs" / "masking.md"
EXAMPLES = re.findall(r"^\| (\w+) \| `(.+?)` \| (\d) \| `(.+?)` \| `(.+?)` \|$", DOCS.read_text(), re.M)


def work(*rules: tuple[Any, ...], seconds: float = 3.0) -> Work:
    made = [
        Rule(id=at, flow_id=None, kind=rule[0], expression=rule[1], **(rule[2] if len(rule) > 2 else {}))
        for at, rule in enumerate(rules, 1)
    ]
    for one in made:
        check_expression(one.kind, one.expression)
    return Work(compile_rules(tuple(made)), Budget(seconds))


def masked(body: str | bytes, *rules: tuple[Any, ...], content_type: str = "") -> str:
    data = body if isinstance(body, bytes) else body.encode()
    return mask_body(work(*rules), data, content_type).body.decode("utf-8", "replace")


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (zstandard.compress(gzip.compress(CARD)), "gzip, zstd"),
        (gzip.compress(gzip.compress(zlib.compress(CARD))), "deflate, gzip, gzip"),
        (zlib.compress(CARD, wbits=-15), "deflate"),
    ],
)
def test_what_is_packed_several_times_or_without_a_header_is_unpacked_and_masked(body: bytes, encoding: str):
    sent = Content(body, [{"name": "Content-Encoding", "type": "string", "value": encoding}])

    content, changed = mask_content(work(("json_path", "$.card")), sent, "application/json")

    assert (content.body.decode(), content.headers, changed) == ('{"card":"•••"}', [], True)


def test_the_docs_have_examples_of_every_kind():
    assert {example[0] for example in EXAMPLES} == set(KINDS)
    assert len(EXAMPLES) > 20


@pytest.mark.parametrize(("kind", "expression", "keep", "before", "after"), EXAMPLES)
def test_the_examples_of_the_docs_come_out_as_they_say(kind: str, expression: str, keep: str, before: str, after: str):
    expression, before, after = (text.replace("&#124;", "|") for text in (expression, before, after))
    item = work((kind, expression, {"keep_last": int(keep)}))
    if kind != "header":
        assert mask_body(item, before.encode()).body.decode() == after
        return
    name, value = before.split(": ")
    content, _ = mask_content(item, Content(b"", [{"name": name, "type": "string", "value": value}]), "")
    assert f"{content.headers[0]['name']}: {content.headers[0]['value']}" == after


@pytest.mark.parametrize(
    ("kind", "expression", "words"),
    [
        ("json_path", "card", "column 1: a JSON path begins with $"),
        ("json_path", "$", "column 2: name a member below"),
        ("json_path", "$.a.", "column 5: after a dot comes the name"),
        ("json_path", "$.a[1:2]", "column 4: a step is"),
        ("json_path", "$.a[?search(@.b, '(a+)+')]", "column 4: a step is"),
        ("json_path", "$.a[?@.b=='x' && @.c==1]", "column 4: a step is"),
        ("json_path", "$" + ".a" * 40, "at most 32 steps"),
        ("xpath", "card", "column 1: begin with / or //"),
        ("xpath", "//*[count(//*)>0]", "column 4: a condition is"),
        ("xpath", "//a/document('http://evil.example')", "column 13: a step is"),
        ("xpath", "//@id/b", "column 6: nothing comes after an attribute"),
        ("xpath", "//a[1]", "column 4: a condition is"),
        ("header", "a b", "column 2: a header's name"),
        ("regex", "card(", "column 6: missing )"),
        ("regex", "[z-a]", "column 2: invalid character class range"),
        ("regex", "x(?=y)", "column 2: looking ahead or behind is not taken"),
        ("regex", r"(a)\1", "column 4: this escape is not taken"),
        ("regex", "(a{30}){30}", "it repeats too much"),
        ("regex", "a(?P<name>b)", "column 2: a group has no name here"),
        ("regex", "a*", "it matches the empty text"),
        ("regex", "a\x00", "column 2: NUL"),
        ("regex", "", "1 to 500 characters"),
        ("regex", "a" * 501, "1 to 500 characters"),
        ("jq", ".a", "a rule is one of"),
    ],
)
def test_a_bad_expression_is_refused_in_words_with_the_column(kind: str, expression: str, words: str):
    with pytest.raises(BadExpression, match=re.escape(words)):
        check_expression(kind, expression)


def test_groups_do_not_capture_because_that_takes_the_slow_path():
    assert compile_regex("(a)(b(c))").groups == 0


@given(st.sampled_from(KINDS), st.text(max_size=40))
def test_any_expression_is_taken_or_refused_in_words(kind: str, expression: str):
    try:
        check_expression(kind, expression)
    except BadExpression:
        return
    masked('{"a": "b", "c": [1]}', (kind, expression))


RULES: list[tuple[Any, ...]] = [("json_path", "$..card"), ("xpath", "//card"), ("regex", r"\d{4}"), ("header", "x-*")]


@settings(deadline=None)
@given(
    st.binary(max_size=300) | st.sampled_from([b"<a>", b"[", b'{"a":', b"\x1f\x8b", b"\xef\xbb\xbf<", b"\xff\xfe<\x00"])
)
def test_any_body_comes_out_masked_or_as_a_note(body: bytes):
    out = masked(body, *RULES)

    assert not re.search(r"\d{4}", re.sub(r"rules? [\d, ]+", "", out))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["card", "a", "b"]) | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=20,
)


def without_cards(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {
            name: (None if one is None else MARK) if name == "card" else without_cards(one)
            for name, one in tree.items()
        }
    return [without_cards(one) for one in tree] if isinstance(tree, list) else tree


@settings(deadline=None)
@given(JSON)
def test_a_json_path_replaces_every_value_it_leads_to_and_nothing_else(tree: Any):
    assert json.loads(masked(json.dumps(tree), ("json_path", "$..card"))) == without_cards(tree)


def test_numbers_keep_every_digit_where_nothing_is_masked():
    body = '{"card":1,"price":1284.50,"id":123456789012345678901234567890,"e":1E5}'

    assert masked(body, ("json_path", "$.card")) == body.replace('"card":1', f'"card":"{MARK}"')


def test_a_regular_expression_sees_escaped_text_and_keeps_json_json():
    body = '{"a":"\\u0034111 x","n":4111,"4111":true}'

    assert json.loads(masked(body, ("regex", r"\d{4}"))) == {"a": f"{MARK} x", "n": MARK, MARK: True}


def test_a_regular_expression_that_reaches_over_two_values_replaces_text():
    assert masked('{"iban": "DE89"}', ("regex", r'"iban":\s*"[^"]+"')) == f"{{{MARK}}}"


def test_a_regular_expression_sees_entities_attributes_comments_and_tails_of_xml():
    body = '<a b="4111"><!-- 4111 -->&#52;111<c/>4111<d><![CDATA[4111]]></d></a>'

    out = masked(body, ("regex", r"\d{4}"))

    assert out.count(MARK) == 5
    assert "111" not in out


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"not json", "it is not JSON"),
        (b"<card>1</card>", "it is XML"),
        (b'{"card": 1, "card": 2}', "two members of the same name"),
        (b"[" * 100_000, "it is not JSON"),
        (b"NaN", "it is not JSON"),
        (b'{"a": "\\ud800", "card": 1}', "cannot be written again"),
        (b"\x1f\x8bnot gzip", "packed in a way"),
        (b" " * (4 * 1024 * 1024 + 1), "larger than 4 MiB"),
        ('{"card": 1}'.encode("utf-16"), "it is not"),
    ],
)
def test_a_body_that_a_path_cannot_be_applied_to_becomes_a_note(body: bytes, why: str):
    item = work(("json_path", "$.card"))

    out = mask_body(item, body)

    assert out.body.decode().startswith("[not stored: masking rule 1 cannot be applied to this body: ")
    assert why in out.body.decode()
    assert (item.counts, item.dropped) == ({1: 1}, {1: 1})


def test_entities_are_not_expanded_and_a_dtd_is_not_trusted():
    bomb = '<!DOCTYPE a [<!ENTITY b "&c;&c;"><!ENTITY c "4111">]><a>&b;</a>'
    outside = '<!DOCTYPE a SYSTEM "http://127.0.0.1:9/x.dtd"><a>1</a>'
    attribute = '<!DOCTYPE a [<!ATTLIST a b CDATA "4111">]><a/>'

    assert "which may define text of its own" in masked(bomb, ("xpath", "//card"))
    assert masked(bomb, ("regex", "4111")).startswith("[not stored")
    assert masked(attribute, ("regex", "4111")).startswith("[not stored")
    assert masked(outside, ("xpath", "/a")).endswith(f"<a>{MARK}</a>")


def test_xml_in_another_encoding_is_read_before_it_is_called_clean():
    utf7 = b'<?xml version="1.0" encoding="UTF-7"?><a>+ADQAMQAxADE-</a>'

    assert "ADQ" not in masked(utf7, ("regex", r"\d{4}"))
    assert MARK in masked("<?xml version='1.0' encoding='utf-16'?><a>4111</a>".encode("utf-16"), ("regex", r"\d{4}"))


def test_of_two_kinds_the_one_that_the_body_is_of_counts():
    rules = [("json_path", "$.card"), ("xpath", "//card")]

    assert masked('{"card":1}', *rules) == f'{{"card":"{MARK}"}}'
    assert masked("<o><card>1</card></o>", *rules) == f"<o><card>{MARK}</card></o>"
    assert masked("card=1", *rules).startswith("[not stored: masking rules 1, 2 ")


def test_text_of_another_charset_is_masked_where_its_content_type_says_so():
    body = "Müller 4111".encode("latin-1")

    assert mask_body(work(("regex", r"\d{4}")), body, "text/plain; charset=ISO-8859-1").body == "Müller ???".encode(
        "latin-1"
    )
    assert masked(body, ("regex", r"\d{4}")).startswith("[not stored")
    assert masked("4111".encode("utf-16-le"), ("regex", r"\d{4}")).startswith("[not stored")


@pytest.mark.parametrize(
    "data",
    [
        "Müller 4111".encode("latin-1"),
        "€ 4111".encode("cp1252"),
        "Müller 4111".encode("utf-16"),
        "Müller 4111".encode("utf-16-be"),
        "Müller 4111".encode("utf-32-le"),
        b"\xff" + "4111".encode("utf-16-le"),
        b"\x00\x01" + "Müller 4111".encode(),
    ],
)
def test_bytes_that_are_no_text_are_masked_whole_however_they_can_be_read(data: bytes):
    item = work(("regex", r"\d{4}", {"drop": False}))
    as_text = base64.b64encode(data).decode()

    assert item.named({"a": data, "b": as_text, "c": {"$bytes": as_text}}) == {
        "a": MARK,
        "b": MARK,
        "c": {"$bytes": MARK},
    }
    assert b"4111" not in mask_body(item, data).body.replace(b"\x00", b"")
    assert item.value(base64.b64encode(b"\xff\x00\x01").decode()) == "/wAB"


def test_what_is_kept_at_the_end_is_never_more_than_half():
    rule = ("json_path", "$.*", {"keep_last": 4})

    assert masked('{"a":"4111 1111 1111 1234","b":"1234","c":{"d":"12345678"},"e":12345678}', rule) == (
        f'{{"a":"{MARK}1234","b":"{MARK}","c":"{MARK}","e":"{MARK}5678"}}'
    )


@pytest.mark.parametrize(
    ("rule", "body"),
    [
        (("regex", "(a+)+$"), b"a" * 200_000 + b"b"),
        (("regex", "(a{0,15}){0,15}b"), b"a" * 2_000_000),
        (("regex", "x.*y|x"), b"x" * 2_000_000),
        (("regex", "a[ab]{200}c"), b"ab" * 1_000_000),
        (("json_path", "$..*..*..*..a"), b'{"b":' * 900 + b"1" + b"}" * 900),
        (("json_path", "$..a..a..a..b"), b"[" + b'{"a":1},' * 200_000 + b"1]"),
        (("xpath", "//a//a//a//b"), b"<a>" * 200 + b"<c/>" * 200_000 + b"</a>" * 200),
        (("xpath", "//*[b='x']//*[b='x']/c"), b"<a>" + b"<b>x</b>" * 200_000 + b"</a>"),
        (("header", "*" + "a*" * 200 + "b"), b"a"),
    ],
)
def test_no_expression_and_body_keeps_ingest_busy(rule: tuple[str, str], body: bytes):
    item = work(rule)
    began = time.thread_time()

    mask_content(item, Content(body, [{"name": "a" * 1000, "type": "string", "value": "v"}]), "")

    assert time.thread_time() - began < 8  # the batch's 3 s and, at most, one more scan


def test_what_the_budget_does_not_reach_is_not_stored_unmasked():
    item = work(("regex", "secret"), ("header", "x-*"), seconds=-1)

    content, changed = mask_content(
        item, Content(b"a secret", [{"name": "a", "type": "string", "value": "a secret"}]), ""
    )

    assert changed
    assert content.body.decode().endswith("it would take too long]")
    assert content.headers[0]["value"] == MARK
    assert item.dropped[1] == 2
