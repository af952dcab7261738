"""One run of retention: dead letters and refused items, then keys, then days. Safe to die at any line and to run twice at once.

Every step is a transaction of its own that takes the lock of retention, reads policies and holds again, and does one thing whole.
What cannot be locked in 400 ms is left for the next run: nobody waits behind a step that waits behind a long transaction.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from django.db import DatabaseError, OperationalError, connection, transaction
from django.db.backends.utils import CursorWrapper

from console.audit.services import record_audit
from console.identity.actor import SYSTEM
from messages.ingest.misplaced import place_misplaced
from messages.ingest.partitions import TABLES as OPTIONS
from messages.models import RetentionRun
from messages.retention import rows_of_their_own
from messages.retention.policies import last_finished, read_terms
from messages.retention.rules import GRACE, KINDS, PAYLOADS, Going, goings_of
from messages.retention.tables import PAGE_BYTES, Part, condition, find_parts

log = structlog.get_logger(__name__)
LOCK = 7_219_040  # advisory, held for one step
BUDGET_S = 60.0  # of a task, which is killed after two minutes; a step takes at most 50 s
WRITTEN_ANEW = (
    100_000  # rows that stay: about four seconds of copying; DELETE takes 11 s for as many and gives no disk back
)
LOCKED = "a lock was not to be had in time"
PAUSE_S = 2.0  # before what was locked is tried once more
FEW = 1_000  # rows that go: deleted where they are
CHUNK_PAGES = 256
RUNS_KEPT = 200


class Elsewhere(Exception):
    """Another run is in a step of its own."""


class OutOfTime(Exception):
    """The time of this run is up; the next one goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What one step let go. way: dropped, written anew, deleted, destroyed."""

    table: str
    way: str
    day: str = ""
    environment: str = ""
    rows: int = 0
    bytes: int = 0


@contextmanager
def step(longest: str) -> Iterator[CursorWrapper]:
    """A transaction that alone works on retention; raises Elsewhere."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL lock_timeout = '400ms'; SET LOCAL statement_timeout = '{longest}'")
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        if not cursor.fetchone()[0]:
            raise Elsewhere
        yield cursor


