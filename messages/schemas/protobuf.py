"""Protobuf messages by a compiled schema, as JSON for people. Source: protobuf.dev, "Encoding" and "ProtoJSON Format"."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from google.protobuf import descriptor_pb2, json_format, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError

from messages.schemas.limits import LONGEST_NAME, MOST_CHARACTERS, MOST_DEPTH, BadSchema, Budget, Misfit
from messages.schemas.protoc import LARGEST_COMPILED, compile_proto

ANY = "google.protobuf.Any"
TEXTS = (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES)
LARGEST_BYTES = 1024 * 1024  # of a message: half a million empty ones within it take 0.4 s


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """A schema's files in a pool of their own. main: the last one, which is what protoc was asked for."""

    pool: DescriptorPool
    main: FileDescriptor


def compiled_from(text: str) -> bytes:
    """Return the FileDescriptorSet of .proto source, or of a FileDescriptorSet in base64; raises BadSchema."""
    packed = "".join(text.split())
    if not packed.isascii() or not packed.replace("+", "").replace("/", "").rstrip("=").isalnum():
        return compile_proto(text)
    try:
        data = base64.b64decode(packed, validate=True)
    except binascii.Error as error:
        raise BadSchema("it is neither .proto source nor base64") from error
    if len(data) > LARGEST_COMPILED:
        raise BadSchema(f"a FileDescriptorSet has at most {LARGEST_COMPILED // 1024 // 1024} MiB")
    return data


@lru_cache(maxsize=32)
def load(data: bytes) -> Compiled:
    """Return a FileDescriptorSet ready to be used; raises BadSchema."""
    pool = DescriptorPool()
    try:
        files = descriptor_pb2.FileDescriptorSet.FromString(data).file
        for file in files:
            pool.AddSerializedFile(file.SerializeToString())
        main = pool.FindFileByName(files[-1].name) if files else None
    except (DecodeError, TypeError, KeyError, ValueError) as error:
        words = "the files that it imports must be in it, before it (protoc --include_imports)"
        raise BadSchema(f"it is no FileDescriptorSet that can be used: {words}") from error
    if main is None or not main.message_types_by_name:
        raise BadSchema("there is no message in it")
    _check_names(files)
    return Compiled(pool=pool, main=main)


def _check_names(files: Any) -> None:
    waiting: list[Any] = [message for file in files for message in file.message_type]
    enums = [enum for file in files for enum in file.enum_type]
    while waiting:
        message = waiting.pop()
        waiting += message.nested_type
        enums += message.enum_type
        if any(len(field.name) > LONGEST_NAME for field in message.field):
            raise BadSchema(f"a name has at most {LONGEST_NAME} characters")
    if any(len(value.name) > LONGEST_NAME for enum in enums for value in enum.value):
        raise BadSchema(f"a name has at most {LONGEST_NAME} characters")


def find_message(compiled: Compiled, name: str) -> Descriptor:
    """Return the message of this full name, of an empty one the file's only message; raises BadSchema."""
    top = list(compiled.main.message_types_by_name.values())
    if not name:
        if len(top) == 1:
            return top[0]
        raise BadSchema(f"say which message: {', '.join(one.full_name for one in top[:20])}")
    try:
        return compiled.pool.FindMessageTypeByName(name)
    except (KeyError, ValueError, TypeError):  # TypeError: half a surrogate pair
        raise BadSchema(
            f"there is no message '{name[:100]}' in it, but {', '.join(m.full_name for m in top[:20])}"
        ) from None


def message_at(compiled: Compiled, indexes: list[int]) -> Descriptor:
    """Return the message that Confluent's indexes lead to; raises Misfit."""
    among: Any = list(compiled.main.message_types_by_name.values())
    found = None
    for index in indexes:
        if not 0 <= index < len(among):
            raise Misfit(f"its frame names message {indexes}, which the schema has not")
        found = among[index]
        among = found.nested_types
    assert found is not None  # indexes are never empty
    return found


def decode(compiled: Compiled, kind: Descriptor, data: bytes) -> tuple[str, int]:
    """Return (JSON with the names of the schema, bytes in fields that the schema does not know, left out); raises Misfit."""
    if len(data) > LARGEST_BYTES:
        raise Misfit(f"it has {len(data):,} bytes, and at most {LARGEST_BYTES:,} are decoded")
    try:
        found = message_factory.GetMessageClass(kind).FromString(data)
        known_and_unknown = found.ByteSize()
        found.DiscardUnknownFields()
        unknown = known_and_unknown - found.ByteSize()
        _weigh(found, compiled.pool, Budget(), 1)
        text = json_format.MessageToJson(
            found, indent=None, preserving_proto_field_name=True, descriptor_pool=compiled.pool, ensure_ascii=False
        )
    except DecodeError as error:
        raise Misfit("it is not encoded as Protobuf") from error
    except (json_format.Error, TypeError, ValueError, KeyError, AttributeError, RecursionError, OverflowError) as error:
        # AttributeError: a schema may have a google.protobuf.Timestamp of its own, without the fields of Google's
        raise Misfit(f"it cannot be written as JSON: {error}"[:300]) from error
    if unknown and not found.ListFields():
        raise Misfit("the schema knows none of its fields")
    if len(text) > MOST_CHARACTERS:
        raise Misfit(f"it holds more than is decoded ({MOST_CHARACTERS // 1024 // 1024} MiB of JSON)")
    return text, unknown


def _weigh(message: Any, pool: DescriptorPool, budget: Budget, depth: int) -> None:
    """Spend what the JSON of a message takes before it is made; raises Misfit, and what json_format raises for an Any.

    1 MB of one-byte enum values becomes a megabyte of names, and each Any within an Any a copy of all that is in it.
    """
    if depth > MOST_DEPTH:
        raise Misfit(f"it is nested deeper than {MOST_DEPTH}")
    for field, value in message.ListFields():
        budget.spend(len(field.name))
        kind = field.message_type
        if kind is not None and kind.GetOptions().map_entry:
            of_value = kind.fields_by_name["value"]
            for key in value:
                budget.spend(len(str(key)))
                _weigh_one(of_value, value[key], pool, budget, depth)
        elif isinstance(value, str | bytes | int | float) or hasattr(value, "ListFields"):
            _weigh_one(field, value, pool, budget, depth)
        elif kind is None and field.enum_type is None and field.type not in TEXTS:
            budget.spend(2 * len(value))
        else:
            for one in value:
                _weigh_one(field, one, pool, budget, depth)
    if message.DESCRIPTOR.full_name == ANY and message.type_url:
        kind = pool.FindMessageTypeByName(message.type_url.rpartition("/")[2])
        _weigh(message_factory.GetMessageClass(kind).FromString(message.value), pool, budget, depth + 1)


def _weigh_one(field: FieldDescriptor, value: Any, pool: DescriptorPool, budget: Budget, depth: int) -> None:
    if field.message_type is not None:
        budget.spend(0)
        _weigh(value, pool, budget, depth + 1)
    elif field.enum_type is not None:
        named = field.enum_type.values_by_number.get(value)
        budget.spend(len(named.name) if named else 8)
    else:
        budget.spend(len(value) * 4 // 3 if isinstance(value, bytes) else len(value) if isinstance(value, str) else 0)
