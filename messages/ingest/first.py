"""What agents push is answered before anybody thinks of sessions, sign-in, cookies and pages: it has none of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from django.http import HttpRequest, HttpResponse
from django.urls import ResolverMatch, resolve, reverse

ROUTES = ("otlp-traces", "otlp-logs", "ingest-events", "ingest-dead-letters", "ingest-cloudevents", "ingest-changes")


class IngestFirst:
    """Middleware: calls the view of an ingest address itself. It saves a millisecond, which is a tenth of a small request."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    @cached_property
    def matches(self) -> dict[str, ResolverMatch]:
        return {path: resolve(path) for path in map(reverse, ROUTES)}

    def __call__(self, request: HttpRequest) -> HttpResponse:
        match = self.matches.get(request.path_info)
        if match is None:
            return self.get_response(request)
        request.resolver_match = match
        response: HttpResponse = match.func(request)
        response["Content-Length"] = str(len(response.content))
        return response
