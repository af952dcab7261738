"""REST of environments and of what went through their flows: the figures of the pages Flows and Settings."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from console.identity.access import can_administer
from console.identity.models import Environment
from messages.access import get_visible_flow
from messages.api.base import PROBLEMS, View, number_or_404
from messages.api.views import PAGE_PARAMETERS
from messages.catalog.queries import FlowLine, add_figures, flow_rules, recent_destinations, systems_of_flow

ENVIRONMENT = [parameter for parameter in PAGE_PARAMETERS if parameter.name == "environment"]


class EnvironmentOut(serializers.ModelSerializer[Environment]):
    may_administer = serializers.BooleanField()

    class Meta:
        model = Environment
        fields = ("slug", "name", "colour", "position", "may_administer")


class FiguresOut(serializers.Serializer[Any]):
    """What went through a flow in 24 hours, and what waits now."""

    delivered = serializers.IntegerField()
    failed = serializers.IntegerField()
    waiting = serializers.IntegerField(help_text="Dead letters, and failed messages without one.")
    failed_messages = serializers.IntegerField(help_text="Those without a dead letter.")
    at_least = serializers.BooleanField(help_text="More of these may wait than were looked at.")
    oldest_at = serializers.DateTimeField(allow_null=True)


class FlowSystemOut(serializers.Serializer[Any]):
    """What one system did in the flow at one destination in 24 hours."""

    system = serializers.CharField(source="system.name")
    destination = serializers.CharField()
    operation = serializers.CharField()
    count = serializers.IntegerField()
    failed = serializers.IntegerField()


class DestinationOut(serializers.Serializer[Any]):
    """A destination of the last 24 hours and the rule that decides its flow now; null: its own name."""

    environment = serializers.SlugField()
    destination = serializers.CharField()
    count = serializers.IntegerField()
    pattern = serializers.CharField(allow_null=True)
    flow = serializers.CharField(allow_null=True)


def _list(name: str, shape: type[serializers.BaseSerializer[Any]], *parameters: Any) -> Any:
    answer = inline_serializer(f"{shape.__name__}List", {"results": shape(many=True)})
    return extend_schema(operation_id=f"list_{name}", parameters=list(parameters), responses={200: answer, **PROBLEMS})


class Environments(View):
    @_list("environments", EnvironmentOut, *ENVIRONMENT)
    def get(self, request: Request) -> Response:
        """The environments that the key may see, and which of them it may administer."""
        found = self.environments()
        for environment in found:
            environment.may_administer = can_administer(self.actor, environment)  # type: ignore[attr-defined]
        return Response({"results": EnvironmentOut(found, many=True).data})


class FlowFigures(View):
    @extend_schema(operation_id="read_flow_figures", responses={200: FiguresOut, **PROBLEMS})
    def get(self, request: Request, pk: str) -> Response:
        """What was delivered, what failed, what waits."""
        line = FlowLine(flow=get_visible_flow(self.actor, number_or_404(pk)))
        add_figures(self.actor, [line])
        return Response(FiguresOut(line).data)


class FlowSystems(View):
    @_list("flow_systems", FlowSystemOut)
    def get(self, request: Request, pk: str) -> Response:
        """Which systems send and process in this flow, and where."""
        lines = systems_of_flow(get_visible_flow(self.actor, number_or_404(pk)), now=timezone.now())
        return Response({"results": FlowSystemOut(lines, many=True).data})


class Destinations(View):
    @_list("destinations", DestinationOut, *ENVIRONMENT)
    def get(self, request: Request) -> Response:
        """The 50 busiest destinations of each environment, with the rule that decides their flow now."""
        found = []
        for environment in self.environments():
            rules = list(flow_rules(environment))
            for one in recent_destinations(self.actor, environment, rules, now=timezone.now()):
                decided = {"pattern": one.rule and one.rule.pattern, "flow": one.rule and one.rule.flow.name}
                found.append({"environment": environment.slug, "destination": one.name, "count": one.count, **decided})
        return Response({"results": DestinationOut(found, many=True).data})
