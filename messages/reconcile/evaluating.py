"""Comparing a list with a flow's messages, step by step. The row is the queue: a claim leases it, and every step ends under the claim's attempt.

A worker that dies leaves whole steps behind, and the next goes on after the last of them. Cancelling counts the attempt up: the step in
hand finds that at its end and undoes itself.
"""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from django.db import OperationalError, connection, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import F
from psycopg.errors import QueryCanceled

from console.core.ids import uuid7_floor
from messages.models import Reconciliation
from messages.reconcile.services import NOT_WHOLE, STEP_LEASE, State, end_uploads, tell_worker
from messages.reconcile.steps import (
    A_DAY_OFF,
    ASKED,
    COUNTED,
    JOIN,
    JOINED,
    MESSAGES,
    MOST_ASKED,
    SEEN,
    SEEN_OF_SYSTEM,
    SEVERAL,
    steps_of,
)

log = structlog.get_logger(__name__)
BUDGET_S = 15.0  # no step begins after it: a task is killed after two minutes
STEP_S = 100
MOST_DEATHS = 5  # of workers over one comparison: then it says so instead of going on for ever
CHUNK = 50_000
TABLES = ("messaging_reconciliation_line", "messaging_reconciliation_seen", "messaging_reconciled_key")


class Lost(Exception):
    """The claim does not hold any more: cancelled, removed, or taken for dead."""


def reconcile(*, budget_s: float = BUDGET_S) -> int:
    """Compare what is queued, for at most so many seconds; return how many steps were done. May run twice at once."""
    done, until = 0, time.monotonic() + budget_s
    end_dead_uploads()
    while time.monotonic() < until and (one := claim()) is not None:
        try:
            while one.steps_done < one.steps and time.monotonic() < until:
                do_step(one)
                done += 1
            _release(one)
        except Lost:
            log.info("reconciliation_lost", reconciliation=str(one.pk), attempt=one.attempt)
        except OperationalError as error:
            if not isinstance(error.__cause__, QueryCanceled):
                raise
            _fail(one, f"a step took longer than {STEP_S} s: compare a shorter period")
    return done


def claim() -> Reconciliation | None:
    """Take the reconciliation that is due longest; one that keeps killing its workers is ended in words."""
    now = datetime.now(UTC)
    with transaction.atomic():
        due = Reconciliation.objects.filter(
            state__in=[State.QUEUED, State.RUNNING], lease_until__lte=now, removed_at=None
        )
        one = due.order_by("lease_until", "pk").select_for_update(skip_locked=True).first()
        if one is None:
            return None
        one.deaths += one.state == State.RUNNING  # its lease ended, and nobody released it
        Reconciliation.objects.filter(pk=one.pk).update(
            state=State.RUNNING, attempt=F("attempt") + 1, lease_until=now + STEP_LEASE, deaths=one.deaths
        )
        one.attempt += 1
    if one.deaths > MOST_DEATHS:
        _fail(one, "its workers died again and again: see their log")
        return claim()
    return one


def do_step(one: Reconciliation) -> None:
    """Do the next step and write that it is done, in one transaction; raises Lost."""
    step = steps_of(one.since, one.until)[one.steps_done]
    with transaction.atomic(), connection.cursor() as cursor:
        # memory of a hash table; what does not fit goes to disk. Default 4 MB: the join of a million keys in 15 parts instead of none.
        cursor.execute(f"SET LOCAL statement_timeout = '{STEP_S}s'; SET LOCAL work_mem = '64MB'")
        columns = _count_day(cursor, one, step) if isinstance(step, date) else _join(cursor, one)
        columns |= {"steps_done": one.steps_done + 1, "lease_until": datetime.now(UTC) + STEP_LEASE}
        if step == JOIN:
            columns |= {"state": State.DONE, "lease_until": None, "evaluated_at": datetime.now(UTC)}
        mine = Reconciliation.objects.filter(pk=one.pk, attempt=one.attempt, state=State.RUNNING, removed_at=None)
        if not mine.update(**columns):
            raise Lost
    one.steps_done += 1


def _count_day(cursor: CursorWrapper, one: Reconciliation, day: date) -> dict[str, Any]:
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    begins, ends = max(one.since, midnight), min(one.until, midnight + timedelta(days=1))
    if one.steps_done == 0:
        cursor.execute("DELETE FROM messaging_reconciliation_seen WHERE reconciliation_id = %s", [one.pk])
    parameters = _subject(one) | {
        "day": day,
        "since": one.since,
        "until": one.until,
        "begins": begins,
        "ends": ends,
        "letters_since": uuid7_floor(begins),
        "letters_until": uuid7_floor(ends),
    }
    cursor.execute(SEEN if one.system_id is None else SEEN_OF_SYSTEM, parameters)
    return {}


