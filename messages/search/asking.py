"""What a list page was asked: text, filters and window, put together as one query. Shared by the lists' views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.http import HttpRequest
from django.utils import timezone

from console.identity.pages import asked_text
from messages.search.parse import parse_query
from messages.search.query import Node, Query, Term
from messages.search.scan import LONGEST
from messages.search.window import Window, parse_window

MOST_ASKED = LONGEST + 1  # one more than is read: a text that is too long is told so, not cut


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """q is what the reader wrote, `query` what is searched: q and the filters of the page."""

    q: str
    query: Query
    window: Window | None
    window_text: str
    filtered: bool


def asked_of(
    request: HttpRequest, filters: Sequence[tuple[str, str]], target: str, *, always: Node | None = None
) -> Asked:
    """Return what was asked; raises BadQuery with the column in the reader's own text, BadWindow.

    filters  (field of the query language, request parameter).   target  of which rows.   always  what the page asks by itself.
    """
    q = asked_text(request, "q", most=MOST_ASKED)
    query = parse_query(q, target)
    terms = [Term(field, value) for field, parameter in filters if (value := asked_text(request, parameter, most=300))]
    window_text = asked_text(request, "window", most=80)
    window = parse_window(window_text, now=timezone.now()) if window_text else None
    return Asked(
        q=q,
        query=query.also(*terms, *([always] if always else [])),
        window=window,
        window_text=window_text,
        filtered=bool(q or terms or window_text),
    )
