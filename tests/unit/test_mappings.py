"""Mappings: what becomes of bodies, and that nothing hostile is worse than a refusal."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages.dead_letters.items import DeadLetterItem, HeaderItem, LetterError
from messages.ingest.http import Malformed, TooLarge
from messages.ingest.native import Error, EventItem, Payload, decode_item
from messages.mappings.definition import (
    FIELDS,
    REQUIRED,
    BadMapping,
    compile_definition,
    compiled,
    pretty,
    read_definition,
)
from messages.mappings.rules import Mapped, map_body
from messages.mappings.shipped import EVENTBRIDGE, GENERIC, LOGIC_APPS, SHIPPED

NEEDED: dict[str, Any] = {"id": "$.id", "system": "shop", "operation": "send", "occurred_at": "2026-11-24T10:00:00Z"}
LETTER = {"id": "$.id", "broker": "b", "family": "f", "queue": "q"}


def mapped(body: str | bytes, definition: dict[str, Any], **more: Any) -> Mapped:
    data = body.encode() if isinstance(body, str) else body
    return map_body(compiled(json.dumps(definition).encode()), data, **more)


def items(body: str | bytes, definition: dict[str, Any]) -> list[dict[str, Any]]:
    return [json.loads(one.item) for one in mapped(body, definition).made]


def field(name: str, said: Any, body: str, *, kind: str = "json", making: str = "event") -> Any:
    """Return what one more field becomes of a body, None when it is left out."""
    needed = dict(NEEDED if making == "event" else LETTER, id="1")
    (made,) = items(body, {"body": kind, making: {"fields": {**needed, name: said}}})
    for part in name.split("."):
        made = made.get(part) if isinstance(made, dict) else None
    return made


@pytest.mark.parametrize(
    ("name", "said", "body", "becomes"),
    [
        ("name", "$.a", '{"a": "x"}', "x"),
        ("name", "$.a", '{"a": 4711}', "4711"),
        ("name", "$.a", '{"a": 1284.50}', "1284.50"),
        ("name", "$.a", '{"a": true}', "true"),
        ("name", "$.a", '{"a": {"b": [1.0]}}', '{"b":[1.0]}'),
        ("name", "$.a", '{"a": null}', None),
        ("name", "$.a", '{"b": 1}', None),
        ("name", "$..a", '{"b": {"a": "deep"}}', "deep"),
        ("name", "$..a[-1]", '{"b": [{"a": [1, 2]}]}', "2"),
        ("name", "$.l[?@.k=='x'].v", '{"l": [{"k": "y", "v": 1}, {"k": "x", "v": 2}]}', "2"),
        ("name", "constant", "{}", "constant"),
        ("name", {"value": "$.a"}, '{"a": 1}', "$.a"),
        ("name", {"from": ["$.a", "$.b"]}, '{"b": "second"}', "second"),
        ("name", {"from": ["$.a", "$.b"]}, '{"a": "", "b": "second"}', "second"),
        ("name", {"from": "$.a", "default": "d"}, "{}", "d"),
        ("name", "{$.a}/{$.b.c}", '{"a": 1, "b": {"c": "x"}}', "1/x"),
        ("name", "{$.a}/{$.b}", '{"a": 1}', None),
        ("outcome", {"from": "$.s", "map": {"Succeeded": "ok", "*": "error"}}, '{"s": "Succeeded"}', "ok"),
        ("outcome", {"from": "$.s", "map": {"Succeeded": "ok", "*": "error"}}, '{"s": "Odd"}', "error"),
        ("outcome", {"from": "$.s", "map": {"true": "ok", "*": "error"}}, '{"s": true}', "ok"),
        ("duration_ms", "$.ms", '{"ms": "12.5"}', 12.5),
        ("duration_ms", {"from": "$.e", "since": "$.s"}, '{"s": "2026-11-24T10:00:00.0000001Z", "e": "2026-11-24T10:00:01.5Z"}', 1500.0),
        ("duration_ms", {"from": "$.e", "since": "$.s"}, '{"e": "2026-11-24T10:00:01Z"}', None),
        ("occurred_at", {"from": "$.t", "as": "epoch_s"}, '{"t": 1700000000.5}', "2023-11-14T22:13:20.500000+00:00"),
        ("occurred_at", {"from": "$.t", "as": "epoch_ms"}, '{"t": "1700000000500"}', "2023-11-14T22:13:20.500000+00:00"),
        ("occurred_at", {"from": "$.t", "as": "utc"}, '{"t": "2026-11-24 10:00:00"}', "2026-11-24T10:00:00+00:00"),
        ("occurred_at", {"from": "$.t", "as": "utc"}, '{"t": "2026-11-24T10:00:00+01:00"}', "2026-11-24T10:00:00+01:00"),
        ("keys", "$.k", '{"k": {"order_no": 4711, "x": [1], "y": null}}', {"order_no": "4711"}),
        ("keys.order_no", "$.k", '{"k": 4711}', "4711"),
        ("attributes.n", "$.k", '{"k": 1.50}', 1.5),
        ("payload.body", "$", '{"a": 1.50}', '{"a":1.50}'),
        ("payload.headers.x", "$.a", '{"a": 1}', "1"),
        ("error.message", "$.a", '{"a": "\\ud83d"}', "�"),
    ],
)  # fmt: skip
def test_a_field_of_a_json_body(name: str, said: Any, body: str, becomes: Any):
    assert field(name, said, body) == becomes


@pytest.mark.parametrize(
    ("said", "body", "becomes"),
    [
        ("/o/@id", '<o id="7"/>', "7"),
        ("//n", "<o><n> x<b>y</b> </n></o>", "xy"),
        ("/o/n/text()", "<o><n>a<b>c</b>d</n></o>", "ad"),
        (
            "//f[key='card']/value",
            "<o><f><key>a</key><value>1</value></f><f><key>card</key><value>2</value></f></o>",
            "2",
        ),
        ("//p:n", '<o xmlns:p="urn:x"><p:n>1</p:n></o>', "1"),
        ("$", "<?xml version='1.0'?><o>ä</o>", "<o>ä</o>"),
        ("{/o/@a}-{//n}", '<o a="1"><n>2</n></o>', "1-2"),
        ("//none", "<o/>", None),
    ],
)
def test_a_field_of_an_xml_body(said: str, body: str, becomes: Any):
    assert field("name", said, body, kind="xml") == becomes


def test_objects_and_single_members_go_together_in_any_order_and_leave_the_item_as_it_is():
    fields = {**NEEDED, "attributes": "$.d", "attributes.more": "x", "name": "$.d", "keys.b": "2", "keys": "$.k"}

    (made,) = items('{"id": 1, "d": {"a": 1}, "k": {"a": "1"}}', {"event": {"fields": fields}})

    assert (made["attributes"], made["keys"], made["name"]) == ({"a": 1, "more": "x"}, {"a": "1", "b": "2"}, '{"a":1}')


def test_headers_of_a_dead_letter_are_a_list():
    fields = {**LETTER, "headers.a": "1", "headers": "$.h", "route.x": "y"}

    (made,) = items('{"id": 1, "h": {"b": 2}}', {"dead_letter": {"fields": fields}})

    assert made["headers"] == [{"name": "a", "value": "1"}, {"name": "b", "value": "2"}]
    assert decode_item(json.dumps(made).encode(), DeadLetterItem).route == {"x": "y"}


@pytest.mark.parametrize(
    ("definition", "body", "ids"),
    [
        ({}, '{"id": 1}', ["1"]),
        ({}, '[{"id": 1}, {"id": 2}]', ["1", "2"]),
        ({"items": "$.records[*]"}, '{"records": [{"id": 1}, {"id": 2}]}', ["1", "2"]),
        ({"body": "ndjson"}, '{"id": 1}\r\n\n{"id": 2}\n', ["1", "2"]),
        ({"skip": [{"path": "$.t", "in": ["ping", 5, True]}]}, '[{"id": 1, "t": "ping"}, {"id": 2}, {"id": 3, "t": 5}, {"id": 4, "t": true}]', ["2"]),
        ({"skip": [{"path": "$.t", "not_in": ["a"]}]}, '[{"id": 1, "t": "a"}, {"id": 2, "t": "b"}, {"id": 3}]', ["1"]),
        ({"skip": [{"path": "$.t", "exists": True, "not_in": ["a"]}]}, '[{"id": 1, "t": "b"}, {"id": 3}]', ["3"]),
        ({"skip": [{"path": "$.t", "matches": "^p"}]}, '[{"id": 1, "t": "ping"}, {"id": 2, "t": "x"}, {"id": 3}]', ["2", "3"]),
    ],
)  # fmt: skip
def test_which_items_a_body_has(definition: dict[str, Any], body: str, ids: list[str]):
    assert [one["id"] for one in items(body, {**definition, "event": {"fields": NEEDED}})] == ids


def test_items_of_xml_are_elements_and_their_paths_begin_with_themselves():
    fields = {**NEEDED, "id": "/order/@no", "name": "//total"}
    body = '<p:all xmlns:p="urn:x"><p:order no="1"><p:total>5</p:total></p:order><order no="2"/></p:all>'

    found = mapped(body, {"body": "xml", "items": "//order", "event": {"fields": fields}})

    assert [(one.index, json.loads(one.item)["id"]) for one in found.made] == [(0, "1"), (1, "2")]
    again = mapped(found.made[0].source, {"body": "xml", "items": "//order", "event": {"fields": fields}}, alone=True)
    assert again.made[0].item == found.made[0].item


def test_lines_of_a_log_are_read_by_named_groups_and_other_lines_are_left_out():
    definition = {
        "body": "lines",
        "pattern": r"^(?P<at>\S+) (?P<level>ERROR|INFO) (?P<id>\S+) (?P<words>.*)$",
        "event": {
            "fields": {
                **NEEDED, "occurred_at": {"from": "$.at", "as": "utc"}, "error.message": "$.words",
                "outcome": {"from": "$.level", "map": {"ERROR": "error", "*": "ok"}},
            }
        },
    }  # fmt: skip

    found = mapped("2026-11-24T10:00:00 ERROR a-1 no answer\r\nnothing of ours\n", definition)

    (made,) = (json.loads(one.item) for one in found.made)
    assert (made["id"], made["outcome"], made["error"]["message"], found.ignored) == ("a-1", "error", "no answer", 1)


def test_one_item_becomes_both_when_both_conditions_hold_and_neither_when_none_does():
    definition = {
        "event": {"when": [{"path": "$.e", "exists": True}], "fields": NEEDED},
        "dead_letter": {"when": [{"path": "$.d", "in": [True]}], "fields": LETTER},
    }

    found = mapped('[{"id": 1, "e": 1, "d": true}, {"id": 2, "d": true}, {"id": 3, "d": false}]', definition)

    assert [(one.index, one.kind) for one in found.made] == [(0, "event"), (0, "dead_letter"), (1, "dead_letter")]
    assert found.ignored == 1


@pytest.mark.parametrize(
    ("fields", "item", "words"),
    [
        ({}, "{}", "id: there is nothing at '$.id'"),
        ({"id": "{$.a}-{$.b}"}, '{"a": 1}', "id: there is nothing at its template"),
        ({"outcome": {"from": "$.s", "map": {"x": "ok"}}}, '{"id": 1, "s": "y"}', "outcome: its map has no entry for 'y'"),
        ({"occurred_at": {"from": "$.t", "as": "epoch_s"}}, '{"id": 1, "t": 1e300}', "occurred_at: '1e300' is no time"),
        ({"occurred_at": {"from": "$.t", "as": "epoch_ms"}}, '{"id": 1, "t": "NaN"}', "is no time of this kind"),
        ({"occurred_at": {"from": "$.t", "as": "utc"}}, '{"id": 1, "t": {}}', "is no time of this kind"),
        ({"duration_ms": "$.t"}, '{"id": 1, "t": "soon"}', "duration_ms: 'soon' is no number"),
        ({"duration_ms": {"from": "$.t", "since": "$.u"}}, '{"id": 1, "t": "x", "u": "y"}', "lead to no times"),
        ({"duration_ms": {"from": "$.t", "since": "$.u"}}, '{"id": 1, "t": "2026-11-24T10:00:00Z", "u": "2026-11-24T10:00:00"}', "lead to no times"),
        ({"attributes": "$.a"}, '{"id": 1, "a": [1]}', "attributes: this is no object"),
    ],
)  # fmt: skip
def test_an_item_that_cannot_be_made_is_refused_alone_in_words(fields: dict[str, Any], item: str, words: str):
    found = mapped(f'[{item}, {{"id": 2, "s": "x", "t": 1, "a": {{}}}}]', {"event": {"fields": {**NEEDED, **fields}}})

    assert words in found.problems[0].detail
    assert found.problems[0].index == 0
    assert json.loads(found.problems[0].source) == json.loads(item)


EVENT = {"fields": NEEDED}


@pytest.mark.parametrize(
    ("definition", "words"),
    [
        ("{", "it is not JSON"),
        ("[]", "Expected 'object', got 'array'"),
        ({}, '"event", "dead_letter" or both'),
        ({"event": EVENT, "bodies": "json"}, "unknown field 'bodies'"),
        ({"event": EVENT, "body": "csv"}, "Invalid enum value 'csv' - at '$.body'"),
        ({"event": {"fields": {}}}, "event: the field 'id' is missing"),
        ({"dead_letter": {"fields": {"id": "1"}}}, "dead_letter: the field 'broker' is missing"),
        ({"event": {"fields": {**NEEDED, "colour": "x"}}}, "there is no field 'colour'"),
        ({"event": {"fields": {**NEEDED, "keys.*": "x"}}}, "there is no field 'keys.*'"),
        ({"event": {"fields": {**NEEDED, "attributes.": "x"}}}, "there is no field 'attributes.'"),
        ({"event": {"fields": {**NEEDED, "error": "x"}}}, "there is no field 'error'"),
        ({"event": {"fields": {**NEEDED, "name": "$.a["}}}, "event.name: column 4: a step is"),
        ({"event": {"fields": {**NEEDED, "name": {"from": "a"}}}}, "event.name: column 1: a JSON path begins with $"),
        ({"event": {"fields": {**NEEDED, "name": {"from": "$.a", "value": "b"}}}}, 'one of "from", "value"'),
        ({"event": {"fields": {**NEEDED, "name": {}}}}, 'one of "from", "value"'),
        ({"event": {"fields": {**NEEDED, "name": {"from": ["$.a"] * 9}}}}, "at most 8 paths"),
        ({"event": {"fields": {**NEEDED, "name": {"from": "$.a", "as": "utc"}}}}, '"as" is for times'),
        ({"event": {"fields": {**NEEDED, "name": {"from": "$.a", "since": "$.b"}}}}, '"since" stands beside'),
        ({"event": {"fields": {**NEEDED, **{f"keys.{n}": "x" for n in range(100)}}}}, "at most 100 fields"),
        ({"event": EVENT, "body": "lines"}, '"pattern" is for'),
        ({"event": EVENT, "pattern": "(?P<a>x)"}, '"pattern" is for'),
        ({"event": EVENT, "body": "lines", "pattern": "a+"}, "name what is found"),
        ({"event": EVENT, "body": "lines", "pattern": "(?P<a>x"}, "pattern: missing )"),
        ({"event": EVENT, "body": "lines", "pattern": r"(?P<a>x)\1"}, "pattern: invalid escape"),
        ({"event": EVENT, "body": "lines", "pattern": "(?P<a>.{1000}){9}"}, "pattern:"),
        ({"event": EVENT, "body": "ndjson", "items": "$.a"}, '"items" is for JSON and XML'),
        ({"event": EVENT, "body": "xml"}, "event.id: column 1: begin with / or //"),
        ({"event": EVENT, "skip": [{"path": "$.a"}]}, "skip[0]: a condition has"),
        ({"event": EVENT, "skip": [{"path": "$.a", "matches": "("}]}, "skip[0]: missing )"),
        ({"event": EVENT, "skip": [{"path": "$.a", "exists": True}] * 21}, "at most 20 conditions"),
        (" " * 65_537, "at most 64 KiB"),
    ],
)  # fmt: skip
def test_a_definition_that_cannot_be_is_refused_in_words(definition: Any, words: str):
    text = definition if isinstance(definition, str) else json.dumps(definition)

    with pytest.raises(BadMapping) as refusal:
        compile_definition(read_definition(text))

    assert words in str(refusal.value)


@pytest.mark.parametrize(
    ("kind", "body", "error"),
    [
        ("json", b"", Malformed),
        ("json", b"\xff\xfe", Malformed),
        ("json", b"{", Malformed),
        ("json", b'{"id": 1, "id": 2}', Malformed),
        ("json", b"NaN", Malformed),
        ("json", b"[" * 100_000, Malformed),
        ("json", b"[" + b"1," * 5_000 + b"1]", TooLarge),
        ("json", b" " * (4 * 1024 * 1024 + 1), TooLarge),
        ("xml", b"", Malformed),
        ("xml", b"<a>", Malformed),
        ("xml", b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', Malformed),
        ("xml", b"<a>" * 10_000, Malformed),
    ],
)
def test_a_body_that_cannot_be_read_is_refused_whole(kind: str, body: bytes, error: type[Exception]):
    fields = {**NEEDED, "id": "1"}

    with pytest.raises(error):
        mapped(body, {"body": kind, "event": {"fields": fields}})


def test_a_body_without_the_items_that_the_mapping_names_is_refused_so_that_nothing_is_lost_silently():
    for kind, path, body in (("json", "$.records[*]", '{"a": []}'), ("xml", "//order", "<a/>")):
        with pytest.raises(Malformed, match="finds no items"):
            mapped(body, {"body": kind, "items": path, "event": {"fields": {**NEEDED, "id": "1"}}})


def test_a_bad_line_is_refused_alone():
    found = mapped(b'{"id": 1}\n{\n\xff\n' + b"[" * 100 + b'\n{"id": 2}', {"body": "ndjson", "event": EVENT})

    assert [one.index for one in found.made] == [0, 4]
    assert [one.index for one in found.problems] == [1, 2, 3]


def test_a_small_body_cannot_be_made_into_a_large_one():
    fields = NEEDED | {f"attributes.{n}": "$" for n in range(90)}

    found = mapped(json.dumps({"id": 1, "a": "x" * 200_000}), {"event": {"fields": fields}})
    assert "larger than" in found.problems[0].detail

    with pytest.raises(TooLarge):
        mapped(json.dumps([{"id": 1, "a": "x" * 50_000}] * 40), {"event": {"fields": fields}})


NAMES = st.sampled_from(["id", "source", "time", "status", "detail", "records", "properties", "resource", "error"])
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda below: st.lists(below) | st.dictionaries(NAMES | st.text(), below),
    max_leaves=20,
)


@given(JSON)
def test_whatever_json_comes_is_mapped_or_refused(body: Any):
    data = json.dumps(body).encode()
    for shipped in SHIPPED.values():
        try:
            found = mapped(data, shipped.definition)
        except Malformed:
            continue
        for made in found.made:
            msgspec.json.decode(made.item)


@given(st.binary(max_size=200), st.sampled_from(["json", "ndjson", "xml", "lines"]))
def test_whatever_bytes_come_are_mapped_or_refused(body: bytes, kind: str):
    definition: dict[str, Any] = {"body": kind, "event": {"fields": {**NEEDED, "id": "$", "name": "$"}}}
    if kind == "lines":
        definition["pattern"] = "(?P<id>.+)"
    with contextlib.suppress(Malformed):
        mapped(body, definition)


def test_items_that_lie_in_one_another_are_not_copied_without_end():
    deep = "[" * 60 + json.dumps("x" * 500_000) + "]" * 60
    nested = "<a>" * 200 + "x" * 500_000 + "</a>" * 200

    for kind, path, body in (("json", "$..*", deep), ("xml", "//*", nested)):
        with pytest.raises(TooLarge):
            mapped(body, {"body": kind, "items": path, "event": {"fields": {**NEEDED, "id": "1"}}})


def test_a_shipped_definition_is_shown_in_lines_that_say_the_same():
    for shipped in SHIPPED.values():
        assert json.loads(pretty(shipped.definition)) == shipped.definition
    assert '\n   "occurred_at": {"from": ["$.properties.startTime", "$.time"]},\n' in pretty(LOGIC_APPS.definition)


def test_the_fields_are_those_of_the_native_shapes():
    inner = {"error": Error, "payload": Payload}
    for making, struct, error in (("event", EventItem, Error), ("dead_letter", DeadLetterItem, LetterError)):
        wanted: set[str] = set()
        for name in struct.__struct_fields__:
            kind = error if name == "error" else inner.get(name)
            wanted |= {f"{name}.{one}" for one in kind.__struct_fields__} if kind else {name}
        wanted.discard("links")
        assert {name for name in FIELDS[making] if not name.endswith(".*")} == wanted
        needed = [one.name for one in msgspec.structs.fields(struct) if one.required]
        assert sorted(REQUIRED[making]) == sorted(needed)
    assert HeaderItem.__struct_fields__ == ("name", "type", "value")


def test_the_generic_webhook():
    event, letter = items(GENERIC.sample, GENERIC.definition)

    decoded = decode_item(json.dumps(event).encode(), EventItem)
    assert (decoded.id, decoded.system, decoded.outcome, decoded.destination) == (
        "evt-4711",
        "shop",
        "error",
        "order.created",
    )
    assert decoded.error is not None
    assert decoded.error.message == "the receiver answered 503 five times"
    dead = decode_item(json.dumps(letter).encode(), DeadLetterItem)
    assert (dead.id, dead.attempts, dead.reason, dead.queue) == ("evt-4711", 5, "exhausted", "order.created")
    assert dead.body is not None
    assert json.loads(dead.body)["data"]["total"] == 1284.5
    assert "1284.50" in dead.body


def test_runs_of_azure_logic_apps():
    event, letter = items(LOGIC_APPS.sample, LOGIC_APPS.definition)

    decoded = decode_item(json.dumps(event).encode(), EventItem)
    assert (decoded.id, decoded.system, decoded.outcome) == (
        "08584312345678901234567890123CU12",
        "order-to-erp",
        "error",
    )
    assert decoded.duration_ms == pytest.approx(4109.4, abs=0.1)
    assert (decoded.correlation_id, decoded.keys) == ("order-4711", {"order_no": "4711"})
    assert decoded.error == Error(type="ActionFailed", message="An action failed. No dependent actions succeeded.")
    assert decoded.attributes["azure.location"] == "westeurope"
    dead = decode_item(json.dumps(letter).encode(), DeadLetterItem)
    assert (dead.family, dead.queue, dead.reason_code) == ("azure-logic-apps", "order-to-erp", "target_error")
    assert dead.reason == "Failed: ActionFailed"

    record = json.loads(LOGIC_APPS.sample)["records"][0]
    started = record | {"operationName": "Microsoft.Logic/workflows/workflowRunStarted"}
    fine = json.loads(LOGIC_APPS.sample)["records"][0]
    fine["properties"]["status"] = "Succeeded"
    found = mapped(json.dumps({"records": [started, fine]}), LOGIC_APPS.definition)
    assert found.ignored == 1
    assert [(one.kind, json.loads(one.item)["outcome"]) for one in found.made] == [("event", "ok")]


def test_events_of_aws_eventbridge():
    (event,) = items(EVENTBRIDGE.sample, EVENTBRIDGE.definition)

    decoded = decode_item(json.dumps(event).encode(), EventItem)
    assert (decoded.system, decoded.destination, decoded.correlation_id) == (
        "com.example.shop",
        "OrderPlaced",
        "basket-17",
    )
    assert decoded.message_id == "6a7e8feb-b491-4cf7-a9f1-bf3703467718"
    assert decoded.payload is not None
    assert decoded.payload.body == '{"order_no":"4711","total":1284.50,"correlation_id":"basket-17"}'
    assert decoded.attributes["aws.region"] == "eu-central-1"
