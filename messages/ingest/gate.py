"""What is refused before a body is read: a full disk, a database that is stuck, a key over its quota or its share.

Pushing back is the promise: an agent that gets 429 or 503 with Retry-After keeps its events and sends them again. Quotas are
counted in Redis, for all processes together; when Redis is away each process counts alone. Shares are each process's own.
"""

from __future__ import annotations

import math
import shutil
import threading
import time
from pathlib import Path

import redis
import structlog
from django.conf import settings
from django.http import HttpRequest
from prometheus_client import Gauge

from console.core.errors import ConsoleError
from console.identity.models import Agent
from messages.ingest.shares import Bucket, Shares

log = structlog.get_logger(__name__)
DISK_FRESH_S = 2.0
DISK_WARNS_AT = 1.5  # times the reserve
ROOM_S = 5.0
STUCK_S = 2.0  # after a lock or statement time-out nobody waits for the same lock again for so long
FREE = Gauge(
    "waybill_disk_free_ratio", "Free part of the disk that the console's data lies on.", multiprocess_mode="mostrecent"
)


class PushedBack(ConsoleError):
    """Not now: send the same request again after `retry_after_s`."""

    again = "Yes, after Retry-After."

    def __init__(self, words: str, *, retry_after_s: float) -> None:
        super().__init__(words)
        self.retry_after_s = max(1, math.ceil(retry_after_s))


class OverQuota(PushedBack):
    """This key's agent sent more events or bytes a second than its quota."""

    status = 429
    code = "over_quota"


class OverShare(PushedBack):
    """The console is busy and this agent had more than its part of it."""

    status = 429
    code = "over_share"


class DiskNearlyFull(PushedBack):
    """Less of the disk is free than WAYBILL_DISK_RESERVE_PERCENT; nothing is taken until there is."""

    status = 503
    code = "disk_nearly_full"


class Stuck(PushedBack):
    """The database did not answer in time a moment ago; the next try is soon."""

    status = 503
    code = "unavailable"


_shares = Shares(threads=settings.INGEST_THREADS)
_lock = threading.Lock()
_room = threading.BoundedSemaphore(1)
_stuck_until = 0.0
_disk: tuple[float, float] = (-math.inf, 1.0)  # when it was measured, the free part
_buckets: dict[tuple[int, str], Bucket] = {}
_in_debt: dict[tuple[int, str], tuple[float, int]] = {}  # (agent, what of) → until when, at which quota


def check_open() -> None:
    """Raise when nobody's data is taken now: Stuck, DiskNearlyFull."""
    now = time.monotonic()
    if now < _stuck_until:
        raise Stuck("the database is stuck behind a lock; send it again", retry_after_s=_stuck_until - now)
    free = free_disk(now)
    if free * 100 < settings.DISK_RESERVE_PERCENT:
        raise DiskNearlyFull(
            f"only {free:.1%} of the disk is free; nothing is taken until {settings.DISK_RESERVE_PERCENT} % are",
            retry_after_s=30,
        )


def disk_words() -> str:
    """Return what a person must know of the disk, nothing while there is room: at half as much again as the reserve it is time to act."""
    free, reserve = free_disk(time.monotonic()), settings.DISK_RESERVE_PERCENT
    if free * 100 >= reserve * DISK_WARNS_AT:
        return ""
    if free * 100 >= reserve:
        return f"{free:.1%} of the disk is free. Under {reserve} % ingest takes nothing more."
    return (
        f"Only {free:.1%} of the disk is free: ingest takes nothing until {reserve} % are. Agents keep what they have."
    )


def check_agent(agent: Agent) -> None:
    """Raise when this agent has to wait: OverQuota, OverShare."""
    now = time.monotonic()
    for what, rate in _quotas(agent):
        until, at_rate = _in_debt.get((agent.pk, what), (0.0, rate))
        if now < until and at_rate == rate:  # under a new quota the next request tells what is owed
            raise OverQuota(
                f"agent {agent.name} is over its quota of {rate:,} {what} a second", retry_after_s=until - now
            )
    with _lock:
        over = _shares.is_over(agent.pk, now=now)
    if over:
        raise OverShare("the console is busy and others wait; send it again", retry_after_s=1)


