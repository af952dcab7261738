"""What a compensation book may say, and what is said of one that cannot be used."""

from dataclasses import replace
from datetime import UTC, datetime
from functools import reduce
from uuid import uuid4

import pytest

from console.core.yamltext import BadYaml, read_yaml
from messages.compensation.book import BadBook, Match, book_of, data_of, export_book, parse_book
from messages.compensation.fill import CannotFill, filled
from messages.compensation.inputs import Number, Part, read_inputs
from messages.compensation.matching import Happened, is_match
from tests.compensation.orders import BOOK, book

STEP = "steps:\n  - name: a\n    title: done\n    happened: {system: x}\n"
HTTP = STEP + "    undo: {title: t, connection: c, http: {path: /p}%s}\n"


def test_a_book_is_the_same_after_its_export():
    one = book()
    assert parse_book(export_book(one)) == one
    assert export_book(parse_book(export_book(one))) == export_book(one)
    assert "proof_within_s" not in str(data_of(one))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("steps: []", "1 to 50 steps"),
        (STEP, "either what undoes it"),
        (
            STEP + "    irreversible: x\n    undo: {title: t, connection: c, http: {path: /p}}\n",
            "either what undoes it",
        ),
        (STEP + "    undo: {title: t, connection: c}\n", "exactly one of"),
        (STEP + "    undo: {title: t, http: {path: /p}}\n", "name the connection"),
        (STEP + "    undo: {title: t, connection: c, http: {path: p}}\n", "begins with /"),
        (STEP + "    undo: {title: t, connection: c, http: {path: /p, method: GET}}\n", "method"),
        (HTTP % ", timeout_s: 61", "timeout_s"),
        (HTTP % ", body: '{x}'", "{x} is none of its inputs"),
        (HTTP % ", inputs: {x: {key: a, json: $.a}}", "exactly one of json"),
        (HTTP % ", inputs: {x: {json: a}}", "begins with $"),
        (HTTP % ", inputs: {x: {key: a, from: nobody}}", "no step of this book"),
        (HTTP % ", surprise: 1", "surprise"),
        (STEP.replace("name: a", "name: A b") + "    irreversible: x\n", "is no name"),
        (STEP.replace("name: a", "name: message") + "    irreversible: x\n", "is no name"),
        (STEP.replace("{system: x}", "{}") + "    irreversible: x\n", "how it is recognised"),
        (STEP + "    irreversible: x\n    after: [a]\n", "no other step"),
        ("[1]", "object"),
        ("", "object"),
    ],
)
def test_what_is_wrong_is_said_in_words(text, words):
    with pytest.raises(BadBook, match=words.replace("(", r"\(").replace("$", r"\$").replace("{", r"\{")):
        parse_book(text)


def test_steps_that_wait_for_each_other_are_refused():
    one = "  - {name: %s, title: t, happened: {system: x}, irreversible: y, after: [%s]}\n"
    with pytest.raises(BadBook, match="wait for each other"):
        parse_book("steps:\n" + one % ("a", "b") + one % ("b", "a"))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("a\x00b", "NUL"),
        ("\ud800", "half of a pair"),
        ({"\x00": 1}, "NUL"),
        (float("nan"), "only texts"),
        (b"\xff", "only texts"),
        (10**30, "64 bits"),
        ({1: 2}, "in quotes"),
        (reduce(lambda below, _: [below], range(5_000), "x"), "nested too deeply"),
    ],
    ids=["nul", "surrogate", "nul in a name", "nan", "bytes", "big", "number as name", "deep"],
)
def test_what_neither_json_nor_the_database_keeps_is_no_book(body, words):
    data = data_of(book())
    data["steps"][0]["undo"]["body"] = body
    with pytest.raises(BadBook, match=words):
        book_of(data)


def test_a_bracket_in_a_name_is_nothing_but_a_bracket():
    match = Match(system="orders[eu]*")
    told = Happened(
        id=uuid4(), at=datetime.now(UTC), system="orders[eu]-1", operation=4, outcome=1, destination="", name="", attributes={}, keys={}, owner=1
    )  # fmt: skip
    assert is_match(match, told)
    assert not is_match(match, replace(told, system="orderse-1"))


def test_a_settlement_that_gives_its_message_back_completes_no_step_and_undoes_none():
    told = Happened(
        id=uuid4(), at=datetime.now(UTC), system="erp", operation=5, outcome=1, destination="", name="", attributes={}, keys={}, owner=1
    )  # fmt: skip
    settled = Match(system="erp", operation="settle")
    assert is_match(settled, told)
    assert not is_match(settled, replace(told, outcome=0))
    assert is_match(Match(system="erp"), replace(told, outcome=0, operation=4))


