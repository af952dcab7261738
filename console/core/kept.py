"""Answers kept for a moment in Redis. A dead Redis costs time alone: nothing is known then, and nothing is kept."""

from __future__ import annotations

import structlog
from django.core.cache import cache
from redis.exceptions import RedisError

log = structlog.get_logger(__name__)


def kept(name: str) -> bytes | None:
    """Return what is kept under this name, None when nothing is."""
    try:
        known = cache.get(name)
    except (RedisError, OSError):
        log.warning("cache_does_not_answer")
        return None
    return known if isinstance(known, bytes) else None


def keep(name: str, data: bytes, seconds: int) -> None:
    """Keep this for so many seconds. The name is part of who may read it: whatever rights the answer depends on belong into it."""
    try:
        cache.set(name, data, seconds)
    except (RedisError, OSError):
        log.warning("cache_does_not_answer")
