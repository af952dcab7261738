"""What failed and was sent on to a queue for its retries under another name: without message ids each sending names a message of its own.

The system that failed the first one passes it when it passes what it became, which `messaging_fares` says. It is looked at when something
comes that may decide it, after that was committed, and by a sweep of the newest failures of a day: where a process died between the two, or a
person or a proof decided of the later one.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from uuid import UUID

from console.identity.models import Environment
from messages.ingest.messages_sql import run
from messages.ingest.model import NewEvent
from messages.ingest.semconv import CREATE, SEND
from messages.ingest.status import ERROR
from messages.receivers import is_for_retries

MOST = 2_000  # failed events of an environment that the sweep looks through
MOST_TIMES = 50  # from retry to retry
DAY = timedelta(days=1)
BACK = timedelta(days=4)  # as long as a message's events are looked for

# The failures that these messages (uid) come from, each trace looked up once.
BEFORE = """
WITH sent AS MATERIALIZED (
    SELECT e.environment_id, e.message_uid, e.system_id, e.destination, l.linked_trace_id, l.linked_span_id FROM unnest(%b::uuid[]) AS v (uid)
    CROSS JOIN LATERAL (
        SELECT * FROM messaging_event WHERE message_uid = v.uid AND occurred_at >= %b AND operation IN (1, 2) AND outcome <> 2
          AND message_id IS NULL AND trace_id IS NOT NULL OFFSET 0
    ) e
    CROSS JOIN LATERAL (
        SELECT * FROM messaging_trace_link l WHERE l.trace_id = e.trace_id AND l.span_id = e.span_id AND l.occurred_at = e.occurred_at OFFSET 0
    ) l
), failed AS MATERIALIZED (
    SELECT e.* FROM (SELECT DISTINCT linked_trace_id FROM sent) t CROSS JOIN LATERAL (
        SELECT environment_id, message_uid, system_id, destination, trace_id, span_id FROM messaging_event
        WHERE trace_id = t.linked_trace_id AND occurred_at >= %b AND outcome = 2 AND operation IN (3, 4, 5) AND message_uid IS NOT NULL OFFSET 0
    ) e
)
SELECT DISTINCT f.message_uid FROM sent
JOIN failed f ON f.trace_id = sent.linked_trace_id AND f.span_id = sent.linked_span_id AND f.system_id = sent.system_id
    AND f.environment_id = sent.environment_id
WHERE f.message_uid <> sent.message_uid AND messaging_is_retry_of(sent.destination, f.destination)
"""
# Messages whose failures were sent on, and what became of these.
OF_THESE = "SELECT * FROM messaging_event WHERE message_uid = ANY(%b) AND outcome = 2 AND occurred_at >= %b"
NEWEST = """SELECT * FROM messaging_event WHERE environment_id = %b AND outcome = 2 AND occurred_at >= %b
    ORDER BY occurred_at DESC, id DESC LIMIT %b"""
SENT_ON = """
SELECT DISTINCT f.message_uid FROM ({failed}) f
CROSS JOIN LATERAL (
    SELECT * FROM messaging_trace_link l WHERE l.linked_trace_id = f.trace_id AND l.linked_span_id = f.span_id AND l.occurred_at >= %b OFFSET 0
) l
CROSS JOIN LATERAL (
    SELECT * FROM messaging_event e WHERE e.environment_id = l.environment_id AND e.occurred_at = l.occurred_at
      AND e.trace_id = l.trace_id AND e.span_id = l.span_id AND e.environment_id = f.environment_id AND e.system_id = f.system_id
      AND e.operation IN (1, 2) AND e.outcome <> 2 AND e.message_id IS NULL AND e.message_uid <> f.message_uid OFFSET 0
) e
JOIN messaging_message a ON a.id = f.message_uid AND a.first_seen_on >= %b
JOIN messaging_message b ON b.id = e.message_uid AND b.first_seen_on >= %b
JOIN messaging_flow own ON own.id = a.flow_id
JOIN messaging_flow o ON o.id = b.flow_id AND (o.id = own.id OR o.team_id IS NULL OR o.team_id = own.team_id)
WHERE f.operation IN (3, 4, 5) AND messaging_is_retry_of(e.destination, f.destination)
"""
SAYS_OTHERWISE = " AND (a.status = 2 AND b.status = 1 OR a.status = 1 AND b.status <> 1)"
# Locked in order, as whoever writes them does, and asked then.
FARE = """
WITH mine AS MATERIALIZED (
    SELECT id, first_seen_on, status, decided_at, least(started_at, first_seen_at) AS began FROM messaging_message
    WHERE id = ANY(%b) AND first_seen_on >= %b AND status IN (1, 2) AND failed_at IS NOT NULL ORDER BY id FOR NO KEY UPDATE
), said AS MATERIALIZED (
    SELECT id, first_seen_on, coalesce(fares[1], fares[2], decided_at) AS decided_at,
           CASE WHEN fares[1] IS NOT NULL THEN 2 WHEN fares[2] IS NOT NULL THEN 1 ELSE status END AS status
    FROM mine CROSS JOIN LATERAL (SELECT messaging_fares(id, began, NULL, NULL) AS fares OFFSET 0) AS asked
)
UPDATE messaging_message m SET status = said.status, decided_at = said.decided_at FROM said
WHERE m.id = said.id AND m.first_seen_on = said.first_seen_on AND (m.status, m.decided_at) IS DISTINCT FROM (said.status, said.decided_at)
RETURNING m.id
"""


def may_be_sent_on(event: NewEvent) -> bool:
    """Whether an event may be the sending of what failed, to be tried again under a name of its own."""
    return event.message_id is None and event.operation in (CREATE, SEND) and is_for_retries(event.destination)


def decides_of_sent_on(event: NewEvent) -> bool:
    """Whether an event may say of what failed that it was sent on, or how that fared."""
    return event.message_id is None and (event.outcome == ERROR or is_for_retries(event.destination))


def tell_sent_on(uids: Collection[UUID], now: datetime) -> None:
    """Let these messages fare as what they became, and what they come from with them."""
    since = now - BACK
    _let_fare({*uids, *_before(uids, since)}, since)


def follow_sent_on() -> None:
    """The same, of the newest failures of a day."""
    now = datetime.now(UTC)
    since, statement = now - BACK, SENT_ON.format(failed=NEWEST) + SAYS_OTHERWISE
    for environment_id in Environment.objects.values_list("pk", flat=True):
        _let_fare(_found(statement, [environment_id, now - DAY, MOST, since, since.date(), since.date()]), since)


def _let_fare(uids: set[UUID], since: datetime) -> None:
    """Let those of these that were sent on fare as all that is known says, then those before them, up to what failed first."""
    for _ in range(MOST_TIMES):
        uids = (
            _found(SENT_ON.format(failed=OF_THESE), [list(uids), since, since, since.date(), since.date()])
            if uids
            else set()
        )
        uids = _before(_found(FARE, [list(uids), since.date()]), since) if uids else set()
        if not uids:
            return


def _before(uids: Collection[UUID], since: datetime) -> set[UUID]:
    return _found(BEFORE, [list(uids), since, since]) if uids else set()


def _found(statement: str, asked: list[object]) -> set[UUID]:
    return {row[0] for row in run(statement, asked).fetchall()}
