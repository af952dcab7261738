"""REST of what a plan changes in its messages, of where it sends them, and of the preview.

Edits are read and told as they are written, not through Python's numbers: 1284.50 in a JSON Patch stays 1284.50.
"""

from __future__ import annotations

from typing import Any

import msgspec
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import UnsupportedMediaType
from rest_framework.request import Request
from rest_framework.response import Response

from messages.access import get_visible_dead_letter
from messages.api.base import CONFLICTS, PROBLEMS, Reason, View, uuid_or_404, validated
from messages.compare.rows import Row
from messages.models import Plan
from messages.plans.access import check_can_read_plan_payloads, get_visible_plan
from messages.plans.editing import plan_of_one, set_destination, set_edits
from messages.plans.edits import LARGEST_EDITS, BadEdits, Edits, canonical, parse_edits
from messages.plans.preview import Previewed, preview_edits
from messages.plans.sealed import opened_edits


class _Said(msgspec.Struct, forbid_unknown_fields=True):
    edits: msgspec.Raw = msgspec.Raw()


@extend_schema_field(
    {"type": "array", "items": {"type": "object", "properties": {"kind": {"type": "string"}}, "required": ["kind"]}}
)
class StepsField(serializers.JSONField):
    """Steps, each with its kind: json_patch, jq, xslt, regex, set_header, remove_header, body."""


class EditsIn(serializers.Serializer[Any]):
    """The steps in their order, e.g. [{"kind": "jq", "program": ".order.vat = \\"DE811\\""}]; docs/edits.md lists their members."""

    edits = StepsField()


class EditsPreviewIn(serializers.Serializer[Any]):
    """Steps to try; without them those of the plan."""

    edits = StepsField(required=False)


class PlanEditsOut(serializers.Serializer[Any]):
    plan = serializers.CharField()
    state = serializers.CharField()
    checksum = serializers.CharField(help_text="Of the plan, as it is now: what a second person approves.")
    edits = StepsField()
    edits_sha256 = serializers.CharField(
        help_text="Of the edits alone; its first 16 digits go out as replay-edited. Empty without any."
    )


class DestinationIn(serializers.Serializer[Any]):
    """Where everything goes; both empty: each where it came from."""

    destination = serializers.CharField(max_length=300, allow_blank=True)
    connection = serializers.IntegerField(
        allow_null=True, required=False, default=None, help_text="Of this environment, and approved."
    )


class PlanDestinationOut(serializers.Serializer[Any]):
    plan = serializers.CharField(source="reference")
    destination = serializers.CharField()
    connection = serializers.IntegerField(source="connection_id", allow_null=True)
    items = serializers.IntegerField(source="items_count")
    left_out = serializers.DictField(source="figures.left_out")
    checksum = serializers.CharField()


class HeaderChangeOut(serializers.Serializer[Any]):
    name = serializers.CharField(source="path")
    what = serializers.CharField(source="kind")
    before = serializers.CharField(source="left")
    after = serializers.CharField(source="right")


class PreviewedOut(serializers.Serializer[Any]):
    """One message of the sample."""

    ordinal = serializers.IntegerField(source="item.ordinal")
    dead_letter = serializers.UUIDField(source="letter.pk")
    tried = serializers.BooleanField(help_text="False: the messages before it took too long.")
    missing = serializers.CharField(help_text="Why its body is not there.")
    failed = serializers.CharField(help_text="Why the edits do not fit it: it would be refused.")
    hidden = serializers.CharField(help_text="Why its diff is not shown.")
    same = serializers.BooleanField(help_text="The edits change nothing in it.")
    diff = serializers.SerializerMethodField(help_text="Lines of the body made readable, each behind a space, - or +.")
    headers = HeaderChangeOut(many=True)
    checked = serializers.ListField(
        child=serializers.CharField(), help_text="Names of the schemas that it was checked by."
    )
    wrong_before = serializers.ListField(child=serializers.CharField())
    wrong_after = serializers.ListField(child=serializers.CharField())

    def get_diff(self, one: Previewed) -> list[str]:
        return [line for row in one.rows.rows for line in lines_of(row)] if one.rows else []


class EditsPreviewOut(serializers.Serializer[Any]):
    items = serializers.IntegerField(help_text="Of the plan; results are a sample of at most 20.")
    results = PreviewedOut(many=True)


class PlanOfOneOut(serializers.Serializer[Any]):
    plan = serializers.CharField(source="reference")
    items = serializers.IntegerField(source="items_count")
    left_out = serializers.DictField(source="figures.left_out")


