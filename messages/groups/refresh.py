"""The figures of groups, brought up to date every few seconds: what waits, whom it touches, whether it grows.

Compared, not counted along: what waits is read from an index of what waits, and a group whose figures say something else is read anew.
So nobody who closes or opens a letter has to think of groups, and whatever was missed is right a moment later.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import OperationalError, connection, transaction
from django.db.models import F, Q, Sum

from console.audit.models import AuditEntry
from messages.groups.assign import move
from messages.groups.both import Letter, with_their_messages
from messages.groups.breaching import order_by_breach
from messages.groups.few import spread_of_group
from messages.groups.figures import Reach, blast_of, reach_of
from messages.groups.fingerprint import in_common, normal
from messages.groups.spread import Tried
from messages.groups.standing import MOST_READ, STANDS, Standing, failed_lately, standing_in
from messages.groups.states import GROWN_TIMES, next_state, trend_of
from messages.groups.tried import LATE, lately, tried_of
from messages.models import DeadLetter, FailureGroup, GroupHour
from messages.models.groups import NO_BREACH

SAMPLE = 50  # newest letters, and as many messages, of the group itself whose words make the title
AT_ONCE = 100  # groups read anew in one run; those that wait longest for it first
MOST_AT_ONCE = 5_000  # failures of groups that are counted while somebody waits
ESCALATED = "group.escalated"
# What is said of the last hours is read so often: what failed, and others, may have passed.
AGAIN = timedelta(seconds=30)

WAITING = """
SELECT coalesce(g.merged_into_id, g.id), sum(w.count), sum(w.replaying), min(w.oldest), max(w.latest), max(w.newest)
FROM (
    SELECT group_id, count(*) AS count, count(*) FILTER (WHERE state <> 'open') AS replaying, min(failed_at) AS oldest,
           max(failed_at) AS latest, max(id::text) AS newest
    FROM messaging_deadletter WHERE closed_at IS NULL AND group_id IS NOT NULL AND {of} GROUP BY group_id
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


def count_at_once(pks: Collection[int]) -> None:
    """Write down how far these groups reach, for who changed what they consist of and reads on; call it after that was committed.

    At most 5,000 failures of all of them: of more, `figures_at` stays None until the next run counts them, as where somebody has them locked
    too long. That run also tells the sentence of their spread, for which others have to be read.
    """
    with contextlib.suppress(OperationalError), transaction.atomic():
        _count(pks, datetime.now(UTC))


def _count(pks: Collection[int], now: datetime) -> None:
    groups = list(FailureGroup.objects.filter(pk__in=pks, merged_into=None, figures_at=None).order_by("pk"))
    parts = _parts_of(groups)
    every = [part for several in parts.values() for part in several]
    if not every or _is_much(every, now):
        return
    waiting = _waiting(every)
    for group in groups:
        read = _read(group, parts[group.pk], waiting.get(group.pk, NONE), now)
        # no newest letter: the next run finds that one waits, and looks again
        _write(group, read.figures | {"newest": None})


def _is_much(parts: Sequence[int], now: datetime) -> bool:
    """Whether these groups have more failures than somebody should wait for."""
    letters = DeadLetter.objects.filter(group_id__in=parts, closed_at=None)[: MOST_AT_ONCE + 1].count()
    hours = GroupHour.objects.filter(group_id__in=parts, hour__gt=now - STANDS - LATE)
    failed = hours.aggregate(count=Sum(F("letters") + F("messages")))["count"] or 0
    return max(letters, failed) > MOST_AT_ONCE


def _waiting(parts: Sequence[int] | None = None) -> dict[int, Waiting]:
    """Return what waits in each group, as they are merged; of these groups alone where they are given."""
    of = "true" if parts is None else "group_id = ANY(%s)"
    with connection.cursor() as cursor:
        cursor.execute(WAITING.format(of=of), None if parts is None else [list(parts)])
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
    parts = _parts_of(groups)
    tried = tried_of(groups, parts, now)
    hours = hours_of(parts, now)
    for group in groups:
        _refresh(group, parts[group.pk], waiting.get(group.pk, NONE), tried.get(group.pk), hours[group.pk], now)


def _parts_of(groups: Sequence[FailureGroup]) -> dict[int, list[int]]:
    """Return {group: ids of it and of what is merged into it}; each was first and last seen when these were."""
    parts: dict[int, list[int]] = {group.pk: [group.pk] for group in groups}
    by_pk = {group.pk: group for group in groups}
    merged = FailureGroup.objects.filter(merged_into__in=list(parts))
    for pk, target, first, last in merged.values_list("pk", "merged_into_id", "first_seen_at", "last_seen_at"):
        parts[target].append(pk)
        whole = by_pk[target]
        whole.first_seen_at, whole.last_seen_at = min(whole.first_seen_at, first), max(whole.last_seen_at, last)
    return parts


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


def _open_letters(group: FailureGroup, parts: Sequence[int]) -> list[Letter]:
    """Return letters that wait, newest first, the newest 5,000 with what their messages name. Read one group at a time, by its index in order."""
    rows: list[Letter] = []
    for part in parts:
        found = DeadLetter.objects.filter(group_id=part, closed_at=None).order_by("-id")
        rows += map(Letter._make, found.values_list(*Letter._fields)[:MOST_READ])
    rows.sort(key=lambda row: row.id, reverse=True)
    return [*with_their_messages(group.flow, rows[:MOST_READ]), *rows[MOST_READ:]] if rows else []


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What waits in a group, and its figures but those of its spread. letters: the keys of each.   failed  when the first and the last did."""

    letters: list[Mapping[str, str]]
    messages: list[Standing]
    documents: Mapping[str, int]
    is_all: bool
    failed: tuple[datetime | None, datetime]
    figures: dict[str, Any]


def _read(group: FailureGroup, parts: Sequence[int], letters: Waiting, now: datetime) -> Read:
    rows = _open_letters(group, parts) if letters.count else []
    messages, is_all = standing_in(group.flow_id, parts, now)
    reach = reach_of([*(row.keys for row in rows), *(one.keys for one in messages)])
    waiting = letters.count + len(messages)
    failed_oldest = min((one.failed_at for one in messages), default=None)
    oldest = min((at for at in (letters.oldest_at, failed_oldest) if at), default=None)
    latest = max(at for at in (letters.latest_at, group.last_seen_at, *(one.told_at for one in messages)) if at)
    all_read = is_all and len(rows) >= letters.count
    figures = {
        "letters": letters.count,
        "replaying": letters.replaying,
        "failed": len(messages),
        "capped": not all_read,
        "failed_capped": not is_all,
        "oldest_at": oldest,
        "failed_oldest_at": failed_oldest,
        "first_seen_at": min(group.first_seen_at, oldest or group.first_seen_at),
        "last_seen_at": latest,
        # not all could be looked through and none was found: one may stand, and nobody may say that none does
        "blast": blast_of(reach, waiting=waiting) or int(not is_all and failed_lately(parts, now)),
        "newest": letters.newest,
        "figures_at": now,
    } | _of_reach(reach)
    if not group.name:
        figures["title"] = _title_of(group, rows, messages)
    return Read(
        letters=[row.keys for row in rows],
        messages=messages,
        documents=reach.documents,
        is_all=all_read,
        failed=(oldest, latest),
        figures=figures,
    )


def _refresh(
    group: FailureGroup,
    parts: Sequence[int],
    letters: Waiting,
    tried: Tried | None,
    hours: Sequence[int],
    now: datetime,
) -> None:
    read = _read(group, parts, letters, now)
    spread = spread_of_group(
        group, read.letters, read.messages, read.documents, tried, is_all=read.is_all, failed=read.failed, now=now
    )
    waits = letters.count or read.messages
    said = {"spread": spread.kind if waits else "", "spread_words": spread.words if waits else ""}
    _write(group, read.figures | said)
    _move_by_trend(group, hours, now)


def _write(group: FailureGroup, figures: dict[str, Any]) -> None:
    """Not over what a merge or taking apart, or another look, says meanwhile: these are of what the group was."""
    FailureGroup.objects.filter(pk=group.pk, figures_at=group.figures_at, figures_no=group.figures_no).update(**figures)


def _of_reach(reach: Reach) -> dict[str, Any]:
    return {
        "customers": len(reach.customers),
        "customers_partial": reach.is_customer_partial,
        "documents": len(reach.documents),
        "documents_partial": reach.is_document_partial,
        "amounts": {currency: str(figure) for currency, figure in sorted(reach.amounts.items())},
        "amounts_partial": reach.is_amount_partial,
        "word": reach.word[:64],
    }


def _title_of(group: FailureGroup, rows: Sequence[Letter], messages: Sequence[Standing]) -> str:
    """Return what the group's own failures of its form have in common, as its exception and class are its own: what it speaks for failed
    otherwise, and a letter that says nothing of its error may be in it. What it said stays when none of them waits.
    """
    form = group.message.casefold()
    letters = [row.error_message or row.reason for row in rows if row.group_id == group.pk]
    failed = [one.error or "" for one in messages if one.group_id == group.pk]
    alike = [one for one in (*letters[:SAMPLE], *failed[:SAMPLE]) if normal(one).casefold() == form]
    return in_common(alike) or (group.title if normal(group.title).casefold() == form else group.message)


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
