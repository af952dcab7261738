"""What died in flows of other teams: a failure is in one group, that of the flow where it died, which not everybody who sees the message's flow may see."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode

from django.urls import reverse

from console.identity.actor import Actor
from console.identity.models import Environment
from messages.access import flows_to_narrow_to, visible_messages
from messages.models import Message
from messages.search.conditions import Scope
from messages.search.parse import parse_query
from messages.search.postgres import MESSAGES, to_q
from messages.search.queries import between, bounds

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
    """Return how many messages the search finds; two queries, none for who sees every flow."""
    if flows_to_narrow_to(actor) is None:
        return Unseen(environment=environment.slug)
    query, now = parse_query(DIED_UNSEEN), datetime.now(UTC)
    since, until = bounds(None, query, MESSAGES, now=now)
    failed = between(Message.objects.filter(environment=environment, failed_at__isnull=False), MESSAGES, since, until)
    # Of millions that failed and none that is meant, each would be read.
    newest = failed.order_by("-first_seen_at", "-id").values_list("first_seen_at", flat=True)
    walked_since = newest[MOST_WALKED : MOST_WALKED + 1].first()
    condition = to_q(query, MESSAGES, Scope(actor=actor, environments=[environment], now=now, since=since))
    rows = visible_messages(actor).filter(condition, environment=environment)
    found = between(rows, MESSAGES, walked_since or since, until).order_by().values("id")[: MOST_COUNTED + 1].count()
    at_least = found > MOST_COUNTED or walked_since is not None
    return Unseen(environment=environment.slug, count=min(found, MOST_COUNTED), at_least=at_least)
