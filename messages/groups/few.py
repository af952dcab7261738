"""What a group says of its spread: of few keys also how often each was tried, and what passed meanwhile and since."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Sum

from messages.groups.figures import document_of
from messages.groups.spread import FEW, Again, Passed, Spread, Tried, may_be_few, spread_of
from messages.groups.standing import Standing
from messages.groups.tried import LATE, MESSAGES, lately
from messages.ingest.messages_sql import run
from messages.models import FailureGroup, RollupMinute
from messages.models.stream import MessageStatus, Operation, Outcome

MOST_ASKED = 20  # messages of few keys whose attempts are counted
MOST_TIMES = 500  # attempts of one that are

# Of messages that other teams' flows told nothing of: whoever sees the group may know these keys.
PASSED = """
SELECT v.name || '=' || v.value, count(*), max(m.last_seen_at)
FROM unnest(%b::text[], %b::text[], %b::text[]) AS v (name, value, key) CROSS JOIN LATERAL (
    SELECT last_seen_at FROM messaging_message WHERE keys @> v.key::jsonb AND environment_id = %b AND flow_id = ANY(%b::int8[]) AND status = %b
      AND first_seen_on >= %b AND last_seen_at >= %b AND (told_by IS NULL OR told_by <@ %b::int8[]) LIMIT 100
) m GROUP BY 1
"""
THESE = """e.outcome = 2 AND e.occurred_at BETWEEN %b AND %b AND e.flow_id = ANY(%b::int8[]) AND (g.step = '' OR e.system_id IN (
            SELECT s.id FROM messaging_system s WHERE s.environment_id = g.environment_id AND s.name = g.step))"""
# From the index of a message's events, and of batches that they are linked to by, at the step of its group and in the flows where that fails.
TIMES = f"""
SELECT v.id, n.times FROM unnest(%b::uuid[], %b::int8[]) AS v (id, group_id) JOIN messaging_failuregroup g ON g.id = v.group_id
CROSS JOIN LATERAL (
    SELECT count(*) AS times FROM (
        (SELECT id FROM messaging_event e WHERE e.message_uid = v.id AND {THESE} LIMIT %b)
        UNION (
            SELECT e.id FROM messaging_event sent CROSS JOIN LATERAL (
                SELECT * FROM messaging_trace_link l WHERE l.linked_trace_id = sent.trace_id AND l.occurred_at BETWEEN %b AND %b OFFSET 0
            ) l CROSS JOIN LATERAL (
                SELECT * FROM messaging_event e WHERE e.trace_id = l.trace_id AND e.occurred_at = l.occurred_at AND e.span_id = l.span_id OFFSET 0
            ) e WHERE sent.message_uid = v.id AND sent.occurred_at >= %b AND l.linked_span_id = sent.span_id AND e.message_uid IS NULL AND {THESE} LIMIT %b
        )
    ) e
) n
"""  # noqa: S608  constants of ours


def spread_of_group(
    group: FailureGroup,
    letters: Sequence[Mapping[str, str]],
    messages: Sequence[Standing],
    documents: Mapping[str, int],
    tried: Tried | None,
    *,
    is_all: bool,
    failed: tuple[datetime | None, datetime],
    now: datetime,
) -> Spread:
    """Return whether one message of a group is the trouble or everything.

    letters, messages  that wait: the keys of each letter.   documents  {document: how many of them}.   is_all  none was left out.
    failed  when the first and the last of them did.
    """
    standing, first, last = len(letters) + len(messages), *failed
    if tried and first and (len(documents) == 1 or may_be_few(1, standing, tried)):
        tried = _with_meanwhile(tried, first, now)
    again = _again_of(letters, messages, tried, now) if is_all else None
    named = documents if is_all and sum(documents.values()) == standing else {}
    passed = _passed_as_others(group, again.times if named and again else named, tried, last, now)
    return spread_of(named, tried, again, passed)


def _with_meanwhile(tried: Tried, first_failed: datetime, now: datetime) -> Tried:
    """Add how many processed well from the minute of this failure on. Minutes know no systems: of several it is at most what passed this one."""
    begun = max(first_failed.replace(second=0, microsecond=0), lately(now))
    rows = RollupMinute.objects.filter(minute__gte=begun, flow_id__in=tried.flows, operation=Operation.PROCESS)
    count = rows.exclude(outcome=Outcome.ERROR).aggregate(count=Sum(MESSAGES))["count"] or 0
    is_exact = tried.anywhere == tried.passed or count >= tried.anywhere
    return replace(tried, meanwhile=min(tried.passed, count), is_exact=is_exact)


def _passed_as_others(
    group: FailureGroup, documents: Collection[str], tried: Tried | None, last_failed: datetime, now: datetime
) -> Passed:
    """Return how often few documents ("order_no=4711") passed in the last hours as other messages, and whether all have since.

    Nothing where they are not few, or one of them is a message that names no document.
    """
    if not 0 < len(documents) <= FEW or any(name.startswith("message=") for name in documents):
        return Passed()
    named = [name.partition("=") for name in documents]
    since, where = lately(now), list(tried.flows if tried else ()) or [group.flow_id]
    keys = [json.dumps({name: value}) for name, _, value in named]
    asked: list[Any] = [[name for name, *_ in named], [value for *_, value in named], keys, group.environment_id, where]
    day = (since - LATE - timedelta(days=1)).date()
    rows = run(PASSED, [*asked, MessageStatus.DELIVERED, day, since, where]).fetchall()
    is_since = len(rows) == len(documents) and all(last > last_failed for _, _, last in rows)
    return Passed(times=sum(count for _, count, _ in rows), is_since=is_since)


def _again_of(
    letters: Sequence[Mapping[str, str]], messages: Sequence[Standing], tried: Tried | None, now: datetime
) -> Again | None:
    """Return how often the few keys of these failed, None where they are not few, or too little passes to tell. letters: the keys of each."""
    times = Counter(document_of(keys) for keys in letters)
    named = {one.id: document_of(one.keys) or f"message={one.id}" for one in messages}
    standing = len(letters) + len(messages)
    if not named or times[""] or not may_be_few(len({*+times, *named.values()}), standing, tried):
        return None
    asked = messages[:MOST_ASKED]
    span = [lately(now), now + timedelta(days=1)]
    flows = list(tried.flows) if tried else []
    these = [*span, flows, MOST_TIMES]
    ids, groups = [one.id for one in asked], [one.group_id for one in asked]
    found = run(TIMES, [ids, groups, *these, *span, span[0] - LATE, *these]).fetchall()
    counted = dict(found)
    for pk, name in named.items():
        times[name] += max(1, counted.get(pk, 1))  # it stands so: it failed once, if not in the last hours
    is_least = len(asked) < len(messages) or any(count >= MOST_TIMES for count in counted.values())
    return Again(times=+times, standing=standing, is_least=is_least)
