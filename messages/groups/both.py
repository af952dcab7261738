"""What dead letters name together with their messages: a sender knows the customer and the amount, a letter often its order alone."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from messages.groups.nameless import messages_of
from messages.ingest.messages_sql import run
from messages.models import Flow, Message
from messages.told import words_for_all

BEFORE = timedelta(days=8)  # a message has a row of the day it came, and may have of later ones
AFTER = timedelta(days=2)
MOST_NAMELESS = 1_000  # newest letters without a message whose message is looked for, by its numbers and in weeks

MESSAGES = """
SELECT m.id, m.first_seen_on, m.keys::text, m.flow_id, m.told_by, m.first_seen_at, m.started_at, m.last_seen_at
FROM unnest(%b::uuid[], %b::date[], %b::date[]) AS v (id, since, until) CROSS JOIN LATERAL (
    SELECT * FROM messaging_message WHERE id = v.id AND first_seen_on BETWEEN v.since AND v.until ORDER BY first_seen_on LIMIT 20
) m
"""


class Letter(NamedTuple):
    """A dead letter that waits, as it is read of its group."""

    id: UUID
    group_id: int
    keys: Mapping[str, str]
    error_message: str
    reason: str
    message_uid: UUID | None
    first_failed_at: datetime | None
    failed_at: datetime


def with_their_messages(flow: Flow, letters: Sequence[Letter]) -> list[Letter]:
    """Return these letters, newest first, with what everybody who sees this flow may know of their messages' keys; a letter's own value counts."""
    nameless = [(one.keys, one.failed_at) for one in letters if one.message_uid is None][:MOST_NAMELESS]
    found = messages_of(flow.pk, nameless)
    known = [one._replace(message_uid=one.message_uid or found.get(one.id)) for one in letters]
    told = _keys_of(flow, known)
    return [one._replace(keys={**told.get(one.message_uid, {}), **one.keys}) for one in known]


def _keys_of(flow: Flow, letters: Sequence[Letter]) -> dict[UUID | None, dict[str, str]]:
    """Return {message: its keys, of a message of several days those of the latest that has one} of these letters."""
    spans = dict[UUID, tuple[date, date]]()
    for one in letters:
        if one.message_uid:
            since, until = ((one.first_failed_at or one.failed_at) - BEFORE).date(), (one.failed_at + AFTER).date()
            first, last = spans.get(one.message_uid, (since, until))
            spans[one.message_uid] = min(first, since), max(last, until)
    if not spans:
        return {}
    days = zip(*spans.values(), strict=True)
    rows = run(MESSAGES, [list(spans), *map(list, days)]).fetchall()
    mixed = [
        Message(
            id=uid, first_seen_on=day, flow_id=own, told_by=told_by, first_seen_at=came, started_at=began, last_seen_at=last
        )
        for uid, day, _, own, told_by, came, began, last in rows
        if told_by or own != flow.pk
    ]  # fmt: skip
    words, found = words_for_all(mixed, flow), defaultdict[UUID | None, dict[str, str]](dict)
    for uid, _, keys, own, told_by, *_ in rows:
        found[uid] |= words[uid].keys if uid in words and (told_by or own != flow.pk) else json.loads(keys)
    return found
