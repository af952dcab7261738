"""Text, numbers and times made to fit. Pure: the caller brings the clock.

PostgreSQL takes no NUL in text, B-tree keys end at 2,704 bytes and partitions at their range: measured poison, cleaned
here once, before anything is written. What was changed stays recognisable (U+FFFD, an ellipsis, `clamped_from`).
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

ID_BYTES = 512
NAME_BYTES = 512
ERROR_BYTES = 64 * 1024
KEY_BYTES = 256
MOST_KEYS = 32
MOST_LINKS = 1_000  # of one span
ATTRIBUTES_BYTES = 64 * 1024
SHORT, FEW = 32 * 1024, 128  # characters of ASCII and names of at most KEY_BYTES: together they fit in ATTRIBUTES_BYTES
FUTURE = timedelta(minutes=5)
MOST_US = 10**15  # 31 years: longer durations are mistakes
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def text(value: str, most_bytes: int) -> str:
    """Return `value` without NUL and lone surrogates, cut to so many UTF-8 bytes with an ellipsis."""
    if "\x00" in value:
        value = value.replace("\x00", "\ufffd")
    if len(value) * 4 <= most_bytes and value.isascii():
        return value
    data = value.encode("utf-8", "replace")
    if len(data) <= most_bytes:
        return data.decode()
    return data[: most_bytes - 3].decode("utf-8", "ignore") + "…"


def optional(value: str | None, most_bytes: int) -> str | None:
    return text(value, most_bytes) if value else None


def scalar(value: object) -> object:
    """Return a value that jsonb takes: numbers too large and not finite become text."""
    if isinstance(value, str):
        return text(value, ERROR_BYTES)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return (
            value if -(2**63) <= value < 2**63 else f"{value:.17e}" if value.bit_length() < 1000 else "number too large"
        )
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, list):
        return [scalar(item) for item in value[:256]]
    if isinstance(value, dict):
        return {text(str(k), KEY_BYTES): scalar(v) for k, v in list(value.items())[:256]}
    return text(str(value), ERROR_BYTES)


def attributes(raw: dict[str, object]) -> dict[str, object]:
    """Return the attributes cleaned, as many as fit in 64 KiB, or themselves; a cut is said in `waybill.attributes_cut`."""
    try:
        values = "".join(raw.values())  # type: ignore[arg-type]
    except TypeError:
        return _cleaned(raw)
    # Nearly all are short texts with names that were seen before.
    fits = len(values) <= SHORT and values.isascii() and "\x00" not in values
    return raw if fits and len(raw) <= FEW and _clean_names.issuperset(raw) else _cleaned(raw)


def _cleaned(raw: dict[str, object]) -> dict[str, object]:
    kept: dict[str, object] = {}
    budget = ATTRIBUTES_BYTES
    for name, value in raw.items():
        if isinstance(value, str):
            clean: object = text(value, ERROR_BYTES)
            budget -= len(name) + len(clean)  # type: ignore[arg-type]
        else:
            clean = scalar(value)
            budget -= len(name) + (len(str(clean)) if isinstance(clean, list | dict) else 16)
        if budget < 0:
            kept["waybill.attributes_cut"] = len(raw) - len(kept)
            break
        kept[_names.get(name) or _name(name)] = clean
    return kept


_names: dict[str, str] = {}  # attribute names seen, cleaned
_clean_names: set[str] = set()  # those among them that needed no cleaning


def _name(name: str) -> str:
    cleaned = text(name, KEY_BYTES)
    if len(_names) < 10_000 and len(name) <= KEY_BYTES:  # what a process keeps for ever is not for a sender to size
        _names[name] = cleaned
        if cleaned == name:
            _clean_names.add(name)
    return cleaned


def key_value(value: object) -> str | None:
    """Return a business key's value as text, or None when it is no key: empty, a list, an object."""
    if isinstance(value, str):
        return text(value.strip(), KEY_BYTES) or None
    if isinstance(value, bool) or value is None or isinstance(value, list | dict):
        return None
    whole = isinstance(value, int) and value.bit_length() < 1000  # every digit counts, as in a parcel's number of 22
    return text(str(value if whole else scalar(value)), KEY_BYTES)


def moment(at: datetime, *, now: datetime, retention: timedelta) -> tuple[datetime, datetime | None]:
    """Return (time inside [now - retention, now + 5 min], the sender's own time when that was outside)."""
    try:
        at = at.astimezone(UTC)
    except OverflowError:  # year 1 or 9999 with an offset
        at = at.replace(tzinfo=UTC)
    if at > now + FUTURE:
        return now, at
    if at < now - retention:
        return now - retention, at
    return at, None


def moment_of_ns(nanoseconds: int) -> datetime:
    """Return the time of an OTLP fixed64 of nanoseconds since 1970."""
    return datetime.fromtimestamp(nanoseconds // 1000 / 1_000_000, UTC)  # exact to the microsecond until 2242


def duration(microseconds: float) -> int:
    """Return a duration in [0, 31 years] µs; clocks that ran backwards give 0."""
    if not math.isfinite(microseconds):
        return MOST_US if microseconds > 0 else 0
    return min(MOST_US, max(0, int(microseconds)))
