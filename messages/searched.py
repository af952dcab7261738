"""What a search finds, counted by the minute: for objectives on saved searches. With the rights of whoever made the promise.

A message is in the minute in which it was first seen: the time that the list of messages goes by, which never changes. How long it
took is reckoned from its beginning, which an earlier event that comes late moves back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.core.exceptions import EmptyResultSet
from django.db.models import Count, DurationField, Exists, ExpressionWrapper, F, OuterRef, Q, QuerySet
from django.db.models.functions import Coalesce, Trunc

from console.identity.actor import Actor
from console.identity.models import Environment
from messages.access import visible_flows, visible_messages
from messages.models import Message, MessageStatus, Replay
from messages.search.conditions import Scope, bounds_of
from messages.search.parse import parse_query
from messages.search.postgres import MESSAGES, to_q
from messages.search.query import Query, Refused, leaves_of

DAYS_OFF = timedelta(days=4)  # a message's partition may be a little before its first event
MOMENTS = [datetime.fromisoformat(f"2026-01-0{day}T00:00:00Z") for day in (1, 3)]


class Minute(NamedTuple):
    """What one minute adds to the counters of `key`."""

    key: int
    minute: datetime
    good: int
    late: int
    lost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """What is counted of the messages that a query finds. limit None: a message is good when processed, lost when it failed, died or was undone;
    else good when processed within `limit`, in the minute in which its time was up; fails and waiting are lost after that.

    slow_is_late  latency: only processed messages count, slow ones are late.
    """

    actor: Actor
    environment: Environment
    q: str
    limit: timedelta | None = None
    recover: timedelta | None = None
    slow_is_late: bool = False

    @property
    def shift(self) -> timedelta:
        """Return how long after the minute in which it was first seen a message is counted: a whole number of minutes."""
        return self.limit if self.limit is not None and not self.slow_is_late else timedelta()


TOOK = ExpressionWrapper(F("decided_at") - Coalesce("started_at", "first_seen_at"), output_field=DurationField())
NEVER = Q(status__lt=0)
DELIVERED = Q(status=MessageStatus.DELIVERED)
# What a replay proved is late whenever it came: without a person it would have been lost.
REPLAYED = Q(failed_at__isnull=False) & Q(
    Exists(Replay.objects.filter(dead_letter__message_uid=OuterRef("id"), state=Replay.State.PROCESSED))
)
FAILED = Q(status__in=[MessageStatus.FAILED, MessageStatus.DEAD, MessageStatus.COMPENSATED])


def searched_minutes(asked: Searched, spans: Sequence[tuple[datetime, datetime]]) -> list[Minute]:
    """Return the messages that a query finds, by the minute in which they were first seen or their time was up; one query.

    spans  (since, until) of whole minutes, best of one day: only messages of these are read.   Raises BadQuery, BadWindow.
    """
    rows = _found(asked, [(since - asked.shift, until - asked.shift) for since, until in spans]).annotate(took=TOOK)
    good, late, lost = _classes(asked)
    sums: Any = (
        rows.order_by()
        .annotate(minute=Trunc("first_seen_at", "minute"))
        .values_list("minute")
        .annotate(good=Count("id", filter=good), late=Count("id", filter=late), lost=Count("id", filter=lost))
    )
    return [
        Minute(0, at + asked.shift, in_time, late_ones, gone)
        for at, in_time, late_ones, gone in sums
        if in_time or late_ones or gone
    ]


def flow_found(asked: Searched, flow_ids: Sequence[int], spans: Sequence[tuple[datetime, datetime]]) -> int | None:
    """Return one of these flows of which a query finds a message that was first seen in these spans, None when there is none; raises BadQuery."""
    rows = _found(asked, spans).filter(flow__in=flow_ids).order_by().values_list("flow_id", flat=True)
    return next(iter(rows[:1]), None)


def _classes(asked: Searched) -> tuple[Q, Q, Q]:
    if asked.limit is None:
        return DELIVERED, NEVER, FAILED
    in_time, recover = DELIVERED & Q(took__lte=asked.limit), asked.recover or asked.limit
    if asked.slow_is_late:
        return in_time, DELIVERED & ~Q(took__lte=asked.limit), NEVER
    late = DELIVERED & Q(took__lte=recover) & (Q(took__gt=asked.limit) | REPLAYED)
    return in_time & ~REPLAYED, late, ~DELIVERED | Q(took__gt=recover)


def _found(
    asked: Searched, spans: Sequence[tuple[datetime, datetime]], names_of: datetime | None = None
) -> QuerySet[Message]:
    since, until = min(since for since, _ in spans), max(until for _, until in spans)
    scope = Scope(
        actor=asked.actor, environments=[asked.environment], now=until, since=since, by_days=False, names_of=names_of
    )
    within = Q()
    for first, last in spans:
        within |= Q(first_seen_at__gte=first, first_seen_at__lt=last)
    return visible_messages(asked.actor).filter(
        to_q(_steady(asked.q), MESSAGES, scope),
        within,
        environment=asked.environment,
        first_seen_on__gte=(since - DAYS_OFF).date(),
        first_seen_on__lte=(until + DAYS_OFF).date(),
    )


def _steady(q: str) -> Query:
    """Return the query of a text; raises BadQuery for one that finds other messages as time passes."""
    query = parse_query(q, "messages")
    for leaf in leaves_of(query.root):
        if (leaf.field or "").lower() not in ("age", "at", "failed"):
            continue
        words = f"{leaf.field} moves with the clock: a promise counts messages as they come, and its window says which of them"
        try:
            if bounds_of(leaf, MOMENTS[0]) != bounds_of(leaf, MOMENTS[1]):
                raise Refused(leaf, words, part="field")
        except Refused as refused:
            raise query.refusal(refused) from refused
    return query


def check_searchable(actor: Actor, environment: Environment, q: str) -> None:
    """Raise BadQuery for a text that cannot be counted: one that the list could not be asked either, or whose answer moves with the clock."""
    with suppress(EmptyResultSet):
        str(_found(Searched(actor=actor, environment=environment, q=q), [(MOMENTS[0], MOMENTS[1])]).query)


def meaning_of(asked: Searched, names_of: datetime) -> str:
    """Return a digest of what a query means and its asker may see, of what was in the catalogue by `names_of`; raises BadQuery.

    Another digest says that other messages are found though none was written: a flow was renamed or changed its team, a group was merged, the
    asker's rights changed. What came into the catalogue later has messages that are later still.
    """
    asked = replace(asked, actor=asked.actor.within(asked.environment.pk))
    flows = visible_flows(asked.actor).filter(environment=asked.environment, created_at__lte=names_of)
    parts = [str(pk) for pk in flows.values_list("pk", flat=True)]
    try:
        sql, params = _found(asked, [(MOMENTS[0], MOMENTS[1])], names_of).values("id").query.sql_with_params()
        parts += [sql, *(str(one) for one in params)]
    except EmptyResultSet:
        parts.append("nothing")
    return hashlib.sha256("\0".join(sorted(parts)).encode()).hexdigest()
