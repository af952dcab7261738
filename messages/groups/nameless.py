"""Dead letters that name no message: Kafka gives none an id, and many publishers of RabbitMQ neither.

Such a letter is that of a failed message of its flow and its document that has no other letter, one to one: the two are one failure. A sender
and a letter need not name a document by the same keys: any number by which the letter is known will do, as long as no other tells them apart.
Which is whose is not written down. It follows from what is stored, so that whoever stores a letter or gives a message its group finds what
that changed, and counts the difference.
"""

from __future__ import annotations

import contextlib
import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import ProgrammingError, transaction

from messages.groups.assign import Counted
from messages.groups.figures import FIRST_DOCUMENTS, numbers_of
from messages.ingest.messages_sql import run
from messages.models import GroupHour

LOCK = 7_219_022  # advisory, with the flow: its letters without a message and its failed messages are counted one after the other
MOST = 100  # letters, and messages, of a number that are looked at
MOST_STEPS = 6  # from a letter to its messages, to their letters, and so on
# A letter died at most so long before its message's first failure: clocks differ, and groups count by the day.
BEFORE = timedelta(days=1)
# And so long after it, where failures of weeks are looked at: it may have been tried again until then.
AFTER = timedelta(days=4)
A_DAY_OFF = timedelta(days=4)  # between a message's partition and its first failure
TIDY_FROM = 100  # failures: for fewer, reading what came lately costs less than putting it into the index

TIDY = """
SELECT gin_clean_pending_list('dead_letter_by_key'::regclass), (
    SELECT count(gin_clean_pending_list(inhrelid)) FROM pg_inherits WHERE inhparent = 'message_by_key'::regclass)
"""

Number = tuple[int, str, str]  # a flow's id, "order_no", "4711"


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbered:
    """What failed in a flow, with what may name its document, {"order_no": "4711"}, first what does."""

    flow_id: int
    numbers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter(Numbered):
    """A dead letter that names no message."""

    id: UUID
    group_id: int
    failed_at: datetime
    closed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(Numbered):
    """A message that failed and has no letter of its own. failed_at  first.   decided_at  when it was last."""

    id: UUID
    group_id: int
    failed_at: datetime
    decided_at: datetime
    stands: bool = True


Fits = Callable[[Letter, Failed], bool]


def known_by(letter: Numbered) -> list[Number]:
    """Return the numbers by which a letter's message is found: orders, invoices, shipments, else the first that there is.

    Not all: a letter that names its order tells nothing of it by a tenant or a plant, which half of all messages name.
    """
    known = [name for name in FIRST_DOCUMENTS if name in letter.numbers] or list(letter.numbers)[:1]
    return [(letter.flow_id, name, letter.numbers[name]) for name in known]


def is_of_document(letter: Numbered, message: Numbered) -> bool:
    """Whether the two may be of one document: they share a number by which the letter is known, and no number of both is another's."""
    numbers = message.numbers
    is_shared = any(numbers.get(name) == value for _, name, value in known_by(letter))
    return is_shared and all(numbers.get(name, value) == value for name, value in letter.numbers.items())


def fits_in_time(letter: Letter, message: Failed) -> bool:
    """Whether the two may be one failure by when they were."""
    return -BEFORE <= letter.failed_at - message.failed_at <= AFTER


def stands_for(letter: Letter, message: Failed) -> bool:
    """Whether a letter stands for a message that stands failed now: it waits, or was dealt with after the failure."""
    is_open = letter.closed_at is None or letter.closed_at > message.decided_at
    return is_open and letter.failed_at >= message.failed_at - BEFORE


def pair(letters: Iterable[Letter], messages: Iterable[Failed], fits: Fits) -> dict[UUID, UUID]:
    """Return {message: letter} of the messages that letters stand for, one each and as many as can be: of its own group before others, then the
    nearest in time. A letter that says less than others takes what these leave.
    """
    by_number: dict[Number, list[Failed]] = defaultdict(list)
    for message in sorted(messages, key=lambda one: (one.failed_at, one.id), reverse=True):
        for number in _numbers(message):
            by_number[number].append(message)
    own, every = dict[UUID, list[UUID]](), dict[UUID, list[UUID]]()
    for letter in sorted(letters, key=lambda one: one.id):
        near = {one.id: one for number in known_by(letter) for one in by_number[number][:MOST]}
        fitting = [one for one in near.values() if fits(letter, one) and is_of_document(letter, one)]
        fitting.sort(key=lambda one: (abs(letter.failed_at - one.failed_at), one.id))
        own[letter.id] = [one.id for one in fitting if one.group_id == letter.group_id]
        every[letter.id] = [one.id for one in fitting]
    paired, held = dict[UUID, UUID](), dict[UUID, UUID]()
    for choices in (own, every):
        for pk in choices:
            if pk not in held:
                _give_one(pk, choices, paired, held)
    return paired


