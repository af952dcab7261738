"""Whether a system took a message once more from the same queue, or from another one of its own. Pure; `messaging_is_one_queue` and
`messaging_is_retry_of` are the same in SQL.
"""

from __future__ import annotations

import re
from functools import lru_cache

# What the names of queues for retries and of dead letters add to that of the queue: orders-retry-0, orders.dlq, orders_error.
AFTER = r"[-._/:](retry|retries|redeliver[a-z]*|delay[a-z]*|wait|dlq|dlt|dead[a-z]*|errors?|parked)([-._/:0-9].*)?$"
_AFTER = re.compile(AFTER)
# And what those of retries alone do: orders-retry-0, orders.delay.5m; not what is more than that, as orders.delayed or orders.retry.notices.
RETRY = r"[-._/:](retry|retries|redelivery|delay|wait)[0-9]*([-._/:][0-9]+[a-z]*)*$"
_RETRY = re.compile(RETRY)
SEPARATORS = "-._/:"


def is_one_queue(one: str | None, other: str | None) -> bool:
    """Whether two destinations of one system are a queue and itself, or that of its retries: by their names. One that nobody told may be any."""
    return not one or not other or one == other or _is_one(_name(one), _name(other))


def _is_one(one: str, other: str) -> bool:
    short, long = sorted((one, other), key=len)
    return long.startswith(short) and (len(long) == len(short) or long[len(short)] in SEPARATORS)


@lru_cache(maxsize=4096)
def _name(destination: str) -> str:
    return _AFTER.sub("", destination.lower())


@lru_cache(maxsize=4096)
def is_for_retries(destination: str | None) -> bool:
    """Whether a queue is one for retries by its name: what is tried again waits there, and nothing that is given up."""
    return bool(_RETRY.search((destination or "").lower()))


def is_retry_of(sent: str | None, failed: str | None) -> bool:
    """Whether what was sent to one destination is tried again that failed at the other one."""
    return bool(sent and failed) and is_for_retries(sent) and _name(sent) == _name(failed)
