"""Words of a notice that every renderer uses: what happened, cut to what a receiver takes. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote

from alerts.delivery.notifiers.base import Telling
from alerts.notices import Happening, Notice

HAPPENED = {
    Happening.FIRING: "Firing",
    Happening.ACKNOWLEDGED: "Acknowledged",
    Happening.ESCALATED: "Still not acknowledged",
    Happening.RESOLVED: "Resolved",
    Happening.TEST: "Test",
}


def cut(text: str, most: int) -> str:
    """Return text of at most so many characters; an ellipsis says that there was more."""
    return text if len(text) <= most else text[: max(0, most - 1)] + "…"


def one_line(text: str) -> str:
    return " ".join(text.split())


def utc_words(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def when_words(notice: Notice) -> str:
    """Return when it began and, when it is over, when it ended."""
    began = f"since {utc_words(notice.starts_at)}"
    return f"from {utc_words(notice.starts_at)} to {utc_words(notice.ends_at)}" if notice.ends_at else began


def untold_words(telling: Telling) -> str:
    """Return the sentence that a message owes which says beginning and end at once; "" for any other."""
    if not telling.untold:
        return ""
    return f"It began at {utc_words(telling.notice.starts_at)}, and this channel could not be told then."


def first_link(notice: Notice) -> str:
    return next(iter(web_links(notice).values()), "")


def web_links(notice: Notice) -> dict[str, str]:
    """Return the links that are web addresses, safe to stand in markup: at most 10, as ASCII, without quotes and brackets."""
    safe = {words: quote(url, safe="%/:?#@!$&'*+,;=~-._[]") for words, url in notice.links.items()}
    return dict([(words, url) for words, url in safe.items() if url.startswith(("https://", "http://"))][:10])


def short_facts(facts: Mapping[str, str], *, most: int, name: int, value: int) -> dict[str, str]:
    """Return the first facts, each cut."""
    return {cut(key, name): cut(text, value) for key, text in list(facts.items())[:most]}


def thread_key(thread: str, most: int) -> str:
    """Return the thread where it is short enough, else a hash of it: the same for every notice about one breach."""
    return thread if len(thread) <= most else hashlib.sha256(thread.encode()).hexdigest()


def iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