def _give_one(
    letter: UUID, choices: Mapping[UUID, Sequence[UUID]], paired: dict[UUID, UUID], held: dict[UUID, UUID]
) -> None:
    """Give a letter the first message that is free, or one whose letter finds another, and so on: what has one keeps one.

    choices  {letter: its messages, the best first}.   paired  {message: letter}.   held  {letter: message}.
    """
    asked_by, asking = dict[UUID, UUID](), [letter]
    for one in asking:  # grows
        for message in choices[one]:
            if message in asked_by:
                continue
            asked_by[message] = one
            if message in paired:
                asking.append(paired[message])
                continue
            free: UUID | None = message
            while free:
                taker = asked_by[free]
                paired[free], held[taker], free = taker, free, held.get(taker)
            return


# what stands --------------------------------------------------------------------------------------------------------------


def with_a_letter(parts: Collection[int], rows: Iterable[Failed], now: datetime) -> set[UUID]:
    """Return those of a group's messages that stand failed for which a letter without a message stands.

    Where a letter of another group may stand for one, so it may for one of that group: then all of the document are looked at.
    """
    mine = {row.id: row for row in rows if row.numbers}
    _tidy(mine)
    since = min((one.failed_at for one in mine.values()), default=now) - BEFORE
    around = Around(since=since, first=now - AFTER, last=now + BEFORE, messages=dict(mine))
    letters = _letters(mine.values(), since)
    around.letters |= letters
    around.look([one for one in letters.values() if one.group_id not in parts], of_letters=True)
    standing = [one for one in around.messages.values() if one.stands]
    return pair(around.letters.values(), standing, stands_for).keys() & mine.keys()


# one failure --------------------------------------------------------------------------------------------------------------


def messages_of(flow_id: int, letters: Iterable[tuple[Mapping[str, str], datetime]]) -> dict[UUID, UUID]:
    """Return {letter: message} of the letters without a message that share a document with these (keys, when) of a flow, and are one failure with it."""
    told = [(Numbered(flow_id=flow_id, numbers=numbers), at) for keys, at in letters if (numbers := numbers_of(keys))]
    if not told:
        return {}
    _tidy(told)
    around = _around_times([at for _, at in told])
    around.look([one for one, _ in told], of_letters=True)
    paired = pair(around.letters.values(), around.messages.values(), fits_in_time)
    return {letter: message for message, letter in paired.items()}


# counts by hour -----------------------------------------------------------------------------------------------------------


def counted_twice(
    failures: Iterable[tuple[int, Mapping[str, str], datetime]], new: Collection[UUID], *, are_letters: bool
) -> tuple[list[Counted], list[Counted]]:
    """Return (messages that are counted no more, messages that are counted again), as these failures (flow, keys, when) are counted.

    Call it after they are written and before counts are. Counted are the letters, and the messages for which none stands.
    new  the ids of these failures: letters without a message, or messages, that were written.
    """
    told = [
        (Numbered(flow_id=flow_id, numbers=numbers), at)
        for flow_id, keys, at in failures
        if (numbers := numbers_of(keys))
    ]
    if not told:
        return [], []
    flow_ids, times = {one.flow_id for one, _ in told}, [at for _, at in told]
    first, last = min(times), max(times)
    if not are_letters or _flows_that_tell(flow_ids, first, last):
        _tidy(told)  # before others have to wait for these flows
    _hold(flow_ids)
    asked = [one for one, _ in told]
    if are_letters:
        telling = _flows_that_tell(flow_ids, first, last)
        asked = [one for one in asked if one.flow_id in telling]
    around = _around_times(times)
    around.look(asked, of_letters=are_letters, are=new)
    letters, messages = around.letters.values(), around.messages.values()
    before = pair(
        (one for one in letters if one.id not in new), (one for one in messages if one.id not in new), fits_in_time
    )
    after = pair(letters, messages, fits_in_time)
    no_more = [(one.group_id, one.failed_at) for one in messages if one.id in after.keys() - before.keys()]
    again = [(one.group_id, one.failed_at) for one in messages if one.id in before.keys() - after.keys()]
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


