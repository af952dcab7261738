"""What every page view starts with: a signed-in reader with an environment they may see."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django_htmx.http import HttpResponseClientRedirect
from django_htmx.middleware import HtmxDetails

from console.core.errors import Forbidden
from console.identity.actor import Actor
from console.identity.models import Environment, User


class PageRequest(HttpRequest):
    """A request behind `page`: all are there but `counted`, which a page sets that has counted what the rail counts, by the rail's names."""

    user: User
    actor: Actor
    environment: Environment
    htmx: HtmxDetails
    counted: dict[str, int]


View = Callable[..., HttpResponse]


def page(view: View) -> View:
    """Let signed-in readers through; a stranger goes to sign-in, and a reader without any environment is told so."""

    @wraps(view)
    def guarded(request: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        if not request.user.is_authenticated:
            # A polled part whose session has ended must move the whole page, not show the sign-in form inside itself.
            if request.htmx:
                return HttpResponseClientRedirect(f"/sign-in/?{urlencode({'next': _page_around(request)})}")
            return redirect_to_login(request.get_full_path())
        if not request.environment:
            raise Forbidden("you belong to no environment yet; ask an administrator to add you to a team")
        return view(request, *args, **kwargs)

    return guarded


def _page_around(request: PageRequest) -> str:
    """Return the address of the page that asked for a part, the overview when its header says nothing that can be read."""
    try:
        return request.htmx.current_url_abs_path or "/"
    except ValueError:
        return "/"


def asked_text(request: HttpRequest, name: str, *, most: int = 500) -> str:
    """Return a query parameter without NUL, trimmed and cut: what PostgreSQL takes as text."""
    return request.GET.get(name, "").replace("\x00", "").strip()[:most]


def asked_uuid(request: HttpRequest, name: str) -> UUID | None:
    """Return a query parameter that is a UUID; anything else is as if it were not there."""
    try:
        return UUID(request.GET.get(name, ""))
    except ValueError:
        return None
