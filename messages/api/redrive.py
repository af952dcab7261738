"""REST of sending a whole dead-letter queue back by its broker itself."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from messages.access import get_visible_connection
from messages.api.base import CONFLICTS, View, number_or_404, validated
from messages.catalog.redrive import Standing, cancel_redrive, standing_of, start_redrive


class MoveOut(serializers.Serializer[Any]):
    """One move. Counts are about: brokers say so."""

    status = serializers.CharField(help_text="running, completed, cancelling, cancelled, failed or unknown")
    moved = serializers.IntegerField()
    to_move = serializers.IntegerField()
    destination = serializers.CharField(help_text="Empty: each to the queue it died in.")
    failure = serializers.CharField()
    started_at = serializers.DateTimeField()


class RedriveOut(serializers.Serializer[Any]):
    """What a move of this queue would do, and the latest ten."""

    queue = serializers.CharField()
    redriver = serializers.CharField(help_text="Who moves the messages.")
    waiting = serializers.IntegerField(allow_null=True, help_text="About how many the queue holds.")
    sources = serializers.ListField(
        child=serializers.CharField(), help_text="Where they go; empty when nothing can be moved."
    )
    open_letters = serializers.IntegerField(
        help_text="Letters of this queue that are open here, at most 10,000; they stay open."
    )
    harvesters = serializers.ListField(child=serializers.CharField(), help_text="Agents that take from it meanwhile.")
    fastest = serializers.IntegerField(help_text="The most messages a second that can be asked for.")
    moves = MoveOut(many=True)


class RedriveIn(serializers.Serializer[Any]):
    """Send everything in the queue back, unmodified and without word of each."""

    queue = serializers.CharField(max_length=300)
    reason = serializers.CharField(max_length=500)
    per_second = serializers.IntegerField(
        min_value=1, required=False, allow_null=True, help_text="Without: as fast as it goes."
    )


class StopIn(serializers.Serializer[Any]):
    """Which queue's move is stopped."""

    queue = serializers.CharField(max_length=300)
    reason = serializers.CharField(max_length=500, allow_blank=True, default="")


QUEUE = OpenApiParameter("queue", str, required=True, description="The dead-letter queue.")


class Redrive(View):
    @extend_schema(operation_id="see_redrive", parameters=[QUEUE], responses={200: RedriveOut, **CONFLICTS})
    def get(self, request: Request, pk: str) -> Response:
        """What a move would do, how far the running one is, and the ones before it."""
        return Response(RedriveOut(self._standing(pk, request.query_params.get("queue", ""))).data)

    @extend_schema(operation_id="start_redrive", request=RedriveIn, responses={202: RedriveOut, **CONFLICTS})
    def post(self, request: Request, pk: str) -> Response:
        """Have the broker move everything back to where it died; administrators only."""
        asked = validated(RedriveIn, request.data)
        found = get_visible_connection(self.actor, number_or_404(pk))
        queue = asked["queue"]
        start_redrive(found, queue, per_second=asked.get("per_second"), reason=asked["reason"], by=self.actor)
        return Response(RedriveOut(self._standing(pk, queue)).data, status=202)

    def _standing(self, pk: str, queue: str) -> Standing:
        found = get_visible_connection(self.actor, number_or_404(pk))
        return standing_of(found, queue, by=self.actor, now=timezone.now())


class CancelRedrive(Redrive):
    http_method_names = ["post"]

    @extend_schema(operation_id="cancel_redrive", request=StopIn, responses={200: RedriveOut, **CONFLICTS})
    def post(self, request: Request, pk: str) -> Response:
        """Stop the move that is running; what it has moved stays moved."""
        asked = validated(StopIn, request.data)
        cancel_redrive(
            get_visible_connection(self.actor, number_or_404(pk)), asked["queue"], by=self.actor, reason=asked["reason"]
        )
        return Response(RedriveOut(self._standing(pk, asked["queue"])).data)
