"""A month of messages for `make bench-search`, made in the database by set-based SQL: what ingest would have stored, without its road."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg

DAYS, FLOWS, SYSTEMS = 30, 40, 12
MINUTE_DAYS = 3  # of counts by minute; those by hour cover all days
SECONDS = DAYS * 86_400

# Message n of all: two of an order, one in 50 failed, one in 200 dead with a dead letter.
MESSAGES = """
INSERT INTO messaging_message (first_seen_on, id, environment_id, flow_id, message_id, trace_id, first_seen_at, started_at, last_seen_at,
                               status, decided_at, failed_at, event_count, keys, error_type, error_message)
SELECT (at AT TIME ZONE 'UTC')::date, md5('m' || n)::uuid, %(environment)s, (%(flows)s::int8[])[1 + n / 3 %% cardinality(%(flows)s::int8[])],
       'msg-' || md5('i' || n), md5('t' || n)::uuid, at, at, at + interval '2 s', CASE WHEN n %% 200 = 0 THEN 3 WHEN failed THEN 2 ELSE 1 END,
       at + interval '2 s', CASE WHEN failed THEN at + interval '2 s' END, 2,
       jsonb_build_object('order_no', (4000000 + n / 2)::text, 'customer_no', 'C' || (n * 7919 %% 20000)),
       CASE WHEN failed THEN (%(errors)s::text[])[1 + abs(hashint8(n)) %% cardinality(%(errors)s::text[])] END,
       CASE WHEN failed THEN (%(words)s::text[])[1 + abs(hashint8(n)) %% cardinality(%(words)s::text[])] || n END
FROM (SELECT n, n %% 50 = 0 AS failed, %(since)s::timestamptz + n * interval '1 s' * %(step)s AS at
      FROM generate_series(%(first)s::int8, %(last)s::int8) n) made
"""
EVENTS = """
INSERT INTO messaging_event (occurred_at, id, received_at, environment_id, flow_id, system_id, agent_id, message_uid, message_id, trace_id,
                             span_id, parent_span_id, operation, outcome, duration_us, name, destination, error_type, error_message, keys, attributes)
SELECT CASE WHEN sends THEN m.first_seen_at ELSE m.last_seen_at END, md5(m.id::text || sends)::uuid, m.last_seen_at, m.environment_id, m.flow_id,
       (%(systems)s::int8[])[1 + (m.flow_id + CASE WHEN sends THEN 0 ELSE 1 END) %% cardinality(%(systems)s::int8[])], %(agent)s, m.id, m.message_id,
       m.trace_id, substr(md5(m.message_id || sends), 1, 16), CASE WHEN NOT sends THEN substr(md5(m.message_id || true), 1, 16) END,
       CASE WHEN sends THEN 2 ELSE 4 END, CASE WHEN NOT sends AND m.failed_at IS NOT NULL THEN 2 ELSE 1 END,
       1000 + hashtext(m.message_id) %% 1000 * 900 + 900000, CASE WHEN sends THEN 'publish ' ELSE 'process ' END || f.name, f.name,
       CASE WHEN NOT sends THEN m.error_type END, CASE WHEN NOT sends THEN m.error_message END, m.keys,
       '{"messaging.system": "kafka", "service.version": "1.4.2"}'
FROM messaging_message m JOIN messaging_flow f ON f.id = m.flow_id, (VALUES (true), (false)) hops (sends)
WHERE m.first_seen_on = %(day)s
"""
LETTERS = """
INSERT INTO messaging_deadletter (id, identity, environment_id, flow_id, agent_id, state, resolution, closed_at, received_at, failed_at, broker,
                                  family, queue, origin, route, reason, reason_code, error_type, error_root_type, error_message, error_stack,
                                  message_uid, message_id, correlation_id, trace_id, span_id, keys, content_type)
SELECT uuidv7(m.failed_at - clock_timestamp()), m.id, m.environment_id, m.flow_id, %(agent)s, CASE WHEN waits THEN 'open' ELSE 'closed' END,
       CASE WHEN NOT waits THEN 'processed' END, CASE WHEN NOT waits THEN m.failed_at + interval '1 h' END, m.failed_at, m.failed_at, 'rabbit', 'rabbitmq',
       f.name || '.dlq', f.name, '{}', 'rejected', 'rejected', m.error_type, m.error_type, m.error_message, '', m.id, m.message_id, '', m.trace_id, '', m.keys,
       'application/json'
FROM messaging_message m JOIN messaging_flow f ON f.id = m.flow_id, LATERAL (SELECT m.first_seen_at > now() - interval '3 days') w (waits) WHERE m.status = 3
"""
MINUTES = """
INSERT INTO messaging_rollup_minute (minute, flow_id, operation, outcome, bucket, environment_id, shard, count, duration_us, messages)
SELECT date_trunc('minute', occurred_at), flow_id, operation, outcome, least(24, floor(log(2, 1 + duration_us / 1000)) + 1), environment_id, 0,
       count(*), sum(duration_us), count(*)
