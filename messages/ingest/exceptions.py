"""Logged exceptions, written down and attached to the events of their spans, whichever of the two comes first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg
from django.db import OperationalError, connection, transaction

from console.identity.models import Agent
from messages.ingest import messages_sql
from messages.ingest.catalog import rules_of
from messages.ingest.error_texts import note_attached
from messages.ingest.masking import mask_exception
from messages.ingest.model import Refused
from messages.ingest.otlp_logs import NewException
from messages.ingest.refusals import prepare_refused, store_refused
from messages.ingest.writer import AlreadyAnswered, ensure_days, find_answer, record_answer
from messages.masking.hits import add_hits, tell_metrics
from messages.masking.rules import Budget, Work
from messages.models import LoggedException

INSERT = """
INSERT INTO messaging_logged_exception (id, occurred_at, environment_id, event_id, system, error_type, error_message, error_stack)
SELECT * FROM unnest(%b::uuid[], %b::timestamptz[], %b::int8[], %b::uuid[], %b::text[], %b::text[], %b::text[], %b::text[])
ON CONFLICT DO NOTHING RETURNING id
"""
# The newest exception of a span is the one it failed with. A handled one (the span did not fail) changes nothing but is settled.
ATTACH = """
WITH waiting AS (
    SELECT DISTINCT ON (x.event_id) x.event_id, x.occurred_at, nullif(x.error_type, '_OTHER') AS error_type, x.error_message, x.error_stack
    FROM messaging_logged_exception x
    WHERE NOT x.attached AND x.occurred_at > now() - make_interval(mins => %(minutes)s)
    ORDER BY x.event_id, x.occurred_at DESC
), events AS (
    SELECT e.id, e.occurred_at, e.outcome, e.message_uid, w.error_type, w.error_message, w.error_stack, w.occurred_at AS logged_at
    FROM waiting w JOIN messaging_event e
      ON e.id = w.event_id AND e.occurred_at BETWEEN w.occurred_at - interval '1 day' AND w.occurred_at + interval '5 minutes'
), explained AS (
    UPDATE messaging_event e SET
        error_type = CASE WHEN coalesce(e.error_type, '_OTHER') = '_OTHER' THEN coalesce(n.error_type, e.error_type) ELSE e.error_type END,
        error_message = coalesce(e.error_message, n.error_message),
        error_stack = coalesce(e.error_stack, n.error_stack)
    FROM events n WHERE e.id = n.id AND e.occurred_at = n.occurred_at AND n.outcome = 2
    RETURNING e.message_uid, e.flow_id, e.error_type, e.error_message
), told AS (
    UPDATE messaging_message m SET
        error_type = CASE WHEN coalesce(m.error_type, '_OTHER') = '_OTHER' THEN x.error_type ELSE m.error_type END,
        error_message = coalesce(m.error_message, x.error_message),
        told_by = CASE WHEN x.flow_id = m.flow_id OR x.flow_id = ANY(m.told_by) THEN m.told_by ELSE m.told_by || x.flow_id END
    FROM explained x WHERE m.id = x.message_uid AND m.failed_at IS NOT NULL
    RETURNING m.first_seen_on, m.environment_id, m.flow_id, m.error_type, m.error_message
), settled AS (
    UPDATE messaging_logged_exception x SET attached = true FROM events n WHERE x.event_id = n.id AND NOT x.attached RETURNING 1
)
SELECT n.settled, told.* FROM (SELECT count(*) AS settled FROM settled) n LEFT JOIN told ON true
"""
LOCK, LOCK_OURS = 7_219_005, 7_219_008


def store_exceptions(
    agent: Agent,
    exceptions: Sequence[NewException],
    refused: Sequence[Refused],
    ignored: int,
    *,
    batch_id: str,
    body_sha256: bytes,
) -> dict[str, Any]:
    """Store logged exceptions in one transaction; return {"accepted", "duplicates", "rejected", "ignored"}, the same for the same batch."""
    if (answered := find_answer(agent, batch_id, body_sha256)) is not None:
        return {"rejected": []} | answered  # of a week ago it has no such count
    now = datetime.now(UTC)
    exceptions, works = _masked(agent, exceptions)
    ensure_days({one.occurred_at.date() for one in exceptions})
    try:
        with transaction.atomic():
            stored = _insert(agent.environment_id, exceptions)
            refused = prepare_refused(agent, "logs", refused)
            store_refused(agent, "logs", refused, now)
            answer: dict[str, object] = {
                "accepted": stored,
                "duplicates": len(exceptions) - stored,
                "rejected": [{"index": one.index, "code": one.code, "detail": one.detail} for one in refused],
                "ignored": ignored,
            }
            if stored:
                add_hits(works, now)
            record_answer(agent, batch_id, body_sha256, answer, now)
    except AlreadyAnswered:
        return find_answer(agent, batch_id, body_sha256) or {}
    tell_metrics(works)
    return answer


def _insert(environment_id: int, exceptions: Sequence[NewException]) -> int:
    """Insert those that are not there yet, and return how many; two that have no time of their own meet by their ids."""
    if any(one.time_is_ours for one in exceptions):
        # two writers of such go one after the other, or neither would see the other's
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK_OURS])
        spans = [one.event_id for one in exceptions if one.time_is_ours]
        known = set(LoggedException.objects.filter(event_id__in=spans).values_list("id", flat=True))
        exceptions = [one for one in exceptions if not (one.time_is_ours and one.id in known)]
    rows = [
        (x.id, x.occurred_at, environment_id, x.event_id, x.system, x.error_type, x.error_message, x.error_stack)
        for x in sorted(exceptions, key=lambda one: one.id)
    ]
    return len(messages_sql.run_set_based(INSERT, rows)) if rows else 0


def _masked(agent: Agent, exceptions: Sequence[NewException]) -> tuple[Sequence[NewException], list[Work]]:
    """Mask by every rule of the environment: which flow a span belongs to may be told only later."""
    rules = rules_of(agent.environment_id).masking.of_unknown_flow()
    if rules is None or not rules.patterns:
        return exceptions, []
    budget = Budget()
    works = [Work(rules, budget) for _ in exceptions]
    return [mask_exception(one, work) for one, work in zip(exceptions, works, strict=True)], works


def attach_exceptions(minutes: int) -> int:
    """Give failed events the exceptions that their spans logged in the last so many minutes; two at once do it once.

    Returns how many were settled; 0 when a day's partition was being made just now: the next look sees to it.
    One whose span comes later than the longest look stays apart; the journey still shows it.
    """
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
            if not cursor.fetchone()[0]:
                return 0
            cursor.execute(ATTACH, {"minutes": minutes})
            rows = cursor.fetchall()
            note_attached(told for _, *told in rows if told[0] is not None)
            return int(rows[0][0])
    except OperationalError as error:
        if isinstance(error.__cause__, psycopg.errors.DeadlockDetected):
            return 0
        raise
