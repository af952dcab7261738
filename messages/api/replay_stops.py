"""REST of what stops replays: everything at once, of one flow or of environments, until somebody lifts it."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from console.core.errors import Invalid
from console.identity.access import get_visible_environment
from messages.access import get_visible_flow_named
from messages.api.base import CONFLICTS, LIST_PARAMETERS, PROBLEMS, Reason, View, number_or_404, validated
from messages.models import ReplayStop
from messages.plans.access import get_visible_stop, visible_stops
from messages.plans.stops import lift_stop, stop_everywhere, stop_replays

ENVIRONMENT = [one for one in LIST_PARAMETERS if one.name == "environment"]


class ReplayStopOut(serializers.ModelSerializer[ReplayStop]):
    environment = serializers.SlugField(source="environment.slug")
    flow = serializers.CharField(source="flow.name", allow_null=True, default=None, help_text="Null: every one there.")

    class Meta:
        model = ReplayStop
        fields = ("id", "environment", "flow", "stopped_by", "stopped_at", "reason")


class ReplayStopIn(Reason):
    """A flow, a whole environment, or `everywhere`: each environment that the key operates."""

    environment = serializers.SlugField(required=False)
    flow = serializers.CharField(max_length=200, required=False)
    everywhere = serializers.BooleanField(default=False)


STOPS = inline_serializer("ReplayStopList", {"results": ReplayStopOut(many=True)})


class ReplayStops(View):
    @extend_schema(operation_id="list_replay_stops", parameters=ENVIRONMENT, responses={200: STOPS, **PROBLEMS})
    def get(self, request: Request) -> Response:
        """What stands now. There is at most one of a flow and one of an environment."""
        found = visible_stops(self.actor, self.environments())
        return Response({"results": ReplayStopOut(found, many=True).data})

    @extend_schema(operation_id="stop_replays", request=ReplayStopIn, responses={200: STOPS, 201: STOPS, **CONFLICTS})
    def post(self, request: Request) -> Response:
        """Send nothing again there until it is lifted: no single replay, no plan, nothing automatic. What stands already is answered 200."""
        asked: dict[str, Any] = validated(ReplayStopIn, request.data)
        if asked["everywhere"]:
            if asked.get("environment") or asked.get("flow"):
                raise Invalid("`everywhere` names no environment and no flow")
            stops = stop_everywhere(by=self.actor, reason=asked["reason"])
            return Response({"results": ReplayStopOut(stops, many=True).data}, status=201)
        if not asked.get("environment"):
            raise Invalid("say in which `environment`, or `everywhere`")
        environment = get_visible_environment(self.actor, asked["environment"])
        flow = get_visible_flow_named(self.actor, environment, asked["flow"]) if asked.get("flow") else None
        stop, new = stop_replays(environment, flow, by=self.actor, reason=asked["reason"])
        return Response({"results": [ReplayStopOut(stop).data]}, status=201 if new else 200)


class OneReplayStop(View):
    @extend_schema(operation_id="read_replay_stop", responses={200: ReplayStopOut, **PROBLEMS})
    def get(self, request: Request, pk: str) -> Response:
        """One that stands."""
        return Response(ReplayStopOut(get_visible_stop(self.actor, number_or_404(pk))).data)

    @extend_schema(operation_id="lift_replay_stop", request=Reason, responses={204: None, **PROBLEMS})
    def delete(self, request: Request, pk: str) -> Response:
        """Let replays go again, with a `reason`."""
        stop = get_visible_stop(self.actor, number_or_404(pk))
        lift_stop(stop, by=self.actor, reason=validated(Reason, request.data)["reason"])
        return Response(status=204)
