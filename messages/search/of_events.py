"""What is asked of a message is asked of its events: that one has a system, names a flow, or failed at some time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from django.db.models import Q, Subquery

from messages.access import visible_events
from messages.models.stream import Outcome
from messages.search.conditions import Condition, Scope, bounds_of
from messages.search.query import Leaf

A_DAY_OFF = timedelta(days=4)  # a message's events may have come before the one that made its row
EVER_FAILED = Q(failed_at__isnull=False)


def touched(condition: Condition) -> Condition:
    """A message has no system, destination or agent of its own, and events name other flows: it is one with an event, which the reader may see, that has."""

    def of_message(leaf: Leaf, scope: Scope) -> Q:
        events = visible_events(scope.actor).filter(condition(leaf, scope), environment__in=scope.environments)
        events = events.filter(occurred_at__gte=scope.since - A_DAY_OFF, message_uid__isnull=False)
        return Q(id__in=events.order_by().values("message_uid"))

    return of_message


class OfFailures(Subquery):
    """The messages of these events that failed: one, or those that the links of an event about many lead to, whoever sent them.

    since, until  of the events, as literals: by parameters of each row the partitions of every day would be planned.
    """

    template = """(WITH failed AS MATERIALIZED (%(subquery)s)
SELECT message_uid FROM failed WHERE message_uid IS NOT NULL
UNION
SELECT sent.message_uid FROM failed CROSS JOIN LATERAL (
    SELECT l.linked_trace_id, l.linked_span_id FROM messaging_trace_link l
    WHERE l.occurred_at = failed.occurred_at AND l.trace_id = failed.trace_id AND l.span_id = failed.span_id
      AND l.occurred_at BETWEEN %(since)s AND %(until)s OFFSET 0
) l CROSS JOIN LATERAL (
    SELECT s.message_uid FROM messaging_event s
    WHERE s.trace_id = l.linked_trace_id AND s.span_id = l.linked_span_id AND s.environment_id = failed.environment_id
      AND s.occurred_at BETWEEN %(since)s - interval '4 days' AND %(until)s + interval '4 days' AND s.message_uid IS NOT NULL OFFSET 0
) sent WHERE failed.message_uid IS NULL)"""


def failing(leaves: Sequence[Leaf], of_a_failure: Mapping[str, Condition], scope: Scope) -> Q:
    """Return the condition of a message of which one event, that the reader may see, failed and is what all these leaves say.

    of_a_failure  field → what it asks of an event that failed.

    When it was first seen is said in days alone, for the partitions, and that it ever failed, for the index of those.
    """
    events = visible_events(scope.actor).filter(environment__in=scope.environments, outcome=Outcome.ERROR)
    since, until, days = scope.since - A_DAY_OFF, scope.now + A_DAY_OFF, EVER_FAILED
    for leaf in leaves:
        name = (leaf.field or "").lower()
        events = events.filter(of_a_failure[name](leaf, scope))
        if name != "failed":
            continue
        (_, low), (_, high) = bounds_of(leaf, scope.now)
        since, until = max(since, low or since), min(until, high or until)
        if low is not None:
            days &= Q(first_seen_on__gte=(low - A_DAY_OFF).date())
        if high is not None:
            days &= Q(first_seen_on__lte=(high + A_DAY_OFF).date())
    events = events.filter(occurred_at__range=(since, until)).order_by()
    told = events.values("message_uid", "trace_id", "span_id", "occurred_at", "environment_id")
    first, last = (f"timestamptz '{at.isoformat()}'" for at in (since, until))
    return Q(id__in=OfFailures(told, since=first, until=last)) & days
