"""What came, in the last hours, to where a group fails: from it an outage is told from a part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import F, Q, QuerySet, Sum
from django.db.models.functions import Coalesce

from messages.groups.many import FAILED_OF_MANY
from messages.groups.spread import Tried
from messages.ingest.messages_sql import run
from messages.models import FailureGroup, GroupHour, RollupHour
from messages.models.stream import MessageStatus, Operation, Outcome

LATELY = timedelta(hours=3)
MESSAGES = Coalesce("messages", "count")  # of a rollup
LATE = timedelta(days=4)  # between a message's first event and its failure
MOST_ASKED = 20  # newest messages of a group whose failed events say in which flows it fails
MOST_EVENTS = 100  # of one of them
MOST_GROUPS = 500  # that failed lately at the same systems
MOST_WALKED = 1_000  # newest messages of a group among which those are counted that passed after all
LEAST_WALKED = 40
MOST_WALKED_IN_ALL = 20_000  # in one run, shared by how often each failed

AT_STEP = "(g.step = '' OR system_id IN (SELECT s.id FROM messaging_system s WHERE s.environment_id = g.environment_id AND s.name = g.step))"
# A message may be of the flow of an exchange, and fail in that of a queue. Hidden: one that not everybody who sees the group's sees.
FLOWS = f"""
SELECT g.id, array_agg(DISTINCT o.id), bool_or(o.team_id IS NOT NULL AND o.team_id IS DISTINCT FROM f.team_id)
FROM messaging_failuregroup g JOIN messaging_flow f ON f.id = g.flow_id
CROSS JOIN LATERAL (
    SELECT id, environment_id, failed_at, trace_id FROM messaging_message WHERE group_id = g.id AND first_seen_on >= %b AND first_seen_at >= %b
    ORDER BY first_seen_at DESC, id DESC LIMIT %b
) m
CROSS JOIN LATERAL (
    (SELECT flow_id, system_id FROM messaging_event WHERE message_uid = m.id AND outcome = 2 AND occurred_at >= %b AND {AT_STEP} LIMIT %b)
    UNION ALL SELECT flow_id, system_id FROM {FAILED_OF_MANY} e WHERE {AT_STEP}
) e
JOIN messaging_flow o ON o.id = e.flow_id
WHERE g.id = ANY(%b::int8[]) GROUP BY g.id
"""  # noqa: S608  constants of ours
# Passed after all: at the system where they had failed, whatever became of them elsewhere.
RECOVERED = """
SELECT g.id, count(*) FILTER (WHERE became.passed), count(*) = asked.most,
       array_agg(m.id) FILTER (WHERE NOT became.passed), array_agg(m.failed_at) FILTER (WHERE NOT became.passed),
       array_agg(m.trace_id) FILTER (WHERE NOT became.passed)
