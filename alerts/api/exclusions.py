"""REST of exclusions: time that does not count for an objective, or for every one of a flow."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from alerts.models import Exclusion
from alerts.objectives.access import get_visible_exclusion, get_visible_objective
from alerts.objectives.excluding import NewExclusion, add_exclusion, withdraw_exclusion
from alerts.objectives.queries import find_exclusions
from console.core.paging import parse_limit
from console.identity.access import get_visible_environment
from messages.api.base import CONFLICTS, LIST_PARAMETERS, PROBLEMS, Moment, View, number_or_404, uuid_or_404, validated
from messages.queries import get_visible_flow_named

PAGED = [one for one in LIST_PARAMETERS if one.name in ("limit", "cursor", "environment")]
OBJECTIVE = OpenApiParameter("objective", int, description="Only of this objective, and of its flow.")


class ExclusionOut(serializers.Serializer[Any]):
    """A period that does not count, or did not before it was withdrawn."""

    id = serializers.UUIDField(source="pk")
    environment = serializers.SlugField(source="environment.slug")
    objective = serializers.IntegerField(source="objective_id", allow_null=True)
    flow = serializers.CharField(source="flow.name", allow_null=True, default=None)
    category = serializers.ChoiceField(choices=Exclusion.Category.choices)
    reason = serializers.CharField()
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField(help_text="Of the first time.")
    minutes = serializers.IntegerField()
    rule = serializers.CharField(help_text="RFC 5545; empty: once.")
    time_zone = serializers.CharField()
    made_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    withdrawn_at = serializers.DateTimeField(allow_null=True)
    withdrawn_by = serializers.CharField()


class ExclusionIn(serializers.Serializer[Any]):
    """For one objective, or, by name, for every objective of a flow of an environment. In the past or ahead."""

    objective = serializers.IntegerField(default=None, allow_null=True)
    environment = serializers.SlugField(required=False)
    flow = serializers.CharField(max_length=200, default="", allow_blank=True)
    category = serializers.ChoiceField(choices=Exclusion.Category.choices, default="maintenance")
    reason = serializers.CharField(max_length=500)
    starts_at = Moment()
    minutes = serializers.IntegerField()
    rule = serializers.CharField(max_length=200, default="", allow_blank=True, help_text="FREQ=WEEKLY;BYDAY=SU")
    time_zone = serializers.CharField(max_length=60, default="UTC", help_text="In which the rule recurs.")


class ExclusionWhy(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=500, default="", allow_blank=True)


FOUND = inline_serializer(
    "ExclusionList", {"results": ExclusionOut(many=True), "next": serializers.URLField(allow_null=True)}
)


class Exclusions(View):
    @extend_schema(operation_id="list_exclusion", parameters=[*PAGED, OBJECTIVE], responses={200: FOUND, **PROBLEMS})
    def get(self, request: Request) -> Response:
        """Exclusions, the newest first, withdrawn ones too."""
        asked = request.query_params.get("objective")
        found = find_exclusions(
            self.actor,
            environments=self.environments(),
            objective=get_visible_objective(self.actor, number_or_404(asked)) if asked else None,
            limit=parse_limit(request.query_params.get("limit")),
            cursor=request.query_params.get("cursor") or None,
        )
        return self.page(found, ExclusionOut)

    @extend_schema(operation_id="add_exclusion", request=ExclusionIn, responses={201: ExclusionOut, **CONFLICTS})
    def post(self, request: Request) -> Response:
        """Let a time not count; the adjusted figures are folded anew before this answers. For operators."""
        asked = validated(ExclusionIn, request.data)
        about: dict[str, Any] = {}
        if asked["objective"] is not None:
            about["objective"] = get_visible_objective(self.actor, asked["objective"])
        if asked["flow"]:
            environment = get_visible_environment(self.actor, asked.get("environment", ""))
            about["flow"] = get_visible_flow_named(self.actor, environment, asked["flow"])
        same = ("category", "reason", "starts_at", "minutes", "rule", "time_zone")
        made = add_exclusion(NewExclusion(**{name: asked[name] for name in same}), by=self.actor, **about)
        return Response(ExclusionOut(made).data, status=201)


class OneExclusion(View):
    @extend_schema(operation_id="read_exclusion", responses={200: ExclusionOut, **PROBLEMS})
    def get(self, request: Request, pk: str) -> Response:
        """One exclusion."""
        return Response(ExclusionOut(get_visible_exclusion(self.actor, uuid_or_404(pk))).data)


class WithdrawExclusion(View):
    @extend_schema(operation_id="withdraw_exclusion", request=ExclusionWhy, responses={200: ExclusionOut, **CONFLICTS})
    def post(self, request: Request, pk: str) -> Response:
        """Let the time count again; the row stays for the record."""
        one = get_visible_exclusion(self.actor, uuid_or_404(pk))
        withdraw_exclusion(one, by=self.actor, reason=validated(ExclusionWhy, request.data or {})["reason"])
        return Response(ExclusionOut(one).data)
