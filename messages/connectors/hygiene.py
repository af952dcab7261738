"""What a replay must not carry and what it must add. Pure.

Headers of the dead-letter family are stripped (brokers interpret some of them, and `retry_topic-attempts` left in place would
send the message straight back), the rest is kept, ours are stamped. The originals stay in our store.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, lru_cache

from messages.connectors import families
from messages.connectors.base import Header

# Of families that reach us through others, and what is stamped afresh.
OTHERS = (
    "cloudpubsubdeadlettersource*", "deadletterreason", "deadlettererrordescription", "_amq_orig_*",
    "replay-id", "replay-of", "replay-attempt", "replay-by", "replay-edited", "traceparent", "tracestate", "b3", "x-b3-*", "awstraceheader", "x-amzn-trace-id",
)  # fmt: skip


@cache
def _stripped() -> tuple[frozenset[str], tuple[str, ...]]:
    """Return the names and the prefixes of what every family strips: a message may have died in one and go back by another."""
    marks = [*OTHERS, *(mark for family in families() for mark in family.stripped)]
    return frozenset(m for m in marks if not m.endswith("*")), tuple(m[:-1] for m in marks if m.endswith("*"))


def strip_headers(headers: Iterable[Header]) -> tuple[Header, ...]:
    """Return the headers that belong to the message itself."""
    return tuple(header for header in headers if not _is_stripped(header.name))


@lru_cache(maxsize=4096)
def _is_stripped(name: str) -> bool:
    names, prefixes = _stripped()
    return name.lower() in names or name.lower().startswith(prefixes)


def stamp_headers(
    headers: Iterable[Header],
    *,
    replay_id: str,
    replay_of: str,
    attempt: int,
    by: str,
    traceparent: str,
    edited: str = "",
) -> tuple[Header, ...]:
    """Return the headers with our marks: who sends this again, of what, for the how-manieth time, in which trace.

    edited  mark of the edits that were made to it, "" for none.
    """
    marks = {
        "replay-id": replay_id,
        "replay-of": replay_of,
        "replay-attempt": str(attempt),
        "replay-by": by,
        "traceparent": traceparent,
    } | ({"replay-edited": edited} if edited else {})
    return (*headers, *(Header(name=name, type="string", value=value) for name, value in marks.items()))
