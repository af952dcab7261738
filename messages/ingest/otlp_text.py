"""OTLP traces whose text is not UTF-8, made readable: protobuf refuses them whole, and a person is to mend them. Pure."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.resource.v1 import resource_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

FIELD = descriptor_pb2.FieldDescriptorProto
_texts: set[str] = set()  # full names of the fields that are text


def _request_of_bytes() -> Any:
    """Return ExportTraceServiceRequest with bytes wherever it has text: the same on the wire."""
    pool = descriptor_pool.DescriptorPool()
    for module in (common_pb2, resource_pb2, trace_pb2, trace_service_pb2):
        file = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)  # type: ignore[no-untyped-call]
        for message in file.message_type:
            _make_bytes(message, f"{file.package}.{message.name}")
        pool.Add(file)  # type: ignore[no-untyped-call]
    name = ExportTraceServiceRequest.DESCRIPTOR.full_name
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


def _make_bytes(message: descriptor_pb2.DescriptorProto, name: str) -> None:
    for field in message.field:
        if field.type == FIELD.TYPE_STRING:
            field.type = FIELD.TYPE_BYTES
            _texts.add(f"{name}.{field.name}")
    for nested in message.nested_type:
        _make_bytes(nested, f"{name}.{nested.name}")


_RequestOfBytes = _request_of_bytes()


def read_traces(raw: bytes) -> ExportTraceServiceRequest:
    """Return a refused item's request, with U+FFFD for what is no UTF-8 in its texts; raises DecodeError for what is no request at all."""
    try:
        return ExportTraceServiceRequest.FromString(raw)
    except DecodeError:
        request = _RequestOfBytes.FromString(raw)
        _mend(request)
        return ExportTraceServiceRequest.FromString(request.SerializeToString())


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
