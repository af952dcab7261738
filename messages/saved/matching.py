"""What a saved search finds now, with the rights of whoever asks: its count, capped, and its first rows. Bounded in time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.postgres.aggregates import ArrayAgg
from django.db import OperationalError, connection, transaction
from django.db.models import Count, DateTimeField, ExpressionWrapper, F, Func, QuerySet
from django.urls import reverse
from psycopg.errors import QueryCanceled

from console.core.errors import Unavailable
from console.core.ids import uuid7_floor
from console.core.words import COUNT_CAP
from console.identity.actor import Actor
from console.identity.models import Environment
from messages.access import visible_dead_letters, visible_flows, visible_messages
from messages.models import DeadLetter, Message, SavedSearch
from messages.search.conditions import Scope
from messages.search.elsewhere import asks_for_payload
from messages.search.naming import name_of
from messages.search.parse import parse_query
from messages.search.postgres import DEAD_LETTERS, MESSAGES, Target, names_several, to_q
from messages.search.queries import bounds
from messages.search.query import BadQuery, Query
from messages.search.window import EARLIEST, Window, parse_window
from messages.told import as_seen

SHOWN = 10
A_DAY_OFF = timedelta(days=4)  # a message's partition may be a little before its first event


class TooSlow(Unavailable):
    """A search took longer than it may, and was given up: narrow it down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row as a mail or a page names it: `path` leads to it."""

    title: str
    path: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """count: up to 10,001. flows: whose rows were counted. fingerprint: changes when the count or the first rows do."""

    count: int
    rows: list[Row]
    flows: tuple[int, ...] = ()

    @property
    def fingerprint(self) -> str:
        told = "|".join([str(self.count), *(row.path for row in self.rows)])
        return hashlib.sha256(told.encode()).hexdigest()


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Let each statement take at most so long; raises TooSlow."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL statement_timeout = {int(seconds * 1000)}")
            yield
    except OperationalError as error:
        if isinstance(error.__cause__, QueryCanceled):
            raise TooSlow(f"the search took longer than {seconds:g} s and was given up: narrow it down") from error
        raise


def count_matches(actor: Actor, search: SavedSearch, *, seconds: float = 1.0) -> int:
    """Return how many rows the search finds, up to 10,001. Raises BadQuery, BadWindow, TooSlow."""
    rows = _rows(actor, search)
    with within(seconds):
        return _count(rows)


def find_matches(actor: Actor, search: SavedSearch, *, since: datetime | None = None, seconds: float = 5.0) -> Found:
    """Return what the search finds, the newest rows first; raises BadQuery, BadWindow, TooSlow.

    since  only what came since then, instead of the window of the search: messages by when they were first seen, dead letters
    by when they came here.
    """
    rows = _rows(actor, search, since=since)
    with within(seconds):
        first = list(rows.order_by(*_newest_first(search))[:SHOWN])
        if len(first) < SHOWN:
            count, flows = len(first), {one.flow_id for one in first}
        else:
            counted = rows.order_by()[: COUNT_CAP + 1].values("id", "flow_id")
            count, flows = counted.aggregate(count=Count("id"), flows=ArrayAgg("flow_id", distinct=True)).values()
        # of more than are counted these are any; those that are shown are among them surely
        told = {*(flows or ()), *(one.flow_id for one in first)}
        if search.of == SavedSearch.Of.MESSAGES:
            others = {flow for one in as_seen(actor, first) for flow in one.told_by or ()}
            told |= (
                set(visible_flows(actor).filter(pk__in=others).order_by().values_list("pk", flat=True))
                if others
                else set()
            )
        return Found(count=count, rows=[_row(one) for one in first], flows=tuple(sorted(told)))


def _newest_first(search: SavedSearch) -> list[Any]:
    """Return the order of the rows; as expressions that no index has where the planner must not walk in it, see names_several."""
    query = parse_query(search.q)
    if search.of == SavedSearch.Of.DEAD_LETTERS:
        return [Func("id", function="uuid_send").desc()] if names_several(query, DEAD_LETTERS) else ["-pk"]
    if names_several(query, MESSAGES):
        at = ExpressionWrapper(F("first_seen_at") + timedelta(0), output_field=DateTimeField())
        return [at.desc(), F("id").desc()]
    return ["-first_seen_at", "-id"]


def check_asked(actor: Actor, environment: Environment, of: str, q: str, window: str) -> None:
    """Raise BadQuery or BadWindow for what the list could not be asked."""
    _rows(actor, SavedSearch(environment=environment, of=of, q=q, window=window))


def _rows(actor: Actor, search: SavedSearch, *, since: datetime | None = None) -> QuerySet[Any]:
    query, now = parse_query(search.q, search.of), datetime.now(UTC)
    _check_it_can_be_kept(query, DEAD_LETTERS if search.of == SavedSearch.Of.DEAD_LETTERS else MESSAGES)
    window = parse_window(search.window, now=now) if search.window else None
    if search.of == SavedSearch.Of.DEAD_LETTERS:
        return _letters(actor, search.environment, query, window, now, since)
    if since is not None:
        window = Window(since=since, until=parse_window(None, now=now).until)
    return _messages(actor, search.environment, query, window, now)


def _check_it_can_be_kept(query: Query, target: Target) -> None:
    """Raise BadQuery for what the list finds in Elasticsearch alone: what is kept is counted, and told of, from PostgreSQL."""
    if settings.SEARCH_BACKEND != "postgresql" and asks_for_payload(query, target):
        raise BadQuery(
            "a search for words of payloads cannot be saved: only Elasticsearch finds them, and it may be away or behind"
        )


def _letters(
    actor: Actor, environment: Environment, query: Query, window: Window | None, now: datetime, since: datetime | None
) -> QuerySet[Any]:
    scope = Scope(actor=actor, environments=[environment], now=now, since=EARLIEST)
    rows = visible_dead_letters(actor).filter(to_q(query, DEAD_LETTERS, scope), environment=environment)
    if since is not None:
        return rows.filter(pk__gte=uuid7_floor(since))
    return rows.filter(failed_at__gte=window.since, failed_at__lt=window.until) if window else rows


def _messages(
    actor: Actor, environment: Environment, query: Query, window: Window | None, now: datetime
) -> QuerySet[Any]:
    since, until = bounds(window, query, MESSAGES, now=now)
    scope = Scope(actor=actor, environments=[environment], now=now, since=since)
    return visible_messages(actor).filter(
        to_q(query, MESSAGES, scope),
        environment=environment,
        first_seen_at__gte=since,
        first_seen_at__lt=until,
        first_seen_on__gte=(since - A_DAY_OFF).date(),
        first_seen_on__lte=(until + A_DAY_OFF).date(),
    )


def _count(rows: QuerySet[Any]) -> int:
    return rows.order_by()[: COUNT_CAP + 1].values("id").count()


def _row(one: Message | DeadLetter) -> Row:
    if isinstance(one, DeadLetter):
        title = name_of(one.keys, one.message_id or str(one.pk)).title
        return Row(title=title, path=reverse("dead-letter", args=[one.pk]), at=one.failed_at)
    return Row(
        title=name_of(one.keys, one.message_id).title, path=reverse("message", args=[one.id]), at=one.first_seen_at
    )
