"""What failed in flows that the reader may see, of messages of flows that they may not: its groups are of the message's own flow.

The other way round of `unseen`: a team that owns a queue, and not the exchange before it, is told what its own events say.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection
from django.urls import reverse

from console.identity.actor import Actor
from console.identity.models import Environment
from messages.access import flows_to_narrow_to
from messages.models import Flow

MOST_WALKED = 1_000  # failed events of a day that are looked through, newest first
SHOWN = 5
DAY, BEFORE = timedelta(days=1), timedelta(days=3)  # how long before it failed a message may have been sent

# Who passed it since did not fail it. A letter is in a group of its own flow, which is that where it died.
FAILED = """
WITH newest AS MATERIALIZED (
    SELECT message_uid, flow_id, system_id, occurred_at, id, trace_id, destination, error_type, error_message FROM messaging_event
    WHERE environment_id = %(environment)s AND outcome = 2 AND occurred_at >= %(since)s ORDER BY occurred_at DESC, id DESC LIMIT %(most)s
), here AS (
    SELECT DISTINCT ON (n.message_uid, n.system_id, n.destination) n.* FROM newest n
    JOIN messaging_message m ON m.id = n.message_uid AND m.first_seen_on >= %(day)s AND m.environment_id = %(environment)s
    WHERE n.flow_id = ANY(%(flows)s) AND NOT m.flow_id = ANY(%(flows)s)
      AND NOT EXISTS (SELECT FROM messaging_deadletter d WHERE d.message_uid = n.message_uid AND d.flow_id = ANY(%(flows)s))
      AND NOT EXISTS (
        SELECT FROM messaging_event p
        WHERE p.message_uid = n.message_uid AND p.system_id = n.system_id AND p.occurred_at >= n.occurred_at AND p.flow_id = ANY(%(flows)s)
          AND messaging_is_one_queue(p.destination, n.destination) AND (p.operation = 4 AND p.outcome <> 2 OR p.operation = 5 AND p.outcome = 1))
    ORDER BY n.message_uid, n.system_id, n.destination, n.occurred_at DESC
)
SELECT f.name, s.name, coalesce(h.error_type, ''), count(DISTINCT h.message_uid), max(h.occurred_at),
       (array_agg(coalesce(h.error_message, '') ORDER BY h.occurred_at DESC))[1],
       (array_agg(h.trace_id ORDER BY h.occurred_at DESC) FILTER (WHERE h.trace_id IS NOT NULL))[1], (SELECT count(*) FROM newest)
FROM here h JOIN messaging_flow f ON f.id = h.flow_id JOIN messaging_system s ON s.id = h.system_id
GROUP BY GROUPING SETS ((), (f.name, s.name, coalesce(h.error_type, '')))
ORDER BY grouping(f.name) DESC, 4 DESC, 5 DESC, 1, 2, 3"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Failures of one class at one system of one flow: how many, the words and the trace of the newest."""

    flow: str
    system: str
    error_type: str
    error_message: str
    count: int
    newest_at: datetime
    trace_id: UUID | None

    @property
    def url(self) -> str:
        return reverse("j", args=[self.trace_id.hex]) if self.trace_id else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedHere:
    """The causes of the last 24 hours, the most first, of `count` messages, of which one may have several.

    at_least  not every failed event of the day was looked through.
    """

    environment: str
    count: int = 0
    causes: list[Cause] = field(default_factory=list)
    at_least: bool = False

    @property
    def shown(self) -> list[Cause]:
        return self.causes[:SHOWN]

    @property
    def more(self) -> int:
        return len(self.causes) - len(self.shown)


def failed_here(actor: Actor, environment: Environment) -> FailedHere:
    """Return what failed in the actor's flows of messages that are in no group of theirs; nothing is asked for who sees every flow."""
    seen = flows_to_narrow_to(actor)
    hidden = Flow.objects.filter(environment=environment)
    if seen is None or not hidden.exclude(pk__in=seen.order_by().values("pk")).exists():
        return FailedHere(environment=environment.slug)
    flows = list(seen.filter(environment=environment).order_by().values_list("pk", flat=True))
    since = datetime.now(UTC) - DAY
    asked: dict[str, Any] = {
        "environment": environment.pk, "since": since, "day": (since - BEFORE).date(), "flows": flows, "most": MOST_WALKED + 1,
    }  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(FAILED, asked)
        (*_, total, _, _, _, walked), *rows = cursor.fetchall()
    causes = [
        Cause(flow=flow, system=system, error_type=kind, error_message=words, count=count, newest_at=at, trace_id=trace)
        for flow, system, kind, count, at, words, trace, _ in rows
    ]
    return FailedHere(environment=environment.slug, count=total, causes=causes, at_least=walked > MOST_WALKED)
