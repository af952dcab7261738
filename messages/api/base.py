"""What every REST view shares: the actor, the environments asked for, and keyset lists."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from console.core.bodies import is_chunked
from console.core.errors import Invalid, NotFound
from console.core.paging import Page, decode_number_cursor, encode_cursor, parse_limit
from console.core.problems import PROBLEM
from console.identity.access import get_visible_environment, visible_environments
from console.identity.actor import Actor
from console.identity.models import Environment
from console.identity.rest import actor_for
from messages.search.fields import TARGETS, fields_of
from messages.search.parse import parse_query
from messages.search.slips import slips_of
from messages.search.window import Window, parse_window

LIST_PARAMETERS = [
    OpenApiParameter(
        "q", str, description="Lucene syntax, e.g. `order_no:4711` or `status:dead -flow:orders age:>1h`."
    ),
    OpenApiParameter("limit", int, description="1 to 500, default 50."),
    OpenApiParameter("cursor", str, description="The `cursor` of a `next` address."),
    OpenApiParameter("environment", str, description="Slug; without it, every environment the key may see."),
    OpenApiParameter(
        "window", str, description="How far back, e.g. `24h`, `7d`; default 24h, all of it for an id or business key."
    ),
    OpenApiParameter("since", str, description="RFC 3339 time, in place of `window`."),
    OpenApiParameter("until", str, description="RFC 3339 time; without `since` it is where the window ends."),
]


class Problem(serializers.Serializer[Any]):
    """application/problem+json (RFC 9457)."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    code = serializers.CharField(help_text="Stable; see /docs/errors.")
    detail = serializers.CharField(help_text="What is wrong and what to do.")
    column = serializers.IntegerField(required=False, help_text="Of `q`, from 1: where it goes wrong.")
    suggestion = serializers.CharField(required=False, help_text="A whole `q` that was probably meant.")


def problems(*statuses: int) -> dict[tuple[int, str], type[Problem]]:
    """Return what OpenAPI says of these refusals."""
    return {(status, PROBLEM): Problem for status in statuses}


SAID = OpenApiParameter("q", str, description="Part of a name.")


PROBLEMS = problems(400, 401, 403, 404)
CONFLICTS = problems(400, 401, 403, 404, 409)


