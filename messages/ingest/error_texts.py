"""Which errors the messages of a day have, without their values: where none has the words of a search, its failures need not be looked at.

Of each error text its skeleton is kept, once per day and flow: "row 4711 of 0b6f… is missing" is "row 0 of 0 is missing". A word that stands
in a text stands in its skeleton too (`core_of` says which part of it surely does), so the skeletons only ever leave days out; what is found is
still decided by the texts themselves. Kept by whoever writes a message, in the same transaction, and by `reach_back` for days before.

Bounded: a day with too many skeletons, or one too long, has a row without a text that says so, and is looked through as before.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from messages.ingest.messages_sql import ERROR_MESSAGE, ERROR_TYPE, run
from messages.ingest.partitions import ensure_partitions
from messages.models import ErrorTextsSince

LONGEST = 4_000  # characters of one text
MOST, MOST_CHARS = 3_000, 400_000  # skeletons of an environment in a day
REMEMBERED_S = 60.0
LOCK = 7_219_049  # advisory: one reaches back
OLD_CODE = timedelta(days=2)  # processes from before this table may write as long
VALUE = "0-9A-Fa-f-"  # numbers, dates, ids in hexadecimal: a run of these with a digit in it
VALUES = re.compile(r"(?<![A-Fa-f-])[A-Fa-f-]*+[0-9][0-9A-Fa-f-]*+")
ASCII = re.compile(r"[\x01-\x7f]+")
TOO_MANY = UUID(int=0)

NOTE = """
INSERT INTO messaging_message_text (day, environment_id, flow_id, digest, text)
SELECT v.day, v.environment_id, v.flow_id, v.digest, lower(v.text)
FROM unnest(%b::date[], %b::int8[], %b::int8[], %b::uuid[], %b::text[]) v (day, environment_id, flow_id, digest, text)
WHERE NOT EXISTS (SELECT 1 FROM messaging_message_text t WHERE t.day = v.day AND t.environment_id = v.environment_id AND t.text IS NULL)
ON CONFLICT DO NOTHING
"""
NOTE_MANY = f"""
INSERT INTO messaging_message_text (day, environment_id, digest)
SELECT day, environment_id, '{TOO_MANY}' FROM messaging_message_text
WHERE day = ANY(%b::date[]) AND environment_id = ANY(%b::int8[]) AND text IS NOT NULL
GROUP BY 1, 2 HAVING count(*) > {MOST} OR sum(length(text)) > {MOST_CHARS}
ON CONFLICT DO NOTHING
"""  # noqa: S608  constants of ours
Key = tuple[
    date, int, int | None, str | None
]  # day, environment, flow, skeleton; the last two None for a text that is too long


def skeleton(text: str) -> str:
    """Return a text with "0" for each number, date or id. Pure, linear: the possessive runs are read once."""
    return VALUES.sub("0", text)


def core_of(words: str) -> str:
    """Return what the skeleton of every text that holds these words holds as well, whatever the case; "" when nothing is sure.

    A value at either end may be part of a longer one, so it is cut off; so are letters beyond ASCII, whose lower case may depend on others.
    """
    parts = (skeleton(part.strip("0123456789abcdefABCDEF-")) for part in ASCII.findall(words))
    return max(parts, key=len, default="")


@dataclass(slots=True)
class _Known:
    """What this process has seen committed a moment ago."""

    until: float = 0.0
    keys: set[Key] = field(default_factory=set)


_known = _Known()


def forget() -> None:
    _known.keys.clear()


def note_texts(environment_id: int, rows: Iterable[Sequence[object]]) -> None:
    """Note the errors of messages that are being written: rows as UPSERT takes them. Within their transaction, after them."""
    said = {(row[0], row[3], text) for row in rows for text in (row[ERROR_TYPE], row[ERROR_MESSAGE]) if text}
    if said:
        _note({_key(day, environment_id, flow, text) for day, flow, text in said})  # type: ignore[arg-type]


def note_attached(told: Iterable[Sequence[Any]]) -> None:
    """The same of messages whose error came after them: each (day, environment, flow, error type, error message)."""
    _note({_key(day, environment, flow, text) for day, environment, flow, *texts in told for text in texts if text})


def _key(day: date, environment_id: int, flow_id: int, text: str) -> Key:
    return (day, environment_id, flow_id, skeleton(text)) if len(text) <= LONGEST else (day, environment_id, None, None)


def _note(keys: set[Key]) -> None:
    if time.monotonic() > _known.until:
        forget()
        _known.until = time.monotonic() + REMEMBERED_S
    new = keys - _known.keys
    if new:
        _write(new)
        transaction.on_commit(partial(_known.keys.update, new))


def _write(keys: set[Key]) -> None:
    """In one order, so that two writers of the same texts wait for each other at most once."""
    rows = sorted(
        (day, environment, flow, _digest(text), text) for day, environment, flow, text in keys if text is not None
    )
    long = sorted((day, environment, None, TOO_MANY, None) for day, environment, _, text in keys if text is None)
    run(NOTE, [list(column) for column in zip(*rows, *long, strict=True)])
    run(NOTE_MANY, [list({key[0] for key in keys}), list({key[1] for key in keys})])


def _digest(text: str) -> UUID:
    return UUID(bytes=hashlib.sha256(text.encode()).digest()[:16])


# days before ---------------------------------------------------------------------------------------------------------

OLDEST = """
SELECT min(right(c.relname, 8)) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'messaging_message'::regclass AND c.relname ~ '_[0-9]{8}$'
"""
SAID = """
SELECT environment_id, flow_id, t.text FROM messaging_message, LATERAL (VALUES (error_type), (error_message)) t (text)
WHERE first_seen_on = %s AND failed_at IS NOT NULL AND t.text > ''
"""


def reach_back(today: date | None = None, *, most_days: int = 40) -> int:
    """Note the errors of one day before another, back to the oldest there is; return how many days. May run twice at once.

    It begins when no process from before this table can be running any more.
    """
    today = today or datetime.now(UTC).date()
    ErrorTextsSince.objects.get_or_create(pk=1, defaults={"begun_on": today, "since": today + OLD_CODE})
    return next((day for day in range(most_days) if not _step_back(today)), most_days)


def _step_back(today: date) -> bool:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        if not cursor.fetchone()[0]:
            return False
        cursor.execute(OLDEST)
        oldest = datetime.strptime(cursor.fetchone()[0] or "99991231", "%Y%m%d").replace(tzinfo=UTC).date()
        reached = ErrorTextsSince.objects.get(pk=1)
        if today < reached.begun_on + OLD_CODE or reached.since <= oldest:
            return False
        day = reached.since - timedelta(days=1)
        _note_day(day)
        return bool(ErrorTextsSince.objects.filter(pk=1, since=reached.since).update(since=day))


def _note_day(day: date) -> None:
    ensure_partitions([day])
    keys: set[Key] = set()
    with connection.chunked_cursor() as cursor:
        cursor.execute(SAID, [day])
        while rows := cursor.fetchmany(2_000):
            keys |= {_key(day, environment, flow, text) for environment, flow, text in rows}
            keys = _bounded(keys)
    if keys:
        _write(keys)


def _bounded(keys: set[Key]) -> set[Key]:
    """Return the keys, of environments with too many of them none but the one that says so."""
    counts: dict[int, int] = {}
    for _, environment, *_rest in keys:
        counts[environment] = counts.get(environment, 0) + 1
    many = {environment for environment, count in counts.items() if count > MOST}
    return {key if key[1] not in many else (key[0], key[1], None, None) for key in keys}
