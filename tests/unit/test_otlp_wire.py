"""Attributes read from their bytes are what protobuf reads, whatever they are, and nothing is remembered that somebody may change."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from messages.ingest import semconv
from messages.ingest.otlp_wire import TraceRequest, _read_text, attributes_of, plain, read_attribute

names = st.sampled_from([*sorted(semconv.RENAMED), "order_no", "messaging.destination.name", ""]) | st.text(
    max_size=300
)
leaves = (
    st.builds(lambda text: AnyValue(string_value=text), st.text(max_size=200))
    | st.builds(
        lambda size: AnyValue(string_value="x" * size), st.sampled_from([0, 127, 128, 16_383, 16_384, 2_097_152])
    )
    | st.builds(lambda number: AnyValue(int_value=number), st.integers(-(2**63), 2**63 - 1))
    | st.builds(lambda truth: AnyValue(bool_value=truth), st.booleans())
    | st.builds(lambda data: AnyValue(bytes_value=data), st.binary(max_size=40))
    | st.just(AnyValue())
)


def pairs_of(found: list[tuple[str, AnyValue]]) -> list[KeyValue]:
    return [KeyValue(key=name, value=value) for name, value in found]


@given(st.lists(st.tuples(names, leaves), max_size=6))
@example(
    [("messaging.operation", AnyValue(string_value="old")), ("messaging.operation.type", AnyValue(string_value="new"))]
)
def test_attributes_are_those_that_protobuf_reads_under_their_present_names(found: list[tuple[str, AnyValue]]):
    pairs = pairs_of(found)
    expected = plain(pairs)
    semconv.rename(expected)

    assert attributes_of([pair.SerializeToString() for pair in pairs]) == expected


@given(st.binary(max_size=60) | st.builds(lambda data: b"\n" + data, st.binary(max_size=60)))
@example(b"\n" + b"\x80" * 59)
@example(b"\n\x01a\x12\x04\n\x02\xff\xfe")  # text that is not UTF-8
def test_bytes_that_are_no_attribute_are_refused_as_protobuf_refuses_them(raw: bytes):
    try:
        pair = KeyValue.FromString(raw)
    except DecodeError:
        with pytest.raises((DecodeError, UnicodeDecodeError)):
            read_attribute(raw)
    else:
        name, value = read_attribute(raw)
        assert (name, value) == semconv.renamed(pair.key, plain([pair])[pair.key])


def test_a_value_that_can_be_changed_is_made_anew_each_time():
    value = AnyValue()
    value.array_value.values.add(string_value="a")
    raw = KeyValue(key="tags", value=value).SerializeToString()

    first: Any = attributes_of([raw])
    first["tags"].append("b")

    assert attributes_of([raw]) == {"tags": ["a"]}


def test_a_request_is_the_same_bytes_in_both_classes():
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add()
    span = spans.spans.add(
        trace_id=b"t" * 16, span_id=b"s" * 8, name="send", kind=4, trace_state="a=b", flags=1, dropped_links_count=2
    )
    span.attributes.add(key="order_no").value.string_value = "4711"
    spans.schema_url = "https://opentelemetry.io/schemas/1.44.0"

    again = TraceRequest.FromString(request.SerializeToString()).SerializeToString()

    assert ExportTraceServiceRequest.FromString(again) == request


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16_383, 16_384, 2_000_000])
def test_a_text_of_any_usual_length_is_read_without_protobuf(size: int):
    raw = KeyValue(key="messaging.operation", value=AnyValue(string_value="é" * (size // 2))).SerializeToString()

    assert _read_text(raw) == ("messaging.operation.type", "é" * (size // 2))
