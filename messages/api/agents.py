"""REST of agents: who pushes, when they were heard, how much they may send."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from console.identity.access import get_visible_agent, visible_agents
from messages.api import serializers as out
from messages.api.base import View, number_or_404, numbered, validated
from messages.api.views import PROBLEMS, listing, reading
from messages.ingest.quotas import MOST_BYTES, MOST_EVENTS, set_quota


class QuotaIn(serializers.Serializer[Any]):
    """What is left out stays as it is."""

    events_per_s = serializers.IntegerField(min_value=1, max_value=MOST_EVENTS, allow_null=True, required=False)
    bytes_per_s = serializers.IntegerField(min_value=1, max_value=MOST_BYTES, allow_null=True, required=False)


class Agents(View):
    @listing(out.AgentOut, searchable=False)
    def get(self, request: Request) -> Response:
        rows = visible_agents(self.actor).filter(environment__in=self.environments())
        return self.page(numbered(rows, request), out.AgentOut)


class OneAgent(View):
    @reading(out.AgentOut)
    def get(self, request: Request, pk: str) -> Response:
        return Response(out.AgentOut(get_visible_agent(self.actor, number_or_404(pk))).data)

    @extend_schema(operation_id="set_agent_quota", request=QuotaIn, responses={200: out.AgentOut, **PROBLEMS})
    def patch(self, request: Request, pk: str) -> Response:
        """Set how much the agent may send a second; null gives it what the settings give every agent."""
        agent = get_visible_agent(self.actor, number_or_404(pk))
        asked = {"events_per_s": agent.events_per_s, "bytes_per_s": agent.bytes_per_s}
        set_quota(agent, **(asked | validated(QuotaIn, request.data)), by=self.actor)
        return Response(out.AgentOut(agent).data)
