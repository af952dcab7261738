"""Pages of saved searches: the list, one with its subscription, and what the buttons do."""

from __future__ import annotations

from typing import Any

from django.contrib import messages as flash
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from console.core.errors import ConsoleError, Forbidden, Invalid
from console.core.render import render_page
from console.identity.pages import PageRequest, asked_text, page
from messages.catalog.views import seen
from messages.journeys.views import in_its_environment
from messages.models import SavedSearch
from messages.saved.access import (
    can_change_saved_search,
    check_can_change_saved_search,
    get_visible_saved_search,
    teams_to_share_with,
)
from messages.saved.forms import SearchForm, WishForm
from messages.saved.outbox import cannot_tell
from messages.saved.queries import count_of, find_saved_searches, mails_of, subscription_of, subscriptions_of
from messages.saved.services import change_search, remove_search, save_search, subscribe, unsubscribe
from messages.saved.words import list_path, wish_words

ONE = "messaging/saved_search.html"


@require_safe
@page
def saved_searches(request: PageRequest) -> HttpResponse:
    """One's own saved searches and those shared with one's teams, with what one is told of them."""
    of = _of(request)
    found = find_saved_searches(
        request.actor, environments=[request.environment], of=of, cursor=request.GET.get("cursor") or None
    )
    told = subscriptions_of(request.actor, found.rows)
    rows = []
    for search in found.rows:
        subscription = told.get(search.pk)
        rows.append((search, list_path(search), subscription, wish_words(subscription) if subscription else ""))
    context = {"page": found, "rows": rows, "of": of, "cannot_tell": cannot_tell(request.user, reader=True)}
    return render_page(request, "messaging/saved_searches.html", "messaging/_saved_searches.html", context)


def _of(request: PageRequest) -> str:
    of = request.GET.get("of", "")
    return of if of in SavedSearch.Of.values else ""


@require_http_methods(["GET", "HEAD", "POST"])
@page
def new(request: PageRequest) -> HttpResponse:
    """The form of a new saved search, filled with what the list was asked."""
    of = _of(request) or SavedSearch.Of.MESSAGES.value
    initial = {"q": asked_text(request, "q", most=4_000), "window": asked_text(request, "window", most=12)}
    teams = teams_to_share_with(request.actor, request.environment)
    form = SearchForm(request.POST if request.method == "POST" else None, teams=teams, initial=initial)
    status = 200
    if request.method == "POST":
        status = 422
        if form.is_valid():
            try:
                made = save_search(request.environment, of, form.said(), by=request.actor)
            except ConsoleError as refusal:
                form.add_error(None, str(refusal))
            else:
                flash.success(request, f"“{made.name}” is saved: it stands above the list.")
                return seen(reverse("saved-search", args=[made.pk]))
    return render(request, ONE, {"form": form, "of": of, "search": None}, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
@page
def one(request: PageRequest, pk: int) -> HttpResponse:
    """One saved search: what it finds now, its form, and one's own subscription; POST edits or renames it."""
    search = get_visible_saved_search(request.actor, pk)
    if request.method != "POST":
        return in_its_environment(request, search.environment) or render(request, ONE, _context(request, search))
    check_can_change_saved_search(request.actor, search)
    teams = teams_to_share_with(request.actor, search.environment)
    form = SearchForm(request.POST, teams=teams, search=search)
    if form.is_valid():
        try:
            change_search(search, form.said(), by=request.actor)
        except ConsoleError as refusal:
            form.add_error(None, str(refusal))
        else:
            flash.success(request, "It is saved.")
            return seen(reverse("saved-search", args=[pk]))
    return render(request, ONE, _context(request, search) | {"form": form}, status=422)


def _context(request: PageRequest, search: SavedSearch) -> dict[str, Any]:
    subscription = subscription_of(request.actor, search)
    may_change = can_change_saved_search(request.actor, search)
    teams = teams_to_share_with(request.actor, search.environment)
    return {
        "search": search,
        "of": search.of,
        "found": count_of(request.actor, search),
        "list_path": list_path(search),
        "may_change": may_change,
        "form": SearchForm(teams=teams, search=search) if may_change else None,
        "subscription": subscription,
        "wish": wish_words(subscription) if subscription else "",
        "cannot_tell": cannot_tell(request.user, reader=True),
        "wish_form": WishForm(subscription=subscription),
        "mails": mails_of(subscription) if subscription else [],
    }


@require_safe
@page
def open_list(request: PageRequest, pk: int) -> HttpResponse:
    """The list that a saved search asks for: an address that stays while its query is edited."""
    search = get_visible_saved_search(request.actor, pk)
    if elsewhere := in_its_environment(request, search.environment):
        return elsewhere
    return HttpResponseRedirect(list_path(search))


@require_POST
@page
def remove(request: PageRequest, pk: int) -> HttpResponse:
    search = get_visible_saved_search(request.actor, pk)
    try:
        remove_search(search, by=request.actor, reason=request.POST.get("reason", ""))
    except Forbidden as refusal:
        return render(request, ONE, _context(request, search) | {"refusal": str(refusal)}, status=403)
    flash.success(request, f"“{search.name}” is removed.")
    return seen(reverse("saved-searches"))


@require_POST
@page
def tell_me(request: PageRequest, pk: int) -> HttpResponse:
    """Subscribe, or change what one is told."""
    search = get_visible_saved_search(request.actor, pk)
    form = WishForm(request.POST)
    if form.is_valid():
        try:
            made = subscribe(search, form.wish(), by=request.actor)
        except Invalid as refusal:
            form.complain(refusal)
        else:
            if why := cannot_tell(request.user, reader=True):
                flash.warning(request, f"It is kept, and nothing can be sent: {why}.")
            else:
                flash.success(request, f"You are told {wish_words(made)}.")
            return seen(reverse("saved-search", args=[pk]))
    return render(request, ONE, _context(request, search) | {"wish_form": form}, status=422)


@require_POST
@page
def stop_telling(request: PageRequest, pk: int) -> HttpResponse:
    search = get_visible_saved_search(request.actor, pk)
    unsubscribe(search, by=request.actor)
    flash.success(request, "You are not told of it any more.")
    return seen(reverse("saved-search", args=[pk]))
