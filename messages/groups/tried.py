"""What came, in the last hours, to where a group fails: from it an outage is told from a part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import F, Q, QuerySet, Sum
from django.db.models.functions import Coalesce

from messages.groups.spread import Tried
from messages.ingest.messages_sql import run
from messages.models import FailureGroup, GroupHour, RollupHour
from messages.models.stream import MessageStatus, Operation, Outcome

LATELY = timedelta(hours=3)
LATE = timedelta(days=4)  # between a message's first event and its failure
MOST_ASKED = 20  # newest messages of a group whose failed events say in which flows it fails
MOST_EVENTS = 100  # of one of them
MOST_GROUPS = 500  # that failed lately at the same systems
MOST_WALKED = 1_000  # newest messages of a group among which those are counted that passed after all
LEAST_WALKED = 40
MOST_WALKED_IN_ALL = 20_000  # in one run, shared by how often each failed

# A message may be of the flow of an exchange, and fail in that of a queue. Hidden: one that not everybody who sees the group's sees.
FLOWS = """
SELECT g.id, array_agg(DISTINCT o.id), bool_or(o.team_id IS NOT NULL AND o.team_id IS DISTINCT FROM f.team_id)
FROM messaging_failuregroup g JOIN messaging_flow f ON f.id = g.flow_id
CROSS JOIN LATERAL (
    SELECT id FROM messaging_message WHERE group_id = g.id AND first_seen_on >= %b AND first_seen_at >= %b
    ORDER BY first_seen_at DESC, id DESC LIMIT %b
) m
CROSS JOIN LATERAL (
    SELECT flow_id FROM messaging_event WHERE message_uid = m.id AND outcome = 2 AND occurred_at >= %b
      AND (g.step = '' OR system_id IN (SELECT s.id FROM messaging_system s WHERE s.environment_id = g.environment_id AND s.name = g.step))
    LIMIT %b
) e
JOIN messaging_flow o ON o.id = e.flow_id
WHERE g.id = ANY(%b::int8[]) GROUP BY g.id
"""
# Passed after all: at the system where they had failed, whatever became of them elsewhere.
RECOVERED = """
SELECT g.id, count(*) FILTER (WHERE m.status = %b AND m.failed_at >= %b AND EXISTS (
    SELECT 1 FROM messaging_event e WHERE e.message_uid = m.id AND e.occurred_at >= %b AND e.occurred_at >= m.failed_at
      AND e.operation = %b AND e.outcome <> 2
      AND e.system_id IN (SELECT s.id FROM messaging_system s WHERE s.environment_id = g.environment_id AND s.name = g.step))), count(*) = asked.most
