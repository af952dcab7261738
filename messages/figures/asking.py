"""Which time a page of figures or the map was asked for: a span that ends now, or two times."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode

from django.http import HttpRequest

from console.identity.pages import asked_text
from messages.search.window import BadWindow, Window, parse_window

DEFAULT = "24h"


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedTime:
    """text: the span as it was asked for, "chosen times" for two times.   query: what keeps it in a link.   problem: why it is not what was asked."""

    window: Window
    text: str
    query: dict[str, str]
    problem: str = ""


def asked_time(request: HttpRequest, *, now: datetime) -> AskedTime:
    """Return the time of `since` and `until` (RFC 3339), of `from` and `to` (a form's, read as UTC), or of `window`; else of 24 hours.

    A time that cannot be read is not an error page: the reader gets 24 hours and is told.
    """
    since = asked_text(request, "since", most=60) or _utc(asked_text(request, "from", most=60))
    until = asked_text(request, "until", most=60) or _utc(asked_text(request, "to", most=60))
    text = asked_text(request, "window", most=20)
    try:
        if since or until:
            window = parse_window(None, now=now, since=since or None, until=until or None)
            if window.since >= window.until:
                raise BadWindow("the first time is before the second one")
            return AskedTime(window=window, text="Chosen times", query=_kept(window, bool(until)))
        if text:
            return AskedTime(window=parse_window(text, now=now), text=text, query={"window": text})
    except BadWindow as error:
        return AskedTime(window=parse_window(DEFAULT, now=now), text=DEFAULT, query={}, problem=str(error))
    return AskedTime(window=parse_window(DEFAULT, now=now), text=DEFAULT, query={})


def _utc(text: str) -> str:
    return f"{text}Z" if text else ""


def _kept(window: Window, ends: bool) -> dict[str, str]:
    kept = {"since": stamp(window.since)}
    return kept | {"until": stamp(window.until)} if ends else kept


def stamp(at: datetime) -> str:
    """Return an instant as an address has it: "2026-11-24T10:14:00Z"."""
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def with_time(path: str, asked: AskedTime, **parameters: str) -> str:
    """Return an address that keeps the time that was asked for."""
    query = urlencode({name: value for name, value in {**parameters, **asked.query}.items() if value})
    return f"{path}?{query}" if query else path
