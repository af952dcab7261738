"""The saved searches above a list, as tabs. Their counts come after the page: a part that it asks for once it is there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from console.core.render import wants_part
from console.identity.pages import PageRequest, asked_text, page
from messages.models import SavedSearch
from messages.saved.queries import MOST_TABS, Count, counts_of, tabs_of
from messages.saved.words import list_path
from messages.search.asking import MOST_ASKED, Asked

KEPT = ("q", "window", "state", "flow", "reason", "status")  # of the list's address: they say which tab is open


@dataclass(frozen=True, slots=True, kw_only=True)
class Tab:
    search: SavedSearch
    path: str
    current: bool
    counted: Count | None


def saved_tabs(request: PageRequest, of: str, asked: Asked | None) -> dict[str, Any]:
    """Return what messaging/_saved_tabs.html draws above a list: the tabs, and where what is asked now can be saved."""
    if wants_part(request):  # the list alone is asked for
        return {}
    text = asked.query.text if asked else asked_text(request, "q", most=MOST_ASKED)
    saving = {"of": of, "q": text} | ({"window": asked.window_text} if asked and asked.window_text else {})
    kept = {name: request.GET[name] for name in KEPT if name in request.GET}
    return _drawn(request, of) | {
        "save_url": f"{reverse('saved-search-new')}?{urlencode(saving)}" if asked else "",
        "counts_url": f"{reverse('saved-search-counts')}?{urlencode({'of': of, **kept})}",
    }


def _drawn(request: PageRequest, of: str) -> dict[str, Any]:
    found = tabs_of(request.actor, request.environment, of)
    tabs = [
        Tab(search=one, path=list_path(one), current=_is_open(request, one), counted=None) for one in found[:MOST_TABS]
    ]
    return {"saved_of": of, "saved_tabs": tabs, "more_saved": len(found) > MOST_TABS}


def _asked(request: PageRequest) -> dict[str, str]:
    return {name: request.GET.get(name, "").strip() for name in KEPT}


def _is_open(request: PageRequest, search: SavedSearch) -> bool:
    state = "all" if search.of == SavedSearch.Of.DEAD_LETTERS else ""
    own = {"q": search.q, "window": search.window, "state": state, "flow": "", "reason": "", "status": ""}
    return _asked(request) == own


@require_safe
@page
def counts(request: PageRequest) -> HttpResponse:
    """The same tabs with what each finds now."""
    of = request.GET.get("of", "")
    of = of if of in SavedSearch.Of.values else SavedSearch.Of.MESSAGES.value
    context = _drawn(request, of)
    numbers = counts_of(request.actor, [tab.search for tab in context["saved_tabs"]])
    context["saved_tabs"] = [
        Tab(search=tab.search, path=tab.path, current=tab.current, counted=numbers[tab.search.pk])
        for tab in context["saved_tabs"]
    ]
    response = render(request, "messaging/_saved_tabs.html", context)
    response["Cache-Control"] = "no-store"
    return response
