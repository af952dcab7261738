"""Errors become HTTP here and nowhere else: problem+json (RFC 9457) for programs, a designed page for people."""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from django.db import DataError, InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from psycopg.errors import QueryCanceled
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import exception_handler

from console.core.bodies import refusal_of
from console.core.errors import ConsoleError, Invalid, Unavailable

log = logging.getLogger("waybill.http")
PROBLEM = "application/problem+json"


class NotAcceptable(ConsoleError):
    """The Accept header leaves out JSON, and REST answers nothing else.

    Raised by the framework; here, so that it is documented like the others.
    """

    status = 406
    code = "not_acceptable"
    again = "With Accept: application/json."


OUR_CODES = {"parse_error": "malformed", "permission_denied": "forbidden", "authentication_failed": "invalid_key"}


def problem(status: int, code: str, detail: str, **more: Any) -> JsonResponse:
    """Return a problem document: `code` is stable and documented, `detail` says what to do."""
    body = {
        "type": f"/docs/errors#{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
        **more,
    }
    return JsonResponse(body, status=status, content_type=PROBLEM)


def wants_json(request: HttpRequest) -> bool:
    """Whether the caller is a program: the REST and ingest paths, never a page."""
    return request.path.startswith(("/api/", "/ingest/v1/", "/v1/", "/livez", "/readyz", "/metrics"))


def page_for(request: HttpRequest, status: int, detail: str) -> HttpResponse:
    """Return the designed error page of this status."""
    template = f"errors/{status if status in {400, 403, 404, 409, 500, 503} else 400}.html"
    if status >= 500:  # without the request: no context processor may ask the database that has just failed
        return HttpResponse(render_to_string(template, {"detail": detail}), status=status)
    return render(request, template, {"detail": detail}, status=status)


class ConsoleErrorMiddleware:
    """Translate a ConsoleError that a view raised."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if isinstance(response, HttpResponseNotAllowed) and wants_json(request):
            return _not_allowed(response)
        return response

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        error = meaning(error) or _unread(error, request) or error
        if not isinstance(error, ConsoleError):
            return None
        if wants_json(request):
            return problem(error.status, error.code, str(error), **error.more)
        return page_for(request, error.status, str(error))


def _not_allowed(refused: HttpResponseNotAllowed) -> HttpResponse:
    response = problem(405, "method_not_allowed", f"only {refused['Allow']} is answered here")
    response["Allow"] = refused["Allow"]
    return response


def meaning(error: Exception) -> ConsoleError | None:
    """Return what a database error means to the caller: a value it cannot hold, or that it is away or too busy; else None."""
    if isinstance(error, QueryCanceled) or isinstance(error.__cause__, QueryCanceled):
        return Unavailable("this took the database too long: narrow the window or the search, and try again")
    if isinstance(error, OperationalError | InterfaceError):
        log.warning("database_away", extra={"reason": str(error)[:200]})
        return Unavailable("the database does not answer now; nothing was changed, try again in a few seconds")
    if isinstance(
        error, DataError
    ):  # NUL in a text, a number beyond its column: whatever a border did not refuse itself
        log.warning("value_refused_by_database", extra={"reason": str(error)[:200]})
        return Invalid("a value is not one that can be stored or searched for; nothing was changed")
    return None


def _unread(error: Exception, request: HttpRequest | Request) -> ConsoleError | None:
    return refusal_of(request) if isinstance(error, OSError) else None


def rest_exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """Return a problem document for every error a REST view raises; None lets Django answer 500."""
    error = meaning(error) or _unread(error, context["request"]) or error
    if isinstance(error, ConsoleError):
        response = Response(status=error.status)
        if error.status in (429, 503):
            response["Retry-After"] = str(getattr(error, "retry_after_s", 5))
        code, detail, more = error.code, str(error), error.more
        if error.status == 401:
            response["WWW-Authenticate"] = 'Bearer realm="waybill"'
    else:
        handled = exception_handler(error, context)
        if handled is None:
            return None
        response, code, detail, more = handled, *_described(error)
    body = {
        "type": f"/docs/errors#{code}",
        "title": HTTPStatus(response.status_code).phrase,
        "status": response.status_code,
        "code": code,
        "detail": detail,
        **more,
    }
    response.data = body
    response.content_type = PROBLEM
    return response


def _described(error: Exception) -> tuple[str, str, dict[str, Any]]:
    if isinstance(error, exceptions.ValidationError):
        return "invalid", "some fields are not valid, see `errors`", {"errors": error.detail}
    if isinstance(error, exceptions.NotAuthenticated):
        return "unauthenticated", "send the header `Authorization: Bearer <API key>`", {}
    if isinstance(error, exceptions.APIException):
        return OUR_CODES.get(error.default_code, error.default_code), str(error.detail), {}
    return "not_found", "there is nothing here that you may see", {}


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """The form was older than the session, or was cut before its token could be read: say so, in the page's own frame."""
    if refusal := refusal_of(request):
        return page_for(request, refusal.status, str(refusal))
    detail = "This form was opened before you signed in or has grown old. Go back, reload the page and press again."
    return problem(403, "forbidden", detail) if wants_json(request) else page_for(request, 403, detail)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    detail = "The request could not be read."
    return problem(400, "invalid", detail) if wants_json(request) else page_for(request, 400, detail)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    detail = "You may not do this."
    return problem(403, "forbidden", detail) if wants_json(request) else page_for(request, 403, detail)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    detail = "There is nothing here, or nothing that you may see."
    return problem(404, "not_found", detail) if wants_json(request) else page_for(request, 404, detail)


def server_error(request: HttpRequest) -> HttpResponse:
    detail = "The console failed to answer. It is logged; try again."
    return problem(500, "internal_error", detail) if wants_json(request) else page_for(request, 500, detail)
