"""Gives every request its actor and its environment."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject

from console.identity.access import visible_environments
from console.identity.actor import Actor, actor_of
from console.identity.models import Environment


def current_environment(request: HttpRequest) -> Environment | None:
    """Return the environment of this request: `?environment=`, else the session's, else the first with a living agent."""
    environments = {environment.slug: environment for environment in request.environments}  # type: ignore[attr-defined]
    asked = request.GET.get("environment", "")
    if asked in environments:
        if request.session.get("environment") != asked:
            request.session["environment"] = asked
        return environments[asked]
    kept = request.session.get("environment", "")
    if kept in environments:
        return environments[kept]
    first = next(iter(environments.values()), None)
    if len(environments) < 2:
        return first
    with_data = Environment.objects.filter(
        pk__in=[e.pk for e in environments.values()], agents__last_seen_at__isnull=False
    )
    return with_data.distinct().first() or first


def _actor(request: HttpRequest) -> Actor | None:
    return actor_of(request.user, via="web") if request.user.is_authenticated else None


class ActorMiddleware:
    """Set `request.actor` (None for a stranger), `request.environments`, all they may see, and `request.environment`; read only when used."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.actor = SimpleLazyObject(lambda: _actor(request))  # type: ignore[attr-defined]
        request.environments = SimpleLazyObject(lambda: list(visible_environments(request.actor)))  # type: ignore[attr-defined]
        request.environment = SimpleLazyObject(lambda: current_environment(request))  # type: ignore[attr-defined]
        return self.get_response(request)
