"""What died in flows of other teams: a failure is in one group, that of the flow where it died, which not everybody who sees the message's flow may see."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from urllib.parse import urlencode

from django.db.models import BooleanField, Count, ExpressionWrapper, Q
from django.urls import reverse

from console.identity.actor import Actor
from console.identity.models import Environment
from messages.access import flows_to_narrow_to
from messages.models import Message
from messages.search.conditions import Scope
from messages.search.parse import parse_query
from messages.search.postgres import MESSAGES, to_q
from messages.search.queries import between, bounds
from messages.search.query import Query

# To whoever may not see every flow: what is dead is in the group of its letter at once, and that is one of a flow that they may not see.
DIED_UNSEEN = "status:dead NOT group:*"
MOST_COUNTED = 1_000
MOST_WALKED = 10_000  # failed messages of a day that are looked through, newest first


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """How many messages of visible flows died where the reader may not look, of the last 24 hours; at_least: there may be more.

    q  finds these, in messages.
    """

    environment: str
    count: int = 0
    at_least: bool = False
    q: str = DIED_UNSEEN

    @property
    def url(self) -> str:
        return f"{reverse('messages')}?{urlencode({'q': self.q})}"


def died_unseen(actor: Actor, environment: Environment) -> Unseen:
    """Return how many messages the search finds; one query, none for who sees every flow."""
    flows = flows_to_narrow_to(actor)
    if flows is None:
        return Unseen(environment=environment.slug)
    now = datetime.now(UTC)
    since, until = bounds(None, _query(), MESSAGES, now=now)
    scope = Scope(actor=actor, environments=[environment], now=now, since=since)
    meant = to_q(_query(), MESSAGES, scope) & Q(flow_id__in=flows.order_by().values("pk"))
    failed = between(Message.objects.filter(environment=environment, failed_at__isnull=False), MESSAGES, since, until)
    # Each is looked at, and of millions that failed none may be meant.
    newest = failed.annotate(meant=ExpressionWrapper(meant, BooleanField())).order_by("-first_seen_at", "-id")
    walked = newest.values("id", "meant")[: MOST_WALKED + 1]
    told = walked.aggregate(all=Count("id"), found=Count("id", filter=Q(meant=True)))
    at_least = told["found"] > MOST_COUNTED or told["all"] > MOST_WALKED
    return Unseen(environment=environment.slug, count=min(told["found"], MOST_COUNTED), at_least=at_least)


@cache
def _query() -> Query:
    return parse_query(DIED_UNSEEN)