class Run:
    """The work of one run: what was done and what was left, and the time that it may take."""

    def __init__(self, *, now: datetime, budget_s: float | None) -> None:
        self.now = now
        self.until = time.monotonic() + budget_s if budget_s is not None else None
        self.longest = "30min" if budget_s is None else "50s"  # one statement
        self.done: list[Done] = []
        self.left: list[dict[str, str]] = []

    def work(self) -> None:
        try:
            place_misplaced(self.now.date())
            self._rows_of_their_own()
            self._keys()
            parts = sorted(find_parts(), key=lambda part: (KINDS.index(part.table.kind), part.day))
            again = self._parts(parts)
            if again:  # most locks are short: a query of some seconds
                time.sleep(PAUSE_S)
                self.left = [
                    one for one in self.left if (one["table"], one["day"]) not in {_name(part) for part in again}
                ]
                self._parts(again)
        except Elsewhere:
            self.left.append({"table": "everything else", "day": "", "because": "another run is at work"})
        except OutOfTime:
            self.left.append({"table": "everything else", "day": "", "because": "its time was up"})

    def _parts(self, parts: list[Part]) -> list[Part]:
        """Judge each day; return those that were left. A table that was locked once is not asked for again in this round."""
        left: list[Part] = []
        locked: set[str] = set()
        for part in parts:
            self._check_time()
            before = len(self.left)
            if part.table.name not in locked:
                with self._leaving(*_name(part)):
                    self._part(part)
            if part.table.name in locked or len(self.left) > before:
                left.append(part)
            if len(self.left) > before and self.left[-1]["because"] == LOCKED:
                locked.add(part.table.name)
        return left

    def _check_time(self) -> None:
        if self.until is not None and time.monotonic() > self.until:
            raise OutOfTime

    @contextmanager
    def _leaving(self, table: str, day: str) -> Iterator[None]:
        """Note what a lock or a time-out kept from being done, and go on."""
        try:
            yield
        except OperationalError as error:
            log.warning("retention_left", table=table, day=day, reason=str(error)[:200])
            why = (
                "a lock was not to be had in time"
                if "lock" in str(error)
                else "it took too long for a task: run `manage.py retention`"
            )
            self.left.append({"table": table, "day": day, "because": why})

    def _rows_of_their_own(self) -> None:
        for what in (
            rows_of_their_own.delete_compensations,
            rows_of_their_own.delete_letters,
            rows_of_their_own.delete_plans,
            rows_of_their_own.delete_rejects,
            rows_of_their_own.delete_reconciliations,
        ):
            for terms in read_terms(now=self.now):
                with self._leaving(what.__name__, terms.slug):
                    while True:
                        self._check_time()
                        with step(self.longest) as cursor:
                            fresh = next(
                                t for t in read_terms(now=self.now) if t.environment_id == terms.environment_id
                            )
                            table, rows, size = what(cursor, fresh, self.now)
                        if not rows:
                            break
                        self.done.append(
                            Done(table=table, way="deleted", environment=terms.slug, rows=rows, bytes=size)
                        )

    def _keys(self) -> None:
        for pk, day in due_keys(self.now):
            self._check_time()
            with self._leaving("messaging_datakey", str(day)), step(self.longest) as cursor:
                goings, _ = goings_of(PAYLOADS, day, read_terms(now=self.now), now=self.now)
                if rows_of_their_own.destroy_key(cursor, pk, day, goings):
                    self.done.append(Done(table="messaging_datakey", way="destroyed", day=str(day), rows=1))

    def _part(self, part: Part) -> None:
        if not goings_of(part.table.kind, part.day, read_terms(now=self.now), now=self.now)[0]:
            return
        with step(self.longest) as cursor:
            done, row_by_row = self._step(cursor, part)
        if done is not None:
            self.done.append(done)
        if row_by_row:
            self._delete(part)

    def _step(self, cursor: CursorWrapper, part: Part) -> tuple[Done | None, bool]:
        """Return (what was done, whether rows have to be deleted one by one)."""
        goings, whole = goings_of(part.table.kind, part.day, read_terms(now=self.now), now=self.now)
        cursor.execute("SELECT to_regclass(%s)", [part.name])
        if not goings or cursor.fetchone()[0] is None:
            return None, False
        if whole and not (part.table.kind == PAYLOADS and _has_letters(cursor, part)):
            rows = _count(cursor, part.name, "true", [], WRITTEN_ANEW) if part.is_counted else part.rows
            size = _size(cursor, part.name)
            cursor.execute(f"DROP TABLE {part.name}")
            return _done(part, "dropped", rows, size), False
        words, parameters = condition(part.table, part.day, goings)
        go = _count(cursor, part.name, f"({words}) IS TRUE", parameters, FEW)
        stay = _count(cursor, part.name, f"({words}) IS NOT TRUE", parameters, WRITTEN_ANEW)
        if go == 0:
            return None, False
        if (go <= FEW and stay) or stay > WRITTEN_ANEW:
            return None, True
        return _write_anew(cursor, part, words, parameters), False

    def _delete(self, part: Part) -> None:
        """Delete by ranges of pages: each row is looked at once, each transaction is short."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT coalesce(pg_relation_size(to_regclass(%s)), 0)", [part.name])
            pages = cursor.fetchone()[0] // PAGE_BYTES
        gone = 0
        try:
            for start in range(0, pages, CHUNK_PAGES):
                self._check_time()
                with step(self.longest) as cursor:
                    goings, _ = goings_of(part.table.kind, part.day, read_terms(now=self.now), now=self.now)
                    gone += _delete_pages(cursor, part, goings, start)
        finally:
            if gone:
                self.done.append(_done(part, "deleted", gone, 0))


def _name(part: Part) -> tuple[str, str]:
    return part.table.name, str(part.day)


def _done(part: Part, way: str, rows: int, size: int) -> Done:
    return Done(table=part.table.name, way=way, day=str(part.day), rows=rows, bytes=size)


def _has_letters(cursor: CursorWrapper, part: Part) -> bool:
    cursor.execute("SELECT EXISTS (SELECT 1 FROM messaging_deadletter WHERE payload_on = %s)", [part.day])
    return bool(cursor.fetchone()[0])


def _size(cursor: CursorWrapper, name: str) -> int:
    cursor.execute("SELECT pg_total_relation_size(to_regclass(%s))", [name])
    return int(cursor.fetchone()[0])


def _count(cursor: CursorWrapper, name: str, words: str, parameters: list[Any], most: int) -> int:
    """Return how many rows meet the condition, counted up to one more than `most`."""
    cursor.execute(f"SELECT count(*) FROM (SELECT 1 FROM {name} r WHERE {words} LIMIT {most + 1}) counted", parameters)  # noqa: S608
    return int(cursor.fetchone()[0])


def _write_anew(cursor: CursorWrapper, part: Part, words: str, parameters: list[Any]) -> Done:
    """Copy what stays into a new table that takes the day's place; with nothing to copy the day is dropped.

    Writers of this old day wait meanwhile; readers do not, but for the moment of the exchange. Locks of ours give up before
    PostgreSQL looks for deadlocks (1 s), so that it is never a writer that is sent away.
    """
    before = _size(cursor, part.name)
    cursor.execute(f"LOCK TABLE {part.name} IN SHARE MODE")
    new = f"{part.name}_new"
    cursor.execute(f"CREATE TABLE {new} (LIKE {part.table.name} INCLUDING ALL){OPTIONS[part.table.name]}")
    cursor.execute(f"INSERT INTO {new} SELECT * FROM {part.name} r WHERE ({words}) IS NOT TRUE", parameters)  # noqa: S608
    stayed = cursor.rowcount
    cursor.execute(f"SELECT count(*) FROM {part.name}")  # noqa: S608
    rows_before = cursor.fetchone()[0]
    cursor.execute(f"DROP TABLE {part.name}")
    if not stayed:
        cursor.execute(f"DROP TABLE {new}")
        return _done(part, "dropped", rows_before, before)
    after = _size(cursor, new)
    start, end = f"{part.day:%Y-%m-%d}", f"{part.day + timedelta(days=1):%Y-%m-%d}"
    cursor.execute(f"ALTER TABLE {new} RENAME TO {part.name}")
    cursor.execute(
        f"ALTER TABLE {part.table.name} ATTACH PARTITION {part.name} FOR VALUES FROM ('{start}') TO ('{end}')"
    )
    return _done(part, "written anew", rows_before - stayed, before - after)


def _delete_pages(cursor: CursorWrapper, part: Part, goings: list[Going], start: int) -> int:
    words, parameters = condition(part.table, part.day, goings)
    cursor.execute(
        f"DELETE FROM {part.name} r WHERE r.ctid >= '({start},0)'::tid AND r.ctid < '({start + CHUNK_PAGES},0)'::tid "  # noqa: S608
        f"AND ({words})",
        parameters,
    )
    return cursor.rowcount


def due_keys(now: datetime) -> list[tuple[int, Any]]:
    """Return (id, day) of the data keys of days that some environment's policy lets go, its own environment's."""
    found = []
    for terms in read_terms(now=now):
        for pk, day in rows_of_their_own.keys_of(terms.environment_id):
            goings, _ = goings_of(PAYLOADS, day, [terms], now=now)
            if goings and goings[0].only is None:
                found.append((pk, day))
    return found


def run_retention(*, now: datetime | None = None, budget_s: float | None = None) -> RetentionRun:
    """Let go everything that policies let go now; return the run with what it did. An unexpected error is kept in it and raised."""
    now = now or datetime.now(UTC)
    RetentionRun.objects.filter(state="running", started_at__lt=now - timedelta(hours=2)).update(
        state=RetentionRun.State.FAILED, finished_at=now, details={"error": "its process ended before it did"}
    )
    record = RetentionRun.objects.create(started_at=now)
    run = Run(now=now, budget_s=budget_s)
    error = ""
    try:
        run.work()
    except DatabaseError as failure:
        error = f"{type(failure).__name__}: {failure}"[:500]
        raise
    finally:
        _finish(record, run, error)
    return record


def _finish(record: RetentionRun, run: Run, error: str) -> None:
    state = "failed" if error else "unfinished" if run.left else "finished"
    record.state, record.finished_at = RetentionRun.State(state), datetime.now(UTC)
    record.details = {"done": _summed(run.done), "left": run.left} | ({"error": error} if error else {})
    record.save(update_fields=["state", "finished_at", "details"])
    totals = {"rows": sum(one.rows for one in run.done), "bytes": sum(one.bytes for one in run.done)}
    log.info("retention_ran", run=record.pk, state=state, **totals)
    if run.done:
        record_audit(SYSTEM, "retention.ran", record, label="retention", details={"state": state, **totals})
    old = RetentionRun.objects.values_list("pk", flat=True)[RUNS_KEPT:]
    RetentionRun.objects.filter(pk__in=list(old)).delete()


def _summed(done: list[Done]) -> list[dict[str, Any]]:
    """Return what was done, chunks of the same table, way, day and environment added up."""
    summed: dict[tuple[str, ...], Done] = {}
    for one in done:
        key = (one.table, one.way, one.day if one.way != "destroyed" else "", one.environment)
        known = summed.get(key)
        summed[key] = one if known is None else _plus(known, one)
    return [asdict(one) for one in summed.values()]


def _plus(one: Done, other: Done) -> Done:
    return Done(
        table=one.table,
        way=one.way,
        day=one.day,
        environment=one.environment,
        rows=one.rows + other.rows,
        bytes=one.bytes + other.bytes,
    )


def run_daily() -> RetentionRun | None:
    """Run unless a run has finished since the day's due days are due; what was left is tried again. For the task."""
    now = datetime.now(UTC)
    finished = last_finished()
    if finished is not None and (finished.started_at - GRACE).date() >= (now - GRACE).date():
        return None
    return run_retention(now=now, budget_s=BUDGET_S)