def lines_of(row: Row) -> list[str]:
    """Return a row of a comparison as lines of a unified diff."""
    if row.kind == "gap":
        return [f"@@ {row.hidden} lines the same @@"]
    if row.kind == "same":
        return [f" {row.left.text}"] if row.left else []
    return [f"{mark}{side.text}" for mark, side in (("-", row.left), ("+", row.right)) if side is not None]


def _said(request: Request) -> Edits | None:
    """Return the edits of a request, None when it has none; raises BadEdits, UnsupportedMediaType."""
    if (kind := request.content_type or "") and not kind.startswith("application/json"):
        raise UnsupportedMediaType(kind)  # its stream may have been read already
    body: bytes = request.stream.read(LARGEST_EDITS + 1025) if request.stream is not None else b""
    if len(body) > LARGEST_EDITS + 1024:
        raise BadEdits(f"all edits together have at most {LARGEST_EDITS // 1024} KiB")
    try:
        said = msgspec.json.decode(body or b"{}", type=_Said)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise BadEdits(f'send {{"edits": [a step, …]}}: {error}'[:300]) from error
    return parse_edits(bytes(said.edits)) if bytes(said.edits) else None


def _told(plan: Plan, edits: Edits) -> HttpResponse:
    known = {"plan": plan.reference, "state": plan.state, "checksum": plan.checksum, "edits_sha256": plan.edits_sha256}
    data = msgspec.json.encode(known | {"edits": msgspec.Raw(canonical(edits))})
    return HttpResponse(data, content_type="application/json", headers={"Cache-Control": "no-store"})


class PlanEdits(View):
    @extend_schema(operation_id="get_plan_edits", responses={200: PlanEditsOut, **PROBLEMS})
    def get(self, request: Request, reference: str) -> HttpResponse:
        """What a plan changes in each message; for whoever may read the payloads of all its flows."""
        plan = get_visible_plan(self.actor, reference)
        check_can_read_plan_payloads(self.actor, plan)
        return _told(plan, opened_edits(plan))

    @extend_schema(operation_id="set_plan_edits", request=EditsIn, responses={200: PlanEditsOut, **CONFLICTS})
    def put(self, request: Request, reference: str) -> HttpResponse:
        """Replace the edits. A plan that was approved is a draft again; 400 `bad_edits` names the step."""
        plan = get_visible_plan(self.actor, reference)
        edits = _said(request)
        if edits is None:
            raise BadEdits('send {"edits": [a step, …]}')
        return _told(set_edits(plan, edits, by=self.actor), edits)

    @extend_schema(operation_id="remove_plan_edits", responses={204: None, **CONFLICTS})
    def delete(self, request: Request, reference: str) -> Response:
        """Send every message as it was."""
        set_edits(get_visible_plan(self.actor, reference), (), by=self.actor)
        return Response(status=204)


class PreviewPlanEdits(View):
    @extend_schema(
        operation_id="preview_plan_edits", request=EditsPreviewIn, responses={200: EditsPreviewOut, **CONFLICTS}
    )
    def post(self, request: Request, reference: str) -> Response:
        """What edits make of a sample of the messages; nothing is saved. Each body of it counts as read."""
        plan = get_visible_plan(self.actor, reference)
        check_can_read_plan_payloads(self.actor, plan)
        asked = _said(request)
        found = preview_edits(plan, opened_edits(plan) if asked is None else asked, by=self.actor)
        response = Response({"items": plan.items_count, "results": PreviewedOut(found, many=True).data})
        response["Cache-Control"] = "no-store"
        return response


class PlanDestination(View):
    @extend_schema(
        operation_id="redirect_plan", request=DestinationIn, responses={200: PlanDestinationOut, **CONFLICTS}
    )
    def put(self, request: Request, reference: str) -> Response:
        """Send everything to another destination. The same letters are frozen again: what could not go back may go there."""
        asked = validated(DestinationIn, request.data)
        plan = get_visible_plan(self.actor, reference)
        plan = set_destination(plan, asked["destination"], asked["connection"], by=self.actor)
        return Response(PlanDestinationOut(plan).data)


class EditDeadLetter(View):
    @extend_schema(operation_id="edit_dead_letter", request=Reason, responses={201: PlanOfOneOut, **CONFLICTS})
    def post(self, request: Request, pk: str) -> Response:
        """Make a plan of this one letter, to be edited and started."""
        letter = get_visible_dead_letter(self.actor, uuid_or_404(pk))
        plan = plan_of_one(letter, by=self.actor, reason=validated(Reason, request.data)["reason"])
        return Response(PlanOfOneOut(plan).data, status=201)
