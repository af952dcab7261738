"""What PostgreSQL has of messages and dead letters now, for their documents. A worker's read: no person's rights."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import msgspec

from messages.ingest.messages_sql import run
from messages.models import DeadLetter
from messages.search.elastic.documents import (
    MOST_DIED,
    MOST_TOLD,
    MOST_TOUCHED,
    Death,
    LetterRow,
    MessageRow,
    Told,
    Touch,
)
from messages.search.elastic.texts import texts_of_letters, texts_of_messages

AT_ONCE = 250  # rows read together
AROUND = timedelta(hours=1)

MESSAGES = """
SELECT id, environment_id, first_seen_on, flow_id, message_id, correlation_id, trace_id, first_seen_at,
  coalesce(started_at, first_seen_at), last_seen_at, status, keys::text, error_type, error_message, group_id, told_by IS NOT NULL
FROM messaging_message WHERE id = ANY(%b) AND first_seen_on BETWEEN %b AND %b AND environment_id = %b
"""
TOUCHED = """
SELECT message_uid, flow_id, system_id, agent_id, destination FROM (
  SELECT message_uid, flow_id, system_id, agent_id, destination, row_number() OVER (PARTITION BY message_uid) AS number
  FROM (SELECT DISTINCT message_uid, flow_id, system_id, agent_id, destination FROM messaging_event
        WHERE message_uid = ANY(%b) AND environment_id = %b AND occurred_at BETWEEN %b AND %b) distinct_events
) numbered WHERE number <= %b
"""
# Of each flow first: who may not see one of them must be told from the document alone, however much the others told.
TOLD = """
SELECT message_uid, flow_id, keys::text, error_type, error_message FROM (
  SELECT *, row_number() OVER (PARTITION BY message_uid ORDER BY turn) AS number FROM (
    SELECT *, row_number() OVER (PARTITION BY message_uid, flow_id) AS turn FROM (
      SELECT DISTINCT message_uid, flow_id, keys, error_type, error_message FROM messaging_event
      WHERE message_uid = ANY(%b) AND environment_id = %b AND occurred_at BETWEEN %b AND %b
        AND (keys <> '{}' OR error_type IS NOT NULL OR error_message IS NOT NULL)
      UNION
      SELECT message_uid, flow_id, keys, error_root_type, concat_ws(E'\n', nullif(error_message, ''), nullif(reason, ''))
      FROM messaging_deadletter WHERE message_uid = ANY(%b) AND environment_id = %b
        AND (keys <> '{}' OR error_root_type <> '' OR error_message <> '' OR reason <> '')
    ) parts
  ) of_flows
) numbered WHERE number <= %b
"""
DIED = """
SELECT message_uid, flow_id, reason, reason_code FROM (
  SELECT message_uid, flow_id, reason, reason_code, row_number() OVER (PARTITION BY message_uid) AS number
  FROM messaging_deadletter WHERE message_uid = ANY(%b) AND environment_id = %b
) numbered WHERE number <= %b
"""


def read_messages(
    environment_id: int, ids: Sequence[UUID], first_on: date, last_on: date, searchable: frozenset[int]
) -> list[MessageRow]:
    """Return these messages as they are now, those that are there. searchable: flows whose bodies may be indexed."""
    found: list[Any] = run(MESSAGES, [list(ids), first_on, last_on, environment_id]).fetchall()
    if not found:
        return []
    known = [row[0] for row in found]
    begin, end = min(row[8] for row in found) - AROUND, max(row[9] for row in found) + AROUND
    touched: dict[UUID, list[Touch]] = defaultdict(list)
    for uid, *where in run(TOUCHED, [known, environment_id, begin, end, MOST_TOUCHED]).fetchall():
        touched[uid].append(Touch(*where))
    died: dict[UUID, list[Death]] = defaultdict(list)
    for uid, *death in run(DIED, [known, environment_id, MOST_DIED]).fetchall():
        died[uid].append(Death(*death))
    mixed = [row[0] for row in found if row[15]]
    told: dict[UUID, list[Told]] = defaultdict(list)
    of_mixed = [mixed, environment_id, begin, end, mixed, environment_id, MOST_TOLD]
    for uid, flow, keys, *error in run(TOLD, of_mixed).fetchall() if mixed else ():
        told[uid].append(Told(flow, msgspec.json.decode(keys), *error))
    texts = texts_of_messages(environment_id, known, begin, end, searchable)
    return [
        MessageRow(
            id=row[0],
            environment=row[1],
            day=row[2].toordinal(),
            flow=row[3],
            message_id=row[4],
            correlation=row[5],
            trace=row[6],
            first_seen_at=row[7],
            began_at=row[8],
            last_seen_at=row[9],
            status=row[10],
            keys=msgspec.json.decode(row[11]),
            error_type=row[12],
            error_message=row[13],
            group=row[14],
            touched=touched[row[0]],
            told=told[row[0]],
            died=died[row[0]],
            texts=texts.get(row[0], []),
        )
        for row in found
    ]


def read_letters(environment_id: int, ids: Sequence[UUID], searchable: frozenset[int]) -> list[LetterRow]:
    """Return these dead letters as they are now, those that are there."""
    found = list(DeadLetter.objects.filter(pk__in=ids, environment_id=environment_id).order_by())
    texts = texts_of_letters(environment_id, [one for one in found if one.flow_id in searchable])
    return [
        LetterRow(
            id=one.pk,
            environment=one.environment_id,
            flow=one.flow_id,
            system=one.system_id,
            agent=one.agent_id,
            state=one.state,
            resolution=one.resolution,
            failed_at=one.failed_at,
            broker=one.broker,
            queue=one.queue,
            origin=one.origin,
            reason=one.reason,
            reason_code=one.reason_code,
            error_type=one.error_type,
            error_root_type=one.error_root_type,
            error_message=one.error_message,
            message_id=one.message_id,
            correlation=one.correlation_id,
            trace=one.trace_id,
            group=one.group_id,
            keys=one.keys,
            texts=texts.get(one.pk, []),
        )
        for one in found
    ]
