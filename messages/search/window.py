"""The time window that every list carries. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from console.core.errors import Invalid

UNITS = {"s": "seconds", "m": "minutes", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}
SPAN = re.compile(r"(\d{1,6})(s|min|m|h|d|w)", re.ASCII)
DEFAULT = "24h"
EARLIEST, LATEST = (
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(2200, 1, 1, tzinfo=UTC),
)  # days are counted on from a window's ends


class BadWindow(Invalid):
    """A window is a span such as 24h, or two times."""

    code = "bad_window"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """since <= time < until; `text` is how the reader wrote it."""

    since: datetime
    until: datetime
    text: str = ""


def parse_span(text: str) -> timedelta:
    """Return the span of `90s`, `15min`, `1h`, `7d`, `2w`; raises BadWindow."""
    match = SPAN.fullmatch(text.strip())
    if not match:
        raise BadWindow(f"a span is a number with s, min, h, d or w, such as 24h, not “{text[:30]}”")
    return min(timedelta(days=3650), timedelta(**{UNITS[match[2]]: int(match[1])}))


def parse_window(text: str | None, *, now: datetime, since: str | None = None, until: str | None = None) -> Window:
    """Return the window of a span that ends now, or at `until`, or of two RFC 3339 times; raises BadWindow."""
    end = _time(until, "until") if until else now + timedelta(minutes=6)  # events may be five minutes ahead of us
    if since:
        begin = _time(since, "since")
        if until and begin > end:
            raise BadWindow("since is before until: the first time is before the second one")
        return Window(since=begin, until=end, text="")
    written = (text or DEFAULT).strip()
    span = parse_span(written)
    if not span:
        raise BadWindow(f"“{written[:30]}” is no time at all: ask for a minute or more")
    return Window(since=max(EARLIEST, (end if until else now) - span), until=end, text=written)


def _time(text: str, name: str) -> datetime:
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise BadWindow(f"{name} is a time such as 2026-11-24T10:00:00Z, not “{text[:40]}”") from error
    if at.tzinfo is None:
        raise BadWindow(f"{name} needs a time zone, such as …Z")
    return min(max(at, EARLIEST), LATEST)
