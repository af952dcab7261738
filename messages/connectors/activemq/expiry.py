"""When a message that is sent again expires. Pure.

A letter's properties: `expires` (of its own, RFC 3339 or milliseconds since 1970; 0: never), and what the broker took away when it
died: `sent_at` and `expired_at`, both RFC 3339. The time to live is counted anew from now, for the old moment is mostly past.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime


def expires_ms(properties: Mapping[str, object], choice: str, *, now_ms: int) -> int | None:
    """Return the moment in milliseconds since 1970, None for never; raises ValueError for an `expires` that is no time.

    choice  of Outgoing.expiry.
    """
    if choice == "drop":
        return None
    own = moment_ms(properties.get("expires"))
    if choice == "keep" and (lived := time_to_live_ms(properties)) is not None:
        return now_ms + lived
    return own


def time_to_live_ms(properties: Mapping[str, object]) -> int | None:
    """Return how long it had to live from its sending, None when it had no end or that is not known. Never raises."""
    try:
        sent = moment_ms(properties.get("sent_at"))
        end = moment_ms(properties.get("expires")) or moment_ms(properties.get("expired_at"))
    except ValueError:
        return None
    return end - sent if sent and end and end > sent else None


def moment_ms(value: object) -> int | None:
    """Return milliseconds since 1970 of RFC 3339 or of digits, None for nothing and for 0; raises ValueError."""
    text = str(value or "")
    if not text or text == "0":
        return None
    if text.isascii() and text.isdigit() and len(text) < 16:
        return int(text)
    try:
        at = datetime.fromisoformat(text)
        moment = int(at.replace(tzinfo=at.tzinfo or UTC).timestamp() * 1000)
    except OverflowError as error:
        raise ValueError("that is no time") from error
    if moment <= 0:
        raise ValueError("that was before 1970")
    return moment
