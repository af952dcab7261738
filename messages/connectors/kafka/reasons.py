"""The small reason of a death in Kafka: by Connect's stage, by the names of exceptions, by words. Pure."""

from __future__ import annotations

from collections.abc import Sequence

# Kafka Connect's stages of a sink (org.apache.kafka.connect.runtime.errors.Stage).
STAGES = {
    "KEY_CONVERTER": "deserialization",
    "VALUE_CONVERTER": "deserialization",
    "HEADER_CONVERTER": "deserialization",
    "TRANSFORMATION": "rejected",
    "TASK_PUT": "target_error",
}
Marks = tuple[tuple[str, tuple[str, ...]], ...]
# By the simple names of exceptions, not by those of their packages: com.shop.author.X hops nowhere and authorises nobody.
EXCEPTIONS: Marks = (
    ("deserialization", ("serializ", "dataexception", "parse", "jsonmapping", "mismatchedinput", "conversion", "malformed", "schema", "decod")),
    ("auth", ("authoriz", "authentic", "accessdenied", "forbidden", "unauthorized", "permission")),
    ("throttled", ("throttl", "toomanyrequests", "ratelimit")),
    ("expired", ("expired",)),
    ("rejected", ("illegalargument", "validation", "constraint", "invalid", "reject")),
)  # fmt: skip
WORDS: Marks = (
    ("delivery_limit", ("delivery count", "delivery attempt", "max delivery", "delivery limit", "exceed", "retries")),
    ("rejected", ("reject",)),
    ("deserialization", ("deserial", "pars", "malformed", "decod")),
    ("auth", ("forbidden", "unauthorized", "not authorized", "permission")),
    ("throttled", ("throttl", "rate limit", "too many requests")),
    ("expired", ("expired",)),
    ("target_error", ("timeout", "timed out", "error", "failed", "unavailable")),
)


def reason_code_of(*, stage: str, words: str, error_types: Sequence[str]) -> str:
    """Return the small reason. error_types: names of exceptions, the innermost first."""
    if stage in STAGES:
        return STAGES[stage]
    for name in error_types:
        simple = name.rpartition(".")[2].lower()
        for code, marks in EXCEPTIONS:
            if any(mark in simple for mark in marks):
                return code
    for code, marks in WORDS:
        if any(mark in words.lower() for mark in marks):
            return code
    return "target_error" if error_types else "unknown"
