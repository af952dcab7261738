"""The list of messages."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse, QueryDict
from django.views.decorators.http import require_safe

from console.core.errors import Invalid
from console.core.paging import Page
from console.core.render import render_page
from console.identity.pages import PageRequest, asked_text, page
from messages.catalog.queries import flow_names
from messages.groups.failed_here import failed_here
from messages.models import Message
from messages.saved.tabs import saved_tabs
from messages.search.asking import MOST_ASKED, Asked, asked_of
from messages.search.naming import name_of
from messages.search.postgres import MESSAGES
from messages.search.queries import find_messages, has_own_time
from messages.search.query import BadQuery
from messages.search.slips import slips_of
from messages.search.window import BadWindow

STATUSES = ("moving", "delivered", "failed", "dead")
FILTERS = (("flow", "flow"), ("status", "status"))


@require_safe
@page
def messages(request: PageRequest) -> HttpResponse:
    """Messages of this environment, newest first; a query that cannot be read is shown where it breaks."""
    found: Page[Message] = Page([], None)
    asked, problem, own_time = None, None, False
    try:
        asked = asked_of(request, FILTERS, "messages")
        own_time = asked.window is None and has_own_time(asked.query, MESSAGES)
        found = find_messages(
            request.actor,
            environments=[request.environment],
            query=asked.query,
            window=asked.window,
            cursor=request.GET.get("cursor") or None,
        )
    except (BadQuery, BadWindow) as error:
        problem = error
    context = _context(request, found, asked, own_time=own_time) | problem_context(request, problem)
    context |= saved_tabs(request, "messages", asked)
    return render_page(
        request,
        "messaging/messages.html",
        "messaging/_messages.html",
        context,
        status=problem.status if problem else 200,
    )


def _context(request: PageRequest, found: Page[Message], asked: Asked | None, *, own_time: bool) -> dict[str, Any]:
    status = asked_text(request, "status", most=20)
    quick = [{"label": "all", "query": changed(request.GET, status=None), "current": not status}]
    quick += [{"label": one, "query": changed(request.GET, status=one), "current": status == one} for one in STATUSES]
    return {
        "page": found,
        "rows": [(message, name_of(message.keys, message.message_id), _took_us(message)) for message in found.rows],
        "q": asked_text(request, "q", most=MOST_ASKED),
        "window": "As the query asks" if own_time else (asked and asked.window_text) or "24h",
        "own_time": own_time,
        "slips": slips_of(request.actor, [request.environment], asked.query, "messages")
        if asked and not found.rows
        else [],
        "failed_here": failed_here(request.actor, request.environment) if asked and not found.rows else None,
        "filtered": asked is None or asked.filtered,
        "quick": quick,
        "selects": [flow_select(request)],
    }


def _took_us(message: Message) -> int:
    """Return the time from first to last event in µs."""
    return int((message.last_seen_at - message.began_at).total_seconds() * 1_000_000)


def flow_select(request: PageRequest) -> dict[str, Any]:
    """Return the select of flows that parts/filters.html draws."""
    options = [("", "every flow"), *((name, name) for name in flow_names(request.actor, request.environment))]
    return {"name": "flow", "label": "Flow", "value": asked_text(request, "flow", most=300), "options": options}


def changed(query: QueryDict, **changes: str | None) -> str:
    """Return the query string with some parameters changed or, when None, left out; a changed filter starts at the top."""
    copy = query.copy()
    copy.pop("cursor", None)
    for name, value in changes.items():
        if value is None:
            copy.pop(name, None)
        else:
            copy[name] = value
    return "?" + copy.urlencode()


def problem_context(request: PageRequest, problem: Invalid | None) -> dict[str, Any]:
    """Return what a list page shows of what cannot be asked: the words; of a query its text split at the column, and what to ask instead."""
    if problem is None:
        return {}
    q, column = asked_text(request, "q", most=MOST_ASKED), getattr(problem, "column", None)
    at = min(max(0, column - 1), len(q)) if column else None
    words = getattr(problem, "detail", str(problem))
    suggestion = getattr(problem, "suggestion", "")
    return {
        "problem": words[:1].upper() + words[1:] + ".",
        "away": problem.status == 503,
        "unread": isinstance(problem, BadQuery | BadWindow),
        "column": column,
        "before": q[:at] if at is not None else q,
        "hit": (q[at : at + 1].strip() or "\u00a0") if at is not None else "",
        "after": q[at + 1 :] if at is not None else "",
        "suggestion": suggestion,
        "suggestion_query": changed(request.GET, q=suggestion),
    }
