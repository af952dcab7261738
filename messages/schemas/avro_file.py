"""Avro object container files: the schema stands in the file. Pure. Source: the Apache Avro specification, "Object Container Files"."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

from messages.payloads.unpack import Packed, unpack
from messages.schemas.avro import AvroSchema, Reader, read_schema
from messages.schemas.limits import MOST_CHARACTERS, BadSchema, Budget, Misfit

MAGIC = b"Obj\x01"
SYNC_BYTES = 16
TOO_LARGE = f"a block unpacks to more than {MOST_CHARACTERS:,} bytes"


def read_file(data: bytes) -> list[Any]:
    """Return the records of a container file as trees for msgspec.json; raises Misfit."""
    budget = Budget()
    head = Reader(data, {}, budget, at=len(MAGIC))
    schema, codec = _metadata(head)
    sync = head.take(SYNC_BYTES)
    found: list[Any] = []
    while head.at < len(data):
        budget.spend(0)
        count, block = head.long(), head.take(head.long())
        if head.take(SYNC_BYTES) != sync:
            raise Misfit(f"the block that ends at byte {head.at:,} does not end with the file's mark")
        found += _records(schema, _unpacked(block, codec), count, budget)
    return found


def _metadata(head: Reader) -> tuple[AvroSchema, str]:
    said = {}
    while count := head.long():
        if count < 0:
            head.long()
        for _ in range(abs(count)):
            head.budget.spend(0)
            name = head.string(None)
            said[name] = head.octets(None)
    try:
        return read_schema(said.get("avro.schema", b"").decode()), said.get("avro.codec", b"null").decode()
    except UnicodeDecodeError as error:
        raise Misfit("its own schema is not UTF-8") from error
    except BadSchema as error:
        raise Misfit(f"its own schema cannot be used: {error}") from error


def _unpacked(block: bytes, codec: str) -> bytes:
    if codec == "null":
        return block
    if codec == "deflate":
        return _inflated(block)
    if codec != "zstandard":
        raise Misfit(f"its blocks are packed as {codec[:40]}, which is not read here")
    try:
        plain = unpack(block, "zstd", most=MOST_CHARACTERS)
    except Packed as error:
        raise Misfit(f"a block cannot be unpacked: {error}") from error
    if plain.cut:
        raise Misfit(TOO_LARGE)
    return plain.body


def _inflated(block: bytes) -> bytes:
    """Inflate without a header; what follows is not looked at, for fastavro leaves three bytes of a checksum there."""
    inflater = zlib.decompressobj(-15)
    try:
        plain = inflater.decompress(block, MOST_CHARACTERS + 1)
    except zlib.error as error:
        raise Misfit(f"a block cannot be unpacked: {error}") from error
    if len(plain) > MOST_CHARACTERS:
        raise Misfit(TOO_LARGE)
    if not inflater.eof:
        raise Misfit("a block cannot be unpacked: it is cut")
    return plain


def _records(schema: AvroSchema, block: bytes, count: int, budget: Budget) -> Iterator[Any]:
    reader = Reader(block, schema.named, budget)
    for _ in range(count):
        yield reader.value(schema.root)
    if reader.at != len(block):
        raise Misfit(f"{len(block) - reader.at:,} bytes of a block are left over")
