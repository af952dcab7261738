"""The figures of groups, brought up to date every few seconds: what waits, whom it touches, whether it grows.

Compared, not counted along: what waits is read from an index of what waits, and a group whose figures say something else is read anew.
So nobody who closes or opens a letter has to think of groups, and whatever was missed is right a moment later.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Q, Sum

from console.audit.models import AuditEntry
from messages.groups.assign import move
from messages.groups.breaching import order_by_breach
from messages.groups.figures import FEW, Again, Passed, Tried, blast_of, document_of, may_be_few, reach_of, spread_of
from messages.groups.fingerprint import in_common
from messages.groups.nameless import Failed, with_a_letter
from messages.groups.states import GROWN_TIMES, next_state, trend_of
from messages.groups.tried import LATE, lately, passed_as_others, tried_of, with_meanwhile
from messages.ingest.messages_sql import run
from messages.models import DeadLetter, FailureGroup, GroupHour, Message
from messages.models.groups import NO_BREACH
from messages.models.stream import MessageStatus
from messages.told import words_for_all

MOST_READ = 5_000  # newest letters, and as many messages, of a group whose keys are looked at
MOST_WALKED = 20_000  # messages of a group that are looked through for them in one statement, newest first
MOST_PAGES = 9  # such statements for a whole, beyond one for each of its parts: of a cause of which the newest were delivered after all
SAMPLE = 50  # of them whose words make the title
AT_ONCE = 100  # groups read anew in one run; those that wait longest for it first
STANDS = timedelta(hours=24)  # a failed message without a dead letter counts for a day: nobody can close it
MOST_ASKED = 20  # messages of few keys whose attempts are counted
MOST_TIMES = 500  # attempts of one that are
ESCALATED = "group.escalated"
AGAIN = timedelta(
    seconds=30
)  # what is said of the last hours is read so often: failed messages, and others, may have passed

WAITING = """
SELECT coalesce(g.merged_into_id, g.id), sum(w.count), sum(w.replaying), min(w.oldest), max(w.latest), max(w.newest)
FROM (
    SELECT group_id, count(*) AS count, count(*) FILTER (WHERE state <> 'open') AS replaying, min(failed_at) AS oldest,
           max(failed_at) AS latest, max(id::text) AS newest
    FROM messaging_deadletter WHERE closed_at IS NULL AND group_id IS NOT NULL GROUP BY group_id
) w JOIN messaging_failuregroup g ON g.id = w.group_id GROUP BY 1
"""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Letters of a group that are open or being replayed."""

    count: int = 0
    replaying: int = 0
    oldest_at: datetime | None = None
    latest_at: datetime | None = None
    newest: UUID | None = None


NONE = Waiting()


def refresh_groups(*, now: datetime | None = None) -> int:
    """Read anew the groups whose figures are not those of what waits; return how many. Twice at once does the work twice, no harm."""
    now = now or datetime.now(UTC)
    waiting, failing = _waiting(), _failing(now)
    candidates = _candidates(waiting, failing)
    order_by_breach(candidates, waiting={*waiting, *failing})
    watched = failing | _lately_dead(now)
    due = [group for group in candidates if _is_due(group, waiting, watched, now)]
    due.sort(key=lambda group: group.figures_at or group.first_seen_at)
    _read_anew(due[:AT_ONCE], waiting, now)
    return len(due)


def _waiting() -> dict[int, Waiting]:
    with connection.cursor() as cursor:
        cursor.execute(WAITING)
        return {row[0]: Waiting(int(row[1]), int(row[2]), row[3], row[4], UUID(row[5])) for row in cursor.fetchall()}


def _failing(now: datetime) -> set[int]:
    """Return the groups, as they are merged, in which a message without a letter failed within a day."""
    rows = GroupHour.objects.filter(hour__gt=now - STANDS - timedelta(hours=1), messages__gt=0)
    found = set(rows.values_list("group_id", "group__merged_into_id").distinct())
    return {merged or pk for pk, merged in found}


