"""Asking the search of an objective, with the rights of whoever made the promise, as they are at the moment. Reads only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from django.db import OperationalError, connection, transaction
from psycopg.errors import QueryCanceled

from alerts.models import Objective
from alerts.objectives.windows import Span
from console.core.errors import ConsoleError
from console.identity.actor import actor_of
from messages.queries import Minute, Searched, flow_found, meaning_of, searched_minutes

T = TypeVar("T")
SEARCH_S = 5
SEARCH_PROBLEM = "its search"


class CannotAsk(Exception):
    """The search cannot be asked now; the words say why."""


class TooSlow(CannotAsk):
    """It took longer than SEARCH_S: less time at once may do."""


def asked_of(one: Objective) -> Searched:
    """Return what is asked of messages; raises CannotAsk when nobody's rights are left."""
    if one.owner is None or not one.owner.is_active:
        raise CannotAsk(f"{SEARCH_PROBLEM} is asked with the rights of whoever made it, and they are gone")
    fresh = one.kind == Objective.Kind.FRESHNESS
    slow = one.kind == Objective.Kind.LATENCY
    return Searched(
        actor=actor_of(one.owner, via="system"),
        environment=one.environment,
        q=one.q,
        limit=shift_of(one) if fresh else timedelta(milliseconds=one.limit_ms or 0) if slow else None,
        recover=timedelta(minutes=one.recover_minutes or 0) if fresh else None,
        slow_is_late=slow,
    )


def shift_of(one: Objective) -> timedelta:
    """Return how long after it was first seen a message is counted: when its time is up, where that is what is promised."""
    return timedelta(minutes=one.limit_minutes or 0) if one.kind == Objective.Kind.FRESHNESS else timedelta()


def found_in(asked: Searched, spans: Sequence[Span]) -> list[Minute]:
    """Return what the search finds in these spans of whole minutes, minute by minute; raises CannotAsk, TooSlow."""
    return _in_time(lambda: searched_minutes(asked, [(one.since, one.until) for one in spans]))


def found_flow(asked: Searched, flow_ids: Sequence[int], spans: Sequence[Span]) -> int | None:
    """Return one of these flows of which the search finds a message in these spans, None when there is none; raises CannotAsk, TooSlow."""
    return _in_time(lambda: flow_found(asked, flow_ids, [(one.since, one.until) for one in spans]))


def meaning(asked: Searched, names_of: datetime) -> str:
    """Return a digest of what the search means and its owner sees; raises CannotAsk, TooSlow."""
    return _in_time(lambda: meaning_of(asked, names_of))


def _in_time(ask: Callable[[], T]) -> T:
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL statement_timeout = {int(SEARCH_S * 1000)}")
            answer = ask()
            cursor.execute("SET LOCAL statement_timeout TO DEFAULT")
            return answer
    except ConsoleError as error:
        raise CannotAsk(f"{SEARCH_PROBLEM} cannot be asked: {error}") from error
    except OperationalError as error:
        if not isinstance(error.__cause__, QueryCanceled):
            raise
        words = f"{SEARCH_PROBLEM} took longer than {SEARCH_S} s and was given up: narrow it down"
        raise TooSlow(words) from error
