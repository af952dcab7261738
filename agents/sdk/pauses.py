"""How long a receiver asks to be left alone. Pure, standard library only; whatever a header says, nothing is raised.

Source: RFC 9110, section 10.2.3 (Retry-After); draft-ietf-httpapi-ratelimit-headers, its older forms (RateLimit-Remaining and -Reset),
and what services sent before it (X-RateLimit-*: seconds, or the moment as seconds or milliseconds since 1970).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MOST_PAUSE_S = 86_400
PREFIXES = ("x-ratelimit-", "x-rate-limit-", "ratelimit-")
NUMBER = re.compile(r"(\d{1,15})(\.\d{1,9})?", re.ASCII)
ITEM = re.compile(r'(?:"[^"]*"|[^,"])+')  # of a structured list: commas part it, not those between quotes
REMAINING = re.compile(r"(?:^|[;,])\s*(?:r|remaining)\s*=\s*(\d{1,15})", re.ASCII)
RESET = re.compile(r"(?:^|[;,])\s*(?:t|reset)\s*=\s*(\d{1,15})", re.ASCII)


def pause_s(headers: Mapping[str, str], *, failed: bool, now: datetime) -> int | None:
    """Return seconds from 1 to MOST_PAUSE_S to send nothing, None when none are asked for.

    headers  lower-case names.
    failed   Retry-After is heeded only then: with 2xx and 3xx it speaks of something else.
    now      ours; the answer's own Date goes before it, since a receiver's clock may be wrong and is the one that it reckons by.
    """
    now = _moment(headers.get("date", "")) or now
    asked = [_limited(headers, now), _structured(headers.get("ratelimit", "")[:1000])]
    if failed:
        asked.append(_retry_after(headers.get("retry-after", ""), now))
    longest = max(asked)
    return min(MOST_PAUSE_S, math.ceil(longest)) if longest > 0 else None


def _retry_after(value: str, now: datetime) -> float:
    seconds = _number(value)
    if seconds is not None:
        return seconds
    at = _moment(value)
    return (at - now).total_seconds() if at else 0


def _limited(headers: Mapping[str, str], now: datetime) -> float:
    asked = 0.0
    for prefix in PREFIXES:
        reset = _number(headers.get(f"{prefix}reset", ""))
        if _number(headers.get(f"{prefix}remaining", "")) == 0 and reset is not None:
            asked = max(asked, _from_now(reset, now))
    return asked


def _from_now(reset: float, now: datetime) -> float:
    """Return seconds: small numbers are that already, large ones a moment."""
    if reset > 1e11:
        reset /= 1000
    return reset - now.timestamp() if reset > 1e9 else reset


def _structured(value: str) -> float:
    """Return what `"default";r=0;t=30` asks for, the longest of several policies; `limit=9, remaining=0, reset=30` is an older form."""
    older = "remaining" in value
    asked = 0.0
    for item in [value] if older else ITEM.findall(value):
        bare = re.sub(r'"[^"]*"', "", item)
        remaining, reset = REMAINING.search(bare), RESET.search(bare)
        if remaining and reset and int(remaining[1]) == 0:
            asked = max(asked, float(reset[1]))
    return asked


def _number(value: str) -> float | None:
    value = value.strip()
    if value.isascii() and value.isdigit() and len(value) > 15:
        return float(MOST_PAUSE_S)
    return float(value) if NUMBER.fullmatch(value) else None


def _moment(value: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(value[:100])
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