class View(APIView):
    """A REST view: signed in or with an API key, nothing else."""

    permission_classes = (IsAuthenticated,)

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        """Take a body in chunks too: the framework takes one without a length before it for none."""
        made: Request = super().initialize_request(request, *args, **kwargs)
        if is_chunked(request.META):
            made._stream = request.META["wsgi.input"]
        return made

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Let the reader in, and refuse parameters that this address does not have: misspelt, they would be passed over silently."""
        super().initial(request, *args, **kwargs)
        handler = getattr(self, str(request.method).lower(), None)
        if not request.query_params or handler is None or request.method == "POST":  # a plan of a list says its own
            return
        known = parameters_of(self, handler)
        for name, value in request.query_params.items():
            if value and name not in (*known, "format"):  # the last is REST framework's own
                raise Invalid(f"there is no parameter “{name[:80]}” here: {_instead(name, known, request.path)}")

    @property
    def actor(self) -> Actor:
        return actor_for(self.request)

    @property
    def context(self) -> dict[str, Any]:
        """What serializers of business keys need to know."""
        return {"actor": self.actor}

    def environments(self) -> list[Environment]:
        """Return the environments asked for; raises NotFound for one that may not be seen."""
        slug = self.request.query_params.get("environment")
        return [get_visible_environment(self.actor, slug)] if slug else list(visible_environments(self.actor))

    def window(self, *, now: datetime | None = None) -> Window | None:
        """Return the window asked for, None when none was."""
        asked = {name: self.request.query_params.get(name) for name in ("window", "since", "until")}
        if not any(asked.values()):
            return None
        return parse_window(asked["window"], now=now or datetime.now(UTC), since=asked["since"], until=asked["until"])

    def query(self, target: str) -> dict[str, Any]:
        """Return the arguments that every list query takes. target: of which rows."""
        parameters = self.request.query_params
        return {
            "environments": self.environments(),
            "query": parse_query(parameters.get("q", ""), target),
            "window": self.window(),
            "limit": parse_limit(parameters.get("limit")),
            "cursor": parameters.get("cursor") or None,
        }

    def page(self, page: Page[Any], serializer: type[serializers.BaseSerializer[Any]]) -> Response:
        """Return {"results", "next"}: `next` is the address of the following page, null at the end.

        Where another search back end is configured, the header Waybill-Search says which one answered, and why it was not that one.
        """
        rows = serializer(page.rows, many=True, context=self.context).data
        response = Response({"results": rows, "next": self._next(page.next)})
        if settings.SEARCH_BACKEND != "postgresql":
            response["Waybill-Search"] = page.by + (f'; degraded="{page.note}"' if page.note else "")
        return response

    def found(
        self, find: Callable[..., Page[Any]], target: str, serializer: type[serializers.BaseSerializer[Any]]
    ) -> Response:
        """Return a page of what a query finds; where that is nothing, with `warnings` that say what in it may be a slip."""
        asked = self.query(target)
        page = find(self.actor, **asked)
        response = self.page(page, serializer)
        slips = [] if page.rows else slips_of(self.actor, asked["environments"], asked["query"], target)
        if slips:
            response.data["warnings"] = slips
        return response

    def _next(self, cursor: str | None) -> str | None:
        if cursor is None:
            return None
        parameters = self.request.query_params.copy()
        parameters["cursor"] = cursor
        return self.request.build_absolute_uri(f"{self.request.path}?{parameters.urlencode()}")


def parameters_of(view: APIView, handler: Any) -> list[str]:
    """Return the names of the query parameters that OpenAPI says of a method of a view."""
    schema = getattr(handler, "kwargs", {}).get("schema")
    if schema is None:
        return []
    told = schema()
    told.view = view
    return [one.name for one in told.get_override_parameters() if one.location == OpenApiParameter.QUERY]


def said_in(request: Request) -> str:
    """Return the words of `q`."""
    return str(request.query_params.get("q", "")).replace("\x00", "").strip()


def numbered(rows: QuerySet[Any], request: Request) -> Page[Any]:
    """Return a page of rows with a numeric key and a name, of which `q` may give a part, newest first."""
    if words := said_in(request):
        rows = rows.filter(name__icontains=words)
    limit, cursor = parse_limit(request.query_params.get("limit")), request.query_params.get("cursor")
    if cursor:
        rows = rows.filter(pk__lt=decode_number_cursor(cursor))
    found: list[Model] = list(rows.order_by("-pk")[: limit + 1])
    return Page(found[:limit], encode_cursor(found[limit - 1].pk) if len(found) > limit else None)


def uuid_or_404(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise NotFound("there is nothing with this id that you may see") from error


def number_or_404(text: str) -> int:
    """Return a numeric id; a junk one is simply not there."""
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise NotFound("there is nothing with this id that you may see")
    return int(text)


class Reason(serializers.Serializer[Any]):
    """Why; kept in the audit list."""

    reason = serializers.CharField(max_length=1000)


class PerhapsReason(serializers.Serializer[Any]):
    """Why, where a reader may leave it out; kept in the audit list."""

    reason = serializers.CharField(max_length=1000, required=False, allow_blank=True, default="")


Body = type[serializers.Serializer[Any]]


def validated(serializer: Body, data: Any, *, answers: Body | None = None) -> dict[str, Any]:
    """Return the checked body of a request; raises a problem that names each field.

    answers  what GET answers of the same thing: sent back whole, what of it cannot be changed is passed over.
    """
    if not isinstance(data, dict):
        raise Invalid("send a JSON object")
    form = serializer(data=data)
    told = answers().fields if answers else {}
    check_names(form, {name: value for name, value in data.items() if name in form.fields or name not in told})
    form.is_valid(raise_exception=True)
    return dict(form.validated_data)


def check_names(form: object, said: Any, within: str = "") -> None:
    """Raise Invalid for a name that this body, or a list or an object in it, does not have: misspelt, it would be passed over silently."""
    if isinstance(form, serializers.ListSerializer):
        for at, one in enumerate(said if isinstance(said, list) else []):
            check_names(form.child, one, f"{within}[{at}]")
    elif isinstance(form, serializers.Serializer) and isinstance(said, dict):
        for name, value in said.items():
            path = f"{within}.{name}".lstrip(".")
            if name not in form.fields:
                raise Invalid(f"there is no field “{path[:80]}” here: {_meant(name, list(form.fields))}")
            check_names(form.fields[name], value, path)


def _instead(name: str, known: Sequence[str], path: str) -> str:
    target = path.rstrip("/").rpartition("/")[2]
    asks = {"q", "since"} <= set(known) and target in TARGETS and name in fields_of(target)
    return f"the query asks for it, as q={name}:…" if asks else _meant(name, known)


def _meant(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name[:80], known, n=1)
    return f"{near[0]} was probably meant" if near else f"there are {', '.join(known)}" if known else "it takes none"


class Moment(serializers.DateTimeField):
    """A time of a request with its zone: one without is refused, not guessed to be UTC."""

    default_error_messages = {"naive": "A time needs its zone, such as 2026-11-27T08:30:00Z."}

    def enforce_timezone(self, value: datetime) -> datetime:
        if value.tzinfo is None:
            self.fail("naive")
        return super().enforce_timezone(value)
