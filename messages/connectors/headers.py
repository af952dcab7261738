"""Headers between a broker's types and the lossless form {"name", "type", "value"}. Pure."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from messages.connectors.base import Header


class Epoch(int):
    """A timestamp in seconds that no calendar holds: mostly one that its sender took for milliseconds."""


def header_of(name: str, value: object) -> Header:
    """Return a header that keeps the value's own type."""
    if value is None:
        return Header(name=name, type="null", value=None)
    if isinstance(value, bool):
        return Header(name=name, type="bool", value=value)
    if isinstance(value, Epoch):
        return Header(name=name, type="timestamp", value=int(value))
    if isinstance(value, int):
        return Header(name=name, type="int", value=value)
    if isinstance(value, float):
        # JSON has no NaN and no infinity: one of them would make the whole batch malformed
        return Header(name=name, type="float", value=value if math.isfinite(value) else str(value))
    if isinstance(value, str):
        return Header(name=name, type="string", value=value)
    if isinstance(value, bytes):
        return Header(name=name, type="bytes", value=base64.b64encode(value).decode())
    if isinstance(value, datetime):
        return Header(name=name, type="timestamp", value=value.replace(tzinfo=value.tzinfo or UTC).isoformat())
    return Header(name=name, type="json", value=plain(value))


def plain(value: Any) -> Any:
    """Return a value that JSON takes; what it cannot tell apart is marked with its type."""
    if isinstance(value, Mapping):
        made = {str(k): plain(v) for k, v in value.items()}
        return {"$map": made} if _looks_marked(made) else made
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, datetime):
        return {"$timestamp": value.replace(tzinfo=value.tzinfo or UTC).isoformat()}
    if isinstance(value, Decimal):
        return {"$decimal": str(value)}
    if isinstance(value, Epoch):
        return {"$epoch": int(value)}
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": str(value)}
    return value


def value_of(header: Header) -> object:
    """Return the header's value in Python's own type again; raises ValueError when value and type do not go together."""
    if header.type == "bytes":
        return base64.b64decode(str(header.value))
    if header.type == "timestamp":
        return Epoch(header.value) if isinstance(header.value, int) else datetime.fromisoformat(str(header.value))
    if header.type == "float":
        return float(str(header.value))
    if header.type == "json":
        return _unplain(header.value)
    return header.value


MARKED: dict[str, Callable[[Any], object]] = {
    "$bytes": lambda value: base64.b64decode(str(value)),
    "$timestamp": lambda value: datetime.fromisoformat(str(value)),
    "$decimal": lambda value: Decimal(str(value)),
    "$epoch": Epoch,
    "$float": lambda value: float(str(value)),
    "$map": lambda value: {
        k: _unplain(v) for k, v in dict(value).items()
    },  # a sender's own that looks like one of these
}


def _looks_marked(value: Mapping[str, Any]) -> bool:
    return len(value) == 1 and next(iter(value)) in MARKED


def _unplain(value: Any) -> Any:
    if isinstance(value, list):
        return [_unplain(item) for item in value]
    if isinstance(value, dict):
        if _looks_marked(value):
            [(mark, marked)] = value.items()
            return MARKED[mark](marked)
        return {k: _unplain(v) for k, v in value.items()}
    return value


def as_dicts(headers: Iterable[Header]) -> list[dict[str, object]]:
    return [{"name": h.name, "type": h.type, "value": h.value} for h in headers]


def from_dicts(items: Iterable[Mapping[str, Any]]) -> tuple[Header, ...]:
    return tuple(
        Header(name=str(i.get("name", "")), type=str(i.get("type", "string")), value=i.get("value")) for i in items
    )


def first_text(headers: Iterable[Header], name: str) -> str | None:
    """Return the first header of this name as text, in any case of letters."""
    for header in headers:
        if header.name.lower() == name:
            value = value_of(header)
            return (
                value.decode("utf-8", "replace") if isinstance(value, bytes) else None if value is None else str(value)
            )
    return None
