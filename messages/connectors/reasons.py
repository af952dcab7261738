"""The small set of reasons beside the native one. Pure."""

from __future__ import annotations

REASONS = (
    ("delivery_limit", ("delivery_limit", "max_deliver", "maxdelivery", "attempts", "retries")),
    ("hop_limit", ("hop_count", "hop_limit", "hopcount", "many_hops")),
    ("throttled", ("throttl", "rate_limit", "too_many")),
    ("expired", ("expired", "ttl")),
    ("overflow", ("maxlen", "overflow")),
    ("deserialization", ("deserial", "decode", "malformed", "parse", "invalid_json", "poison")),
    ("auth", ("auth", "forbidden", "unauthorized", "permission")),
    ("target_error", ("target", "timeout", "timed_out", "error", "failed", "unavailable")),
    ("rejected", ("reject", "refused", "validation", "invalid")),
)


def reason_code(native: str) -> str:
    """Return the small reason of a native one, by the words brokers and consumers use."""
    words = native.lower().replace("-", "_").replace(" ", "_")
    for code, marks in REASONS:
        if any(mark in words for mark in marks):
            return code
    return "unknown"
