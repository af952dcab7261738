"""REST of two-way agents: the order secret of an agent, and where a connection lives."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from console.core.errors import NotFound
from console.identity.access import get_visible_agent
from messages.access import get_visible_connection
from messages.api import serializers as out
from messages.api.base import PROBLEMS, View, number_or_404, validated
from messages.catalog.connections import move_connection
from messages.models import OrderSecret
from messages.orders.queries import get_visible_agent_named, order_secret_of
from messages.orders.rights import end_order_secret, make_order_secret


class OrderSecretOut(serializers.ModelSerializer[OrderSecret]):
    """That an agent may send replays, and who allowed it; the secret itself is never told again."""

    class Meta:
        model = OrderSecret
        fields = ("made_at", "made_by")


class PlaceIn(serializers.Serializer[Any]):
    """Where a connection lives: with an agent of its environment, by name, or here at an address."""

    agent = serializers.CharField(max_length=120, allow_null=True, default=None)
    address = serializers.CharField(max_length=500, allow_blank=True, default="")


class AgentOrderSecret(View):
    @extend_schema(operation_id="retrieve_order_secret", responses={200: OrderSecretOut, **PROBLEMS})
    def get(self, request: Request, pk: str) -> Response:
        """Whether this agent may send replays, since when, by whom."""
        found = order_secret_of(get_visible_agent(self.actor, number_or_404(pk)))
        if found is None:
            raise NotFound("this agent has no order secret: it is handed no replays")
        return Response(OrderSecretOut(found).data)

    @extend_schema(
        operation_id="make_order_secret",
        request=None,
        responses={201: inline_serializer("NewOrderSecret", {"order_secret": serializers.CharField()}), **PROBLEMS},
    )
    def post(self, request: Request, pk: str) -> Response:
        """Let this agent send replays; the secret is in this answer and nowhere else. One it had before ends."""
        text = make_order_secret(get_visible_agent(self.actor, number_or_404(pk)), by=self.actor)
        response = Response({"order_secret": text}, status=201)
        response["Cache-Control"] = "no-store"
        return response

    @extend_schema(operation_id="end_order_secret", responses={204: None, **PROBLEMS})
    def delete(self, request: Request, pk: str) -> Response:
        """Hand this agent no more replays."""
        end_order_secret(get_visible_agent(self.actor, number_or_404(pk)), by=self.actor)
        return Response(status=204)


class ConnectionPlace(View):
    @extend_schema(operation_id="move_connection", request=PlaceIn, responses={200: out.ConnectionOut, **PROBLEMS})
    def put(self, request: Request, pk: str) -> Response:
        """Let a connection live with an agent, or here again at an address; it is to be approved anew, without its credentials."""
        found, asked = get_visible_connection(self.actor, number_or_404(pk)), validated(PlaceIn, request.data)
        agent = asked["agent"] and get_visible_agent_named(self.actor, found.environment, asked["agent"])
        move_connection(found, agent=agent or None, address=asked["address"], by=self.actor)
        return Response(out.ConnectionOut(found).data)
