"""Lists of messages, events and dead letters: keyset pages inside a window, rights inside the query."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from django.db.models import DateTimeField, ExpressionWrapper, F, Func, Model, Q, QuerySet

from console.core.paging import Page, decode_time_cursor, decode_uuid_cursor, encode_cursor
from console.core.words import COUNT_CAP
from console.identity.actor import Actor
from console.identity.models import Environment
from messages.access import visible_dead_letters, visible_events, visible_messages
from messages.models import DeadLetter, Event, Message
from messages.retention.policies import longest_age
from messages.rows import FLOW_UNNAMED, with_environment
from messages.search.base import Away, Hit, Question, Unsuited
from messages.search.conditions import Scope
from messages.search.elsewhere import (
    backend_for,
    check_postgresql_can,
    for_postgresql,
    page_of,
    question_of,
    words_of_degradation,
)
from messages.search.postgres import (
    DEAD_LETTERS,
    EVENTS,
    MESSAGES,
    Target,
    names_several,
    to_q,
)
from messages.search.query import BadQuery, Query
from messages.search.reach import reach_of
from messages.search.window import EARLIEST, Window, parse_window
from messages.told import as_seen

M = TypeVar("M", bound=Model)
ALL_ROWS = Query()
USUAL = timedelta(hours=24)


def find_messages(
    actor: Actor,
    *,
    environments: Sequence[Environment],
    query: Query = ALL_ROWS,
    window: Window | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page[Message]:
    """Return messages, newest first by when they were first seen. Raises BadQuery, InvalidCursor."""
    rows = visible_messages(actor).select_related("flow").defer(*FLOW_UNNAMED)
    page = _timed(rows, MESSAGES, actor, environments, query, window, limit, cursor)
    as_seen(actor, page.rows)
    return page


def find_events(
    actor: Actor,
    *,
    environments: Sequence[Environment],
    query: Query = ALL_ROWS,
    window: Window | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page[Event]:
    """Return events, newest first. Raises BadQuery, InvalidCursor."""
    rows = visible_events(actor).select_related("flow", "system", "agent").defer(*FLOW_UNNAMED)
    return _timed(rows, EVENTS, actor, environments, query, window, limit, cursor)


def find_dead_letters(
    actor: Actor,
    *,
    environments: Sequence[Environment],
    query: Query = ALL_ROWS,
    window: Window | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page[DeadLetter]:
    """Return dead letters, newest harvest first; without a window all of them, because a waiting one never grows old.

    Raises BadQuery, InvalidCursor.
    """
    now = datetime.now(UTC)
    rows = visible_dead_letters(actor).filter(environment__in=environments)
    matching = matching_letters(actor, environments=environments, query=query, window=window, now=now)
    before = decode_uuid_cursor(cursor) if cursor else None

    def question() -> Question:
        since, until = (window.since, window.until) if window else (None, None)
        after = (None, before) if before else None
        return question_of(
            query, DEAD_LETTERS, actor, environments, now=now, since=since, until=until, after=after, limit=limit
        )

    def fetch(hits: list[Hit]) -> dict[UUID, DeadLetter]:
        return rows.in_bulk([hit.id for hit in hits])

    page, note = _elsewhere(query, DEAD_LETTERS, question, fetch)
    if page is not None:
        return page
    rows = matching.filter(pk__lt=before) if before else matching
    found = list(rows.order_by(*_newest_first(query, DEAD_LETTERS))[: limit + 1])
    more = len(found) > limit
    return Page(found[:limit], encode_cursor(found[limit - 1].pk) if more else None, note=note)


def matching_letters(
    actor: Actor, *, environments: Sequence[Environment], query: Query, window: Window | None, now: datetime
) -> QuerySet[DeadLetter]:
    """Return every dead letter that PostgreSQL finds for this, in no order: the same as the pages of find_dead_letters. Raises BadQuery."""
    scope = Scope(actor=actor, environments=environments, now=now, since=EARLIEST)
    condition = to_q(for_postgresql(query, DEAD_LETTERS), DEAD_LETTERS, scope)
    rows = visible_dead_letters(actor).filter(condition, environment__in=environments)
    return rows if window is None else rows.filter(failed_at__gte=window.since, failed_at__lt=window.until)


def count_dead_letters(
    actor: Actor, *, environments: Sequence[Environment], query: Query, window: Window | None, most: int = COUNT_CAP
) -> int:
    """Return how many dead letters PostgreSQL finds for this, at most one more than `most`; 0 when only another back end could tell."""
    try:
        check_postgresql_can(query, DEAD_LETTERS, "counts are PostgreSQL's")
    except BadQuery:
        return 0
    found = matching_letters(actor, environments=environments, query=query, window=window, now=datetime.now(UTC))
    return found.order_by()[: most + 1].values("pk").count()


def _elsewhere(
    query: Query, target: Target, question: Callable[[], Question], fetch: Callable[[list[Hit]], dict[UUID, M]]
) -> tuple[Page[M] | None, str]:
    """Return (the page of another back end, None when PostgreSQL is to answer; why it stands in, "" when it does not)."""
    backend, why, note = backend_for(query, target), "it is not asked", ""
    if backend is not None:
        try:
            return page_of(backend, question(), fetch), ""
        except Unsuited as unsuited:
            why = str(unsuited)
        except Away as away:
            why, note = str(away), words_of_degradation(away)
    check_postgresql_can(query, target, why, away=bool(note))
    return None, note


def _timed(
    rows: QuerySet[M],
    target: Target,
    actor: Actor,
    environments: Sequence[Environment],
    query: Query,
    window: Window | None,
    limit: int,
    cursor: str | None,
) -> Page[M]:
    """Return one page ordered by (time, id), both descending: a total order, so that ties neither repeat nor vanish."""
    now, field = datetime.now(UTC), target.time_field
    since, until = bounds(window, query, target, now=now)
    scope = Scope(actor=actor, environments=environments, now=now, since=since)
    condition = to_q(for_postgresql(query, target), target, scope)
    after = decode_time_cursor(cursor) if cursor else None
    rows = rows.filter(environment__in=environments)

    def question() -> Question:
        return question_of(
            query, target, actor, environments, now=now, since=since, until=until, after=after, limit=limit
        )

    def fetch(hits: list[Hit]) -> dict[UUID, M]:
        times = [hit.at for hit in hits]
        found = between(rows.filter(id__in=[hit.id for hit in hits]), target, min(times), max(times), upto="lte")
        return {row.id: row for row in found}  # type: ignore[attr-defined]

    page, note = _elsewhere(query, target, question, fetch)
    if page is not None:
        with_environment(page.rows, environments)
        return page
    latest = after[0] if after else until
    rows = between(rows.filter(condition), target, since, latest, upto="lte" if after else "lt")
    if after:
        at, identity = after
        rows = rows.filter(Q(**{f"{field}__lt": at}) | Q(**{field: at, "id__lt": identity}))
    found: list[Any] = list(rows.order_by(*_newest_first(query, target))[: limit + 1])
    more = len(found) > limit
    last = found[limit - 1] if more else None
    after_it = encode_cursor(getattr(last, field), last.id) if last is not None else None
    with_environment(found, environments)
    return Page(found[:limit], after_it, note=note)


def between(rows: QuerySet[M], target: Target, since: datetime, until: datetime, *, upto: str = "lt") -> QuerySet[M]:
    """Return the rows of these times, in few partitions; upto: lt, or lte to have those of `until` as well.

    No bound twice: PostgreSQL takes each for a part of the rows of its own, and then sorts what it need not.
    """
    field = target.time_field
    rows = rows.filter(**{f"{field}__gte": since, f"{field}__{upto}": until})
    if (
        field == "first_seen_at"
    ):  # the partition column of messages: a message's day may be a little before its first event
        rows = rows.filter(
            first_seen_on__gte=(since - timedelta(days=4)).date(), first_seen_on__lte=(until + timedelta(days=4)).date()
        )
    return rows


def has_own_time(query: Query, target: Target) -> bool:
    """Whether a list without a window shows something else than the last 24 hours, because the query says so."""
    now = datetime.now(UTC)
    return bounds(None, query, target, now=now)[0] != now - USUAL


def _newest_first(query: Query, target: Target) -> list[Any]:
    """Return the order of a list; as expressions that no index has, and mean the same, where the planner must not walk in it."""
    if target is DEAD_LETTERS:
        return [Func("id", function="uuid_send").desc()] if names_several(query, target) else ["-pk"]
    field = target.time_field
    if names_several(query, target):
        at = ExpressionWrapper(F(field) + timedelta(0), output_field=DateTimeField())
        return [at.desc(), F("id").desc()]
    return [f"-{field}", "-id"]


def bounds(window: Window | None, query: Query, target: Target, *, now: datetime) -> tuple[datetime, datetime]:
    """Return the time bounds of a list. Without a window: the last 24 hours, unless the query asks beyond them.

    A search for one id or number looks through everything; `at` and `age` reach as far as they say.
    """
    if window is not None:
        return window.since, window.until
    since = reach_of(query, target, now=now, usual=now - USUAL)
    if since == EARLIEST:
        since = now - longest_age() - timedelta(days=1)
    return since, parse_window(None, now=now).until
