"""REST of the items of a plan: page by page, and all of them as a CSV."""

from __future__ import annotations

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from console.core.paging import parse_limit
from messages.api.base import LIST_PARAMETERS, PROBLEMS, View
from messages.api.plan_serializers import PlanItemOut
from messages.plans.access import get_visible_plan
from messages.plans.export import csv_of
from messages.plans.items import Only, find_items
from messages.plans.reasons import LEFT_OUT
from messages.plans.waves import OUTCOMES

FILTERS = [
    OpenApiParameter("outcome", str, enum=list(OUTCOMES)),
    OpenApiParameter("left_out", str, enum=list(LEFT_OUT), description="Only those that are left out for this reason."),
]
PAGED = [one for one in LIST_PARAMETERS if one.name in ("limit", "cursor")]
ITEMS = inline_serializer(
    "PlanItemList", {"results": PlanItemOut(many=True), "next": serializers.URLField(allow_null=True)}
)


def only_of(request: Request) -> Only:
    """Return what the address asks for. Raises Invalid."""
    outcome = request.query_params.get("outcome", "")
    return Only(outcomes=[outcome] if outcome else [], left_out=request.query_params.get("left_out", ""))


class PlanItems(View):
    @extend_schema(operation_id="list_plan_items", parameters=[*FILTERS, *PAGED], responses={200: ITEMS, **PROBLEMS})
    def get(self, request: Request, reference: str) -> Response:
        """Every dead letter of the plan in the order of sending, and what became of it; those that were left out last."""
        plan, asked = get_visible_plan(self.actor, reference), request.query_params
        found = find_items(
            self.actor,
            plan,
            only=only_of(request),
            limit=parse_limit(asked.get("limit")),
            cursor=asked.get("cursor") or None,
        )
        return self.page(found, PlanItemOut)


class PlanItemsCsv(View):
    @extend_schema(
        operation_id="read_plan_items_csv",
        parameters=FILTERS,
        responses={(200, "text/csv"): OpenApiTypes.BINARY, **PROBLEMS},
    )
    def get(self, request: Request, reference: str) -> StreamingHttpResponse:
        """The same as a CSV, with the evidence in words. A cell that a spreadsheet would take for a formula begins with an apostrophe."""
        plan = get_visible_plan(self.actor, reference)
        return csv_of(self.actor, plan, only=only_of(request))
