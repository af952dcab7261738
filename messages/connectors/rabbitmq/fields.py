"""Values in AMQP 0.9.1 tables between bytes and Python, without loss and without a value that ends the line. Pure but for `install`.

pika 1.4.4 cannot send a float, reads one as a whole number, and fails on a time beyond the year 9999 (mostly milliseconds taken for
seconds) and on deep nesting: one such header would hold up its whole queue for ever. So two of its functions are replaced.
Source: RabbitMQ's table of field types (amqp-0-9-1-errata, section 3): `l` and `L` are both signed.
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pika.data
from pika import exceptions as amqp

from messages.connectors.headers import Epoch

DEEPEST = 16  # what lies deeper is kept as the bytes it is
FIXED = {
    kind: struct.Struct(f">{code}")
    for kind, code in {
        ord("b"): "b", ord("B"): "B", ord("U"): "h", ord("s"): "h", ord("u"): "H", ord("I"): "i", ord("i"): "I", ord("l"): "q", ord("L"): "q",
        ord("f"): "f", ord("d"): "d",
    }.items()
}  # fmt: skip
LENGTH, TIME, DECIMAL = struct.Struct(">I"), struct.Struct(">Q"), struct.Struct(">Bi")
STRING, BYTES, TABLE, ARRAY, TRUE_OR_FALSE, NOTHING = ord("S"), ord("x"), ord("F"), ord("A"), ord("t"), ord("V")


def read_table(encoded: bytes, offset: int, depth: int = 0) -> tuple[dict[str, Any], int]:
    """Return (the table, the offset behind it); raises what pika raises for a type that nobody declared."""
    start = offset + 4
    end = start + LENGTH.unpack_from(encoded, offset)[0]
    table: dict[str, Any] = {}
    while start < end:
        name_end = start + 1 + encoded[start]
        name = encoded[start + 1 : name_end].decode("utf-8", "backslashreplace")
        table[name], start = read_value(encoded, name_end, depth)
    return table, start


def read_value(encoded: bytes, offset: int, depth: int = 0) -> tuple[Any, int]:
    """Return (the value, the offset behind it)."""
    kind, offset = encoded[offset], offset + 1
    if kind in FIXED:
        return FIXED[kind].unpack_from(encoded, offset)[0], offset + FIXED[kind].size
    if kind == TRUE_OR_FALSE:
        return bool(encoded[offset]), offset + 1
    if kind == NOTHING:
        return None, offset
    if kind == ord("T"):
        return _moment(TIME.unpack_from(encoded, offset)[0]), offset + 8
    if kind == ord("D"):
        scale, digits = DECIMAL.unpack_from(encoded, offset)
        return Decimal(digits).scaleb(-scale), offset + 5
    if kind not in (STRING, BYTES, TABLE, ARRAY):
        raise amqp.InvalidFieldTypeException(bytes([kind]))
    end = offset + 4 + LENGTH.unpack_from(encoded, offset)[0]
    raw = encoded[offset + 4 : end]
    if kind == STRING:
        return _text(raw), end
    if kind == BYTES or depth >= DEEPEST:
        return raw, end
    return read_table(encoded, offset, depth + 1)[0] if kind == TABLE else _array(raw, depth + 1), end


def _array(raw: bytes, depth: int) -> list[Any]:
    values, offset = [], 0
    while offset < len(raw):
        value, offset = read_value(raw, offset, depth)
        values.append(value)
    return values


def _text(raw: bytes) -> str | bytes:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _moment(seconds: int) -> datetime | Epoch:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return Epoch(seconds)


_pika_writes = pika.data.encode_value


def write_value(pieces: list[bytes], value: Any) -> int:
    """Append the value; returns how many bytes it takes."""
    if isinstance(value, float):
        pieces.append(struct.pack(">cd", b"d", value))
        return 9
    if isinstance(value, Epoch):
        pieces.append(struct.pack(">cQ", b"T", value))
        return 9
    return _pika_writes(pieces, value)


def install() -> None:
    """Let pika read and write these values so, everywhere in this process."""
    pika.data.decode_table = read_table  # type: ignore[assignment]
    pika.data.encode_value = write_value
