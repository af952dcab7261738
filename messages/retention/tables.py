"""The partitioned tables as retention sees them, what lies in each day, and the condition under which a row goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from django.db import connection

from messages.retention.rules import METADATA, PAYLOADS, ROLLUPS, Going

COUNTED_PAGES = 32  # a partition as small as this is counted; of a larger one so many pages are sampled
PAGE_BYTES = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A partitioned table. tie: how its rows find the event that knows their flow, when they do not know it themselves."""

    name: str
    kind: str
    tie: str = ""
    weight: str = "1"  # of a row in its partition's bytes


TABLES: dict[str, Table] = {
    one.name: one
    for one in (
        Table(name="messaging_payload", kind=PAYLOADS, weight="200 + octet_length(sealed)"),
        Table(name="messaging_event", kind=METADATA),
        Table(name="messaging_message", kind=METADATA),
        Table(
            name="messaging_trace_link",
            kind=METADATA,
            tie="e.occurred_at = r.occurred_at AND e.trace_id = r.trace_id AND e.span_id = r.span_id",
        ),
        Table(name="messaging_logged_exception", kind=METADATA, tie="e.id = r.event_id"),
        Table(name="messaging_message_text", kind=METADATA),  # after messages: it says what errors they have
        Table(name="messaging_rollup_minute", kind=ROLLUPS),
        Table(name="messaging_rollup_hour", kind=ROLLUPS),
        Table(name="messaging_rollup_latency", kind=ROLLUPS),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One day's partition of one table: bytes with indexes and TOAST, exact; rows, counted or estimated."""

    table: Table
    day: date
    name: str
    bytes: int
    pages: int
    rows: int = 0
    rows_by_environment: dict[int, int] = field(default_factory=dict)
    bytes_by_environment: dict[int, int] = field(default_factory=dict)

    @property
    def is_counted(self) -> bool:
        return self.pages <= COUNTED_PAGES


PARTS = """
SELECT p.relname, c.relname, pg_total_relation_size(c.oid), pg_relation_size(c.oid), c.reltuples
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_class p ON p.oid = i.inhparent
WHERE p.oid = ANY(%s::regclass[]) AND c.relname ~ '_[0-9]{8}$' ORDER BY right(c.relname, 8), p.relname
"""


def find_parts() -> list[Part]:
    """Return every day's partition with its bytes, oldest first; rows are not known yet, see `measured`."""
    with connection.cursor() as cursor:
        cursor.execute(PARTS, [list(TABLES)])
        return [
            Part(
                table=TABLES[table],
                day=datetime.strptime(name[-8:], "%Y%m%d").replace(tzinfo=UTC).date(),
                name=name,
                bytes=size,
                pages=heap // PAGE_BYTES,
                rows=max(0, int(tuples)),
            )
            for table, name, size, heap, tuples in cursor.fetchall()
        ]


def measured(parts: Sequence[Part]) -> list[Part]:
    """Return the parts with their rows and bytes by environment: counted when small, else by the pages of a sample."""
    found: dict[str, dict[int, tuple[int, int]]] = {part.name: {} for part in parts}
    for start in range(0, len(parts), 50):
        query = " UNION ALL ".join(_sample(part) for part in parts[start : start + 50])
        with connection.cursor() as cursor:
            cursor.execute(query)
            for name, environment_id, rows, weight in cursor.fetchall():
                found[name][environment_id] = (rows, int(weight))
    return [_with_shares(part, found[part.name]) for part in parts]


def _sample(part: Part) -> str:
    percent = 100.0 if part.is_counted else 100.0 * COUNTED_PAGES / part.pages
    return (
        f"SELECT '{part.name}', environment_id, count(*), sum({part.table.weight})"  # noqa: S608  names come from the catalogue
        f" FROM {part.name} TABLESAMPLE SYSTEM ({percent:.6f}) GROUP BY 2"
    )


def _with_shares(part: Part, seen: dict[int, tuple[int, int]]) -> Part:
    sampled, weight = sum(rows for rows, _ in seen.values()), sum(weight for _, weight in seen.values()) or 1
    total = sampled if part.is_counted else part.rows or round(sampled * part.pages / COUNTED_PAGES)
    return Part(
        table=part.table,
        day=part.day,
        name=part.name,
        bytes=part.bytes,
        pages=part.pages,
        rows=total,
        rows_by_environment={pk: round(total * rows / (sampled or 1)) for pk, (rows, _) in seen.items()},
        bytes_by_environment={pk: round(part.bytes * share / weight) for pk, (_, share) in seen.items()},
    )


def condition(table: Table, day: date, goings: Sequence[Going]) -> tuple[str, list[Any]]:
    """Return the SQL condition, over alias r, of the rows that go, and its parameters. NULL means that the row stays.

    A payload whose dead letter is there stays, whatever its age: it goes with the letter.
    """
    if not goings:
        return "false", []
    words, parameters = [], []
    for going in goings:
        one, more = _of_environment(table, going)
        words.append(one)
        parameters += more
    joined = f"({' OR '.join(words)})"
    if table.kind == PAYLOADS:
        joined += " AND r.id NOT IN (SELECT id FROM messaging_deadletter WHERE payload_on = %s)"
        parameters.append(day)
    return joined, parameters


def _of_environment(table: Table, going: Going) -> tuple[str, list[Any]]:
    flows = going.but if going.only is None else going.only
    if not flows:
        return "r.environment_id = %s", [going.environment_id]
    if table.tie:  # has no flow of its own: only whole environments, or all but held flows
        words = f"NOT EXISTS (SELECT 1 FROM messaging_event e WHERE {table.tie} AND e.flow_id = ANY(%s))"  # noqa: S608  constants
    else:
        words = "r.flow_id <> ALL(%s)" if going.only is None else "r.flow_id = ANY(%s)"
    return f"(r.environment_id = %s AND {words})", [going.environment_id, sorted(flows)]