FROM unnest(%b::int8[], %b::int4[]) AS asked (id, most) JOIN messaging_failuregroup g ON g.id = asked.id CROSS JOIN LATERAL (
    SELECT id, status, failed_at FROM messaging_message WHERE group_id = g.id AND first_seen_on >= %b AND first_seen_at >= %b
    ORDER BY first_seen_at DESC, id DESC LIMIT asked.most
) m WHERE g.step <> '' GROUP BY g.id, asked.most
"""
Station = tuple[int, str | None]  # a flow, and a system or None for all of them


def lately(now: datetime) -> datetime:
    """Return since when counts by hour are of the last hours."""
    return now.replace(minute=0, second=0, microsecond=0) - LATELY + timedelta(hours=1)


class Part(NamedTuple):
    """A group that failed in the last hours, by itself: what speaks for it, its flow and system, and how often."""

    id: int
    whole: int
    flow: int
    step: str
    failures: int


def tried_of(groups: Sequence[FailureGroup], parts: Mapping[int, Sequence[int]], now: datetime) -> dict[int, Tried]:
    """Return {group: what came to its station in the last hours}, of those that events tell of and that the group's readers may know of.

    Where the system that fails is known to process, it is what failed there and what passed it, else what failed and passed anywhere in
    the flow. Failures are those of groups, of every flow that fails where this one does: events of errors would count a message once for
    each time that it was tried; and what failed and passed there after all is counted once.

    parts  {group: ids of it and of what is merged into it}
    """
    since = lately(now)
    failed, is_cut = _failed(groups, {part for one in groups for part in parts[one.pk]}, since)
    flows, hidden = _flows_of(
        {*(part for one in groups for part in parts[one.pk]), *(part.id for part in failed)}, since
    )
    passed = _passed(
        since, {*(one.flow_id for one in groups), *(flow for several in flows.values() for flow in several)}
    )
    wanted = {one.flow_id for one in groups}.union(*(flows.get(part, ()) for one in groups for part in parts[one.pk]))
    recovered = _recovered([one for one in failed if not wanted.isdisjoint({one.flow, *flows.get(one.id, ())})], since)
    found = {}
    for group in groups:
        known = {group.flow_id}.union(*(flows.get(part, ()) for part in parts[group.pk]))
        if hidden.intersection(parts[group.pk]) or not any((flow, None) in passed for flow in known):
            continue
        station = group.step if any((flow, group.step) in passed for flow in known) else None
        here = [
            one
            for one in failed
            if station in (None, one.step) and not known.isdisjoint({one.flow, *flows.get(one.id, ())})
        ]
        mine, others = ([one for one in here if (one.whole == group.pk) is own] for own in (True, False))
        if not all(known.issuperset(flows.get(one.id, ())) for one in others):
            continue  # some of these failed elsewhere: how many came here is not known
        found[group.pk] = Tried(
            failed=max(0, sum(one.failures for one in mine)),
            otherwise=max(0, sum(one.failures for one in others)),
            passed=sum(passed[flow, station] for flow in known),
            recovered=sum(recovered.get(one.id, NONE)[0] for one in mine) if station else 0,
            recovered_otherwise=sum(recovered.get(one.id, NONE)[0] for one in others) if station else 0,
            is_most=is_cut or any(recovered.get(one.id, NONE)[1] for one in here),
            station=station or "",
            anywhere=sum(passed[flow, None] for flow in known),
            flows=tuple(known),
        )
    return found


NONE = (0, False)


def _failed(groups: Sequence[FailureGroup], own: Collection[int], since: datetime) -> tuple[list[Part], bool]:
    """Return (these and what else failed in the last hours where these groups fail, whether there is more): those that failed most first."""
    rows = GroupHour.objects.filter(hour__gte=since)
    mine = rows.filter(group_id__in=own)
    others = rows.filter(
        Q(group__step__in={group.step for group in groups}) | Q(group__flow_id__in={group.flow_id for group in groups}),
        group__environment_id__in={group.environment_id for group in groups},
    ).exclude(group_id__in=own)
    found = _counted(others)[: MOST_GROUPS + 1]
    return [*_counted(mine), *found[:MOST_GROUPS]], len(found) > MOST_GROUPS


def _counted(rows: QuerySet[GroupHour]) -> list[Part]:
    named = rows.values_list("group_id", Coalesce("group__merged_into_id", "group_id"), "group__flow_id", "group__step")
    counted = named.annotate(count=Sum(F("letters") + F("messages"))).order_by("-count", "group_id")
    return [Part(*row) for row in counted[: MOST_GROUPS + 1]]


def _flows_of(parts: Collection[int], since: datetime) -> tuple[dict[int, list[int]], set[int]]:
    """Return ({group: flows in which its newest messages failed}, groups that fail where not all of their readers may look)."""
    sent = since - LATE
    asked: list[Any] = [(sent - timedelta(days=1)).date(), sent, MOST_ASKED, sent, MOST_EVENTS, list(parts)]
    rows = run(FLOWS, asked).fetchall()
    return {part: flows for part, flows, _ in rows}, {part for part, _, is_hidden in rows if is_hidden}


def _recovered(parts: Sequence[Part], since: datetime) -> dict[int, tuple[int, bool]]:
    """Return {group: (messages that failed in the last hours and passed the same system after all, whether there may be more)}."""
    wanted = [min(MOST_WALKED, LEAST_WALKED + 2 * max(0, part.failures)) for part in parts]  # some failed before
    share = min(1.0, MOST_WALKED_IN_ALL / max(1, sum(wanted)))
    most = [max(LEAST_WALKED, int(one * share)) for one in wanted]
    sent = since - LATE
    where: list[Any] = [[part.id for part in parts], most, (sent - timedelta(days=1)).date(), sent]
    asked = [MessageStatus.DELIVERED, since, since, Operation.PROCESS, *where]
    return {part: (count, is_most) for part, count, is_most in run(RECOVERED, asked).fetchall()}


def _passed(since: datetime, flows: Collection[int]) -> Counter[Station]:
    """Return what processed well in these flows, at each system that processes and at all of them; none of a flow in which nothing does."""
    tried = Q(operation=Operation.PROCESS)
    rows = RollupHour.objects.filter(hour__gte=since, flow_id__in=flows).values_list("flow_id", "system__name")
    passed: Counter[Station] = Counter()
    for flow, system, count, good in rows.annotate(
        tried=Sum("count", filter=tried), good=Sum("count", filter=tried & ~Q(outcome=Outcome.ERROR))
    ):
        if count:
            passed[flow, None] += good or 0
            passed[flow, system] = good or 0
    return passed
