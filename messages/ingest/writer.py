"""One batch, one transaction: events, payloads, messages, links, rejects, rollups, ledger.

Optimistic: COPY straight into the event and payload tables. Only when an event is already there does the transaction roll
back and take the careful path, a staging table and INSERT … ON CONFLICT. Both give the same rows (a property test).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import msgspec
import psycopg
import structlog
from django.db import connection, transaction
from psycopg.types.string import BytesBinaryDumper

from console.core.errors import Conflict
from console.core.ids import uuid_of
from console.identity.models import Agent
from messages.groups.again import tell_again
from messages.ingest import messages_sql, rollups
from messages.ingest.clocks import moved_spans, note_events
from messages.ingest.error_texts import note_texts
from messages.ingest.model import Batch, NewEvent, Refused
from messages.ingest.partitions import ensure_partitions, existing_days
from messages.ingest.patience import not_storable, write_patiently
from messages.ingest.refusals import prepare_refused, store_refused
from messages.ingest.rows import EVENT_NAMES, EVENT_TYPES, PAYLOAD_NAMES, PAYLOAD_TYPES, Row, columns_of, rows_of
from messages.ingest.sent_on import decides_of_sent_on, may_be_sent_on, tell_sent_on
from messages.ingest.status import ERROR, of_each_message
from messages.masking.hits import add_hits, tell_metrics

log = structlog.get_logger(__name__)
LOCK_OURS = 7_219_006  # advisory: one writer at a time of events that have no time of their own

LINKS = (
    "INSERT INTO messaging_trace_link SELECT * FROM unnest(%b::timestamptz[], %b::int8[], %b::uuid[], %b::text[], "
    "%b::uuid[], %b::text[]) ON CONFLICT DO NOTHING"
)


class BatchConflict(Conflict):
    """The batch id was used before with another body."""

    code = "batch_conflict"
    again = "Under another batch id."


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a batch: events stored now, events that were there already, items refused by index."""

    accepted: int
    duplicates: int
    rejected: list[dict[str, object]]

    def as_json(self) -> dict[str, object]:
        return {"accepted": self.accepted, "duplicates": self.duplicates, "rejected": self.rejected}


class AlreadyAnswered(Exception):
    """Raised inside the transaction to undo it: another request answered this batch meanwhile."""


def write_batch(agent: Agent, batch: Batch) -> Answer:
    """Store a batch and return its answer; the same batch again returns the first answer and stores nothing.

    Raises BatchConflict when the batch id came before with another body, Unavailable when the database cannot take it now.
    """
    if (answered := find_answer(agent, batch.batch_id, batch.body_sha256)) is not None:
        return Answer(**answered)
    now = datetime.now(UTC)
    events = _once(batch.events)
    repeated = len(batch.events) - len(events)
    rows = rows_of(agent, events, now)
    ensure_days({row.event.occurred_at.date() for row in rows})

    def write(rows: Sequence[Row], refused: Sequence[Refused], attempt: int) -> Answer:
        answer = _write(agent, batch, rows, refused, repeated, now, optimistic=attempt == 0)
        note_events(agent.pk, [(row.event, row.system_id) for row in rows], received_at=now)
        tell_metrics(row.work for row in rows)
        return answer

    def probe(rows: Sequence[Row]) -> None:
        with _what_follows(agent, _merge_events(rows, agent, now), now):
            pass

    try:
        return write_patiently(rows, batch.refused, write, probe=probe, refusal=_refusal)
    except AlreadyAnswered:
        return Answer(**(find_answer(agent, batch.batch_id, batch.body_sha256) or {}))


def find_answer(agent: Agent, batch_id: str, body_sha256: bytes) -> dict[str, Any] | None:
    """Return what this batch was answered before, or None; raises BatchConflict when its body was another one."""
    asked = messages_sql.run(  # the ORM takes four times as long, and this is asked of every batch
        "SELECT body_sha256, answer::text FROM messaging_ledgerentry WHERE agent_id = %s AND batch = %s",
        [agent.pk, batch_id],
    )
    known = asked.fetchone()
    if known is None:
        return None
    if bytes(known[0]) != body_sha256:
        raise BatchConflict("this batch id came before with another body; nothing of this one was stored")
    return dict(msgspec.json.decode(known[1]))


def _once(events: list[NewEvent]) -> list[NewEvent]:
    seen: dict[bytes, NewEvent] = {}
    for event in events:
        seen.setdefault(event.id, event)
    return list(seen.values())


