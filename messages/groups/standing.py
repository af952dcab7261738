"""Messages of a group that failed and stand so, without a dead letter: nobody can close them, so they count for a day."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection
from django.db.models import Sum

from messages.groups.figures import numbers_of
from messages.groups.nameless import Failed, with_a_letter
from messages.groups.tried import LATE
from messages.models import GroupHour, Message
from messages.models.stream import MessageStatus
from messages.told import words_for_all

MOST_READ = 5_000  # newest letters, and as many messages, of a group whose keys are looked at
MOST_WALKED = 20_000  # messages of a group that are looked through for them in one statement, newest first
MOST_PAGES = 9  # such statements for a whole, beyond one for each of its parts: of a cause of which the newest were delivered after all
STANDS = timedelta(hours=24)


class Standing(NamedTuple):
    """One of them. failed_at  first.   decided_at  when last.   told_at  when last, as everybody may know who sees it."""

    id: UUID
    keys: Mapping[str, str]
    error: str | None
    failed_at: datetime
    group_id: int
    decided_at: datetime
    told_at: datetime


Row = tuple[Standing, list[int] | None, date]  # with the flows that told of it too, and the day of its partition


# Of the newest in the index, so that a cause of millions costs what one of thousands does. The last of a full page is there whether it
# stands or not: the next page begins after it. LIMIT 1: one look into the index for each, whatever the planner thinks of letters.
STANDING = """
SELECT m.id, m.first_seen_at, m.status = %(failed)s AND m.decided_at >= %(since)s AND d.has IS NULL, m.place,
       m.keys::text, m.error_message, m.failed_at, m.group_id, m.decided_at, m.told_by, m.first_seen_on
FROM (
    SELECT id, keys, error_message, failed_at, group_id, told_by, first_seen_at, first_seen_on, status, decided_at,
           row_number() OVER (ORDER BY first_seen_at DESC, id DESC) AS place
    FROM messaging_message
    WHERE group_id = %(group)s AND first_seen_at >= %(sent)s AND first_seen_on >= %(sent)s::date - 4
      AND (first_seen_at, id) < (%(before)s, %(before_id)s::uuid)
    ORDER BY first_seen_at DESC, id DESC LIMIT %(walked)s
) m LEFT JOIN LATERAL (
    SELECT true AS has FROM messaging_deadletter WHERE m.status = %(failed)s AND m.decided_at >= %(since)s AND message_uid = m.id LIMIT 1
) d ON true
WHERE m.place = %(walked)s OR m.status = %(failed)s AND m.decided_at >= %(since)s AND d.has IS NULL
ORDER BY m.first_seen_at DESC, m.id DESC LIMIT %(most)s
"""
FAR = datetime(9999, 1, 1, tzinfo=UTC), UUID(int=0)  # before it is everything


def standing_in(flow_id: int, parts: Sequence[int], now: datetime) -> tuple[list[Standing], bool]:
    """Return (messages of a group that failed within a day, stand so and have no dead letter, at most 5,000 of the newest; whether that is
    all that were to be looked through). parts: ids of it and of what is merged into it.
    """
    found, pages, is_all = dict[UUID, Row](), MOST_PAGES, True
    for part in parts:
        before: tuple[datetime, UUID] | None = FAR
        while before:
            rows, before = _page(part, before, now)
            found |= rows
            if before and (not pages or len(found) >= MOST_READ):
                before, is_all = None, False
            pages -= before is not None
    newest = _for_all(dict(islice(found.items(), MOST_READ)))
    return _without_letters(newest, flow_id, parts, now), is_all and len(found) < MOST_READ


def _page(
    part: int, before: tuple[datetime, UUID], now: datetime
) -> tuple[dict[UUID, Row], tuple[datetime, UUID] | None]:
    """Return those of the next page of a group's messages, and after which there may be more."""
    since = now - STANDS
    asked: dict[str, Any] = {
        "failed": MessageStatus.FAILED,
        "since": since,
        "group": part,
        "sent": since - LATE,
        "before": before[0],
        "before_id": before[1],
        "walked": MOST_WALKED,
        "most": MOST_READ + 1,
    }
    with connection.cursor() as cursor:
        rows = cursor.execute(STANDING, asked).fetchall()
    more = len(rows) > MOST_READ or any(row[3] == MOST_WALKED for row in rows)
    found = {row[0]: (_standing(row), *row[9:]) for row in rows if row[2]}
    return found, rows[-1][1::-1] if more else None


def _standing(row: tuple[Any, ...]) -> Standing:
    error, failed_at, group_id, decided_at = row[5:9]
    return Standing(row[0], json.loads(row[4]), error, failed_at, group_id, decided_at, told_at=decided_at)


def _without_letters(rows: list[Standing], flow_id: int, parts: Sequence[int], now: datetime) -> list[Standing]:
    """Leave out those for which a letter stands that names no message."""
    failed = [
        Failed(
            id=row.id, flow_id=flow_id, numbers=numbers_of(row.keys), group_id=row.group_id,
            failed_at=row.failed_at, decided_at=row.decided_at,
        )
        for row in rows
    ]  # fmt: skip
    told = with_a_letter(parts, failed, now)
    return [row for row in rows if row.id not in told]


def failed_lately(parts: Sequence[int], now: datetime) -> bool:
    """Whether messages are counted here that failed within a day and no letter came for."""
    rows = GroupHour.objects.filter(group_id__in=parts, hour__gt=now - STANDS - timedelta(hours=1))
    return (rows.aggregate(count=Sum("messages"))["count"] or 0) > 0


def _for_all(rows: dict[UUID, Row]) -> list[Standing]:
    """Return these without what flows of other teams told of them, nor when those failed again."""
    days = {pk: day for pk, (_, told_by, day) in rows.items() if told_by}
    mixed = Message.objects.filter(id__in=list(days), first_seen_on__in=set(days.values())) if days else []
    words = words_for_all(list(mixed))
    return [
        one._replace(keys=words[pk].keys, error=words[pk].error_message, told_at=one.failed_at) if pk in words else one
        for pk, (one, _, _) in rows.items()
    ]
