"""OTLP requests whose text is not UTF-8, made readable: protobuf refuses them whole, and a person is to mend them. Pure."""

from __future__ import annotations

import base64
import json
from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.logs.v1 import logs_pb2
from opentelemetry.proto.resource.v1 import resource_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

from messages.ingest.otlp_decode import NAMES

KINDS: dict[str, Any] = {
    "traces": trace_service_pb2.ExportTraceServiceRequest,
    "logs": logs_service_pb2.ExportLogsServiceRequest,
}
FIELD = descriptor_pb2.FieldDescriptorProto
_texts: set[str] = set()  # full names of the fields that are text


@cache
def _of_bytes(kind: Any) -> Any:
    """Return the class of a request with bytes wherever it has text: the same on the wire."""
    pool = descriptor_pool.DescriptorPool()
    for module in (common_pb2, resource_pb2, trace_pb2, logs_pb2, trace_service_pb2, logs_service_pb2):
        file = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)  # type: ignore[no-untyped-call]
        for message in file.message_type:
            _make_bytes(message, f"{file.package}.{message.name}")
        pool.Add(file)  # type: ignore[no-untyped-call]
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(kind.DESCRIPTOR.full_name))


def _make_bytes(message: descriptor_pb2.DescriptorProto, name: str) -> None:
    for field in message.field:
        if field.type == FIELD.TYPE_STRING:
            field.type = FIELD.TYPE_BYTES
            _texts.add(f"{name}.{field.name}")
    for nested in message.nested_type:
        _make_bytes(nested, f"{name}.{nested.name}")


def read_request(raw: bytes, kind: Any) -> Any:
    """Return a refused item's request, of the class `kind`, with U+FFFD for what is no UTF-8 in its texts; raises DecodeError for what is no request."""
    try:
        return kind.FromString(raw)
    except DecodeError:
        request = _of_bytes(kind).FromString(raw)
        _mend(request)
        return kind.FromString(request.SerializeToString())


def as_json(raw: bytes, kind: Any = KINDS["traces"]) -> str:
    """Return a protobuf request as OTLP's JSON: hex ids, integer enums, indented to be read and mended."""
    tree = MessageToDict(read_request(raw, kind), use_integers_for_enums=True)
    resources, scopes, items = NAMES[kind]
    for resource in tree.get(resources, []):
        for scope in resource.get(scopes, []):
            for item in scope.get(items, []):
                for holder in (item, *item.get("links", [])):
                    for name in ("traceId", "spanId", "parentSpanId"):
                        if name in holder:
                            holder[name] = base64.b64decode(holder[name]).hex()
    return json.dumps(tree, indent=2, ensure_ascii=False)


def _mend(message: Message) -> None:
    for field, value in message.ListFields():
        if field.message_type is not None:
            for one in value if field.is_repeated else [value]:
                _mend(one)
        elif field.full_name in _texts:
            mended = [one.decode("utf-8", "replace").encode() for one in (value if field.is_repeated else [value])]
            if field.is_repeated:
                value[:] = mended
            else:
                setattr(message, field.name, mended[0])
