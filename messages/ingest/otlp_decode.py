"""OTLP bodies, protobuf and JSON → requests. One span or log record that cannot be read does not cost its neighbours. Pure.

A body is parsed as a whole, which is fast. Only when that fails, or when it is large JSON, is it taken apart: a Collector passes text on that is not UTF-8, and
JavaScript sends lone surrogates and numbers that nobody can hold. What cannot be read leaves an empty item in its place.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

import msgspec
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from messages.ingest import jsontext
from messages.ingest.http import Malformed
from messages.ingest.model import Refused
from messages.ingest.otlp_wire import TraceRequest

WHOLE_BYTES = (
    256 * 1024
)  # of JSON: more as a whole is in memory several times over, and one huge span took half a minute
PROTOBUF = "application/x-protobuf"
NOT_READABLE = "unreadable_item"
UNREADABLE = (*jsontext.UNREADABLE, ParseError, DecodeError, ValueError, TypeError, AttributeError)
URL_SAFE = str.maketrans("-_", "+/")
NAMES: dict[type[Any], tuple[str, str, str]] = {
    ExportTraceServiceRequest: ("resourceSpans", "scopeSpans", "spans"),
    ExportLogsServiceRequest: ("resourceLogs", "scopeLogs", "logRecords"),
}


def decode_request(data: bytes, media_type: str, kind: Any) -> tuple[Any, dict[int, Refused]]:
    """Return (the request, of the class `kind`, the items of it that cannot be read, by their index over all); raises Malformed with what is wrong."""
    if kind is TraceRequest and media_type != PROTOBUF:
        request, unreadable = decode_request(data, media_type, ExportTraceServiceRequest)
        return TraceRequest.FromString(request.SerializeToString()), unreadable
    if media_type == PROTOBUF:
        request = kind()
        try:
            request.ParseFromString(data)
        except (DecodeError, RecursionError):
            return _item_by_item(data, kind)
        return request, {}
    if len(data) > WHOLE_BYTES:
        return _item_by_item_of_json(data, kind)
    try:
        jsontext.check_nesting(data)
        return ParseDict(_with_base64(msgspec.json.decode(data)), kind(), ignore_unknown_fields=True), {}
    except (Malformed, *UNREADABLE):
        return _item_by_item_of_json(data, kind)


def _loose_request() -> Any:
    """Return the class of a request whose spans or records are bytes still: both signals have the same shape and numbers."""
    file = descriptor_pb2.FileDescriptorProto(name="waybill/loose.proto", package="waybill", syntax="proto3")
    for name, fields in {
        "Scope": [("scope", 1, False, ""), ("items", 2, True, "")],
        "Resource": [("resource", 1, False, ""), ("scopes", 2, True, ".waybill.Scope")],
        "Request": [("resources", 1, True, ".waybill.Resource")],
    }.items():
        message = file.message_type.add(name=name)
        for field, number, repeated, of in fields:
            made = message.field.add(
                name=field, number=number, label=3 if repeated else 1, type=11 if of else 12
            )  # message or bytes
            if of:
                made.type_name = of
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)  # type: ignore[no-untyped-call]
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("waybill.Request"))


LooseRequest = _loose_request()


def _item_by_item(data: bytes, kind: Any) -> tuple[Any, dict[int, Refused]]:
    unreadable: dict[int, Refused] = {}
    request, index = kind(), 0
    try:
        for resource in LooseRequest.FromString(data).resources:
            place = _add_resource(request)
            place.resource.MergeFromString(resource.resource)
            for scope in resource.scopes:
                around, items = _add_scope(place)
                around.MergeFromString(scope.scope)
                for raw in scope.items:
                    item = items.add()
                    try:
                        item.ParseFromString(raw)
                    except (DecodeError, RecursionError) as error:
                        item.Clear()
                        alone = LooseRequest(resources=[{"resource": resource.resource, "scopes": [{"items": [raw]}]}])
                        unreadable[index] = not_readable(index, error, alone.SerializeToString())
                    index += 1
    except (DecodeError, RecursionError) as error:
        raise Malformed(f"the body is not an {kind.__name__}: {error}") from error
    check_some_are_readable(index, unreadable.values())
    return request, unreadable


class _Scope(msgspec.Struct):
    scope: dict[str, Any] | None = None
    spans: list[msgspec.Raw] | None = None
    logRecords: list[msgspec.Raw] | None = None


class _Resource(msgspec.Struct):
    resource: dict[str, Any] | None = None
    scopeSpans: list[_Scope] | None = None
    scopeLogs: list[_Scope] | None = None


class _Request(msgspec.Struct):
    resourceSpans: list[_Resource] | None = None
    resourceLogs: list[_Resource] | None = None


def _item_by_item_of_json(data: bytes, kind: Any) -> tuple[Any, dict[int, Refused]]:
    resources, scopes, items_name = NAMES[kind]
    unreadable: dict[int, Refused] = {}
    request, index = kind(), 0
    try:
        for resource in getattr(jsontext.decode_around(data, _Request), resources) or []:
            place = _add_resource(request)
            ParseDict(resource.resource or {}, place.resource, ignore_unknown_fields=True)
            for scope in getattr(resource, scopes) or []:
                around, items = _add_scope(place)
                ParseDict(scope.scope or {}, around, ignore_unknown_fields=True)
                for raw in getattr(scope, items_name) or []:
                    item = items.add()
                    try:
                        jsontext.check_item(bytes(raw))
                        ParseDict(_ids_as_base64(jsontext.decode(raw, dict)), item, ignore_unknown_fields=True)
                    except (Malformed, *UNREADABLE) as error:
                        item.Clear()
                        tree = {"resource": resource.resource or {}, scopes: [{items_name: [raw]}]}
                        unreadable[index] = not_readable(index, error, msgspec.json.encode({resources: [tree]}))
                    index += 1
    except UNREADABLE as error:
        raise Malformed(f"the body is not OTLP JSON: {str(error)[:300]}") from error
    if not index:
        raise Malformed(f"the body is not OTLP JSON of {items_name}")
    check_some_are_readable(index, unreadable.values())
    return request, unreadable


def _add_resource(request: Any) -> Any:
    return (request.resource_spans if hasattr(request, "resource_spans") else request.resource_logs).add()


def _add_scope(place: Any) -> tuple[Any, Any]:
    """Return (a new scope, its items)."""
    if hasattr(place, "scope_spans"):
        added = place.scope_spans.add()
        return added.scope, added.spans
    added = place.scope_logs.add()
    return added.scope, added.log_records


def not_readable(index: int, error: Exception, raw: bytes) -> Refused:
    return Refused(index=index, code=NOT_READABLE, detail=f"it cannot be read: {str(error)[:300]}", raw=raw)


def check_some_are_readable(count: int, refused: Iterable[Refused]) -> None:
    """A body of which nothing can be read is refused as one: it is not what its headers say."""
    unreadable = [one for one in refused if one.code == NOT_READABLE]
    if count and len(unreadable) == count:
        raise Malformed(f"of {count} items none can be read; the first: {unreadable[0].detail}")


def _with_base64(tree: Any) -> dict[str, Any]:
    """Turn the ids of OTLP's JSON into the base64 that protobuf's JSON wants, in place."""
    if not isinstance(tree, dict):
        raise Malformed("the body must be a JSON object")
    for resources, scopes, items in NAMES.values():
        for resource in tree.get(resources) or []:
            for scope in resource.get(scopes) or []:
                for item in scope.get(items) or []:
                    _ids_as_base64(item)
    return tree


def _ids_as_base64(item: dict[str, Any]) -> dict[str, Any]:
    _to_base64(item, "traceId", "spanId", "parentSpanId")
    for link in item.get("links") or []:
        _to_base64(link, "traceId", "spanId")
    return item


def _to_base64(holder: dict[str, Any], *names: str) -> None:
    for name in names:
        if value := holder.get(name):
            holder[name] = base64.b64encode(_id(value)).decode()


def _id(text: str) -> bytes:
    """Return an id's bytes: of hex, as OTLP has it, or of base64, as senders write it that use protobuf's own JSON. None is no id.

    So that its span is refused, and not the whole request. Hex of an id is never read as base64: the two differ in length.
    """
    try:
        return bytes.fromhex(text)
    except ValueError:
        pass
    digits = text.rstrip("=").translate(URL_SAFE)
    try:
        return base64.b64decode(digits + "=" * (-len(digits) % 4), validate=True)
    except ValueError:
        return b""