def _lately_dead(now: datetime) -> set[int]:
    """Return the groups, as they are merged, of letters of the last hours: what passed meanwhile is told beside them."""
    rows = GroupHour.objects.filter(hour__gte=lately(now), letters__gt=0)
    return {merged or pk for pk, merged in rows.values_list("group_id", "group__merged_into_id").distinct()}


def _candidates(waiting: Collection[int], failing: Collection[int]) -> list[FailureGroup]:
    said = Q(blast__gt=0) | Q(state="escalating") | Q(figures_at=None) | Q(next_breach_s__lt=NO_BREACH)
    wanted = said | Q(pk__in=[*waiting, *failing])
    return list(FailureGroup.objects.filter(wanted, merged_into=None))


def _is_due(group: FailureGroup, waiting: dict[int, Waiting], failing: Collection[int], now: datetime) -> bool:
    is_now = waiting.get(group.pk, NONE)
    if group.figures_at is None:
        return True
    if (group.letters, group.replaying, group.newest) != (is_now.count, is_now.replaying, is_now.newest):
        return True
    is_unsure = group.blast and not group.waiting
    watched = group.pk in failing or group.failed or group.spread_words or is_unsure or group.state == "escalating"
    return bool(watched) and group.figures_at < now - AGAIN


def _read_anew(groups: Sequence[FailureGroup], waiting: dict[int, Waiting], now: datetime) -> None:
    if not groups:
        return
    parts: dict[int, list[int]] = {group.pk: [group.pk] for group in groups}
    by_pk = {group.pk: group for group in groups}
    merged = FailureGroup.objects.filter(merged_into__in=list(parts))
    for pk, target, first, last in merged.values_list("pk", "merged_into_id", "first_seen_at", "last_seen_at"):
        parts[target].append(pk)
        whole = by_pk[target]
        whole.first_seen_at, whole.last_seen_at = min(whole.first_seen_at, first), max(whole.last_seen_at, last)
    tried = tried_of(groups, parts, now)
    hours = hours_of(parts, now)
    for group in groups:
        _refresh(group, parts[group.pk], waiting.get(group.pk, NONE), tried.get(group.pk), hours[group.pk], now)