def _unless_known_at_another_time(agent: Agent, rows: Sequence[Row]) -> Sequence[Row]:
    """Leave out events that are stored at another time than they have now, so that the primary key alone does not meet them.

    Their time is ours, which moves: they had none, or one outside the accepted range, or one that was when their first copy came.

    Two writers of such events go one after the other, in their transactions, or neither would see the other's.
    """
    spans = moved_spans(agent.pk) if agent.pk else []
    ours = [uuid_of(row.event.id) for row in rows if _is_ours(row.event, spans)]
    if not ours:
        return rows
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(%s); SELECT id FROM messaging_event WHERE id = ANY(%s)", [LOCK_OURS, ours]
        )
        cursor.nextset()
        known = {row[0].bytes for row in cursor.fetchall()}
    return [row for row in rows if row.event.id not in known]


def _is_ours(event: NewEvent, spans: Sequence[tuple[datetime, datetime]]) -> bool:
    if event.clamped_from is not None or event.time_is_ours:
        return True
    return bool(spans) and any(begin < event.occurred_at <= end for begin, end in spans)


_days_known: tuple[float, set[date]] = (0.0, set())


def ensure_days(needed: set[date]) -> None:
    """Make the partitions of late or early days before the transaction; what cannot be made goes to DEFAULT."""
    global _days_known  # noqa: PLW0603
    needed = needed | {datetime.now(UTC).date()}
    if needed <= _days_known[1] and time.monotonic() - _days_known[0] < 60:
        return
    days = existing_days()
    days |= ensure_partitions(needed - days)
    _days_known = (time.monotonic(), days)


def _write(
    agent: Agent,
    batch: Batch,
    rows: Sequence[Row],
    refused: Sequence[Refused],
    repeated: int,
    now: datetime,
    *,
    optimistic: bool,
) -> Answer:
    with transaction.atomic():
        new = _unless_known_at_another_time(agent, rows)
        fresh = (_copy_events if optimistic else _merge_events)(new, agent, now)
        refused = prepare_refused(agent, batch.endpoint, refused)
        store_refused(agent, batch.endpoint, refused, now)
        rejected = [
            {"index": r.index, "code": r.code, "detail": r.detail} for r in sorted(refused, key=lambda r: r.index)
        ]
        answer = Answer(len(fresh), repeated + len(rows) - len(fresh), rejected)
        with _what_follows(agent, fresh, now):
            record_answer(agent, batch.batch_id, batch.body_sha256, answer.as_json(), now)
    return answer


@contextmanager
def _what_follows(agent: Agent, fresh: Sequence[Row], now: datetime) -> Iterator[None]:
    """Write links, messages and rollups of these events, in one round trip with what the caller adds."""
    environment_id = agent.environment_id
    # A link inside one trace ties nothing that the trace does not, but of an event about many messages: it alone says which. And of what is
    # sent on to be tried again: one to its parent leads from there to it, without looking through the trace.
    messages = messages_sql.rows_of(environment_id, [(row.event, row.flow_id, row.system_id) for row in fresh], now)
    links = [
        (row.event.occurred_at, environment_id, row.event.trace_id, row.event.span_id, trace_id, span_id)
        for row in fresh
        if row.event.links and row.event.trace_id
        for trace_id, span_id in row.event.links
        if trace_id != row.event.trace_id or row.event.message_uid is None
    ]
    links += [
        (event.occurred_at, environment_id, event.trace_id, event.span_id, event.trace_id, event.parent_span_id)
        for event in (row.event for row in fresh)
        if may_be_sent_on(event) and event.trace_id and event.span_id and event.parent_span_id
    ]
    failed = [
        (uuid_of(one.message_uid), row.flow_id, row.system_id, one.occurred_at, now)
        for row in fresh
        if row.event.outcome == ERROR
        for one in ((row.event,) if not row.event.batch else of_each_message(row.event))
        if one.message_uid is not None
    ]
    if failed:
        # after the commit: within it, who resolves a group and who stores a letter could wait for one another over the message;
        # no partial, of which Django cannot say that it failed
        transaction.on_commit(lambda: tell_again(failed, now), robust=True)
    if tried := [
        uuid_of(row.event.message_uid) for row in fresh if row.event.message_uid and decides_of_sent_on(row.event)
    ]:
        transaction.on_commit(lambda: tell_sent_on(tried, now), robust=True)
    with messages_sql.one_round_trip():
        if links:  # first: what an event about many messages says of one of them is found by its link
            messages_sql.run_set_based(LINKS, links)
        if messages:
            messages_sql.run_set_based(messages_sql.UPSERT, messages)
            note_texts(environment_id, messages)
        rollups.add_events([(row.event, row.flow_id, row.system_id) for row in fresh], environment_id)
        add_hits((row.work for row in fresh), now)
        yield


