"""REST of changes: what was deployed, configured or maintained, and what a person says about it."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from console.core.errors import Invalid
from console.identity.access import get_visible_environment
from messages.access import get_visible_change
from messages.api import serializers as out
from messages.api.base import CONFLICTS, LIST_PARAMETERS, PROBLEMS, Moment, Reason, View, uuid_or_404, validated
from messages.changes.queries import Filter, find_changes
from messages.changes.services import announce_change, end_change, withdraw_change
from messages.models import Change

FILTERS = [
    OpenApiParameter("kind", str, description="`deployment`, `configuration` or `maintenance`."),
    OpenApiParameter("system", str, description="Name of a system that the change names."),
    OpenApiParameter("flow", str, description="Name of a flow that the change names."),
    OpenApiParameter("show", str, description="`ahead`: what goes on or is planned; `withdrawn`: what was taken away."),
]
PAGED = [one for one in LIST_PARAMETERS if one.name != "window"]
TIMES = [OpenApiParameter("window", str, description="How far back, e.g. `24h`; default: all, planned ones too.")]


class ChangeIn(serializers.Serializer[Any]):
    """A change that a person tells; its author is the key's user."""

    environment = serializers.SlugField()
    kind = serializers.ChoiceField(choices=Change.Kind.choices)
    title = serializers.CharField(max_length=300)
    systems = serializers.ListField(child=serializers.CharField(max_length=120), max_length=50, default=list)
    flows = serializers.ListField(child=serializers.CharField(max_length=200), max_length=50, default=list)
    version = serializers.CharField(max_length=120, allow_blank=True, required=False)
    started_at = Moment(required=False, help_text="Default now; may lie ahead.")
    ended_at = Moment(required=False)
    outcome = serializers.ChoiceField(choices=Change.Outcome.values[1:], required=False)
    url = serializers.CharField(max_length=2000, allow_blank=True, required=False)


class EndReason(serializers.Serializer[Any]):
    """Why, kept in the audit list when it is given."""

    reason = serializers.CharField(max_length=1000, allow_blank=True, default="")


CHANGES = inline_serializer(
    "ChangeList", {"results": out.ChangeOut(many=True), "next": serializers.URLField(allow_null=True)}
)


class Changes(View):
    @extend_schema(
        operation_id="list_change", parameters=[*PAGED, *TIMES, *FILTERS], responses={200: CHANGES, **PROBLEMS}
    )
    def get(self, request: Request) -> Response:
        """Changes, the latest start first, planned ones at the top; all of them unless a window is asked for."""
        asked = {
            name: request.query_params.get(name, "").replace("\x00", "") for name in ("kind", "system", "flow", "show")
        }
        if asked["kind"] not in {"", *Change.Kind.values}:
            raise Invalid(f"kind is one of {', '.join(Change.Kind.values)}")
        if asked["show"] not in {"", "ahead", "withdrawn"}:
            raise Invalid("show is ahead or withdrawn")
        only = Filter(
            kind=asked["kind"],
            system=asked["system"],
            flow=asked["flow"],
            withdrawn=asked["show"] == "withdrawn",
            ahead_at=timezone.now() if asked["show"] == "ahead" else None,
        )
        return self.page(find_changes(self.actor, only=only, **self.query("changes")), out.ChangeOut)

    @extend_schema(operation_id="announce_change", request=ChangeIn, responses={201: out.ChangeOut, **PROBLEMS})
    def post(self, request: Request) -> Response:
        """Add a change by hand: a maintenance window, or what no pipeline tells. For operators."""
        asked = validated(ChangeIn, request.data)
        environment = get_visible_environment(self.actor, asked.pop("environment"))
        made = announce_change(environment, asked, by=self.actor)
        return Response(out.ChangeOut(get_visible_change(self.actor, made.pk)).data, status=201)


class OneChange(View):
    @extend_schema(operation_id="read_change", responses={200: out.ChangeOut, **PROBLEMS})
    def get(self, request: Request, pk: str) -> Response:
        """One change."""
        return Response(out.ChangeOut(get_visible_change(self.actor, uuid_or_404(pk))).data)


class EndChange(View):
    @extend_schema(operation_id="end_change", request=EndReason, responses={200: out.ChangeOut, **CONFLICTS})
    def post(self, request: Request, pk: str) -> Response:
        """Say that a change that goes on is over now."""
        change = get_visible_change(self.actor, uuid_or_404(pk))
        end_change(change, by=self.actor, reason=validated(EndReason, request.data or {})["reason"])
        return Response(out.ChangeOut(get_visible_change(self.actor, change.pk)).data)


class WithdrawChange(View):
    @extend_schema(operation_id="withdraw_change", request=Reason, responses={200: out.ChangeOut, **CONFLICTS})
    def post(self, request: Request, pk: str) -> Response:
        """Take a wrong change off every chart and journey."""
        change = get_visible_change(self.actor, uuid_or_404(pk))
        withdraw_change(change, validated(Reason, request.data)["reason"], by=self.actor)
        return Response(out.ChangeOut(get_visible_change(self.actor, change.pk)).data)
