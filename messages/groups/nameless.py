"""Dead letters that name no message: Kafka gives none an id, and many publishers of RabbitMQ neither.

Such a letter is that of a failed message of its flow and its document that has no other letter, as reconciliations have it (see
messages.reconcile.steps), one to one: the two are one failure. Which is whose is not written down. It follows from what is stored, so
that whoever stores a letter or gives a message its group finds what that changed, and counts the difference.
"""

from __future__ import annotations

import contextlib
import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import ProgrammingError, transaction

from messages.groups.assign import Counted
from messages.groups.figures import document_of
from messages.ingest.messages_sql import run
from messages.models import GroupHour

LOCK = 7_219_022  # advisory, with the flow: its letters without a message and its failed messages are counted one after the other
MOST = 100  # letters, and messages, of a document that are looked at
# A letter died at most so long before its message's first failure: clocks differ, and groups count by the day.
BEFORE = timedelta(days=1)
# And so long after it, where failures of weeks are looked at: it may have been tried again until then.
AFTER = timedelta(days=4)
A_DAY_OFF = timedelta(days=4)  # between a message's partition and its first failure
TIDY_FROM = 100  # documents: for fewer, reading what came lately costs less than putting it into the index

TIDY = """
SELECT gin_clean_pending_list('dead_letter_by_key'::regclass), (
    SELECT count(gin_clean_pending_list(inhrelid)) FROM pg_inherits WHERE inhparent = 'message_by_key'::regclass)
"""

Document = tuple[int, str]  # a flow's id and "order_no=4711"


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A dead letter that names no message."""

    id: UUID
    group_id: int
    failed_at: datetime
    closed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A message that failed and has no letter of its own. failed_at  first.   decided_at  when it was last."""

    id: UUID
    group_id: int
    failed_at: datetime
    decided_at: datetime
    stands: bool = True


Fits = Callable[[Letter, Failed], bool]


def fits_in_time(letter: Letter, message: Failed) -> bool:
    """Whether the two may be one failure by when they were."""
    return -BEFORE <= letter.failed_at - message.failed_at <= AFTER


def stands_for(letter: Letter, message: Failed) -> bool:
    """Whether a letter stands for a message that stands failed now: it waits, or was dealt with after the failure."""
    is_open = letter.closed_at is None or letter.closed_at > message.decided_at
    return is_open and letter.failed_at >= message.failed_at - BEFORE


def pair(letters: Iterable[Letter], messages: Iterable[Failed], fits: Fits) -> dict[UUID, UUID]:
    """Return {message: letter} of the messages, of one flow and document, that letters stand for, one each: of its own group before others, then the
    nearest in time.
    """
    left = {message.id: message for message in messages}
    paired = dict[UUID, UUID]()
    rest = sorted(letters, key=lambda one: one.id)
    for of_group in (True, False):
        for letter in list(rest):
            several = [
                one for one in left.values() if fits(letter, one) and (not of_group or one.group_id == letter.group_id)
            ]
            if several:
                nearest = min(several, key=lambda one: (abs(letter.failed_at - one.failed_at), one.id))
                paired[left.pop(nearest.id).id] = letter.id
                rest.remove(letter)
    return paired


# what stands --------------------------------------------------------------------------------------------------------------


def with_a_letter(
    flow_id: int, parts: Collection[int], documents: Mapping[UUID, str], rows: Iterable[Failed], now: datetime
) -> set[UUID]:
    """Return those of a group's messages that stand failed for which a letter without a message stands. documents: {message: …}

    Where a letter of another group may stand for one, so it may for one of that group: then all of the document are looked at.
    """
    mine: dict[Document, list[Failed]] = defaultdict(list)
    for row in rows:
        if documents[row.id]:
            mine[flow_id, documents[row.id]].append(row)
    _tidy(mine)
    letters = _letters(mine, min((one.failed_at for few in mine.values() for one in few), default=now) - BEFORE)
    shared = {one for one, few in letters.items() if any(letter.group_id not in parts for letter in few)}
    others = _messages(shared, now - AFTER, now + BEFORE)
    paired = set[UUID]()
    for document, few in letters.items():
        known = {one.id for one in mine[document]}
        more = [one for one in others.get(document, ()) if one.stands and one.id not in known]
        paired |= pair(few, [*mine[document][:MOST], *more], stands_for).keys() & known
    return paired


# one failure --------------------------------------------------------------------------------------------------------------


def messages_of(flow_id: int, letters: Iterable[tuple[Mapping[str, str], datetime]]) -> dict[UUID, UUID]:
    """Return {letter: message} of the letters without a message that share a document with these (keys, when) of a flow, and are one failure with it."""
    told = [((flow_id, name), at) for keys, at in letters if (name := document_of(keys))]
    if not told:
        return {}
    documents, first, last = {one for one, _ in told}, min(at for _, at in told), max(at for _, at in told)
    _tidy(documents)
    found = _letters(documents, first - BEFORE - AFTER)
    messages = _messages(found, first - AFTER - BEFORE, last + AFTER + BEFORE)
    pairs = [pair(found[document], several, fits_in_time) for document, several in messages.items()]
    return {letter: message for paired in pairs for message, letter in paired.items()}


# counts by hour -----------------------------------------------------------------------------------------------------------