def _subject(one: Reconciliation) -> dict[str, Any]:
    return {
        "pk": one.pk,
        "key": one.key_name,
        "environment": one.environment_id,
        "flow": one.flow_id,
        "system": one.system_id,
    }


def _join(cursor: CursorWrapper, one: Reconciliation) -> dict[str, Any]:
    """Join list and messages into the outcome of each key, in the place of that of the last comparison; return the counts."""
    cursor.execute("DELETE FROM messaging_reconciled_key WHERE reconciliation_id = %s", [one.pk])
    parameters = _subject(one) | {"list": one.list_attempt, "letters_since": uuid7_floor(one.until)}
    cursor.execute(JOINED, parameters)
    if one.system_id is None:
        _ask(cursor, one, parameters)
    counts: dict[str, Any] = {}
    for question in (COUNTED, MESSAGES):
        cursor.execute(question, parameters)
        counts |= dict(zip([column[0] for column in cursor.description or ()], cursor.fetchone(), strict=True))
    return counts


def _ask(cursor: CursorWrapper, one: Reconciliation, parameters: dict[str, Any]) -> None:
    """Ask of keys with several messages who failed them, and whether one system took more than one."""
    cursor.execute(SEVERAL, parameters)
    (several,) = cursor.fetchone()
    if several:
        days = {"first": (one.since - A_DAY_OFF).date(), "last": (one.until + A_DAY_OFF).date()}
        cursor.execute(ASKED, parameters | days | {"every": several <= MOST_ASKED})


def _release(one: Reconciliation) -> None:
    """Let another worker go on at once when our time is up before the work is done."""
    mine = Reconciliation.objects.filter(pk=one.pk, attempt=one.attempt, state=State.RUNNING)
    if mine.update(state=State.QUEUED, lease_until=datetime.now(UTC)):
        tell_worker()


def _fail(one: Reconciliation, why: str) -> None:
    mine = Reconciliation.objects.filter(pk=one.pk, attempt=one.attempt, state=State.RUNNING)
    mine.update(state=State.FAILED, lease_until=None, problem=why)


def end_dead_uploads() -> int:
    """Say of uploads whose process has died that their list did not come whole; return how many."""
    return end_uploads(Reconciliation.objects.filter(lease_until__lte=datetime.now(UTC)), NOT_WHOLE)


# what is not needed any more ----------------------------------------------------------------------------------------------
def sweep_removed(*, budget_s: float = 20.0) -> int:
    """Delete the rows of removed reconciliations, then these, and the lines of lists that were replaced; return how many rows went."""
    gone, until = 0, time.monotonic() + budget_s
    for pk in Reconciliation.objects.filter(removed_at__isnull=False).values_list("pk", flat=True)[:100]:
        while time.monotonic() < until:
            rows = delete_rows(pk)
            gone += rows
            if not rows:
                Reconciliation.objects.filter(pk=pk, removed_at__isnull=False).delete()
                break
    return gone


def delete_rows(pk: UUID, *, most: int = CHUNK) -> int:
    """Delete up to so many rows of one reconciliation in one short transaction; return how many."""
    with transaction.atomic(), connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(
                f"DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} WHERE reconciliation_id = %s LIMIT %s))",  # noqa: S608
                [pk, most],
            )
            if cursor.rowcount:
                return int(cursor.rowcount)
    return 0


REPLACED = """
DELETE FROM messaging_reconciliation_line WHERE ctid = ANY(ARRAY(
    SELECT l.ctid FROM messaging_reconciliation r, LATERAL (
        SELECT ctid FROM messaging_reconciliation_line
        WHERE reconciliation_id = r.id AND attempt < coalesce(r.list_attempt, 2147483647)
        UNION ALL
        SELECT ctid FROM messaging_reconciliation_line WHERE reconciliation_id = r.id AND attempt > r.list_attempt
    ) l WHERE r.state <> 'receiving' LIMIT %s))
"""


COMPARED = """
DELETE FROM messaging_reconciliation_seen WHERE ctid = ANY(ARRAY(
    SELECT s.ctid FROM messaging_reconciliation r JOIN messaging_reconciliation_seen s ON s.reconciliation_id = r.id
    WHERE r.state IN ('done', 'cancelled', 'failed') LIMIT %s))
"""


def sweep_leftovers(*, budget_s: float = 20.0) -> int:
    """Delete lines of uploads that died or were replaced, and counts of comparisons that are over; return how many rows went."""
    gone, until = 0, time.monotonic() + budget_s
    for statement in (REPLACED, COMPARED):
        rows = CHUNK
        while rows == CHUNK and time.monotonic() < until:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(statement, [CHUNK])
                rows = int(cursor.rowcount)
                gone += rows
    return gone
