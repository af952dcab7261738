"""The words of payloads, for flows that allow it: unpacked, decoded and masked as a reader would see them, and cut."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from django.db import connection

from messages.models import DeadLetter, Flow
from messages.payloads.queries import stored_contents
from messages.payloads.readable import readable
from messages.payloads.seal import PayloadUnreadable
from messages.search.elastic.documents import MOST_TEXT, Text

MOST_BODIES = 5  # of one message
MOST_BYTES = 1024 * 1024  # a larger body is not indexed

BODIES = """
SELECT message_uid, id, flow_id, payload_on, destination FROM (
  SELECT message_uid, id, flow_id, payload_on, destination, row_number() OVER (PARTITION BY message_uid ORDER BY occurred_at, id) AS number
  FROM messaging_event WHERE message_uid = ANY(%s) AND environment_id = %s AND occurred_at BETWEEN %s AND %s
    AND payload_on IS NOT NULL AND flow_id = ANY(%s)
) numbered WHERE number <= %s
"""
SMALL = "SELECT content_type FROM messaging_payload WHERE id = %s AND stored_on = %s AND size_bytes <= %s"


def searchable_flows() -> frozenset[int]:
    """Return the flows whose bodies may be indexed."""
    return frozenset(Flow.objects.filter(payload_search=True).order_by().values_list("pk", flat=True))


def texts_of_messages(
    environment_id: int, ids: Sequence[UUID], begin: datetime, end: datetime, searchable: frozenset[int]
) -> dict[UUID, list[Text]]:
    """Return the bodies of these messages' events in this time, of these flows."""
    if not searchable:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(BODIES, [list(ids), environment_id, begin, end, list(searchable), MOST_BODIES])
        rows: list[Any] = cursor.fetchall()
    flows = Flow.objects.in_bulk({row[2] for row in rows})
    found: dict[UUID, list[Text]] = defaultdict(list)
    for uid, event, flow, day, destination in rows:
        text = _text(flows[flow], event, day, (destination,)) if flow in flows else ""
        if text:
            found[uid].append(Text(flow, day, text))
    return found


def texts_of_letters(environment_id: int, letters: Sequence[DeadLetter]) -> dict[UUID, list[Text]]:
    """Return the bodies of these letters; the caller chose those of flows that allow it."""
    flows = Flow.objects.in_bulk({letter.flow_id for letter in letters})
    found = {}
    for letter in letters:
        if letter.payload_on is None:
            continue
        text = _text(flows[letter.flow_id], letter.pk, letter.payload_on, (letter.origin, letter.queue))
        if text:
            found[letter.pk] = [Text(letter.flow_id, letter.payload_on, text)]
    return found


def _text(flow: Flow, row_id: UUID, day: date, destinations: Sequence[str | None]) -> str:
    """Return the words of one body; nothing of one that is gone, large, withheld, unreadable or no text."""
    with connection.cursor() as cursor:
        cursor.execute(SMALL, [row_id, day, MOST_BYTES])
        row = cursor.fetchone()
    content = stored_contents(flow.environment_id, {row_id: day}).get(row_id) if row else None
    if row is None or content is None or isinstance(content, PayloadUnreadable):
        return ""
    named = [one for one in destinations if one]
    read = readable(flow, content.body, row[0], content.headers, content.properties, named)
    if read.withheld or b"\x00" in read.body[:MOST_TEXT]:
        return ""
    return read.body[: MOST_TEXT * 4].decode("utf-8", "replace")[:MOST_TEXT]