def counted_twice(
    failures: Iterable[tuple[int, Mapping[str, str], datetime]], new: Collection[UUID], *, are_letters: bool
) -> tuple[list[Counted], list[Counted]]:
    """Return (messages that are counted no more, messages that are counted again), as these failures (flow, keys, when) are counted.

    Call it after they are written and before counts are. Counted are the letters, and the messages for which none stands.
    new  the ids of letters without a message, or of messages, that were written.
    """
    times: dict[Document, list[datetime]] = defaultdict(list)
    for flow_id, keys, at in failures:
        if name := document_of(keys):
            times[flow_id, name].append(at)
    if not times:
        return [], []
    flow_ids = {flow_id for flow_id, _ in times}
    every = [at for several in times.values() for at in several]
    first, last = min(every), max(every)
    if not are_letters or _flows_that_tell(flow_ids, first, last):
        _tidy(times)  # before others have to wait for these flows
    _hold(flow_ids)
    asked: Collection[Document] = times
    if are_letters:
        telling = _flows_that_tell(flow_ids, first, last)
        asked = [one for one in times if one[0] in telling]
    letters = _letters(asked, first - BEFORE - AFTER)
    messages = _messages(letters, first - AFTER - BEFORE, last + AFTER + BEFORE)
    no_more, again = list[Counted](), list[Counted]()
    for document, several in messages.items():
        fewer = [one for one in several if one.id not in new]
        before = pair((one for one in letters[document] if one.id not in new), fewer, fits_in_time)
        after = pair(letters[document], several, fits_in_time)
        no_more += [(one.group_id, one.failed_at) for one in several if one.id in after.keys() - before.keys()]
        again += [(one.group_id, one.failed_at) for one in several if one.id in before.keys() - after.keys()]
    return no_more, again


def _hold(flow_ids: Iterable[int]) -> None:
    """Wait for whoever counts failures of these flows: a letter and its message that came at once would both not see the other."""
    run(
        "SELECT pg_advisory_xact_lock(%b, flow) FROM unnest(%b::int4[]) AS flow",
        [LOCK, sorted({pk % 2**31 for pk in flow_ids})],
    )


def _flows_that_tell(flow_ids: Collection[int], first: datetime, last: datetime) -> set[int]:
    """Return the flows in which messages without a letter are counted about these times: of most letters without a message none is."""
    rows = GroupHour.objects.filter(group__flow_id__in=flow_ids, messages__gt=0)
    rows = rows.filter(hour__gt=first - AFTER - timedelta(hours=1), hour__lte=last + BEFORE)
    return set(rows.values_list("group__flow_id", flat=True).distinct())


# The inner LIMIT: by the index of keys alone, whatever the planner thinks of times, and no end of what shares a document is read.
LETTERS = """
SELECT v.flow_id, v.name, v.value, d.id, d.group_id, d.keys::text, d.failed_at, d.closed_at
FROM unnest(%b::int8[], %b::text[], %b::text[]) AS v (flow_id, name, value) CROSS JOIN LATERAL (
    SELECT k.* FROM (
        SELECT * FROM messaging_deadletter WHERE keys @> jsonb_build_object(v.name, v.value) LIMIT 2000
    ) k WHERE k.flow_id = v.flow_id AND k.message_uid IS NULL AND k.group_id IS NOT NULL AND k.failed_at >= %b
    ORDER BY k.id DESC LIMIT %b
) d
"""
MESSAGES = """
SELECT v.flow_id, v.name, v.value, m.id, m.group_id, m.keys::text, m.failed_at, coalesce(m.decided_at, m.failed_at), m.status = 2
FROM unnest(%b::int8[], %b::text[], %b::text[]) AS v (flow_id, name, value) CROSS JOIN LATERAL (
    SELECT k.* FROM (
        SELECT * FROM messaging_message WHERE keys @> jsonb_build_object(v.name, v.value) AND first_seen_on BETWEEN %b AND %b LIMIT 2000
    ) k WHERE k.flow_id = v.flow_id AND k.failed_at IS NOT NULL AND k.group_id IS NOT NULL
        AND NOT EXISTS (SELECT FROM messaging_deadletter d WHERE d.message_uid = k.id)
    ORDER BY k.failed_at DESC, k.id LIMIT %b
) m
"""


def _letters(documents: Collection[Document], since: datetime) -> dict[Document, list[Letter]]:
    """Return the letters that name no message of each of these documents that has some, of those that died since."""
    found: dict[Document, list[Letter]] = defaultdict(list)
    for document, pk, group_id, failed_at, closed_at in _rows(LETTERS, documents, since, MOST):
        found[document].append(Letter(id=pk, group_id=group_id, failed_at=failed_at, closed_at=closed_at))
    return found


def _messages(documents: Collection[Document], first: datetime, last: datetime) -> dict[Document, list[Failed]]:
    """Return the messages of each of these documents that failed, have their group, and no letter of their own."""
    span = (first - A_DAY_OFF).date(), (last + A_DAY_OFF).date()
    found: dict[Document, list[Failed]] = defaultdict(list)
    for document, pk, group_id, failed_at, decided_at, stands in _rows(MESSAGES, documents, *span, MOST):
        one = Failed(id=pk, group_id=group_id, failed_at=failed_at, decided_at=decided_at, stands=stands)
        found[document].append(one)
    return found


def _rows(statement: str, documents: Collection[Document], *more: Any) -> Iterator[tuple[Any, ...]]:
    """Return (document, id, group, …) of what a statement finds of each; what names it, and another document before it, is of that."""
    if not documents:
        return
    names = [document.partition("=") for _, document in documents]
    asked = [[flow_id for flow_id, _ in documents], [name for name, *_ in names], [value for *_, value in names]]
    for flow_id, name, value, pk, group_id, keys, *rest in run(statement, [*asked, *more]).fetchall():
        if document_of(json.loads(keys)) == f"{name}={value}":
            yield (flow_id, f"{name}={value}"), pk, group_id, *rest


def _tidy(documents: Collection[Document]) -> None:
    """Put what came lately into the indexes: every look-up reads it whole. Who does not own them goes without, and waits longer."""
    if len(documents) < TIDY_FROM:
        return
    with contextlib.suppress(ProgrammingError), transaction.atomic():
        run(TIDY, [])
