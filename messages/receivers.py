"""Whether a system took a message once more from the same queue, or from another one of its own. Pure; `messaging_is_one_queue` and
`messaging_is_retry_of` are the same in SQL.
"""

from __future__ import annotations

import re
from functools import lru_cache

AGAIN = "retry|retries|redeliver[a-z]*|delay[a-z]*|wait"
DEAD = "dlq|dlt|dead[a-z]*|errors?|parked"
# What the names of queues for retries and of dead letters add to that of the queue: orders-retry-0, orders.dlq, orders_error.
AFTER = rf"[-._/:]({AGAIN}|{DEAD})([-._/:0-9].*)?$"
_AFTER = re.compile(AFTER)
_RETRY = re.compile(rf"[-._/:]({AGAIN})([-._/:0-9].*)?$")
_DEAD = re.compile(rf"[-._/:]({DEAD})([-._/:0-9].*)?$")
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
    name = (destination or "").lower()
    return bool(_RETRY.search(name)) and not _DEAD.search(name)


def is_retry_of(sent: str | None, failed: str | None) -> bool:
    """Whether what was sent to one destination is tried again that failed at the other one."""
    return bool(failed) and is_for_retries(sent) and is_one_queue(sent, failed)
