"""Journeys in REST: whole or folded, a fold page by page, and the change of a payload between two hops."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from console.core.errors import Invalid, NotFound
from console.core.paging import decode_time_cursor, encode_cursor, parse_limit
from messages.api import journey_serializers as out
from messages.api.base import PROBLEMS, View, uuid_or_404
from messages.compare.queries import compare_bodies, get_visible_bearer
from messages.journeys.links import parse_trace
from messages.journeys.queries import (
    environments_of_trace,
    journey_of_message,
    journey_of_trace,
    steps_of_fold,
)
from messages.journeys.stitch import Journey
from messages.told import get_message

ENVIRONMENT = OpenApiParameter(
    "environment", str, description="Slug; needed when several that the key may see have the trace."
)
CLOCK = OpenApiParameter("clock", str, description="`reported` leaves every time as its sender reported it.")


class SeveralEnvironments(Invalid):
    """A trace of several environments is a journey in each: name the one that is meant with `environment`."""

    code = "several_environments"


def journey_asked_for(view: View, trace_id: str) -> Journey:
    """Return the journey of a trace id, or of a whole traceparent; raises NotFound, SeveralEnvironments."""
    trace = parse_trace(trace_id)
    if trace is None:
        raise NotFound("a trace id has 32 hexadecimal digits; a whole traceparent header is taken as well")
    correct = view.request.query_params.get("clock") != "reported"
    environments = view.environments()
    if len(environments) > 1:
        environments = environments_of_trace(view.actor, environments, trace)
    if len(environments) > 1:
        named = ", ".join(one.slug for one in environments)
        raise SeveralEnvironments(f"{named} each have this trace: name the one that is meant with environment=…")
    journey = journey_of_trace(view.actor, environments, trace, correct_clocks=correct)
    if not journey.steps and not journey.dead_letters:
        raise NotFound(f"no journey that you may see has the trace {trace.hex}")
    return journey


def journey_of(view: View, pk: str) -> Journey:
    """Return the journey of a message; raises NotFound."""
    message = get_message(view.actor, uuid_or_404(pk))
    correct = view.request.query_params.get("clock") != "reported"
    return journey_of_message(view.actor, message, correct_clocks=correct)


class OneJourney(View):
    @extend_schema(
        operation_id="read_journey", parameters=[ENVIRONMENT, CLOCK], responses={200: out.JourneyOut, **PROBLEMS}
    )
    def get(self, request: Request, trace_id: str) -> Response:
        """The whole journey that a trace is part of: steps with their evidence, hops, stations, dead letters, replays."""
        return Response(out.JourneyOut(journey_asked_for(self, trace_id), context=self.context).data)


class MessageJourney(View):
    @extend_schema(operation_id="read_message_journey", parameters=[CLOCK], responses={200: out.JourneyOut, **PROBLEMS})
    def get(self, request: Request, pk: str) -> Response:
        """The journey of one message, also of one without a trace."""
        return Response(out.JourneyOut(journey_of(self, pk), context=self.context).data)


PAGED = [
    OpenApiParameter("limit", int, description="1 to 500, default 50."),
    OpenApiParameter("cursor", str, description="The `cursor` of a `next` address."),
]
STEPS = inline_serializer(
    "StepList", {"results": out.StepOut(many=True), "next": serializers.URLField(allow_null=True)}
)


class _Fold(View):
    def told(self, journey: Journey, ref: str) -> Response:
        """Return a page of the steps of a fold; raises NotFound."""
        limit, cursor = parse_limit(self.request.query_params.get("limit")), self.request.query_params.get("cursor")
        after = decode_time_cursor(cursor) if cursor else None
        if all(fold.ref != ref for fold in journey.folds):
            raise NotFound("this journey has no such fold: the refs are in `folds` of a folded journey")
        steps, following = steps_of_fold(self.actor, journey, ref, after=after, limit=limit)
        further = self._next(encode_cursor(*following) if following else None)
        return Response({"results": out.StepOut(steps, many=True).data, "next": further})


class JourneyFold(_Fold):
    @extend_schema(
        operation_id="list_steps_of_journey_fold",
        parameters=[*PAGED, ENVIRONMENT, CLOCK],
        responses={200: STEPS, **PROBLEMS},
    )
    def get(self, request: Request, trace_id: str, ref: str) -> Response:
        """The events of one fold of a folded journey, in order of time."""
        return self.told(journey_asked_for(self, trace_id), ref)


class MessageJourneyFold(_Fold):
    @extend_schema(
        operation_id="list_steps_of_message_journey_fold",
        parameters=[*PAGED, CLOCK],
        responses={200: STEPS, **PROBLEMS},
    )
    def get(self, request: Request, pk: str, ref: str) -> Response:
        """The events of one fold of a message's journey, in order of time; also of one without a trace."""
        return self.told(journey_of(self, pk), ref)


