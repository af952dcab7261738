"""What somebody sent again within the last hour without a second person: one after the other is as many as together."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import connection
from django.db.models import Count, Q

from messages.models import Plan, Replay

LATELY = timedelta(hours=1)
COUNTING = 7_219_004


@dataclass(frozen=True, slots=True)
class Sent:
    """Messages by flow, and all together: replays by hand, and what plans of theirs send that nobody approved."""

    by_flow: Counter[int]
    total: int


def sent_lately(name: str, *, but: int | None = None) -> Sent:
    """Return what the person or key of this name sent again in the last hour; but: a plan that does not count.

    What was refused went nowhere. Plans of rules have budgets of their own.
    """
    since = datetime.now(UTC) - LATELY
    by_hand = Replay.objects.filter(requested_by=name, plan=None, created_at__gt=since).exclude(state="refused")
    flows = Counter(dict(by_hand.order_by().values_list("dead_letter__flow_id").annotate(Count("pk"))))
    total = flows.total()
    begun = Q(started_at__gt=since) | Q(state="scheduled")
    plans = Plan.objects.filter(begun, created_by=name, approved_at=None, automatic=None).exclude(pk=but or 0)
    for flow_ids, items in plans.values_list("sent_flow_ids", "items_count"):
        total += items
        flows.update(dict.fromkeys(flow_ids, items))
    return Sent(flows, total)


def hold_count_of(name: str) -> None:
    """Let nobody else count for this name until the transaction ends: of two who count at once each would find room for one more."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, %s))", [name, COUNTING])
