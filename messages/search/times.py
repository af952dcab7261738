"""Times and spans as queries write them: now-1d, now/d, 2026-11-24, 2026-11-24T10:00:00Z; 90s, 1.5h, 250ms. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from messages.search.window import EARLIEST, LATEST

UNITS = {
    "us": timedelta(microseconds=1),
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "min": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
SPAN = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)(us|ms|s|min|m|h|d|w)", re.ASCII)
ENDINGS = {
    "us": "us", "ms": "ms msec msecs millisecond milliseconds", "s": "s sec secs second seconds", "min": "min mins minute minutes",
    "h": "h hr hrs hour hours", "d": "d day days", "w": "w wk wks week weeks",
}  # fmt: skip
MEANT = {ending: unit for unit, endings in ENDINGS.items() for ending in endings.split()}
LOOSE = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)([a-z]{1,12})", re.ASCII | re.IGNORECASE)
MONTH = re.compile(r"M(?![iI])")
NOW = re.compile(r"now(?:([+-])(\d{1,6})(s|min|m|h|d|w))?(?:/(s|min|m|h|d))?", re.ASCII)
DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
LONGEST = timedelta(days=3650)


class NotATime(ValueError):
    """The text is no time or no span; the sentence says how one is written, `instead` what may have been meant."""

    def __init__(self, words: str, instead: str = "") -> None:
        super().__init__(words)
        self.instead = instead


def span_of(text: str) -> timedelta:
    """Return the span of `250ms`, `90s`, `1.5h`, `7d`, at most ten years; raises NotATime."""
    match = SPAN.fullmatch(text.strip())
    if not match:
        near = LOOSE.fullmatch(text.strip())
        unit = MEANT.get(near[2].lower()) if near and not MONTH.search(text) else None
        words = f"a span is a number with ms, s, min, h, d or w, such as 90s or 24h, not “{text[:30]}”"
        raise NotATime(words, instead=near[1] + unit if near and unit else "")
    return min(LONGEST, float(match[1]) * UNITS[match[2]])


def moment_of(text: str, *, now: datetime) -> tuple[datetime, datetime]:
    """Return the time that is meant as (first, past its end); both are the same for an instant.

    A day, and now rounded by `/d`, last as long as they say, so that `<=` reaches to their end and `>` begins after it, as in Kibana.
    Raises NotATime.
    """
    written = text.strip()
    try:
        if match := NOW.fullmatch(written):
            return _around(now, match)
        if DAY.fullmatch(written):
            day = datetime.fromisoformat(written).replace(tzinfo=UTC)
            return _held(day), _held(day + UNITS["d"])
        at = datetime.fromisoformat(written)
    except (ValueError, OverflowError) as error:
        near = written.lower() if NOW.fullmatch(written.lower()) and not MONTH.search(written) else ""
        raise NotATime(
            f"“{text[:40]}” is not a time such as now-1d, 2026-11-24 or 2026-11-24T10:00:00Z", near
        ) from error
    if at.tzinfo is None:
        raise NotATime("a time needs a zone, such as …Z")
    return _held(at), _held(at)


def _around(now: datetime, match: re.Match[str]) -> tuple[datetime, datetime]:
    sign, number, unit, rounding = match.groups()
    at = now
    if number:
        shift = min(LONGEST, int(number) * UNITS[unit])
        at = now + shift if sign == "+" else now - shift
    if not rounding:
        return _held(at), _held(at)
    step = UNITS[rounding]
    start = EARLIEST + (at - EARLIEST) // step * step
    return _held(start), _held(start + step)


def _held(at: datetime) -> datetime:
    """Return a time that can be counted on from: a year 1 would not hold a window before it."""
    return min(max(at, EARLIEST), LATEST)
