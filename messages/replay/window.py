"""A window: the replays of one connection that one worker has at a time. Claimed, looked at and marked in one statement each.

The attempt number is the fence: whatever is done to a row says under which claim, and a row that another claim has is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from operator import itemgetter
from typing import Any, Protocol
from uuid import UUID

import msgspec

from messages.connectors.base import Published
from messages.ingest.messages_sql import run
from messages.replay.lines import VERSION
from messages.replay.states import MOST_ATTEMPTS, Mark, mark_of

LEASE_S = 60
SENT_WITHIN_S = 45  # what must be left of a lease before anything is sent: no connector takes longer for a window
MOST_BYTES = 8 * 1024 * 1024  # of bodies in one window, but for one body that is larger


class Letter(msgspec.Struct, frozen=True):
    """What sending needs to know of a dead letter."""

    pk: UUID
    environment_id: int
    message_id: str
    message_uid: UUID | None
    trace_id: UUID | None
    span_id: str
    origin: str
    queue: str
    content_type: str
    payload_on: date | None
    size_bytes: int
    route: dict[str, str]
    keys: dict[str, str]


class Claimed(msgspec.Struct, frozen=True):
    """One replay that this worker has, under this attempt; named as in the model, so that either can be made a message of."""

    pk: UUID
    attempt: int
    destination: str
    requested_by: str
    trace_id: UUID
    span_id: str
    created_at: datetime
    expiry: str
    receiver_is_idempotent: bool
    plan_id: int | None
    dead_letter: Letter


class Markable(Protocol):
    """What a mark needs to know: which replay, under which attempt, and whether a second copy does no harm."""

    @property
    def pk(self) -> UUID: ...
    @property
    def attempt(self) -> int: ...
    @property
    def receiver_is_idempotent(self) -> bool: ...


# Of the row r: neither its plan nor anybody who stopped replays holds it.
LET = """
      (r.plan_id IS NULL OR EXISTS (SELECT 1 FROM messaging_plan p WHERE p.id = r.plan_id
          AND (p.state IN ('running', 'finished') OR (p.state = 'stopped' AND r.despite_stop))))
  AND NOT EXISTS (SELECT 1 FROM messaging_replaystop s WHERE s.environment_id = r.environment_id AND (s.flow_id IS NULL OR EXISTS (
          SELECT 1 FROM messaging_deadletter d WHERE d.id = r.dead_letter_id AND d.flow_id = s.flow_id)))
"""
# Of the row r: may be sent now. What a worker lost is sent again by itself only where the receiver is idempotent.
DUE = f"""(
      {LET} AND ((r.state = 'queued' AND (r.not_before IS NULL OR r.not_before <= now()))
   OR (r.state = 'sending' AND r.lease_until < now() AND r.attempt < %b AND EXISTS (
          SELECT 1 FROM messaging_deadletter d JOIN messaging_flow f ON f.id = d.flow_id
          WHERE d.id = r.dead_letter_id AND f.receiver_is_idempotent))))
