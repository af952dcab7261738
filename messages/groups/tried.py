"""What came, in the last hours, to where a group fails: from it one message that fails is told from all failing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db.models import F, Q, Sum
from django.db.models.functions import Coalesce

from messages.groups.figures import Passed, Tried
from messages.ingest.messages_sql import run
from messages.models import FailureGroup, GroupHour, RollupHour
from messages.models.stream import MessageStatus, Operation, Outcome

LATELY = timedelta(hours=3)
LATE = timedelta(days=4)  # between a message's first event and its failure
MOST_ASKED = 20  # newest messages of a group whose failed events say in which flows it fails
MOST_EVENTS = 100  # of one of them
MOST_WALKED = 5_000  # newest messages of a group among which those are counted that passed after all

# A message may be of the flow of an exchange, and fail in that of a queue. Only flows that whoever sees the group's sees.
FLOWS = """
SELECT g.id, array_agg(DISTINCT o.id) FILTER (WHERE o.team_id IS NULL OR o.team_id = f.team_id)
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
RECOVERED = """
SELECT v.id, count(*) FILTER (WHERE m.status = %b AND m.failed_at >= %b), count(*) = %b
FROM unnest(%b::int8[]) AS v (id) CROSS JOIN LATERAL (
    SELECT status, failed_at FROM messaging_message WHERE group_id = v.id AND first_seen_on >= %b AND first_seen_at >= %b
    ORDER BY first_seen_at DESC, id DESC LIMIT %b
) m GROUP BY v.id
"""
# Of messages that other teams' flows told nothing of: whoever sees the group may know these keys.
PASSED = """
SELECT v.name || '=' || v.value, count(*), max(m.last_seen_at)
FROM unnest(%b::text[], %b::text[], %b::text[]) AS v (name, value, key) CROSS JOIN LATERAL (
    SELECT last_seen_at FROM messaging_message WHERE keys @> v.key::jsonb AND environment_id = %b AND flow_id = ANY(%b::int8[]) AND status = %b
      AND first_seen_on >= %b AND last_seen_at >= %b AND (told_by IS NULL OR told_by <@ %b::int8[]) LIMIT 100
) m GROUP BY 1
"""
Station = tuple[int, str | None]  # a flow, and a system or None for all of them


def lately(now: datetime) -> datetime:
    """Return since when counts by hour are of the last hours."""
    return now.replace(minute=0, second=0, microsecond=0) - LATELY + timedelta(hours=1)


def tried_of(groups: Sequence[FailureGroup], now: datetime) -> dict[int, Tried]:
    """Return {group: what came to its station in the last hours}, of those that events tell of and that the group's readers may know of.

    Where the system that fails is known to process, it is what failed there and what passed it, else what failed and passed anywhere in
    the flow. Failures are those of groups: events of errors would count a message once for each time that it was tried; and what
    failed and passed after all is counted once.
    """
    since = lately(now)
    flows = _flows_of(groups, since)
    failed = _Failures(since, {flow for known in flows.values() for flow in known})
    passed = _passed(since, failed.flows)
    found = {}
    for group in groups:
        known = flows.get(group.pk)
        if known is None or not any((flow, None) in passed for flow in known):
            continue
        station = group.step if any((flow, group.step) in passed for flow in known) else None
        here: list[Station] = [(flow, station) for flow in known]
        mine = failed.own[group.pk, station]
        found[group.pk] = Tried(
            failed=max(0, mine),
            otherwise=max(0, sum(failed.all[one] for one in here) - mine),
            passed=sum(passed[one] for one in here),
            recovered=failed.recovered[group.pk, station],
            recovered_otherwise=sum(failed.recovered_all[one] for one in here) - failed.recovered[group.pk, station],
            is_most=failed.is_most,
            station=station or "",
            flows=tuple(known),
        )
    return found


def _flows_of(groups: Sequence[FailureGroup], since: datetime) -> dict[int, set[int]]:
    """Return {group: the flows in which it fails}, without groups that fail where their readers may not look."""
    sent = since - LATE
    ids = [group.pk for group in groups]
    asked: list[Any] = [(sent - timedelta(days=1)).date(), sent, MOST_ASKED, sent, MOST_EVENTS, ids]
    known = dict(run(FLOWS, asked).fetchall())
    return {
        group.pk: {group.flow_id, *(known.get(group.pk) or ())}
        for group in groups
        if known.get(group.pk, ()) is not None
    }


class _Failures:
    """Failures of the last hours in these flows, of every group: by flow and station, and of each group with what is merged into it."""

    def __init__(self, since: datetime, flows: Collection[int]) -> None:
        self.flows = flows
        self.all: Counter[Station] = Counter()
        self.own: Counter[tuple[int, str | None]] = Counter()
        self.recovered: Counter[tuple[int, str | None]] = Counter()
        self.recovered_all: Counter[Station] = Counter()
        rows = GroupHour.objects.filter(hour__gte=since, group__flow_id__in=flows)
        of_groups = rows.values_list(
            "group_id", Coalesce("group__merged_into_id", "group_id"), "group__flow_id", "group__step"
        )
        counted = list(of_groups.annotate(count=Sum(F("letters") + F("messages"))))
        sent = since - LATE
        day, ids = (sent - timedelta(days=1)).date(), [part for part, *_ in counted]
        asked: list[Any] = [MessageStatus.DELIVERED, since, MOST_WALKED, ids, day, sent, MOST_WALKED]
        rows_of = {part: (count, is_most) for part, count, is_most in run(RECOVERED, asked).fetchall()} if ids else {}
        self.is_most = any(is_most for _, is_most in rows_of.values())
        for part, whole, flow, step, count in counted:
            recovered = min(max(0, count), rows_of.get(part, (0, False))[0])
            for station in (step, None):
                self.all[flow, station] += count
                self.own[whole, station] += count
                self.recovered_all[flow, station] += recovered
                self.recovered[whole, station] += recovered


def _passed(since: datetime, flows: Collection[int]) -> Counter[Station]:
    """Return what processed well in these flows, at each system that processes and at all of them."""
    tried = Q(operation=Operation.PROCESS)
    rows = RollupHour.objects.filter(hour__gte=since, flow_id__in=flows).values_list("flow_id", "system__name")
    passed: Counter[Station] = Counter()
    for flow, system, count, good in rows.annotate(
        tried=Sum("count", filter=tried), good=Sum("count", filter=tried & ~Q(outcome=Outcome.ERROR))
    ):
        passed[flow, None] += good or 0
        if count:
            passed[flow, system] = good or 0
    return passed


def passed_as_others(
    group: FailureGroup, documents: Mapping[str, int], flows: Sequence[int], last_failed: datetime, now: datetime
) -> Passed:
    """Return how often these few documents ("order_no=4711") passed in the last hours as other messages, and whether all have since."""
    named = [name.partition("=") for name in documents]
    since, where = lately(now), list(flows) or [group.flow_id]
    keys = [json.dumps({name: value}) for name, _, value in named]
    asked: list[Any] = [[name for name, *_ in named], [value for *_, value in named], keys, group.environment_id, where]
    day = (since - LATE - timedelta(days=1)).date()
    rows = run(PASSED, [*asked, MessageStatus.DELIVERED, day, since, where]).fetchall()
    is_since = len(rows) == len(documents) and all(last > last_failed for _, _, last in rows)
    return Passed(times=sum(count for _, count, _ in rows), is_since=is_since)