@dataclass(kw_only=True)
class Around:
    """What may be one failure with what is looked at, what with that, and so on.

    since  letters that died then.   first, last  messages that failed about then.
    """

    since: datetime
    first: datetime
    last: datetime
    letters: dict[UUID, Letter] = field(default_factory=dict)
    messages: dict[UUID, Failed] = field(default_factory=dict)

    def look(self, asked: Sequence[Numbered], *, of_letters: bool, are: Collection[UUID] = ()) -> None:
        """Find the messages of these letters, or the letters of these messages, and go on from what is new. are  the ids of these."""
        for _ in range(MOST_STEPS):
            new: list[Letter] | list[Failed]
            if of_letters:
                found = _messages(asked, self.first, self.last)
                new = [one for pk, one in found.items() if pk not in self.messages]
                self.messages |= found
            else:
                died = _letters(asked, self.since)
                new = [one for pk, one in died.items() if pk not in self.letters]
                self.letters |= died
            asked = [one for one in new if one.id not in are]
            of_letters = not of_letters
            if not asked:
                return


def _around_times(times: Sequence[datetime]) -> Around:
    """Return an empty one for failures of these times."""
    first, last = min(times), max(times)
    return Around(since=first - BEFORE - AFTER, first=first - AFTER - BEFORE, last=last + AFTER + BEFORE)


def _letters(messages: Iterable[Numbered], since: datetime) -> dict[UUID, Letter]:
    """Return the letters that name no message and may be of one document with these messages, of those that died since."""
    asked: dict[Number, list[Numbered]] = defaultdict(list)
    for message in messages:
        for number in _numbers(message):
            asked[number].append(message)
    found = dict[UUID, Letter]()
    for number, pk, group_id, numbers, failed_at, closed_at in _rows(LETTERS, asked, since, MOST):
        one = Letter(
            id=pk, flow_id=number[0], numbers=numbers, group_id=group_id, failed_at=failed_at, closed_at=closed_at
        )
        if number in known_by(one) and any(is_of_document(one, message) for message in asked[number][:MOST]):
            found[pk] = one
    return found


def _messages(letters: Iterable[Numbered], first: datetime, last: datetime) -> dict[UUID, Failed]:
    """Return the messages that failed, have their group and no letter of their own, and may be of one document with these letters."""
    asked: dict[Number, list[Numbered]] = defaultdict(list)
    for letter in letters:
        for number in known_by(letter):
            asked[number].append(letter)
    span = (first - A_DAY_OFF).date(), (last + A_DAY_OFF).date()
    found = dict[UUID, Failed]()
    for number, pk, group_id, numbers, failed_at, decided_at, stands in _rows(MESSAGES, asked, *span, MOST):
        one = Failed(
            id=pk, flow_id=number[0], numbers=numbers, group_id=group_id,
            failed_at=failed_at, decided_at=decided_at, stands=stands,
        )  # fmt: skip
        if any(is_of_document(letter, one) for letter in asked[number][:MOST]):
            found[pk] = one
    return found


def _numbers(one: Numbered) -> list[Number]:
    return [(one.flow_id, name, value) for name, value in one.numbers.items()]


def _rows(statement: str, asked: Collection[Number], *more: Any) -> Iterator[tuple[Any, ...]]:
    """Return (number, id, group, {key: value}, …) of what a statement finds of each of these numbers."""
    if not asked:
        return
    flows, names, values = zip(*asked, strict=True)
    for flow_id, name, value, pk, group_id, keys, *rest in run(
        statement, [list(flows), list(names), list(values), *more]
    ).fetchall():
        yield (flow_id, name, value), pk, group_id, numbers_of(json.loads(keys)), *rest


def _tidy(failures: Collection[Any]) -> None:
    """Put what came lately into the indexes: every look-up reads it whole. Who does not own them goes without, and waits longer."""
    if len(failures) < TIDY_FROM:
        return
    with contextlib.suppress(ProgrammingError), transaction.atomic():
        run(TIDY, [])
