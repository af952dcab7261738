"""W3C trace context in message headers. Pure. Source: W3C Trace Context level 1."""

from __future__ import annotations

import re

TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)


def parse_traceparent(text: str | None) -> tuple[str, str] | None:
    """Return (trace id, span id) in lower-case hex, or None when the header is absent or invalid."""
    match = TRACEPARENT.fullmatch((text or "").strip().lower())
    if not match:
        return None
    version, trace_id, span_id, _, more = match.groups()
    if version == "ff" or (version == "00" and more) or not trace_id.strip("0") or not span_id.strip("0"):
        return None
    return trace_id, span_id


def make_traceparent(trace_id: str, span_id: str) -> str:
    """Return the header of a sampled span."""
    return f"00-{trace_id}-{span_id}-01"
