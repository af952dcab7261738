"""What a replay must not carry and what it must add. Pure.

Headers of the dead-letter family are stripped (brokers interpret some of them, and `retry_topic-attempts` left in place would
send the message straight back), the rest is kept, ours are stamped. The originals stay in our store.
"""

from __future__ import annotations

from collections.abc import Iterable

from messages.connectors.base import Header

STRIPPED_PREFIXES = (
    "x-first-death-",
    "x-last-death-",
    "x-exception-",
    "x-original-",
    "__connect.errors.",
    "__streams.errors.",
    "__dlq.errors.",
    "kafka_dlt-",
    "kafka_exception-",
    "kafka_original-",
    "retry_topic-",
    "cloudpubsubdeadlettersource",
    "_amq_orig_",
    "nservicebus.exceptioninfo.",
    "nservicebus.retries",
    "mt-fault-",
    "x-b3-",
)
STRIPPED = frozenset(
    {
        "x-death",
        "x-opt-deaths",
        "x-delivery-count",
        "x-acquired-count",
        "deadletterreason",
        "deadlettererrordescription",
        "nservicebus.failedq",
        "nservicebus.timeoffailure",
        "mt-reason",
        # the Redis Streams layout of docs/agents.md
        "original-stream",
        "error-type",
        "error-message",
        "error-stack",
        "dead-reason",
        "attempts",
        "first-failed-at",
        "failed-at",
        "failed-system",
        "dead-entry-id",
        # stamped afresh
        "replay-id",
        "replay-of",
        "replay-attempt",
        "replay-by",
        "traceparent",
        "tracestate",
        "b3",
        "awstraceheader",
        "x-amzn-trace-id",
    }
)


def strip_headers(headers: Iterable[Header]) -> tuple[Header, ...]:
    """Return the headers that belong to the message itself."""
    return tuple(
        h for h in headers if h.name.lower() not in STRIPPED and not h.name.lower().startswith(STRIPPED_PREFIXES)
    )


def stamp_headers(
    headers: Iterable[Header], *, replay_id: str, replay_of: str, attempt: int, by: str, traceparent: str
) -> tuple[Header, ...]:
    """Return the headers with our marks: who sends this again, of what, for the how-manieth time, in which trace."""
    marks = {
        "replay-id": replay_id,
        "replay-of": replay_of,
        "replay-attempt": str(attempt),
        "replay-by": by,
        "traceparent": traceparent,
    }
    return (*headers, *(Header(name=name, type="string", value=value) for name, value in marks.items()))
