"""Avro's logical types as a person reads them: exact decimals, dates and times in ISO 8601. Pure.

What lies outside the calendar's years 1 to 9999 stays the number that it is.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

LARGEST_DECIMAL = 256  # bytes of the unscaled number: longer ones stay base64, for making digits of them takes the square of their length
LARGEST_SCALE = 10**9  # a Decimal's exponent has an end, and the number in a schema has none
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  moments are told with Z or without by their type
DIGITS = {"millis": 3, "micros": 6, "nanos": 9}


def base64_text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def decimal(value: bytes, schema: dict[str, Any]) -> Any:
    """Return the number itself, as JSON with every digit: 1284.50."""
    scale = schema.get("scale", 0)
    if not value or len(value) > LARGEST_DECIMAL or not isinstance(scale, int) or scale > LARGEST_SCALE:
        return base64_text(value)
    unscaled = int.from_bytes(value, "big", signed=True)
    digits = tuple(map(int, str(abs(unscaled))))
    return msgspec.Raw(str(Decimal((int(unscaled < 0), digits, -scale))).encode())


def day(value: int, _: Any) -> Any:
    try:
        return (date(1970, 1, 1) + timedelta(days=value)).isoformat()
    except OverflowError:
        return value


def _fraction(value: int, unit: str) -> tuple[int, str]:
    """Return (whole seconds, ".123" or "")."""
    seconds, rest = divmod(value, 10 ** DIGITS[unit])
    return seconds, f".{rest:0{DIGITS[unit]}d}" if rest else ""


def time_of_day(unit: str) -> Callable[[int, Any], Any]:
    def read(value: int, _: Any) -> Any:
        seconds, rest = _fraction(value, unit)
        if not 0 <= seconds < 86_400:
            return value
        return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{rest}"

    return read


def moment(unit: str, zone: str) -> Callable[[int, Any], Any]:
    def read(value: int, _: Any) -> Any:
        seconds, rest = _fraction(value, unit)
        try:
            return (EPOCH + timedelta(seconds=seconds)).isoformat() + rest + zone
        except OverflowError:
            return value

    return read


def duration(value: bytes, _: Any) -> str:
    """Return months, days and milliseconds as ISO 8601: P1M2DT3.004S."""
    if len(value) != 12:
        return base64_text(value)
    months, days, millis = (int.from_bytes(value[at : at + 4], "little") for at in (0, 4, 8))
    return f"P{months}M{days}DT{millis // 1000}.{millis % 1000:03d}S"


def uuid_of_bytes(value: bytes, _: Any) -> str:
    return str(uuid.UUID(bytes=value)) if len(value) == 16 else base64_text(value)


Reading = Callable[[Any, Any], Any]
MOMENTS: dict[tuple[str, str], Reading] = {
    (f"{local}timestamp-{unit}", "long"): moment(unit, "" if local else "Z")
    for local in ("", "local-")
    for unit in DIGITS
}
READ: dict[tuple[str, str], Reading] = {
    ("decimal", "bytes"): decimal,
    ("decimal", "fixed"): decimal,
    ("date", "int"): day,
    ("time-millis", "int"): time_of_day("millis"),
    ("time-micros", "long"): time_of_day("micros"),
    ("duration", "fixed"): duration,
    ("uuid", "fixed"): uuid_of_bytes,
    **MOMENTS,
}
