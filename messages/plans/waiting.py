"""Waiting for a plan on behalf of a program: RFC 7240 `Prefer: wait=…`. Few at once, and without holding anything of the database.

A wait takes one of a web process's few threads, so at most half of them wait; who comes then is answered at once, as the RFC allows.
"""

from __future__ import annotations

import re
import threading
import time

from django.db import connection

from console.core.config import WEB_THREADS
from messages.models import Plan

MOST_S = 30
LOOK_S = 0.5
MOST_WAITING = WEB_THREADS // 2  # in each web process
MOVES_BY_ITSELF = frozenset({"scheduled", "running"})
WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,6})\"?\s*(?=[,;]|$)", re.ASCII | re.IGNORECASE)
_room = threading.BoundedSemaphore(MOST_WAITING)


def preferred_wait_s(header: str) -> int:
    """Return the seconds of `Prefer: wait=30`, at most MOST_S; 0 when the header says nothing of it."""
    match = WAIT.search(header[:1000])
    return min(MOST_S, int(match[1])) if match else 0


def needs_nobody(plan: Plan) -> bool:
    """Whether the plan goes on by itself: it has not ended, and waits for no person."""
    return plan.state in MOVES_BY_ITSELF


def wait_until_settled(pk: int, wait_s: float) -> bool:
    """Wait until the plan ends or needs a person, at most so long. False at once when as many wait already as may."""
    if not _room.acquire(blocking=False):
        return False
    try:
        until = time.monotonic() + wait_s
        while _moves(pk) and (left := until - time.monotonic()) > 0:
            time.sleep(min(LOOK_S, left))
        return True
    finally:
        _room.release()


def _moves(pk: int) -> bool:
    """Look, and give the connection back: a waiting program holds none."""
    try:
        return Plan.objects.filter(pk=pk, state__in=MOVES_BY_ITSELF).exists()
    finally:
        if not connection.in_atomic_block:  # as it never is but in tests that are rolled back
            connection.close()
