"""REST of the map and of the figures: the same reads as the pages, one environment after the other."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from console.core.errors import Invalid, NotFound
from console.identity.models import Environment
from messages.access import get_visible_flow
from messages.api.base import LIST_PARAMETERS, PROBLEMS, View, number_or_404
from messages.figures.queries import Figures, Step, read_figures
from messages.figures.ranges import range_of
from messages.models import Flow
from messages.search.window import Window, parse_window
from messages.topology.graph import Edge, Graph, Node, near, of_flow
from messages.topology.queries import Topology, read_topology, system_named

TIMES = [one for one in LIST_PARAMETERS if one.name in {"environment", "window", "since", "until"}]
FLOW = OpenApiParameter(
    "flow", int, description="Id of a flow, as `flows` and `flow_id` have it, not its name: only what goes through it."
)
SYSTEM = OpenApiParameter("system", str, description="Name of a system: only it, its neighbours and what goes between.")


class NodeOut(serializers.Serializer[Any]):
    """A system, a destination where many meet, or a side that nobody reported. Counts are tries in the time asked for, as those of connections."""

    key = serializers.CharField(help_text="What connections call it; stable within an answer.")
    kind = serializers.ChoiceField(choices=["system", "destination", "unknown"])
    name = serializers.CharField()
    health = serializers.ChoiceField(choices=["well", "failures", "failing", "quiet"])
    sent = serializers.IntegerField()
    taken = serializers.IntegerField()
    processed = serializers.IntegerField()
    failed = serializers.IntegerField()
    waiting = serializers.IntegerField(help_text="Dead letters that died at it and wait.")
    silent = serializers.BooleanField(
        source="quiet", help_text="The agents that report it have been silent for ten minutes."
    )


class EdgeOut(serializers.Serializer[Any]):
    """What went from one to another in one flow."""

    sender = serializers.CharField(help_text="`key` of one of the systems.")
    receiver = serializers.CharField()
    flow_id = serializers.IntegerField()
    flow = serializers.CharField()
    destination = serializers.CharField()
    count = serializers.IntegerField(help_text="Tries: a message that was processed three times is three.")
    failed = serializers.IntegerField(help_text="Of them.")
    about = serializers.BooleanField(
        help_text="The counts are a share of those of several connections: nobody says whose message was taken by whom."
    )
    health = serializers.CharField()
    tie = serializers.ChoiceField(
        choices=["destination", "flow", "messages", "nobody"], help_text="What ties the two ends."
    )


class TopologyOut(serializers.Serializer[Any]):
    """The map of one environment, as far as the key may see it."""

    environment = serializers.SlugField()
    since = serializers.DateTimeField()
    until = serializers.DateTimeField()
    cut = serializers.BooleanField(
        help_text="Too many combinations of flow, system and destination: the busiest are here."
    )
    systems = NodeOut(many=True)
    connections = EdgeOut(many=True)


class FigureStepOut(serializers.Serializer[Any]):
    """Counts of one step that begins at `at`; percentiles in ms, null when they are of nothing."""

    at = serializers.DateTimeField()
    delivered = serializers.IntegerField()
    failed = serializers.IntegerField()
    replays = serializers.IntegerField()
    processed = serializers.IntegerField(help_text="Events of receivers that processed, failed ones included.")
    in_percentiles = serializers.IntegerField(
        help_text="Of how many of these the percentiles are: of steps of an hour and longer what was reported late may be missing."
    )
    p50_ms = serializers.FloatField(allow_null=True)
    p95_ms = serializers.FloatField(allow_null=True)
    p99_ms = serializers.FloatField(allow_null=True)


class FiguresOfTimeOut(serializers.Serializer[Any]):
    """What went through one flow, or through all that the key may see, in at most 400 steps."""

    environment = serializers.SlugField()
    flow = serializers.CharField(allow_null=True)
    since = serializers.DateTimeField()
    until = serializers.DateTimeField()
    step_s = serializers.IntegerField()
    total = FigureStepOut()
    steps = FigureStepOut(many=True)


def _results(name: str, shape: type[serializers.Serializer[Any]]) -> Any:
    return inline_serializer(f"{name}List", {"results": shape(many=True)})


class _Timed(View):
    def asked_window(self, now: datetime) -> Window:
        return self.window(now=now) or parse_window(None, now=now)

    def asked_flow(self) -> Flow | None:
        asked = self.request.query_params.get("flow")
        if not asked:
            return None
        if not asked.isascii() or not asked.isdigit():
            raise Invalid(
                f"flow is the id of a flow here, and “{asked[:80]}” is none: /api/v1/flows?q=… has the ids by name"
            )
        return get_visible_flow(self.actor, number_or_404(asked))


class TopologyMap(_Timed):
    @extend_schema(
        operation_id="read_topology",
        parameters=[*TIMES, FLOW, SYSTEM],
        responses={200: _results("Topology", TopologyOut), **PROBLEMS},
    )
    def get(self, request: Request) -> Response:
        """Who sent what to whom, and how it went. Times are whole hours."""
        flow, name = self.asked_flow(), request.query_params.get("system", "").replace("\x00", "")
        environments, now = [flow.environment] if flow else self.environments(), timezone.now()
        window = self.asked_window(now)
        found = [(one, read_topology(self.actor, one, window, now=now)) for one in environments]
        if name:
            found = [(one, topology) for one, topology in found if system_named(topology, name)]
            if not found:
                raise NotFound("there is no such system in this time that you may see")
        results = [_topology(one, topology, flow, name) for one, topology in found]
        return Response({"results": TopologyOut(results, many=True).data})


def _topology(environment: Environment, topology: Topology, flow: Flow | None, name: str) -> dict[str, Any]:
    graph: Graph = topology.graph
    if flow:
        graph = of_flow(graph, flow.pk)
    if name:
        graph = near(graph, system_named(topology, name))
    systems: list[Node] = graph.systems
    others = sorted((node for node in graph.nodes.values() if node.kind != "system"), key=lambda node: node.key)
    return {
        "environment": environment.slug,
        "since": topology.since,
        "until": topology.until,
        "cut": topology.cut,
        "systems": [*systems, *others],
        "connections": [_edge(edge, topology) for edge in graph.edges if edge.flow_id in topology.flows],
    }


def _edge(edge: Edge, topology: Topology) -> dict[str, Any]:
    return {
        "sender": edge.source,
        "receiver": edge.target,
        "flow_id": edge.flow_id,
        "flow": topology.flows[edge.flow_id].name,
        "destination": edge.destination,
        "count": edge.count,
        "failed": edge.failed,
        "about": edge.about,
        "health": edge.health,
        "tie": edge.tie,
    }


class FiguresOfTime(_Timed):
    @extend_schema(
        operation_id="read_figures",
        parameters=[*TIMES, FLOW],
        responses={200: _results("FiguresOfTime", FiguresOfTimeOut), **PROBLEMS},
    )
    def get(self, request: Request) -> Response:
        """Throughput, failures, replays and latency by step; what was changed meanwhile is at `changes`."""
        now = timezone.now()
        flow, span = self.asked_flow(), range_of(self.asked_window(now), now=now)
        environments = [flow.environment] if flow else self.environments()
        results = [_figures(one, read_figures(self.actor, one, span, flow=flow), flow) for one in environments]
        return Response({"results": FiguresOfTimeOut(results, many=True).data})


def _figures(environment: Environment, figures: Figures, flow: Flow | None) -> dict[str, Any]:
    return {
        "environment": environment.slug,
        "flow": flow and flow.name,
        "since": figures.range.since,
        "until": figures.range.until,
        "step_s": int(figures.range.step.total_seconds()),
        "total": _step(figures.total),
        "steps": [_step(step) for step in figures.steps],
    }


def _step(step: Step) -> dict[str, Any]:
    took = {f"{name}_ms": step.latency_ms(name) for name in ("p50", "p95", "p99")}
    counts = {name: getattr(step, name) for name in ("delivered", "failed", "replays", "processed", "in_percentiles")}
    return {"at": step.at, **counts, **took}