@pytest.mark.parametrize("headers", ['{"": x}', '{"X\\nY": x}', '{X-A: "x\\r\\nX-B: 1"}'])
def test_a_header_of_a_book_is_one_line(headers):
    with pytest.raises(BadBook, match="one line"):
        parse_book(HTTP % f", headers: {headers}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: &x [1]\nb: *x", "aliases"),
        ("a: 1\na: 2", "there twice"),
        ("[" * 100, "nested"),
        ("a: !!python/object/apply:os.system ['id']", "could not determine"),
        ("a: [1", "line"),
        ("\x00", "special characters"),
        ("x" * 300_000, "256 KiB"),
    ],
)
def test_yaml_that_grows_or_runs_is_refused_with_its_place(text, words):
    with pytest.raises(BadYaml, match=words):
        read_yaml(text)


def undo_with(body: str, value: object, **changes: str) -> object:
    text = HTTP % f", body: {body}, inputs: {{v: {{key: a}}}}" if not changes else HTTP % changes["raw"]
    (one,) = parse_book(text).steps
    return filled(one.undo, {"v": value})


@pytest.mark.parametrize(
    ("body", "value", "sent"),
    [
        ('{x: "{v}"}', Number("1284.50"), b'{"x":1284.50}'),
        ('{x: "{v}"}', 'a"b', b'{"x":"a\\"b"}'),
        ('{x: "n {v}"}', Number("1.0"), b'{"x":"n 1.0"}'),
        ('{x: "{v}"}', True, b'{"x":true}'),
        ('{x: "{v}"}', None, b'{"x":null}'),
        ('"<o>{v}</o>", content_type: application/xml', "<a>&", b"<o>&lt;a&gt;&amp;</o>"),
        ("'[\"{v}\"]', content_type: application/json", 'a"b\n', b'["a\\"b\\n"]'),
    ],
)
def test_a_value_never_becomes_more_than_a_value(body, value, sent):
    assert undo_with(body, value).body == sent


@pytest.mark.parametrize(("value", "path"), [("a/b?c#d", "POST /p/a%2Fb%3Fc%23d"), ("4711", "POST /p/4711")])
def test_a_value_in_a_path_is_one_step(value, path):
    raw = ", inputs: {v: {key: a}}"
    text = (HTTP % raw).replace("/p", '"/p/{v}"')
    assert filled(parse_book(text).steps[0].undo, {"v": value}).destination == path


@pytest.mark.parametrize("value", ["..", "", "."])
def test_a_value_that_would_lead_elsewhere_in_a_path_is_refused(value):
    text = (HTTP % ", inputs: {v: {key: a}}").replace("/p", '"/p/{v}"')
    with pytest.raises(CannotFill):
        filled(parse_book(text).steps[0].undo, {"v": value})


def test_a_line_break_in_a_header_is_refused_without_quoting_it():
    text = HTTP % ', headers: {X-A: "{v}"}, inputs: {v: {key: a}}'
    with pytest.raises(CannotFill) as refused:
        filled(parse_book(text).steps[0].undo, {"v": "secret\r\nX-B: 1"})
    assert "secret" not in str(refused.value)


def test_inputs_come_from_the_step_from_others_and_from_the_message():
    inputs = parse_book(BOOK).step("payment").undo.inputs
    own = Part(body=b'{"amount": 10.0}', keys={"order_no": "1"}, attributes={"payment.id": 7})
    assert read_inputs(inputs, own, {}) == ({"order": "1", "amount": "10.0", "payment": "7"}, [])
    assert isinstance(read_inputs(inputs, own, {})[0]["payment"], Number)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (None, "its body is not stored"),
        (b"\xff", "cannot be read"),
        (b"{}", "leads to nothing"),
        (b'{"amount": {}}', "no single value"),
        (b'{"amount": "' + b"x" * 5000 + b'"}', "longer than"),
        (b'{"amount": 1, "amount": 2}', "cannot be read"),
        ('{"amount": "•••50"}'.encode(), "masked"),
        (b'{"amount": "#0123456789abcdef0123456789abcdef"}', "masked"),
    ],
)
def test_what_is_missing_is_said_and_never_guessed(body, words):
    inputs = {"amount": parse_book(BOOK).step("payment").undo.inputs["amount"]}
    values, missing = read_inputs(inputs, Part(body=body, keys={}, attributes={}), {})
    assert values == {}
    assert words in missing[0]