class SideOut(serializers.Serializer[Any]):
    id = serializers.UUIDField(source="bearer.id")
    kind = serializers.CharField(source="bearer.kind", help_text="event or dead letter.")
    at = serializers.DateTimeField(source="bearer.at")
    content_type = serializers.CharField()
    size_bytes = serializers.IntegerField()
    read_as = serializers.CharField(source="kind", help_text="json, xml, csv, text, hex or empty.")
    steps = serializers.ListField(child=serializers.CharField(), help_text="How it was read.")
    masked = serializers.CharField()
    missing = serializers.CharField(help_text="Why there is nothing to compare, or empty.")


class ChangedOut(serializers.Serializer[Any]):
    path = serializers.CharField()
    kind = serializers.CharField(help_text="added, removed, changed or type changed.")
    left = serializers.CharField()
    right = serializers.CharField()


class LineOut(serializers.Serializer[Any]):
    line = serializers.IntegerField()
    text = serializers.CharField()
    differs = serializers.CharField(help_text="The part that the other side has not.")


class RowOut(serializers.Serializer[Any]):
    kind = serializers.CharField(help_text="same, changed, removed, added, or gap: `hidden` lines that are the same.")
    left = LineOut(allow_null=True)
    right = LineOut(allow_null=True)
    hidden = serializers.IntegerField()


class ComparisonOut(serializers.Serializer[Any]):
    """How two bodies differ, as the caller may read them; masked values are compared as they are shown."""

    left = SideOut()
    right = SideOut()
    same = serializers.CharField()
    cut = serializers.SerializerMethodField(help_text="Not all of the bodies was compared, or not all rows are here.")
    clumsy = serializers.BooleanField(help_text="A stretch was too much work and is given as wholly replaced.")
    changes = ChangedOut(many=True, help_text="Of JSON, place by place; at most 200.")
    more_changes = serializers.BooleanField()
    headers = ChangedOut(many=True)
    rows = serializers.SerializerMethodField()

    def get_cut(self, comparison: Any) -> bool:
        return bool(comparison.cut or (comparison.rows and comparison.rows.cut))

    def get_rows(self, comparison: Any) -> list[dict[str, Any]]:
        return list(RowOut(comparison.rows.rows, many=True).data) if comparison.rows else []


class Compare(View):
    @extend_schema(
        operation_id="compare_payloads",
        parameters=[
            OpenApiParameter("left", str, required=True, description="Id of an event or dead letter."),
            OpenApiParameter("right", str, required=True, description="Id of an event or dead letter."),
        ],
        responses={200: ComparisonOut, **PROBLEMS},
    )
    def get(self, request: Request) -> Response:
        """How the payload changed between two hops; for operators, and audited as a look at both payloads."""
        left, right = (uuid_or_404(request.query_params.get(side, "")) for side in ("left", "right"))
        one, other = get_visible_bearer(self.actor, left), get_visible_bearer(self.actor, right)
        response = Response(ComparisonOut(compare_bodies(self.actor, one, other)).data)
        response["Cache-Control"] = "no-store"
        return response
