"""A saved search and what became of it in words: on pages, and in mails. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from django.urls import reverse

from console.core.calendars import WorkingTime, working_time
from console.core.words import count_words
from messages.models import SavedSearch, Subscription
from messages.saved.judge import BROKEN, CALM, DIGEST, RAISED, STOPPED
from messages.saved.matching import Found, Row

NOUNS = {"messages": ("message", "messages"), "dead-letters": ("dead letter", "dead letters")}


def list_path(search: SavedSearch) -> str:
    """Return the address of the list that the search opens, in its environment."""
    asked = {"q": search.q}
    if search.of == SavedSearch.Of.DEAD_LETTERS:
        asked["state"] = "all"
    if search.window:
        asked["window"] = search.window
    return f"{reverse(str(search.of))}?{urlencode(asked)}"


def calendar_of(subscription: Subscription) -> WorkingTime:
    return working_time(subscription.days, subscription.from_minute, subscription.until_minute, subscription.time_zone)


def wish_words(subscription: Subscription) -> str:
    """Return what the subscriber asked for, as one clause."""
    if subscription.when == Subscription.When.MATCHES:
        news = subscription.digest_minutes
        return "when it matches" + (f", and at most every {news} min while there is more" if news else "")
    return f"when nothing matches for {subscription.minutes} min of working time ({calendar_of(subscription).words()})"


def counted(of: str, count: int) -> str:
    one, many = NOUNS[of]
    return f"{count_words(count)} {one if count == 1 else many}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A mail's subject and text."""

    subject: str
    body: str


def letter_of(subscription: Subscription, telling: str, found: Found | None, problem: str, *, base: str) -> Letter:
    """Return the mail of one telling. base: address of the console, without a slash. Names and numbers only, never a payload."""
    search = subscription.search
    environment = search.environment
    said = _said(subscription, telling, found)
    lines = [f"“{search.name}” in {environment.name}: {said}."]
    if problem:
        lines += ["", f"{problem[:1].upper()}{problem[1:]}."]
    if telling != STOPPED:  # who may not see it any more is told that, and nothing of what it looks for
        lines += [
            "",
            f"Search:  {search.q or 'everything'}",
            f"Open it: {_link(base, list_path(search), environment.slug)}",
        ]
        lines += _rows(found, base, environment.slug) if telling in (RAISED, DIGEST) else []
        about = _link(base, reverse("saved-search", args=[search.pk]), environment.slug)
        lines += ["", f"You asked to be told {wish_words(subscription)}. Change or end this: {about}"]
    return Letter(subject=f"[{environment.name}] {search.name}: {said}", body="\n".join(lines) + "\n")


def _said(subscription: Subscription, telling: str, found: Found | None) -> str:
    of, silent = subscription.search.of, subscription.when == Subscription.When.SILENT
    if telling == STOPPED:
        return "this subscription has stopped"
    if telling == BROKEN:
        return "it cannot be searched"
    if silent:
        return f"nothing for {subscription.minutes} min" if telling == RAISED else "it matches again"
    if telling == CALM:
        return "it matches nothing any more"
    return counted(of, found.count if found else 0) + (" now" if telling == DIGEST else "")


def _rows(found: Found | None, base: str, slug: str) -> Sequence[str]:
    if found is None or not found.rows:
        return []
    return ["", *(_row(row, base, slug) for row in found.rows)]


def _row(row: Row, base: str, slug: str) -> str:
    return f"- {row.title[:120]} ({row.at:%Y-%m-%d %H:%M} UTC): {_link(base, row.path, slug)}"


def _link(base: str, path: str, slug: str) -> str:
    return f"{base}{path}{'&' if '?' in path else '?'}{urlencode({'environment': slug})}"