def hours_of(parts: dict[int, list[int]], now: datetime, *, back: int = 24) -> dict[int, list[int]]:
    """Return {group: failures by hour}, oldest of `back` hours first, the one that runs last. parts: {group: [it and what is merged into it]}"""
    this_hour = now.replace(minute=0, second=0, microsecond=0)
    since = this_hour - timedelta(hours=back - 1)
    owner = {part: pk for pk, several in parts.items() for part in several}
    found = {pk: [0] * back for pk in parts}
    rows = GroupHour.objects.filter(group_id__in=list(owner), hour__gte=since)
    for part, hour, letters, messages in rows.values_list("group_id", "hour").annotate(Sum("letters"), Sum("messages")):
        at = min(back - 1, (hour - since) // timedelta(hours=1))
        found[owner[part]][at] += letters + messages
    return {pk: [max(0, count) for count in hours] for pk, hours in found.items()}


def _open_letters(parts: Sequence[int]) -> list[tuple[Any, ...]]:
    """Return (keys, error, reason) of letters that wait: one group at a time, each by its index in order, newest first."""
    rows: list[tuple[Any, ...]] = []
    for part in parts:
        found = DeadLetter.objects.filter(group_id=part, closed_at=None).order_by("-id")
        rows += found.values_list("keys", "error_message", "reason")[:MOST_READ]
    return rows


def _refresh(
    group: FailureGroup,
    parts: Sequence[int],
    letters: Waiting,
    tried: Tried | None,
    hours: Sequence[int],
    now: datetime,
) -> None:
    rows = _open_letters(parts) if letters.count else []
    messages, is_all = _standing(parts, now)
    messages = _without_letters(messages, group.flow_id, parts, now)
    reach = reach_of([*(row[0] for row in rows), *(row[0] for row in messages)])
    failed = len(messages)
    waiting = letters.count + failed
    customers, documents = len(reach.customers), len(reach.documents)
    oldest = min((at for at in (letters.oldest_at, *(row[2] for row in messages)) if at), default=None)
    latest = max(at for at in (letters.latest_at, group.last_seen_at) if at)
    capped = len(rows) < letters.count or not is_all
    is_whole = not capped and reach.documents.total() == len(rows) + failed
    if tried and oldest and (len(reach.documents) == 1 or may_be_few(1, waiting, tried)):
        tried = with_meanwhile(tried, oldest, now)
    again = None if capped else _again([row[0] for row in rows], messages, tried, now)
    few = (again.times if again else reach.documents) if is_whole else {}
    passed = _passed_as_others(group, few, tried, latest, now)
    spread = spread_of(reach.documents if is_whole else {}, tried, again, passed)
    said = [
        words
        for words in (*(row[1] or row[2] for row in rows[:SAMPLE]), *(row[1] for row in messages[:SAMPLE]))
        if words
    ]
    figures = {
        "letters": letters.count,
        "replaying": letters.replaying,
        "failed": failed,
        "customers": customers,
        "documents": documents,
        "amounts": {currency: str(figure) for currency, figure in sorted(reach.amounts.items())},
        "amounts_partial": reach.is_partial,
        "word": reach.word[:64],
        "capped": capped,
        "oldest_at": oldest,
        "first_seen_at": min(group.first_seen_at, oldest or group.first_seen_at),
        "last_seen_at": latest,
        "spread": spread.kind if waiting else "",
        "spread_words": spread.words if waiting else "",
        # not all could be looked through and none was found: one may stand, and nobody may say that none does
        "blast": blast_of(customers=customers, documents=documents, waiting=waiting)
        or int(not is_all and _failed_lately(parts, now)),
        "newest": letters.newest,
        "figures_at": now,
    }
    if said and not group.name:
        figures["title"] = in_common(said)
    # not over what a merge or taking apart says meanwhile: these are of what the group was
    FailureGroup.objects.filter(pk=group.pk, figures_at=group.figures_at, figures_no=group.figures_no).update(**figures)
    _move_by_trend(group, hours, now)


def _move_by_trend(group: FailureGroup, hours: Sequence[int], now: datetime) -> None:
    happening = trend_of(hours, age_hours=(now - group.first_seen_at) / timedelta(hours=1))
    if not happening or not next_state(group.state, happening):
        return
    if happening == "grow" and _is_known(group, hours[-1], now):
        return
    action = ESCALATED if happening == "grow" else "group.calmed"
    move(group.pk, group.state, happening, action, now, failures=hours[-1])


def _is_known(group: FailureGroup, failures: int, now: datetime) -> bool:
    """Whether the group escalated in this hour and has not doubled since: who took it then is not told the same again."""
    this_hour = now.replace(minute=0, second=0, microsecond=0)
    told = AuditEntry.objects.filter(
        object_kind="failuregroup", object_id=str(group.pk), action=ESCALATED, at__gte=this_hour
    )
    last = told.order_by("-id").first()
    return last is not None and failures <= GROWN_TIMES * int(last.details.get("failures") or 0)


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


def _standing(parts: Sequence[int], now: datetime) -> tuple[list[tuple[Any, ...]], bool]:
    """Return (keys, error, when, group, when last, id) of messages that failed within a day, stand so and have no dead letter, at most 5,000 of the
    newest, and whether that is all that were to be looked through.
    """
    found, pages, is_all = dict[UUID, tuple[Any, ...]](), MOST_PAGES, True
    for part in parts:
        before: tuple[datetime, UUID] | None = FAR
        while before:
            rows, before = _page(part, before, now)
            found |= rows
            if before and (not pages or len(found) >= MOST_READ):
                before, is_all = None, False
            pages -= before is not None
    return _for_all(dict(islice(found.items(), MOST_READ))), is_all and len(found) < MOST_READ


def _page(
    part: int, before: tuple[datetime, UUID], now: datetime
) -> tuple[dict[UUID, tuple[Any, ...]], tuple[datetime, UUID] | None]:
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
    return {row[0]: (json.loads(row[4]), *row[5:]) for row in rows if row[2]}, rows[-1][1::-1] if more else None


def _without_letters(
    rows: list[tuple[Any, ...]], flow_id: int, parts: Sequence[int], now: datetime
) -> list[tuple[Any, ...]]:
    """Leave out those for which a letter stands that names no message."""
    documents = {pk: document_of(keys) for keys, *_, pk in rows}
    failed = [
        Failed(id=pk, group_id=group_id, failed_at=failed_at, decided_at=decided_at)
        for _, _, failed_at, group_id, decided_at, pk in rows
    ]
    told = with_a_letter(flow_id, parts, documents, failed, now)
    return [row for row in rows if row[-1] not in told]


def _failed_lately(parts: Sequence[int], now: datetime) -> bool:
    """Whether messages are counted here that failed within a day and no letter came for."""
    rows = GroupHour.objects.filter(group_id__in=parts, hour__gt=now - STANDS - timedelta(hours=1))
    return (rows.aggregate(count=Sum("messages"))["count"] or 0) > 0


def _for_all(rows: dict[UUID, tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return (keys, error, when, group, when last, id) of each, without what flows of other teams told of it."""
    days = {pk: row[6] for pk, row in rows.items() if row[5]}
    mixed = Message.objects.filter(id__in=list(days), first_seen_on__in=set(days.values())) if days else []
    words = words_for_all(list(mixed))
    return [
        (*((words[pk].keys, words[pk].error_message) if pk in words else row[:2]), *row[2:5], pk)
        for pk, row in rows.items()
    ]


def _passed_as_others(
    group: FailureGroup, few: Mapping[str, int], tried: Tried | None, latest: datetime, now: datetime
) -> Passed:
    named = {name: times for name, times in few.items() if not name.startswith("message=")}
    if not named or len(named) != len(few) or len(few) > FEW:
        return Passed()
    return passed_as_others(group, named, tried.flows if tried else (), latest, now)


# From the index of a message's events, at the step of its group and in the flows where that fails.
TIMES = """
SELECT v.id, n.times FROM unnest(%b::uuid[], %b::int8[]) AS v (id, group_id) JOIN messaging_failuregroup g ON g.id = v.group_id
CROSS JOIN LATERAL (
    SELECT count(*) AS times FROM (
        SELECT FROM messaging_event e WHERE e.message_uid = v.id AND e.outcome = 2 AND e.occurred_at BETWEEN %b AND %b
          AND e.flow_id = ANY(%b::int8[]) AND (g.step = '' OR e.system_id IN (
            SELECT s.id FROM messaging_system s WHERE s.environment_id = g.environment_id AND s.name = g.step)) LIMIT %b
    ) e
) n
"""


def _again(
    letters: Sequence[dict[str, str]], messages: Sequence[tuple[Any, ...]], tried: Tried | None, now: datetime
) -> Again | None:
    """Return how often the few keys of these failed, None where they are not few, or too little passes to tell."""
    times = Counter(document_of(keys) for keys in letters)
    named = {pk: document_of(keys) or f"message={pk}" for keys, *_, pk in messages}
    standing = len(letters) + len(messages)
    if not named or times[""] or not may_be_few(len({*+times, *named.values()}), standing, tried):
        return None
    asked = messages[:MOST_ASKED]
    span = [lately(now), now + timedelta(days=1)]
    flows = list(tried.flows) if tried else []
    found = run(TIMES, [[row[-1] for row in asked], [row[3] for row in asked], *span, flows, MOST_TIMES]).fetchall()
    counted = dict(found)
    for pk, name in named.items():
        times[name] += max(1, counted.get(pk, 1))  # it stands so: it failed once, if not in the last hours
    is_least = len(asked) < len(messages) or any(count >= MOST_TIMES for count in counted.values())
    return Again(times=+times, standing=standing, is_least=is_least)