FROM unnest(%b::int8[], %b::int4[]) AS asked (id, most) JOIN messaging_failuregroup g ON g.id = asked.id CROSS JOIN LATERAL (
    SELECT id, status, failed_at, trace_id FROM messaging_message WHERE group_id = g.id AND first_seen_on >= %b AND first_seen_at >= %b
    ORDER BY first_seen_at DESC, id DESC LIMIT asked.most
) m CROSS JOIN LATERAL (
    SELECT CASE WHEN m.status = %b AND m.failed_at >= %b THEN EXISTS (
        SELECT 1 FROM messaging_event e WHERE e.message_uid = m.id AND e.occurred_at >= %b AND e.occurred_at >= m.failed_at
          AND e.operation = %b AND e.outcome <> 2
          AND e.system_id IN (SELECT s.id FROM messaging_system s WHERE s.environment_id = g.environment_id AND s.name = g.step))
    END AS passed OFFSET 0
) became WHERE g.step <> '' GROUP BY g.id, asked.most
"""
# The same of those that were delivered and have no such event: in batches, which their links lead to, each trace looked up once. Where a message's
# sender told nothing of it, and only a batch is known, nobody knows.
IN_BATCHES = f"""
WITH asked AS MATERIALIZED (
    SELECT v.*, g.environment_id, s.id AS system_id
    FROM unnest(%b::uuid[], %b::timestamptz[], %b::uuid[], %b::int8[]) AS v (id, failed_at, trace_id, group_id)
    JOIN messaging_failuregroup g ON g.id = v.group_id JOIN messaging_system s ON s.environment_id = g.environment_id AND s.name = g.step
), own AS MATERIALIZED (
    SELECT asked.id, asked.failed_at, asked.system_id, e.trace_id, e.span_id FROM asked CROSS JOIN LATERAL (
        SELECT trace_id, span_id FROM messaging_event WHERE message_uid = asked.id AND occurred_at >= %b OFFSET 0
    ) e
), tied AS MATERIALIZED (
    SELECT own.id, own.failed_at, own.system_id, l.trace_id, l.span_id, l.occurred_at FROM (SELECT DISTINCT trace_id FROM own) t CROSS JOIN LATERAL (
        SELECT * FROM messaging_trace_link WHERE linked_trace_id = t.trace_id AND occurred_at >= %b OFFSET 0
    ) l JOIN own ON own.trace_id = l.linked_trace_id AND own.span_id = l.linked_span_id
), passed AS MATERIALIZED (
    SELECT b.*, e.system_id FROM (SELECT DISTINCT trace_id, span_id, occurred_at FROM tied) b CROSS JOIN LATERAL (
        SELECT system_id FROM messaging_event WHERE trace_id = b.trace_id AND span_id = b.span_id AND occurred_at = b.occurred_at
          AND message_uid IS NULL AND operation = %b AND outcome <> 2 OFFSET 0
    ) e
), recovered AS MATERIALIZED (
    SELECT id FROM tied JOIN passed USING (trace_id, span_id, occurred_at, system_id) WHERE occurred_at >= failed_at
)
SELECT group_id, count(*) FILTER (WHERE id IN (SELECT id FROM recovered)), bool_or(id NOT IN (SELECT id FROM own) AND EXISTS {FAILED_OF_MANY})
FROM asked m GROUP BY group_id
"""  # noqa: S608  constants of ours
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
    passed, unsure = _passed(
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
        if any((flow, station) in unsure for flow in known):
            continue
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
    rows = run(RECOVERED, [*where, MessageStatus.DELIVERED, since, since, Operation.PROCESS]).fetchall()
    found = {part: (count, is_most) for part, count, is_most, *_ in rows}
    rest = [
        (*one, part) for part, _, _, *columns in rows for one in zip(*(column or () for column in columns), strict=True)
    ]
    if rest:
        asked = [*(list(column) for column in zip(*rest, strict=True)), sent, since, Operation.PROCESS]
        for part, count, is_unsure in run(IN_BATCHES, asked).fetchall():
            found[part] = found[part][0] + count, found[part][1] or is_unsure
    return found


def _passed(since: datetime, flows: Collection[int]) -> tuple[Counter[Station], set[Station]]:
    """Return (what processed well in these flows, at each system that processes and at all of them; none of a flow in which nothing does;
    those of which it is not known how many messages that were).

    Of hours before an upgrade only events are known. Where all since were about one message each, those before were taken to be so.
    """
    tried = Q(operation=Operation.PROCESS)
    rows = RollupHour.objects.filter(tried, hour__gte=since, flow_id__in=flows).values_list("flow_id", "system__name")
    passed: Counter[Station] = Counter()
    unsure: set[Station] = set()
    for flow, system, good, events, known, messages in rows.annotate(
        good=Sum(MESSAGES, filter=~Q(outcome=Outcome.ERROR)),
        events=Sum("count"),
        known=Sum("count", filter=Q(messages__isnull=False)),
        messages_known=Sum("messages"),
    ):
        passed[flow, None] += good or 0
        passed[flow, system] = good or 0
        if known != events and (known is None or known != messages):
            unsure |= {(flow, None), (flow, system)}
    return passed, unsure