def take_room(request: HttpRequest) -> None:
    """Wait until no other large body is worked on in this process; raises OverShare when that takes too long.

    A body of 20 MiB needs about 100 MB until it is stored; four threads with one each would need four times that.
    """
    if not _room.acquire(timeout=ROOM_S):
        raise OverShare("other large bodies are being worked on; send it again, or in smaller batches", retry_after_s=2)
    request.ingest_room = True  # type: ignore[attr-defined]


def leave_room(request: HttpRequest) -> None:
    """Let the next large body in, when this request had one."""
    if getattr(request, "ingest_room", False):
        _room.release()


def took(agent: Agent, seconds: float) -> None:
    """Count the time that a request of this agent took towards its share."""
    with _lock:
        _shares.took(agent.pk, seconds, now=time.monotonic())


def stumbled() -> None:
    """Note that the database timed out: for two seconds nobody else of this process waits for the same thing."""
    global _stuck_until  # noqa: PLW0603
    _stuck_until = time.monotonic() + STUCK_S


def free_disk(now: float) -> float:
    """Return the free part, 0 to 1, of the fullest disk that is watched; measured at most every two seconds."""
    global _disk  # noqa: PLW0603
    if now - _disk[0] > DISK_FRESH_S:
        _disk = (now, min((_free(path) for path in settings.DISK_PATHS), default=1.0))
        FREE.set(_disk[1])
    return _disk[1]


def _free(path: Path) -> float:
    try:
        usage = shutil.disk_usage(path)
    except OSError:
        return 1.0
    return usage.free / usage.total if usage.total else 1.0


def charge(agent: Agent, *, events: int, wire_bytes: int) -> None:
    """Take a request off the agent's quota, if it has one; what is over is waited off by its next requests."""
    for (what, rate), amount in zip(_quotas(agent), (events, wire_bytes), strict=True):
        if rate and amount:
            debt_s = _take(agent.pk, what, amount, rate)
            if debt_s > 0:
                _in_debt[agent.pk, what] = (time.monotonic() + debt_s, rate)


def _quotas(agent: Agent) -> tuple[tuple[str, int], tuple[str, int]]:
    """Return (what, how many a second) of an agent's quotas; 0: no quota."""
    return (
        ("events", agent.events_per_s or settings.AGENT_EVENTS_PER_S),
        ("bytes", agent.bytes_per_s or settings.AGENT_BYTES_PER_S),
    )


TAKE = """
local rate, amount, burst = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1e6
local known = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens = tonumber(known[1]) or rate * burst
tokens = math.min(rate * burst, tokens + math.max(0, now - (tonumber(known[2]) or now)) * rate) - amount
redis.call('HSET', KEYS[1], 'tokens', tostring(tokens), 'at', string.format('%.6f', now))
redis.call('EXPIRE', KEYS[1], math.ceil(burst + math.max(0, -tokens / rate)) + 60)
return tostring(math.max(0, -tokens / rate))
"""
BURST_S = 10.0
_redis: redis.Redis | None = None


def _take(agent: int, what: str, amount: float, rate: float) -> float:
    global _redis  # noqa: PLW0603
    if _redis is None:
        _redis = redis.Redis.from_url(settings.REDIS_URL, socket_timeout=0.2, socket_connect_timeout=0.2)
    try:
        return float(_redis.eval(TAKE, 1, f"waybill:quota:{agent}:{what}", rate, amount, BURST_S))  # type: ignore[arg-type]
    except redis.RedisError as error:
        log.warning("quota_counted_alone", agent=agent, reason=str(error)[:200])
        now = time.monotonic()
        with _lock:
            bucket = _buckets.get((agent, what))
            if bucket is None or bucket.rate != rate:
                bucket = _buckets[(agent, what)] = Bucket(rate=rate, tokens=rate * BURST_S, at=now, burst_s=BURST_S)
            return bucket.take(amount, now=now)
