"""Keyset pages: a page, the cursor that leads to the next one, and the limit a caller may ask for. Pure."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

import msgspec

from console.core.errors import Invalid

T = TypeVar("T")
DEFAULT_LIMIT, MOST = 50, 500


class InvalidCursor(Invalid):
    """The cursor was not made here, or was cut: start again without one."""

    code = "invalid_cursor"


class InvalidLimit(Invalid):
    """A limit is a whole number from 1 to 500."""

    code = "invalid_limit"


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Rows in order, and the cursor of the next page (None at the end).

    by    what found them.   note  why it was not what the administrator configured, a sentence; "" when it was.
    """

    rows: list[T]
    next: str | None
    by: str = "postgresql"
    note: str = ""


def encode_cursor(*position: object) -> str:
    """Return an opaque cursor of a row's position, e.g. (time, id)."""
    plain = [value.isoformat() if isinstance(value, datetime) else str(value) for value in position]
    return base64.urlsafe_b64encode(msgspec.json.encode(plain)).rstrip(b"=").decode()


def _decode(cursor: str, length: int) -> list[str]:
    try:
        data = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        position = msgspec.json.decode(data, type=list[str])
    except (UnicodeError, binascii.Error, ValueError, msgspec.DecodeError) as error:
        raise InvalidCursor("this cursor was not made here: start again without one") from error
    if len(position) != length:
        raise InvalidCursor("this cursor belongs to another list: start again without one")
    return position


def decode_time_cursor(cursor: str) -> tuple[datetime, UUID]:
    """Return (time, id) of a cursor over time-ordered rows; raises InvalidCursor."""
    at, identity = _decode(cursor, 2)
    try:
        moment, uuid = datetime.fromisoformat(at), UUID(identity)
    except ValueError as error:
        raise InvalidCursor("this cursor was not made here: start again without one") from error
    if moment.tzinfo is None:
        raise InvalidCursor("this cursor was not made here: start again without one")
    return moment, uuid


def decode_uuid_cursor(cursor: str) -> UUID:
    """Return the id of a cursor over rows ordered by a time-ordered UUID; raises InvalidCursor."""
    try:
        return UUID(_decode(cursor, 1)[0])
    except ValueError as error:
        raise InvalidCursor("this cursor was not made here: start again without one") from error


def decode_number_cursor(cursor: str) -> int:
    """Return the number of a cursor over rows ordered by a number; raises InvalidCursor."""
    return decode_numbers_cursor(cursor, 1)[0]


def decode_numbers_cursor(cursor: str, length: int) -> list[int]:
    """Return the numbers, at most 10**18 each, of a cursor over rows ordered by several; raises InvalidCursor."""
    texts = _decode(cursor, length)
    if not all(one.isascii() and one.isdigit() and len(one) <= 19 and int(one) <= 10**18 for one in texts):
        raise InvalidCursor("this cursor was not made here: start again without one")
    return [int(one) for one in texts]


def decode_texts_cursor(cursor: str, length: int) -> list[str]:
    """Return the texts of a cursor over rows ordered by several columns, for the caller to read; raises InvalidCursor."""
    return _decode(cursor, length)


def parse_limit(text: str | None) -> int:
    """Return the page size asked for, 50 when none was; raises InvalidLimit."""
    if text is None or text == "":
        return DEFAULT_LIMIT
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= MOST:
        raise InvalidLimit(f"limit is a whole number from 1 to {MOST}, not “{text[:20]}”")
    return int(text)
