"""The words of payloads, for flows that allow it: unpacked, decoded and masked as a reader would see them, unescaped, and cut."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from django.db import connection

from messages.masking.bodies import BOM, charset_of
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
READING = 1  # counted up when words are read otherwise, so that they are read again
MOST_READ = MOST_TEXT * 4  # bytes
DECLARED = re.compile(
    rb"""(?:\xef\xbb\xbf)?\s{0,20}<\?xml\s[^>]{0,100}?\bencoding\s{0,5}=\s{0,5}["']([A-Za-z][\w.-]{0,30})["']"""
)
JSON_BEGINS = tuple('{["')
CUT_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?\Z")
NUMBERED = re.compile(r"&#(?:([0-9]{1,7})|x([0-9a-fA-F]{1,6}));")
NAMED = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&apos;", "'"), ("&amp;", "&")]
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
    return "" if read.withheld else text_of(read.body, read.content_type)


def text_of(body: bytes, content_type: str) -> str:
    """Return the first characters of a body as its reader has them: by its charset, without the escapes of JSON or XML; "" of what is no text.

    Only the first bytes are looked into, and an escape is replaced where it stands, by C: what stands as it is keeps its neighbours, a
    body that is cut or broken is read all the same, and 128 KB of nothing but escapes cost 10 ms.
    """
    if b"\x00" in body[:MOST_TEXT]:
        return ""
    declared = DECLARED.match(body)
    charset = (
        charset_of(body, f"charset={declared[1].decode()}" if declared else "")
        or charset_of(body, content_type)
        or "utf-8"
    )
    text = body[:MOST_READ].removeprefix(BOM).decode(charset, "replace")
    first = text.lstrip()[:1]
    text = _without_references(text) if first == "<" else _without_escapes(text) if first in JSON_BEGINS else text
    return text[:MOST_TEXT]


def _without_escapes(text: str) -> str:
    """Return JSON with its texts unescaped: read as the inside of one text. As it is when an escape in it is none of JSON's."""
    one = CUT_ESCAPE.sub("", text.replace("\\\\", "\\u005c")).replace('\\"', '"').replace('"', '\\"')
    try:
        read: str = json.loads(f'"{one}"', strict=False)
    except ValueError:
        return text
    return read.encode("utf-8", "replace").decode()  # half of a pair is no character, and no request may hold it


def _without_references(text: str) -> str:
    text = NUMBERED.sub(lambda found: _character(int(found[1]) if found[1] else int(found[2], 16)), text)
    for name, character in NAMED:
        text = text.replace(name, character)
    return text


def _character(number: int) -> str:
    return chr(number) if 32 <= number < 0xD800 or 0xE000 <= number < 0x110000 else " "
