"""Reads of saved searches: the list, the tabs above a list with their counts, one's own subscription."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from console.core.paging import Page, decode_number_cursor, encode_cursor
from console.identity.actor import Actor
from console.identity.models import Environment
from messages.models import OutboxMail, SavedSearch, Subscription
from messages.saved.access import own_subscriptions, visible_saved_searches
from messages.saved.assessing import about_of
from messages.saved.matching import TooSlow, count_matches
from messages.saved.outbox import mails_about
from messages.search.query import BadQuery
from messages.search.window import BadWindow

MOST_TABS = 8
COUNTING_S = 2.0  # for all tabs of a page together


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """What a saved search finds now: up to 10,001; None when it could not be counted, and why in words."""

    count: int | None
    problem: str = ""


def find_saved_searches(
    actor: Actor, *, environments: Sequence[Environment], of: str = "", limit: int = 50, cursor: str | None = None
) -> Page[SavedSearch]:
    """Return the saved searches that the actor sees there, the newest first. Raises InvalidCursor."""
    rows = visible_saved_searches(actor).filter(environment__in=environments)
    if of:
        rows = rows.filter(of=of)
    if cursor:
        rows = rows.filter(pk__lt=decode_number_cursor(cursor))
    found = list(rows.order_by("-pk")[: limit + 1])
    return Page(found[:limit], encode_cursor(found[limit - 1].pk) if len(found) > limit else None)


def tabs_of(actor: Actor, environment: Environment, of: str) -> list[SavedSearch]:
    """Return the searches that stand above a list, by name, one more than are shown: then there are others."""
    rows = visible_saved_searches(actor).filter(environment=environment, of=of)
    return list(rows.order_by("name", "pk")[: MOST_TABS + 1])


def counts_of(actor: Actor, searches: Sequence[SavedSearch]) -> dict[int, Count]:
    """Return what each finds now, by its id, in two seconds for all of them: what was not reached is not counted."""
    until, counts = time.monotonic() + COUNTING_S, {}
    for search in searches:
        left = until - time.monotonic()
        if left <= 0.05:
            counts[search.pk] = Count(count=None, problem="not counted: the searches before it took too long")
        else:
            counts[search.pk] = count_of(actor, search, seconds=min(1.0, left))
    return counts


def count_of(actor: Actor, search: SavedSearch, *, seconds: float = 1.0) -> Count:
    """Return what a search finds now, or in words why it cannot: its text is read anew, and fields come and go."""
    try:
        return Count(count=count_matches(actor, search, seconds=seconds))
    except (BadQuery, BadWindow) as error:
        return Count(count=None, problem=f"the query cannot be read: {error}")
    except TooSlow as error:
        return Count(count=None, problem=str(error))


def subscription_of(actor: Actor, search: SavedSearch) -> Subscription | None:
    """Return the actor's own subscription to a search."""
    found = own_subscriptions(actor).filter(search=search).first()
    if found is not None:
        found.search = search
    return found


def subscriptions_of(actor: Actor, searches: Sequence[SavedSearch]) -> dict[int, Subscription]:
    """Return the actor's own subscriptions to these searches, by the search's id."""
    return {one.search_id: one for one in own_subscriptions(actor).filter(search__in=searches)}


def mails_of(subscription: Subscription) -> list[OutboxMail]:
    return mails_about(about_of(subscription.pk))