FROM messaging_event WHERE occurred_at >= now() - %s * interval '1 day' GROUP BY 1, 2, 3, 4, 5, 6
"""
HOURS = """
INSERT INTO messaging_rollup_hour (hour, flow_id, system_id, destination, operation, outcome, environment_id, shard, count, messages)
SELECT date_trunc('hour', occurred_at), flow_id, system_id, destination, operation, outcome, environment_id, 0, count(*), count(*)
FROM messaging_event GROUP BY 1, 2, 3, 4, 5, 6, 7
"""
LATENCY = """
INSERT INTO messaging_rollup_latency (hour, environment_id, flow_id, bucket, count)
SELECT date_trunc('hour', occurred_at), environment_id, flow_id, least(24, floor(log(2, 1 + duration_us / 1000)) + 1), count(*)
FROM messaging_event WHERE operation = 4 GROUP BY 1, 2, 3, 4
"""
ERRORS = {
    "ConnectTimeout": "connection to the server timed out after 30000 ms, attempt ",
    "ValidationError": "field vat is missing in document ",
    "HTTPError": "the receiver answered 503 Service Unavailable to request ",
    "JSONDecodeError": "unexpected end of input in message ",
    "DuplicateKey": "duplicate key value violates unique constraint in row ",
    "PermissionDenied": "token has expired for client ",
    "PriceMissing": "no price for article ",
    "Deadlock": "deadlock detected, victim ",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What was made: message n of `messages` lies at since + n × step_s seconds."""

    messages: int
    environment: int
    since: datetime
    step_s: float

    def at(self, n: int) -> datetime:
        return self.since + timedelta(seconds=n * self.step_s)


def fill(database_url: str, messages: int, *, environment: int, agent: int) -> Stored:
    """Store so many messages with their events, dead letters and counts, spread evenly over 30 days that end now.

    Two connections, a day at a time; the partitions of those days are there already.
    """
    now = datetime.now(UTC)
    since = now - timedelta(days=DAYS)
    stored = Stored(messages=messages, environment=environment, since=since, step_s=SECONDS / messages)
    with psycopg.connect(database_url, autocommit=True) as connection:
        given = {"environment": environment, "agent": agent, "since": since, "step": stored.step_s}
        given |= {"errors": list(ERRORS), "words": list(ERRORS.values())}
        given |= {"flows": _flows(connection, environment), "systems": _systems(connection, environment)}
    started = time.monotonic()

    def make(chunk: range) -> None:
        with psycopg.connect(database_url, autocommit=True) as own:
            own.execute("SET synchronous_commit = off")
            own.execute(MESSAGES, given | {"first": chunk.start, "last": chunk.stop - 1})
        print(f"  {chunk.stop:,} messages are there after {time.monotonic() - started:.0f} s", file=sys.stderr)

    def tell(day: datetime) -> None:
        with psycopg.connect(database_url, autocommit=True) as own:
            own.execute("SET synchronous_commit = off")
            own.execute(EVENTS, given | {"day": day.date()})

    step = -(-messages // DAYS)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(make, [range(first, min(messages, first + step)) for first in range(0, messages, step)]))
        list(pool.map(tell, [since + timedelta(days=day) for day in range(DAYS + 1)]))
        print(f"  their events are there after {time.monotonic() - started:.0f} s", file=sys.stderr)
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(LETTERS, given)
            connection.execute(HOURS)
            connection.execute(LATENCY)
            connection.execute(MINUTES, [MINUTE_DAYS])
            connection.execute("VACUUM (ANALYZE)")
    print(f"  filled after {time.monotonic() - started:.0f} s", file=sys.stderr)
    return stored


def _flows(connection: psycopg.Connection, environment: int) -> list[int]:
    rows = connection.execute(
        "INSERT INTO messaging_flow (environment_id, name, criticality, runbook_url, description, receiver_is_idempotent, found_by_itself, created_at) "
        "SELECT %s, 'orders.' || n, 'normal', '', '', false, false, now() FROM generate_series(1, %s) n RETURNING id",
        [environment, FLOWS],
    )
    return [row[0] for row in rows]


def _systems(connection: psycopg.Connection, environment: int) -> list[int]:
    rows = connection.execute(
        "INSERT INTO messaging_system (environment_id, name, created_at) SELECT %s, 'system-' || n, now() FROM generate_series(1, %s) n RETURNING id",
        [environment, SYSTEMS],
    )
    return [row[0] for row in rows]
