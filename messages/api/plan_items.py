"""REST of the items of a plan: page by page, and all of them as a CSV."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from console.core.paging import parse_limit
from messages.api.base import LIST_PARAMETERS, PROBLEMS, View
from messages.api.plan_serializers import PlanItemOut
from messages.models import Plan
from messages.plans.access import get_visible_plan
from messages.plans.listing import check_outcome, every_item, find_items
from messages.plans.reasons import LEFT_OUT
from messages.plans.waves import OUTCOMES
from messages.reconcile.sets import csv_line

FILTERS = [
    OpenApiParameter("outcome", str, enum=list(OUTCOMES)),
    OpenApiParameter("left_out", str, enum=list(LEFT_OUT), description="Only those that are left out for this reason."),
]
PAGED = [one for one in LIST_PARAMETERS if one.name in ("limit", "cursor")]
ITEMS = inline_serializer(
    "PlanItemList", {"results": PlanItemOut(many=True), "next": serializers.URLField(allow_null=True)}
)
COLUMNS = tuple(PlanItemOut().fields)
LINES = 1_000  # a part of the answer


class _Items(View):
    def asked(self, reference: str) -> tuple[Plan, dict[str, str]]:
        parameters = self.request.query_params
        return get_visible_plan(self.actor, reference), {
            name: parameters.get(name, "") for name in ("outcome", "left_out")
        }


class PlanItems(_Items):
    @extend_schema(operation_id="list_plan_items", parameters=[*FILTERS, *PAGED], responses={200: ITEMS, **PROBLEMS})
    def get(self, request: Request, reference: str) -> Response:
        """Every dead letter of the plan in the order of sending, and what became of it; those that were left out last."""
        plan, only = self.asked(reference)
        found = find_items(
            plan,
            **only,
            limit=parse_limit(request.query_params.get("limit")),
            cursor=request.query_params.get("cursor") or None,
        )
        return self.page(found, PlanItemOut)


class PlanItemsCsv(_Items):
    @extend_schema(
        operation_id="read_plan_items_csv",
        parameters=FILTERS,
        responses={(200, "text/csv"): OpenApiTypes.BINARY, **PROBLEMS},
    )
    def get(self, request: Request, reference: str) -> StreamingHttpResponse:
        """The same as a CSV. A cell that a spreadsheet would take for a formula begins with an apostrophe."""
        plan, only = self.asked(reference)
        check_outcome(**only)
        response = StreamingHttpResponse(_parts(plan, only), content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = f'attachment; filename="{plan.reference}.csv"'
        response["Cache-Control"] = "no-store"
        return response


def _parts(plan: Plan, only: dict[str, str]) -> Iterator[bytes]:
    lines = [csv_line(list(COLUMNS))]
    for item in every_item(plan, **only):
        said: dict[str, Any] = PlanItemOut(item).data
        lines.append(csv_line(["" if said[name] is None else said[name] for name in COLUMNS]))
        if len(lines) >= LINES:
            yield "".join(lines).encode()
            lines = []
    yield "".join(lines).encode()
