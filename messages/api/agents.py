"""REST of agents: who pushes, when they were heard, how much they may send."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from console.identity.access import check_can_administer, get_visible_agent, get_visible_environment, visible_agents
from console.identity.administration import end_agent_key, issue_agent_key
from console.identity.models import Key
from messages.api import serializers as out
from messages.api.base import PROBLEMS, View, number_or_404, numbered, validated
from messages.api.views import listing, reading
from messages.ingest.clocks import latest_readings
from messages.ingest.quotas import MOST_BYTES, MOST_EVENTS, set_quota
from messages.models import ClockReading


class QuotaIn(serializers.Serializer[Any]):
    """What is left out stays as it is."""

    events_per_s = serializers.IntegerField(min_value=1, max_value=MOST_EVENTS, allow_null=True, required=False)
    bytes_per_s = serializers.IntegerField(min_value=1, max_value=MOST_BYTES, allow_null=True, required=False)


class AgentIn(serializers.Serializer[Any]):
    """A name; one that exists gets another key."""

    environment = serializers.SlugField()
    name = serializers.CharField(max_length=120)


class KeyOut(serializers.ModelSerializer[Key]):
    """A key without its text: only its digest is kept."""

    class Meta:
        model = Key
        fields = ("id", "prefix", "created_at", "created_by", "last_used_at", "expires_at", "revoked_at")


class NewKeyOut(serializers.Serializer[Any]):
    """The key's text, this once."""

    agent = out.AgentOut()
    key = serializers.CharField()
    key_id = serializers.IntegerField()


class ClockOut(serializers.ModelSerializer[ClockReading]):
    """The newest reading of one system's clock; system null: the agent's own. Not exact: the least that it is ahead."""

    system = serializers.CharField(source="system.name", allow_null=True, default=None)

    class Meta:
        model = ClockReading
        fields = ("system", "hour", "ahead_us", "exact", "words")


class Agents(View):
    @listing(out.AgentOut, searchable=False)
    def get(self, request: Request) -> Response:
        rows = visible_agents(self.actor).filter(environment__in=self.environments())
        return self.page(numbered(rows, request), out.AgentOut)

    @extend_schema(operation_id="issue_agent_key", request=AgentIn, responses={201: NewKeyOut, **PROBLEMS})
    def post(self, request: Request) -> Response:
        """Make an agent and a key for it, or another key; the text is in this answer and nowhere else."""
        asked = validated(AgentIn, request.data)
        environment = get_visible_environment(self.actor, asked["environment"])
        key, text = issue_agent_key(environment, asked["name"], by=self.actor)
        response = Response(NewKeyOut({"agent": key.agent, "key": text, "key_id": key.pk}).data, status=201)
        response["Cache-Control"] = "no-store"
        return response


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


class AgentClocks(View):
    @extend_schema(
        operation_id="list_agent_clocks",
        responses={200: inline_serializer("ClockList", {"results": ClockOut(many=True)}), **PROBLEMS},
    )
    def get(self, request: Request, pk: str) -> Response:
        """How far the clocks of what it reports are ahead of ours: the newest reading of each, of the last day."""
        agent = get_visible_agent(self.actor, number_or_404(pk))
        readings = latest_readings([agent], now=timezone.now()).get(agent.pk, [])
        return Response({"results": ClockOut(readings, many=True).data})


class AgentKeys(View):
    @extend_schema(
        operation_id="list_agent_keys",
        responses={200: inline_serializer("KeyList", {"results": KeyOut(many=True)}), **PROBLEMS},
    )
    def get(self, request: Request, pk: str) -> Response:
        """The agent's keys, for administrators of its environment."""
        agent = get_visible_agent(self.actor, number_or_404(pk))
        check_can_administer(self.actor, agent.environment)
        return Response({"results": KeyOut(agent.keys.all(), many=True).data})


class OneAgentKey(View):
    @extend_schema(operation_id="revoke_agent_key", responses={204: None, **PROBLEMS})
    def delete(self, request: Request, pk: str, key: str) -> Response:
        """Revoke a key: requests with it are refused within seconds."""
        agent = get_visible_agent(self.actor, number_or_404(pk))
        end_agent_key(agent.environment, agent.pk, number_or_404(key), by=self.actor)
        return Response(status=204)