"""  # noqa: S608  constants of ours
# What Claimed and its Letter are read from: a replay r, and the s that LETTER makes of its dead letter d and the flow f of it.
LETTER = """f.receiver_is_idempotent, d.id, d.environment_id, d.message_id, d.message_uid, d.trace_id, d.span_id, d.origin, d.queue,
           d.content_type, d.payload_on, coalesce(d.size_bytes, 0) AS size_bytes, d.route, d.keys"""
COLUMNS = """r.id, r.attempt, r.destination, r.requested_by, r.trace_id, r.span_id, r.created_at, r.expiry, s.receiver_is_idempotent,
          r.plan_id, s.id, s.environment_id, s.message_id, s.message_uid, s.trace_id, s.span_id, s.origin, s.queue,
          s.content_type, s.payload_on, s.size_bytes, s.route, s.keys"""
OF_CLAIM = 10  # the columns before the letter's
CLAIM = f"""
WITH due AS MATERIALIZED (
    SELECT r.id, r.dead_letter_id FROM messaging_replay r
    WHERE r.connection_id = %b AND r.state IN ('queued', 'sending') AND {DUE}
      AND NOT EXISTS (SELECT 1 FROM messaging_connection c WHERE c.id = %b AND c.not_before > now())
    ORDER BY r.id LIMIT %b FOR UPDATE OF r SKIP LOCKED
), sized AS (
    SELECT due.id AS replay_id, {LETTER},
           sum(d.size_bytes) OVER (ORDER BY due.id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM due JOIN messaging_deadletter d ON d.id = due.dead_letter_id JOIN messaging_flow f ON f.id = d.flow_id
)
UPDATE messaging_replay r
SET state = 'sending', attempt = r.attempt + 1, lease_until = now() + make_interval(secs => {LEASE_S}),
    sent_at = coalesce(r.sent_at, now()), not_before = NULL
FROM sized s WHERE r.id = s.replay_id AND coalesce(s.before, 0) < {MOST_BYTES}
RETURNING {COLUMNS}
"""  # noqa: S608  constants of ours
_json = msgspec.json.decode


def claim(connection_id: int, at_once: int) -> list[Claimed]:
    """Take what is due of this connection, at most so many and MOST_BYTES of bodies, in the order of the requests.

    Two workers at once take different rows, and neither waits for the other.
    """
    rows = run(CLAIM, [connection_id, MOST_ATTEMPTS, connection_id, at_once]).fetchall()
    return [claimed_of(row) for row in sorted(rows, key=itemgetter(0))]


# Within coalesce(), so that PostgreSQL expects it of every second row and goes by the ids: its statistics know of no row that is being sent,
# and expecting one or none it would compare every row in hand with every id (measured: 70 µs a replay).
SENDING = "coalesce(r.state = 'sending', false)"
STILL_CLAIMED = f"""
SELECT {COLUMNS}
FROM unnest(%b::uuid[], %b::int4[]) mine (id, attempt)
JOIN messaging_replay r ON r.id = mine.id AND r.attempt = mine.attempt
CROSS JOIN LATERAL (SELECT {LETTER} FROM messaging_deadletter d JOIN messaging_flow f ON f.id = d.flow_id WHERE d.id = r.dead_letter_id) s
WHERE {SENDING}
"""  # noqa: S608  constants of ours


def still_claimed(replays: Sequence[UUID], attempts: Sequence[int]) -> list[Claimed]:
    """Return those of a window that was claimed before which are still being sent under the same attempt."""
    rows = run(STILL_CLAIMED, [list(replays), list(attempts)]).fetchall()
    return [claimed_of(row) for row in sorted(rows, key=itemgetter(0))]


def claimed_of(row: tuple[Any, ...]) -> Claimed:
    """Return what a row of COLUMNS says."""
    route, keys = row[-2:]  # Django has psycopg leave JSON as text
    letter = Letter(*row[OF_CLAIM:-2], _json(route), _json(keys))  # type: ignore[call-arg]
    return Claimed(*row[:OF_CLAIM], letter)  # type: ignore[call-arg]


STILL_OURS = f"""
SELECT {VERSION}, c.name, c.approved_at IS NOT NULL, coalesce(c.not_before > now(), false), ARRAY(
    SELECT r.id FROM unnest(%b::uuid[], %b::int4[]) mine (id, attempt)
    JOIN messaging_replay r ON r.id = mine.id AND r.attempt = mine.attempt
    WHERE {SENDING} AND coalesce(r.lease_until > now() + make_interval(secs => {SENT_WITHIN_S}), false)),
    EXISTS (SELECT 1 FROM messaging_plan p WHERE p.id = ANY(%b::int8[]) AND p.state NOT IN ('running', 'finished'))
    OR EXISTS (SELECT 1 FROM messaging_replaystop s WHERE s.environment_id = c.environment_id)
FROM messaging_connection c WHERE c.id = %b
"""  # noqa: S608  constants of ours


# Asked only when a plan or a stop may hold something: for each replay it costs more than all of the look (measured: 80 µs).
STILL_LET = f"SELECT r.id FROM messaging_replay r WHERE r.id = ANY(%b::uuid[]) AND {LET}"  # noqa: S608  a constant of ours


class Standing(msgspec.Struct, frozen=True):
    """How things stand right before the sending: the connection, and which claims have enough of their lease left and are let go.

    stopped  a plan of the window does not run, or replays are stopped in the environment: each claim was asked for.
    """

    version: str
    name: str
    approved: bool
    held: bool
    ours: list[UUID]
    stopped: bool


def standing(connection_id: int, window: Sequence[Claimed]) -> Standing:
    """Look once more: a worker that was stopped since its claim must not send beside the one that took over."""
    plans = list({one.plan_id for one in window if one.plan_id is not None})
    asked = [[one.pk for one in window], [one.attempt for one in window], plans, connection_id]
    row: Any = run(STILL_OURS, asked).fetchone()  # a connection that has replays is not deleted
    now = Standing(*row)
    if not now.stopped:
        return now
    let = {pk for (pk,) in run(STILL_LET, [now.ours]).fetchall()}
    return msgspec.structs.replace(now, ours=[pk for pk in now.ours if pk in let])


# sent_at is the first moment something may have left: what surely did not leave takes back the one that its own claim wrote.
# A letter that was refused is open again: in one statement with the mark, so that it is never seen between the two.
MARK = f"""
WITH marked AS (
    UPDATE messaging_replay r
    SET state = m.state, lease_until = NULL, detail = m.detail,
        confirmed_at = CASE WHEN m.state = 'confirmed' THEN now() ELSE r.confirmed_at END,
        finished_at = CASE WHEN m.state = 'refused' THEN now() ELSE r.finished_at END,
        not_before = CASE WHEN m.state = 'queued' THEN now() + make_interval(secs => m.wait_s) END,
        sent_at = CASE WHEN m.has_left OR r.sent_at < r.lease_until - interval '%d s' THEN r.sent_at END
    FROM unnest(%b::uuid[], %b::int4[], %b::text[], %b::text[], %b::int4[], %b::bool[]) m (id, attempt, state, detail, wait_s, has_left)
    WHERE r.id = m.id AND r.attempt = m.attempt AND {SENDING}
    RETURNING r.dead_letter_id, r.state
), opened AS (
    UPDATE messaging_deadletter d SET state = 'open'
    FROM marked WHERE d.id = marked.dead_letter_id AND marked.state = 'refused' AND d.state = 'replaying'
)
SELECT count(*) FROM marked
""".replace("%d", str(LEASE_S))  # noqa: S608  a constant of ours


def mark(window: Sequence[Markable], results: Mapping[UUID, Published]) -> int:
    """Write down what became of each, under the attempt that it was claimed under; return how many were still ours to mark."""
    marks: list[Mark] = [mark_of(results[one.pk], one.attempt, idempotent=one.receiver_is_idempotent) for one in window]
    columns: list[list[Any]] = [
        [one.pk for one in window],
        [one.attempt for one in window],
        [mark.state for mark in marks],
        [mark.detail for mark in marks],
        [mark.wait_s for mark in marks],
        [results[one.pk].result != "unavailable" for one in window],
    ]
    row: Any = run(MARK, columns).fetchone()
    return int(row[0])
