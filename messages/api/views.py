"""The REST views that read."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from console.audit.access import visible_audit
from console.core.errors import NotFound
from console.core.paging import Page, decode_uuid_cursor, encode_cursor, parse_limit
from messages.access import (
    get_visible_dead_letter,
    get_visible_event,
    visible_replays,
)
from messages.api import journey_serializers as journeys
from messages.api import serializers as out
from messages.api.base import LIST_PARAMETERS, PROBLEMS, SAID, View, said_in, uuid_or_404
from messages.dead_letters.queries import later_of
from messages.models import Flow
from messages.payloads.present import readable_payload
from messages.payloads.queries import StoredPayload, read_payload
from messages.replay.services import hindrance_of
from messages.search.queries import find_dead_letters, find_events, find_messages
from messages.told import get_message

PAGE_PARAMETERS = [parameter for parameter in LIST_PARAMETERS if parameter.name in {"limit", "cursor", "environment"}]
OF_AUDIT = ("object_kind", "object_id", "actor", "action")


def listing(serializer: type[serializers.BaseSerializer[Any]], *more: OpenApiParameter, searchable: bool) -> Any:
    """Describe a list for OpenAPI: {"results": […], "next": address or null}. searchable: by a query; else `q` is part of a name."""
    name = serializer.__name__.removesuffix("Out")
    fields: dict[str, Any] = {
        "results": serializer(many=True),
        "next": serializers.URLField(allow_null=True, help_text="The following page."),
    }
    if searchable:
        fields["warnings"] = serializers.ListField(
            child=serializers.CharField(),
            required=False,
            help_text="There only where nothing was found: names of `q` that may be slips.",
        )
    shape = inline_serializer(f"{name}List", fields)
    parameters = [*(LIST_PARAMETERS if searchable else [SAID, *PAGE_PARAMETERS]), *more]
    return extend_schema(operation_id=f"list_{name.lower()}", parameters=parameters, responses={200: shape, **PROBLEMS})


def reading(serializer: type[serializers.BaseSerializer[Any]]) -> Any:
    return extend_schema(
        operation_id=f"read_{serializer.__name__.removesuffix('Out').lower()}", responses={200: serializer, **PROBLEMS}
    )


class Messages(View):
    @listing(out.MessageOut, searchable=True)
    def get(self, request: Request) -> Response:
        """Messages, newest first."""
        return self.found(find_messages, "messages", out.MessageOut)


class OneMessage(View):
    @reading(out.MessageOut)
    def get(self, request: Request, pk: str) -> Response:
        return Response(out.MessageOut(get_message(self.actor, uuid_or_404(pk)), context=self.context).data)


class Events(View):
    @listing(out.EventOut, searchable=True)
    def get(self, request: Request) -> Response:
        """Events, newest first."""
        return self.found(find_events, "events", out.EventOut)


class OneEvent(View):
    @reading(out.EventOut)
    def get(self, request: Request, pk: str) -> Response:
        return Response(out.EventOut(get_visible_event(self.actor, uuid_or_404(pk)), context=self.context).data)


class Journeys(View):
    @listing(journeys.JourneyLine, searchable=True)
    def get(self, request: Request) -> Response:
        """Recent messages, each with the trace under which its journey is read."""
        return self.found(find_messages, "messages", journeys.JourneyLine)


class DeadLetters(View):
    @listing(out.DeadLetterOut, searchable=True)
    def get(self, request: Request) -> Response:
        """Dead letters, newest first; all of them unless a window is asked for."""
        return self.found(find_dead_letters, "dead-letters", out.DeadLetterOut)


class OneDeadLetter(View):
    @reading(out.DeadLetterAloneOut)
    def get(self, request: Request, pk: str) -> Response:
        """One dead letter, and why it cannot be sent again now."""
        letter = get_visible_dead_letter(self.actor, uuid_or_404(pk))
        later = later_of(self.actor, letter)
        letter.hindrance, letter.later_id = hindrance_of(letter, self.actor), later and later.pk  # type: ignore[attr-defined]
        return Response(out.DeadLetterAloneOut(letter, context=self.context).data)


class DeadLetterPayload(View):
    @extend_schema(operation_id="read_dead_letter_payload", responses={200: out.PayloadOut, **PROBLEMS})
    def get(self, request: Request, pk: str) -> Response:
        """The body and headers of a dead letter; for operators, and audited."""
        letter = get_visible_dead_letter(self.actor, uuid_or_404(pk))
        found = read_payload(self.actor, letter.flow, letter, letter.pk, letter.payload_on)
        return payload_response(letter.flow, found, (letter.origin, letter.queue))


class EventPayload(View):
    @extend_schema(operation_id="read_event_payload", responses={200: out.PayloadOut, **PROBLEMS})
    def get(self, request: Request, pk: str) -> Response:
        """The body and headers that came with an event; for operators, and audited."""
        event = get_visible_event(self.actor, uuid_or_404(pk))
        found = read_payload(self.actor, event.flow, event, event.id, event.payload_on)
        return payload_response(event.flow, found, (event.destination,))


def payload_response(flow: Flow, payload: StoredPayload | None, destinations: Sequence[str | None]) -> Response:
    if payload is None:
        raise NotFound("no payload is stored for it")
    read = readable_payload(flow, payload, destinations)
    body = {
        "content_type": payload.content_type,
        "size_bytes": payload.size_bytes,
        "body": None if read.hides_stored else _text(payload.body),
        "body_base64": None if read.hides_stored else base64.b64encode(payload.body).decode(),
        "readable": {
            "text": _text(read.body, cut=read.cut) if read.steps and not read.withheld else None,
            "content_type": read.content_type,
            "steps": read.steps,
            "problem": read.problem,
            "truncated": read.cut,
            "masked": read.masked,
            "withheld": read.withheld,
        },
        "headers": payload.headers,
        "properties": payload.properties,
        "masked": payload.masked,
    }
    response = Response(out.PayloadOut(body).data)
    response["Cache-Control"] = "no-store"
    return response


def _text(body: bytes, *, cut: bool = False) -> str | None:
    for most in range(len(body), len(body) - (4 if cut else 1), -1):  # the cut may have split the last character
        try:
            return body[: max(most, 0)].decode()
        except UnicodeDecodeError:
            continue
    return None


class OneReplay(View):
    @reading(out.ReplayOut)
    def get(self, request: Request, pk: str) -> Response:
        """One replay: its state, the broker's words, and the receiver's event that proves it."""
        replay = visible_replays(self.actor).filter(pk=uuid_or_404(pk)).first()
        if replay is None:
            raise NotFound("there is no such replay that you may see")
        return Response(out.ReplayOut(replay).data)


class Replays(View):
    @extend_schema(
        operation_id="list_replays_of_dead_letter",
        responses={
            200: inline_serializer(
                "ReplayList", {"results": out.ReplayOut(many=True), "next": serializers.URLField(allow_null=True)}
            ),
            **PROBLEMS,
        },
    )
    def get(self, request: Request, pk: str) -> Response:
        """Every replay of one dead letter, newest first."""
        letter = get_visible_dead_letter(self.actor, uuid_or_404(pk))
        rows = visible_replays(self.actor).filter(dead_letter=letter).order_by("-pk")[:200]
        return Response({"results": out.ReplayOut(rows, many=True).data, "next": None})


class Audit(View):
    @listing(out.AuditOut, *(OpenApiParameter(name, str) for name in OF_AUDIT), searchable=False)
    def get(self, request: Request) -> Response:
        """Who did what, newest first; filter with `object_kind` and `object_id`, or `q`: part of an object's name."""
        limit, cursor = parse_limit(request.query_params.get("limit")), request.query_params.get("cursor")
        rows = visible_audit(self.actor)
        if request.query_params.get("environment"):
            rows = rows.filter(environment__in=self.environments())
        for name in OF_AUDIT:
            if value := request.query_params.get(name, "").replace("\x00", ""):
                rows = rows.filter(**{name: value})
        if words := said_in(request):
            rows = rows.filter(object_label__icontains=words)
        if cursor:
            rows = rows.filter(pk__lt=decode_uuid_cursor(cursor))
        found = list(rows.order_by("-pk")[: limit + 1])
        return self.page(
            Page(found[:limit], encode_cursor(found[limit - 1].pk) if len(found) > limit else None), out.AuditOut
        )


class OneAuditEntry(View):
    @reading(out.AuditOut)
    def get(self, request: Request, pk: str) -> Response:
        entry = visible_audit(self.actor).filter(pk=uuid_or_404(pk)).first()
        if entry is None:
            raise NotFound("there is no such entry that you may see")
        return Response(out.AuditOut(entry).data)
