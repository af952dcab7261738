"""REST of the overview: the same queries as the page, one environment after the other."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from console.dashboard import overview as queries
from console.identity.models import Environment
from messages.api import serializers as out
from messages.api.base import PROBLEMS, View
from messages.api.figures import ENVIRONMENT
from messages.api.group_serializers import FailedHereOut, UnseenOut
from messages.compensation.queries import count_needing
from messages.groups.failed_here import failed_here
from messages.groups.unseen import died_unseen
from messages.search.window import BadWindow

WINDOWS = ["1h", "24h"]


class FailingOut(serializers.Serializer[Any]):
    """What waits of one failure group: dead letters, and failed messages without one; `hours` counts failures by hour, the oldest of 24 first."""

    flow = serializers.CharField()
    flow_id = serializers.IntegerField()
    group = serializers.CharField(
        source="group.reference", allow_null=True, default=None, help_text="Its page is /groups/<reference>/."
    )
    title = serializers.CharField(source="group.heading", allow_null=True, default=None)
    error_type = serializers.CharField()
    waiting = serializers.IntegerField(help_text="Letters and failed messages.")
    failed_messages = serializers.IntegerField(source="failed", help_text="Without a dead letter; as of seconds ago.")
    at_least = serializers.BooleanField(help_text="More failed messages may stand than were looked at.")
    replaying = serializers.IntegerField()
    oldest_at = serializers.DateTimeField()
    hours = serializers.ListField(child=serializers.IntegerField())
    sample = out.DeadLetterOut(allow_null=True, help_text="The newest letter, of the eight largest groups.")


class RateOut(serializers.Serializer[Any]):
    """Messages a minute in the step that begins at `at`."""

    at = serializers.DateTimeField()
    delivered = serializers.FloatField()
    failed = serializers.FloatField()


class SeenAgentOut(serializers.Serializer[Any]):
    """state: alive (heard within a minute), late (ten), silent, or new (never)."""

    id = serializers.IntegerField(source="agent.pk")
    name = serializers.CharField(source="agent.name")
    state = serializers.CharField()
    heard_at = serializers.DateTimeField(allow_null=True)
    clock = serializers.CharField(help_text="What is wrong with the worst of its clocks; empty when nothing is.")
    depth = serializers.IntegerField(help_text="Letters that wait in its queues.")


class NeedingOut(serializers.Serializer[Any]):
    """Compensations that need a person; count stops at 1,001."""

    count = serializers.IntegerField()
    oldest_at = serializers.DateTimeField(allow_null=True)


class OverviewOut(serializers.Serializer[Any]):
    """What is failing now in one environment, and what passes."""

    environment = serializers.SlugField()
    has_data = serializers.BooleanField(help_text="Whether anything ever arrived that the key may see.")
    flows_failing = serializers.IntegerField(help_text="With something that waits of a cause that nobody resolved.")
    waiting = serializers.IntegerField()
    at_least = serializers.BooleanField(help_text="More may wait than was looked at.")
    replaying = serializers.IntegerField()
    oldest = out.DeadLetterOut(allow_null=True)
    compensations = NeedingOut(source="needing", help_text="Those that need a person.")
    died_elsewhere = UnseenOut()
    failed_here = FailedHereOut()
    failing = FailingOut(many=True)
    rates = RateOut(many=True)
    agents = SeenAgentOut(many=True)


class Overview(View):
    @extend_schema(
        operation_id="read_overview",
        parameters=[*ENVIRONMENT, OpenApiParameter("window", str, enum=WINDOWS, description="Of the rates.")],
        responses={200: OverviewOut(many=True), **PROBLEMS},
    )
    def get(self, request: Request) -> Response:
        """What fails, what waits, what passes a minute, and which agents are alive; changes are at `changes`."""
        window = request.query_params.get("window") or "24h"
        if window not in WINDOWS:
            raise BadWindow(
                f"the window of the overview is {' or '.join(WINDOWS)}, not “{window[:30]}”; `figures` takes any"
            )
        found = [self._of(one, window) for one in self.environments()]
        return Response(OverviewOut(found, many=True, context=self.context).data)

    def _of(self, environment: Environment, window: str) -> dict[str, Any]:
        actor, now = self.actor, timezone.now()
        groups = queries.find_failing(actor, environment, now=now)
        queries.add_samples(actor, environment, groups)
        queries.add_hours(groups[queries.SHOWN_GROUPS :], now=now)
        verdict = queries.verdict_of(actor, environment, groups)
        return {
            "environment": environment.slug,
            "has_data": queries.has_data(actor, environment),
            "flows_failing": verdict.flows,
            "waiting": verdict.waiting,
            "at_least": verdict.at_least,
            "replaying": verdict.replaying,
            "oldest": verdict.oldest,
            "needing": count_needing(actor, environment, now=now),
            "died_elsewhere": died_unseen(actor, environment),
            "failed_here": failed_here(actor, environment),
            "failing": groups,
            "rates": queries.message_rates(queries.recent_figures(actor, environment, window=window, now=now)),
            "agents": queries.seen_agents(actor, environment, now=now),
        }