def _copy_events(rows: Sequence[Row], agent: Agent, now: datetime) -> Sequence[Row]:
    """The fast path: everything is new, or the unique violation undoes the transaction."""
    if rows:
        _copy(f"messaging_event ({EVENT_NAMES})", EVENT_TYPES, columns_of(rows, agent, now))
        _copy_payloads(rows)
    return rows


def _merge_events(rows: Sequence[Row], agent: Agent, now: datetime) -> Sequence[Row]:
    """The careful path: keep what is not there yet, in id order so that two writers cannot wait for each other."""
    if not rows:
        return rows
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE staged_event (LIKE messaging_event) ON COMMIT DROP")
    _copy(f"staged_event ({EVENT_NAMES})", EVENT_TYPES, columns_of(rows, agent, now))
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO messaging_event ({EVENT_NAMES}) SELECT {EVENT_NAMES} FROM staged_event ORDER BY id "  # noqa: S608  constants
            "ON CONFLICT DO NOTHING RETURNING id"
        )
        stored = {row[0].bytes for row in cursor.fetchall()}
        cursor.execute("DROP TABLE staged_event")
    fresh = [row for row in rows if row.event.id in stored]
    _copy_payloads(fresh)
    return fresh


def _copy_payloads(rows: Sequence[Row]) -> None:
    payloads = [row.payload for row in rows if row.payload is not None]
    if payloads:
        copy_payloads(payloads)


def copy_payloads(payloads: Sequence[tuple[object, ...]]) -> None:
    """COPY sealed payloads, each (stored_on, id, environment_id, flow_id, data_key_id, content_type, size_bytes, masked, sealed)."""
    _copy(f"messaging_payload ({PAYLOAD_NAMES})", PAYLOAD_TYPES, payloads)


def _copy(target: str, types: list[str], rows: Iterable[tuple[object, ...]]) -> None:
    connection.ensure_connection()
    # psycopg raises from inside the COPY, past Django's cursor: translate its errors as Django does everywhere else.
    with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
        # Found by the column's type alone, bytes have a dumper in Python: of a row's five it is two thirds of the cost.
        cursor.adapters.register_dumper(bytes, BytesBinaryDumper)
        with cursor.copy(f"COPY {target} FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(types)
            for row in rows:
                copy.write_row(row)


def record_answer(agent: Agent, batch_id: str, body_sha256: bytes, answer: dict[str, object], now: datetime) -> None:
    """Remember the answer in this transaction; raises AlreadyAnswered when another request was first."""
    stored = messages_sql.run_set_based(
        "INSERT INTO messaging_ledgerentry (agent_id, batch, body_sha256, answer, created_at) "
        "SELECT * FROM unnest(%b::int8[], %b::text[], %b::bytea[], %b::jsonb[], %b::timestamptz[]) "
        "ON CONFLICT (agent_id, batch) DO NOTHING RETURNING id",
        [(agent.pk, batch_id, body_sha256, messages_sql.json(answer), now)],
    )
    if not stored:
        raise AlreadyAnswered


def _refusal(row: Row) -> Refused:
    index, raw = row.event.index, row.event.raw
    return not_storable(index, raw(index) if callable(raw) else raw)


def expire_ledger(days: int = 7) -> int:
    """Delete answers older than so many days, in chunks that hold no lock for long; return how many went."""
    gone = 0
    while True:
        with connection.cursor() as cursor:
            cursor.execute(
                "DELETE FROM messaging_ledgerentry WHERE id IN (SELECT id FROM messaging_ledgerentry "
                "WHERE created_at < now() - make_interval(days => %s) LIMIT 5000)",
                [days],
            )
            gone += cursor.rowcount
            if cursor.rowcount < 5000:
                return gone


def write_own_events(environment_id: int, events: Sequence[NewEvent], *, new: bool) -> None:
    """Store events of the console itself (the sends of replays), outside any batch.

    new  none of them is there yet; else those that are stay as they are.
    """
    now, ours = datetime.now(UTC), Agent(environment_id=environment_id)
    rows = rows_of(ours, events, now)
    ensure_days({event.occurred_at.date() for event in events})
    with transaction.atomic():
        fresh = (_copy_events if new else _merge_events)(rows, ours, now)
        with _what_follows(ours, fresh, now):
            pass
