"""Edits, read and applied: what each step does, what is refused in which words, and that nothing hangs, crashes or loses a digit."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as some

from messages.payloads.seal import Content
from messages.plans.applying import EditFailed, apply_edits
from messages.plans.editing import check_programs
from messages.plans.edits import BadEdits, canonical, parse_edits, sha256_of
from messages.programs.runner import Runner
from messages.schemas.checking import check_definition, findings_of
from messages.schemas.limits import BadSchema

XSL = 'xmlns:xsl="http://www.w3.org/1999/XSL/Transform"'
SAME = '<xsl:template match="@*|node()"><xsl:copy><xsl:apply-templates select="@*|node()"/></xsl:copy></xsl:template>'
ORDER = b'{"total": 1284.50, "lines": [1, 2], "no": 12345678901234567890123}'


def sheet(inner: str, more: str = "") -> str:
    return f'<xsl:stylesheet version="1.0" {XSL} {more}>{inner}</xsl:stylesheet>'


RENAMES = sheet(SAME + '<xsl:template match="b"><c/></xsl:template>')
READS = sheet('<xsl:template match="/"><xsl:copy-of select="document(\'/etc/passwd\')"/></xsl:template>')
LOOPS = sheet('<xsl:template match="/" name="l"><a/><xsl:call-template name="l"/></xsl:template>')
WRITES = sheet(
    '<xsl:template match="/"><exsl:document href="/dev/null"><a/></exsl:document><b/></xsl:template>',
    'xmlns:exsl="http://exslt.org/common" extension-element-prefixes="exsl"',
)


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    with Runner() as found:
        yield found


def steps(*given: dict[str, Any]) -> Any:
    return parse_edits(json.dumps(given).encode())


def patch(*operations: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "json_patch", "patch": operations}


@pytest.mark.parametrize(
    ("step", "body", "expected"),
    [
        (patch({"op": "replace", "path": "/lines/0", "value": 7}), ORDER, b'{"total":1284.50,"lines":[7,2],"no":12345678901234567890123}'),
        (patch({"op": "test", "path": "/lines/0", "value": 1}, {"op": "remove", "path": "/no"}), ORDER, b'{"total":1284.50,"lines":[1,2]}'),
        (patch({"op": "test", "path": "/total", "value": 1284.5}), b'{"total":1284.5}', b'{"total":1284.5}'),
        ({"kind": "jq", "program": ".sum = .total"}, ORDER, b'{"total":1284.50,"lines":[1,2],"no":12345678901234567890123,"sum":1284.50}'),
        ({"kind": "jq", "program": ". # nothing"}, ORDER, ORDER),
        ({"kind": "jq", "program": "def f: .lines; f"}, ORDER, b"[1,2]"),
        ({"kind": "jq", "program": ".total += 1"}, ORDER, b'{"total":1285.5,"lines":[1,2],"no":12345678901234567890123}'),
        ({"kind": "regex", "find": r"(\d+)\.50", "replace": r"\1.75"}, ORDER, ORDER.replace(b"4.50", b"4.75")),
        ({"kind": "regex", "find": "ä", "replace": "ö\\\\"}, "<ä/>".encode("latin-1"), "<ö\\/>".encode("latin-1")),
        ({"kind": "regex", "find": "nothing", "replace": ""}, ORDER, ORDER),
        ({"kind": "xslt", "stylesheet": RENAMES}, b"<a><b>1</b></a>", b'<?xml version="1.0"?>\n<a><c/></a>\n'),
        ({"kind": "body", "text": "all new ä"}, ORDER, "all new ä".encode()),
        ({"kind": "body", "body_base64": "AP8="}, ORDER, b"\x00\xff"),
    ],
)  # fmt: skip
def test_a_step_changes_the_body_and_nothing_else(runner: Runner, step: dict[str, Any], body: bytes, expected: bytes):
    content = Content(body, [{"name": "a", "type": "int", "value": 1}], {"p": 1})

    made = apply_edits(steps(step), content, "text/plain; charset=iso-8859-1", runner)

    assert made == Content(expected, content.headers, content.properties)
    assert (made is content) == (expected == body)


def test_headers_are_set_in_place_added_and_removed(runner: Runner):
    headers: list[dict[str, object]] = [{"name": name, "type": "string", "value": "1"} for name in ("A", "b", "a", "c")]
    edits = steps(
        {"kind": "set_header", "name": "a", "value": 2, "type": "int"},
        {"kind": "remove_header", "name": "B"},
        {"kind": "set_header", "name": "d", "value": "4"},
    )

    made = apply_edits(edits, Content(b"\xff", headers), "", runner)

    assert [(one["name"], one["value"]) for one in made.headers] == [("a", 2), ("c", "1"), ("d", "4")]
    assert made.body == b"\xff"


def test_a_packed_body_is_packed_again_as_it_was(runner: Runner):
    content = Content(gzip.compress(ORDER), [{"name": "Content-Encoding", "type": "string", "value": "gzip"}])

    made = apply_edits(steps({"kind": "jq", "program": "del(.no)"}), content, "application/json", runner)
    whole = apply_edits(steps({"kind": "body", "text": "new"}), content, "application/json", runner)

    assert gzip.decompress(made.body) == b'{"total":1284.50,"lines":[1,2]}'
    assert gzip.decompress(whole.body) == b"new"
    assert apply_edits(steps({"kind": "jq", "program": "."}), content, "application/json", runner) is content


@pytest.mark.parametrize(
    ("step", "body", "words"),
    [
        (patch({"op": "test", "path": "/total", "value": 1}), ORDER, "operation 1 (test) does not fit: the value is another"),
        (patch({"op": "remove", "path": "/gone"}), ORDER, "operation 1 (remove) does not fit: there is no such place"),
        (patch({"op": "add", "path": "/lines/-/x", "value": 1}), ORDER, "there is no such place"),
        (patch({"op": "move", "from": "/lines", "path": "/lines/0"}), ORDER, "there is no such place"),
        (patch(*[{"op": "copy", "from": "/lines", "path": "/lines/-"}] * 60), ORDER, "makes it too large"),
        (patch({"op": "remove", "path": "/a"}), b"<a/>", "its body is not JSON"),
        (patch({"op": "remove", "path": "/a"}), b"7", "neither an object nor a list"),
        (patch({"op": "remove", "path": "/a"}), b'{"a":1,"a":2}', "two members of the same name"),
        (patch({"op": "remove", "path": "/a"}), b"[" * 100_000, "nested deeper than 64 levels"),
        ({"kind": "jq", "program": "empty"}, ORDER, "it cannot be applied to this body"),
        ({"kind": "jq", "program": ".,."}, ORDER, "it cannot be applied to this body"),
        ({"kind": "jq", "program": "[range(1e12)]"}, ORDER, "it cannot be applied to this body"),
        ({"kind": "jq", "program": "def f: f; f"}, ORDER, "it cannot be applied to this body"),
        ({"kind": "jq", "program": 'include "x"; .'}, ORDER, "it cannot be applied to this body"),
        ({"kind": "jq", "program": ".a = 1"}, b'{"n": 1e999}', "a number that jq cannot hold"),
        ({"kind": "jq", "program": ".a = 1"}, b"[12345678901234567890, 12345678901234567891]", "it cannot be applied"),
        ({"kind": "jq", "program": "map(.)"}, b"[12345678901234567890, 12345678901234567891]", "jq cannot tell them apart"),
        ({"kind": "regex", "find": r'"lines": \[', "replace": ""}, ORDER, "its body was JSON and is none after it"),
        ({"kind": "regex", "find": ".", "replace": "x" * 60_000}, b"y" * 1000, "more than 8 MiB"),
        ({"kind": "regex", "find": "a", "replace": "b"}, b"\x00\xff", "its body is not text"),
        ({"kind": "regex", "find": "a", "replace": "€"}, "aä".encode("latin-1"), "its charset has not all"),
        ({"kind": "xslt", "stylesheet": sheet(SAME)}, b"{}", "it cannot be applied to this body"),
        ({"kind": "xslt", "stylesheet": sheet(SAME)}, b'<!DOCTYPE a [<!ENTITY x SYSTEM "/etc/passwd">]><a>&x;</a>', "it cannot be applied"),
        ({"kind": "xslt", "stylesheet": READS}, b"<a/>", "it cannot be applied"),
        ({"kind": "xslt", "stylesheet": LOOPS}, b"<a/>", "it cannot be applied"),
        ({"kind": "xslt", "stylesheet": WRITES}, b"<a/>", "it cannot be applied"),
        ({"kind": "jq", "program": "."}, b"\x1f\x8b broken", "packed as gzip, and broken"),
    ],
)  # fmt: skip
def test_a_step_that_does_not_fit_fails_in_words_without_a_value(runner: Runner, step: Any, body: bytes, words: str):
    with pytest.raises(EditFailed) as failed:
        apply_edits(steps(step), Content(body), "text/plain; charset=latin-1", runner)

    assert words in failed.value.words
    assert f"step 1 ({step['kind']}): " in failed.value.words
    assert "root:" not in failed.value.detail


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{}", "edits are a JSON list of steps"),
        ("[", "edits are a JSON list of steps"),
        ('[{"kind": "nope"}]', "step 1: a step's kind is one of json_patch, jq"),
        ("[{}]", "step 1: a step's kind is one of"),
        ('[{"kind": "jq", "program": "."}, 7]', "step 2: "),
        ('[{"kind": "jq", "program": " "}]', "step 1 (jq): it has text"),
        ('[{"kind": "jq", "program": ".", "x": 1}]', "unknown field `x`"),
        ('[{"kind": "json_patch", "patch": {}}]', "a JSON Patch is a list"),
        ('[{"kind": "json_patch", "patch": [{"op": "drop"}]}]', "operation 1: op is one of"),
        ('[{"kind": "json_patch", "patch": [{"op": "add", "path": "/a"}]}]', "operation 1: add needs value"),
        ('[{"kind": "json_patch", "patch": [{"op": "remove", "path": "a"}]}]', "is a JSON Pointer"),
        ('[{"kind": "regex", "find": "(", "replace": ""}]', "step 1 (regex): column 2"),
        ('[{"kind": "regex", "find": "(a)", "replace": "\\\\2"}]', "stands for no group"),
        ('[{"kind": "regex", "find": "a*", "replace": ""}]', "matches the empty text"),
        ('[{"kind": "regex", "find": "(?=a)", "replace": ""}]', "looking ahead"),
        ('[{"kind": "set_header", "name": "replay-id", "value": "1"}]', "is set or left out by every replay"),
        ('[{"kind": "remove_header", "name": "X-Death"}]', "is set or left out by every replay"),
        ('[{"kind": "set_header", "name": "a", "value": "b\\r\\nc"}]', "one line"),
        ('[{"kind": "set_header", "name": "a", "value": "1", "type": "int"}]', "not of the type int"),
        ('[{"kind": "set_header", "name": "a", "value": true, "type": "int"}]', "not of the type int"),
        ('[{"kind": "set_header", "name": "a", "value": "x", "type": "timestamp"}]', "step 1 (set_header)"),
        ('[{"kind": "set_header", "name": "", "value": "x"}]', "a header's name has"),
        ('[{"kind": "body"}]', "give text or body_base64"),
        ('[{"kind": "body", "body_base64": "ä"}]', "is not base64"),
        ("[" + ", ".join(['{"kind": "body", "text": ""}'] * 21) + "]", "at most 20 steps"),
        ('[{"kind": "body", "text": "' + "x" * 1024 * 1024 + '"}]', "at most 1024 KiB"),
    ],
)
def test_what_is_no_edit_is_refused_and_names_its_step(text: str, words: str):
    with pytest.raises(BadEdits) as refused:
        parse_edits(text.encode())

    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({"kind": "jq", "program": "{"}, "step 1 (jq): jq: error: syntax error"),
        ({"kind": "jq", "program": ".)),((."}, "syntax error"),
        ({"kind": "jq", "program": "nosuch(1)"}, "nosuch/1 is not defined"),
        ({"kind": "xslt", "stylesheet": "<a"}, "step 1 (xslt): it is not XML"),
        ({"kind": "xslt", "stylesheet": sheet('<xsl:import href="http://127.0.0.1:1/"/>')}, "it asks for another file"),
        ({"kind": "xslt", "stylesheet": f'<!DOCTYPE a [<!ENTITY x "y">]>{sheet("")}'}, "it has a DTD inside"),
    ],
)
def test_a_program_that_cannot_be_compiled_is_refused_when_it_is_saved(step: dict[str, Any], words: str):
    with pytest.raises(BadEdits) as refused:
        check_programs(steps(step))

    assert words in str(refused.value)


def test_a_child_that_was_ended_is_started_again(runner: Runner):
    first, last = steps({"kind": "jq", "program": "[range(1e12)]"}), steps({"kind": "jq", "program": ".a = 1"})

    with pytest.raises(EditFailed, match="step 1"):
        apply_edits(first, Content(b"{}"), "", runner)

    assert apply_edits(last, Content(b"{}"), "", runner).body == b'{"a":1}'


def test_edits_have_one_form_and_keep_their_digits():
    one = parse_edits(b'[{"patch": [ {"op":"add", "path":"/a","value": 1.500} ], "kind":"json_patch"}]')
    other = parse_edits(canonical(one))

    assert sha256_of(one) == sha256_of(other) != ""
    assert b"1.500" in canonical(one)
    assert sha256_of(()) == ""


Json = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False, allow_infinity=False) | some.text(),
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.text(), inner, max_size=4),
    max_leaves=12,
)
KIND = some.sampled_from(["json_patch", "jq", "regex", "set_header", "remove_header", "body", "xslt", "x"])
NAMES = ["patch", "program", "find", "replace", "name", "value", "type", "text", "body_base64", "stylesheet"]
OPERATION = some.fixed_dictionaries(
    {"op": some.sampled_from(["add", "copy", "move", "test"]), "path": some.text(), "value": Json, "from": some.text()}
)
AnyDict = some.dictionaries(some.sampled_from(NAMES), Json | some.lists(OPERATION), max_size=3)
AnyStep = some.builds(lambda kind, more: {"kind": kind} | more, KIND, AnyDict)
AnyBody = some.binary() | Json.map(lambda one: json.dumps(one).encode())


@given(given_steps=some.lists(AnyStep, max_size=3), body=AnyBody)
def test_whatever_is_given_is_applied_or_refused_in_words(
    runner: Runner, given_steps: list[dict[str, Any]], body: bytes
):
    try:
        apply_edits(steps(*given_steps), Content(body), "", runner)
    except (BadEdits, EditFailed) as refused:
        assert str(refused)  # noqa: PT017  some are refused and some are not


@example([0, 0.0])
@given(some.dictionaries(some.text(), Json) | some.lists(Json))
def test_edits_that_change_nothing_leave_every_byte(runner: Runner, document: Any):
    content = Content(json.dumps(document, indent=1).encode())
    nothing = steps(patch({"op": "test", "path": "", "value": document}), {"kind": "jq", "program": "."})

    try:
        made = apply_edits(nothing, content, "", runner)
    except EditFailed as failed:
        assert "jq" in failed.words or "test" in failed.words  # noqa: PT017  jq holds no more than doubles
    else:
        assert made is content


@pytest.mark.parametrize(
    ("kind", "definition", "words"),
    [
        ("json", "nope", "Expecting value"),
        ("json", '{"type": 1}', "is not valid"),
        ("xsd", "<a/>", "is not a schema document"),
        ("xsd", '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:include schemaLocation="/etc/passwd"/></xs:schema>', "another file"),
    ],
)  # fmt: skip
def test_a_schema_that_cannot_check_is_refused(kind: str, definition: str, words: str):
    with Runner(checks=True) as runner, pytest.raises(BadSchema, match=words):
        check_definition(kind, definition, runner)


def test_a_hostile_schema_ends_in_words():
    class Row:
        format, definition, name = "json", "", "s"

    found = {}
    with Runner(checks=True) as runner:
        for definition in ('{"$ref": "http://127.0.0.1:1/a"}', '{"pattern": "(a+)+$"}', '{"$ref": "#"}'):
            Row.definition = definition
            found[definition] = findings_of(Row, b'"' + b"a" * 40 + b'b"', runner)[0]  # type: ignore[arg-type]

    assert "Unresolvable" in found['{"$ref": "http://127.0.0.1:1/a"}']
    assert "takes too long" in found['{"pattern": "(a+)+$"}']
    assert "recursion" in found['{"$ref": "#"}']
