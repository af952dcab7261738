"""Rows that are their own queue: due at `next_look_at`, claimed under `attempt`. Subscriptions and scheduled checks are.

A claim moves `next_look_at` on by a lease and counts `attempt`, and what a look found is written only under that attempt. So two beats
at once tell once, and what a dead worker claimed is due again when its lease ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import structlog
from django.db import transaction
from django.db.models import F, Model, QuerySet

log = structlog.get_logger(__name__)
LEASE = timedelta(minutes=1)
M = TypeVar("M", bound=Model)


def claim_due(rows: QuerySet[M], now: datetime) -> M | None:
    """Take the row that is due longest, with what `rows` reads with it; None when none is due."""
    table = rows.model._default_manager
    with transaction.atomic():
        due = table.filter(next_look_at__lte=now).order_by("next_look_at", "pk")
        pk = due.select_for_update(skip_locked=True).values_list("pk", flat=True).first()
        if pk is None:
            return None
        table.filter(pk=pk).update(attempt=F("attempt") + 1, next_look_at=now + LEASE)
    return rows.filter(pk=pk).first()


def look_at_due(
    claim: Callable[[datetime], Any], look: Callable[[Any, datetime], int], *, now: datetime | None, budget_s: float
) -> int:
    """Look at every row that is due, for at most so many seconds; return the sum of what the looks returned."""
    done, until = 0, time.monotonic() + budget_s
    while time.monotonic() < until and (row := claim(now or datetime.now(UTC))) is not None:
        try:
            done += look(row, now or datetime.now(UTC))
        except Exception:  # those behind it have their turn; it is looked at again when its lease ends
            log.exception("due_row_not_looked_at", kind=row._meta.model_name, pk=row.pk)
    return done
