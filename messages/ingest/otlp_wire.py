"""OTLP traces as ingest reads them: the standard messages, but for a span's attributes, which stay bytes until they are asked for.

Most attributes of spans say the same over and over (`messaging.system`, a destination, a host). As bytes each is looked up in a memory of what
was read before, at a sixth of the cost of protobuf's objects for its pair, its value and the value inside. On the wire nothing differs.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2

from messages.ingest import semconv

TYPES = descriptor_pb2.FieldDescriptorProto
TRACE = ".opentelemetry.proto.trace.v1"
COMMON = ".opentelemetry.proto.common.v1"
MOST_REMEMBERED, LONGEST_REMEMBERED = 20_000, 128
KEY, VALUE = 0x0A, 0x12  # tags of a KeyValue's fields
TEXT = 0x0A  # tag of an AnyValue's text
IMMUTABLE = (str, int, float, bool, type(None))


def _fields_of_a_span() -> list[tuple[str, int, bool, int, str]]:
    return [
        ("trace_id", 1, False, TYPES.TYPE_BYTES, ""),
        ("span_id", 2, False, TYPES.TYPE_BYTES, ""),
        ("parent_span_id", 4, False, TYPES.TYPE_BYTES, ""),
        ("name", 5, False, TYPES.TYPE_STRING, ""),
        ("kind", 6, False, TYPES.TYPE_ENUM, f"{TRACE}.Span.SpanKind"),
        ("start_time_unix_nano", 7, False, TYPES.TYPE_FIXED64, ""),
        ("end_time_unix_nano", 8, False, TYPES.TYPE_FIXED64, ""),
        ("attributes", 9, True, TYPES.TYPE_BYTES, ""),
        ("events", 11, True, TYPES.TYPE_MESSAGE, f"{TRACE}.Span.Event"),
        ("links", 13, True, TYPES.TYPE_MESSAGE, f"{TRACE}.Span.Link"),
        ("status", 15, False, TYPES.TYPE_MESSAGE, f"{TRACE}.Status"),
    ]


def _trace_request() -> Any:
    """Return the class; fields that are not named here are kept as they came."""
    file = descriptor_pb2.FileDescriptorProto(name="waybill/trace.proto", package="waybill", syntax="proto3")
    file.dependency.append(trace_pb2.DESCRIPTOR.name)
    file.dependency.append(KeyValue.DESCRIPTOR.file.name)
    file.dependency.append("opentelemetry/proto/resource/v1/resource.proto")
    message, many = TYPES.TYPE_MESSAGE, True
    for name, fields in {
        "Span": _fields_of_a_span(),
        "ScopeSpans": [
            ("scope", 1, False, message, f"{COMMON}.InstrumentationScope"),
            ("spans", 2, many, message, ".waybill.Span"),
        ],
        "ResourceSpans": [
            ("resource", 1, False, message, ".opentelemetry.proto.resource.v1.Resource"),
            ("scope_spans", 2, many, message, ".waybill.ScopeSpans"),
        ],
        "TraceRequest": [("resource_spans", 1, many, message, ".waybill.ResourceSpans")],
    }.items():
        made = file.message_type.add(name=name)
        for field, number, repeated, kind, of in fields:
            made.field.add(name=field, number=number, label=3 if repeated else 1, type=kind, type_name=of or None)  # type: ignore[arg-type]
    pool = descriptor_pool.Default()  # type: ignore[no-untyped-call]
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("waybill.TraceRequest"))


TraceRequest = _trace_request()


class _Remembered(dict[bytes, tuple[str, Any]]):
    """A span's attribute as bytes → its present name and its value."""

    def __missing__(self, raw: bytes) -> tuple[str, Any]:
        pair = read_attribute(raw)
        if len(raw) <= LONGEST_REMEMBERED and isinstance(pair[1], IMMUTABLE):
            if len(self) >= MOST_REMEMBERED:
                self.clear()
            self[raw] = pair
        return pair


_attribute = _Remembered().__getitem__


def attributes_of(raws: Iterable[bytes]) -> dict[str, Any]:
    """Return a span's attributes under their present names; raises UnicodeDecodeError and DecodeError.

    Where an old name and the present one are both there, the present one wins.
    """
    pairs = list(map(_attribute, raws))
    attributes = dict(pairs)
    if len(attributes) != len(pairs):
        attributes = plain([KeyValue.FromString(raw) for raw in raws])
        semconv.rename(attributes)
    return attributes


def read_attribute(raw: bytes) -> tuple[str, Any]:
    """Return (present name, value) of a KeyValue's bytes."""
    try:
        return _read_text(raw)
    except (IndexError, _NotPlainText):
        pair = KeyValue.FromString(raw)
        return semconv.renamed(pair.key, value_of(pair.value))


class _NotPlainText(Exception):
    """Not a name and one text, in the order and with nothing else beside them, as every sender writes a text."""


def _read_text(raw: bytes) -> tuple[str, str]:
    """Return (present name, text); raises IndexError and _NotPlainText for any other form, UnicodeDecodeError."""
    name_at, name_ends = _field(raw, 0, KEY)
    value_at, value_ends = _field(raw, name_ends, VALUE)
    text_at, text_ends = _field(raw, value_at, TEXT)
    if not text_ends == value_ends == len(raw):
        raise _NotPlainText
    name = raw[name_at:name_ends].decode()
    return semconv.RENAMED.get(name, name), raw[text_at:text_ends].decode()


def _field(raw: bytes, at: int, tag: int) -> tuple[int, int]:
    """Return where the content of a field with this tag begins and ends."""
    if raw[at] != tag:
        raise _NotPlainText
    length, at = raw[at + 1], at + 2
    if (
        length >= 0x80
    ):  # a varint: seven bits a byte, the lowest first; of three bytes at most, or somebody else reads it
        length += (raw[at] << 7) - 0x80
        at += 1
        if length >= 0x4000:
            length += (raw[at] << 14) - 0x4000
            at += 1
            if length >= 0x200000:
                raise _NotPlainText
    return at, at + length


def plain(attributes: Any) -> dict[str, Any]:
    """Return protobuf's pairs as plain values."""
    # Text first: five of six attributes are, and it saves the look-up of the oneof.
    return {pair.key: (value := pair.value).string_value or value_of(value) for pair in attributes}


@dataclass(frozen=True, slots=True)
class Encoded:
    """Bytes that an attribute carries: as text what they say in UTF-8, so that masking reads it too, else base64.

    Not a str, so that nobody takes it for one: the encoder of JSON does not.
    """

    data: bytes

    def __str__(self) -> str:
        if b"\x00" not in self.data:
            with suppress(UnicodeDecodeError):
                return self.data.decode()
        return base64.b64encode(self.data).decode()


def value_of(any_value: Any) -> Any:
    """Return a plain Python value of an AnyValue."""
    kind = any_value.WhichOneof("value")
    if kind == "array_value":
        return [value_of(item) for item in any_value.array_value.values[:256]]
    if kind == "kvlist_value":
        return plain(any_value.kvlist_value.values[:256])
    if kind == "bytes_value":
        return Encoded(any_value.bytes_value)
    return getattr(any_value, kind) if kind else None
