"""What headers of an unknown family seem to say, by the ends of their names: the last resort. Pure.

Clones of well-known dead-letter conventions keep the words and change the prefix: `my-app-original-queue`, `dlt_exception_fqcn`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

ENDINGS = {
    "origin": ("original-queue", "original-destination", "original-topic", "original-routing-key", "source-queue", "failed-queue", "failed-q"),
    "reason": ("dead-letter-reason", "dead-reason", "failure-reason", "death-reason", "dlq-reason"),
    "root_type": ("exception-root-type", "root-cause-type", "exception-cause-fqcn", "inner-exception-type"),
    "type": ("exception-type", "exception-fqcn", "exception-class", "exception-class-name", "exception-name", "error-type", "error-class"),
    "message": ("exception-message", "error-message", "error-description", "error-reason"),
    "stack": ("exception-stacktrace", "exception-stack-trace", "exception-stack", "stacktrace", "stack-trace", "error-stack"),
    "attempts": ("attempts", "delivery-attempt", "delivery-count"),
    "retries": ("retry-count", "retries", "redelivery-count"),
    "first_failed_at": ("first-failed-at", "first-failure-at"),
    "failed_at": ("failed-at", "time-of-failure", "failure-time", "exception-timestamp", "error-timestamp"),
}  # fmt: skip
PLACES = {ending: (field, rank) for field, endings in ENDINGS.items() for rank, ending in enumerate(endings)}
MOST = 2**31 - 1


def told_by_suffixes(texts: Mapping[str, str]) -> dict[str, str]:
    """Return what is told, by our names; texts: lower-case header name → text. The first ending of a list that is met wins."""
    best: dict[str, tuple[int, str]] = {}
    for name, text in texts.items():
        rest = name.replace("_", "-").replace(".", "-") if text else ""
        while rest:
            field, rank = PLACES.get(rest, ("", 0))
            if field and (field not in best or rank < best[field][0]):
                best[field] = (rank, text)
            rest = rest.partition("-")[2]
    return {field: text for field, (_, text) in best.items()}


def whole_number(text: object) -> int | None:
    """Return a count that is one, at most 2^31 - 1; None for anything else."""
    words = str(text if text is not None else "").strip()[:20]
    return min(int(words), MOST) if words.isascii() and words.isdigit() else None


def moment(text: object) -> str | None:
    """Return RFC 3339 of an ISO time, or of .NET's `yyyy-MM-dd HH:mm:ss:ffffff Z` with its colon before the fraction; None for others."""
    words = str(text or "").strip()[:64]
    if words.count(":") == 3 and words.endswith(" Z"):
        head, _, fraction = words.removesuffix(" Z").rpartition(":")
        words = f"{head}.{fraction}Z"
    try:
        at = datetime.fromisoformat(words)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).isoformat()
    except (ValueError, OverflowError):
        return None
