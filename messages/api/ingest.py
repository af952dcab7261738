"""REST of ingest: how it does, what it refused, and what a person does with a refused item."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from uuid import UUID

from django.conf import settings
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from console.core.paging import Page, decode_uuid_cursor, encode_cursor, parse_limit
from console.identity.models import Environment
from messages.access import get_visible_reject
from messages.api.base import CONFLICTS, PROBLEMS, Reason, View, uuid_or_404, validated
from messages.api.views import PAGE_PARAMETERS
from messages.ingest.gate import disk_words
from messages.ingest.mending import dismiss, read_refused, resubmit
from messages.ingest.watch import find_rejects, intake_of, reject_counts, rows_in_default
from messages.models import IngestReject
from messages.search.elastic.state import search_status


class RejectOut(serializers.ModelSerializer[IngestReject]):
    environment = serializers.SlugField(source="environment.slug")
    agent = serializers.CharField(source="agent.name")
    flow = serializers.CharField(source="flow.name", allow_null=True, default=None)

    class Meta:
        model = IngestReject
        fields = (
            "id",
            "environment",
            "agent",
            "flow",
            "received_at",
            "endpoint",
            "code",
            "detail",
            "masked",
            "settled_at",
            "settled_by",
            "settled_how",
        )


class RejectText(serializers.Serializer[Any]):
    """The item as text: JSON, and OTLP's JSON for a span."""

    text = serializers.CharField(trim_whitespace=False, max_length=20_000_000)


class StoredOut(serializers.Serializer[Any]):
    """What became of a mended item."""

    accepted = serializers.IntegerField()
    duplicates = serializers.IntegerField()


class AgentIntakeOut(serializers.Serializer[Any]):
    """What one agent sent in the last 15 minutes."""

    id = serializers.IntegerField()
    name = serializers.CharField()
    last_seen_at = serializers.DateTimeField(allow_null=True)
    events_per_s = serializers.IntegerField(allow_null=True)
    batches = serializers.IntegerField()
    accepted = serializers.IntegerField()
    duplicates = serializers.IntegerField()
    rejected = serializers.IntegerField()


class SearchIndexOut(serializers.Serializer[Any]):
    """How the index of the optional search back end stands."""

    state = serializers.ChoiceField(choices=["live", "rebuilding", "building", "missing"])
    documents = serializers.IntegerField(help_text="Of what is being built, else when it was built.")
    behind_s = serializers.FloatField(help_text="Above 60, PostgreSQL answers searches until it has caught up.")
    refused = serializers.IntegerField(
        help_text="Documents that it refused for what they are: PostgreSQL alone finds them."
    )
    latest_refusal = serializers.CharField()


class IntakeOut(serializers.Serializer[Any]):
    """How ingest does in one environment, over the last 15 minutes."""

    environment = serializers.SlugField()
    batches = serializers.IntegerField()
    accepted = serializers.IntegerField()
    duplicates = serializers.IntegerField()
    rejected = serializers.IntegerField()
    lag_ms = serializers.FloatField(allow_null=True)
    worst_lag_ms = serializers.FloatField(allow_null=True)
    newest_at = serializers.DateTimeField(allow_null=True)
    agents = AgentIntakeOut(many=True)
    refused_waiting = serializers.DictField(child=serializers.IntegerField(), help_text="By code.")
    rows_in_default = serializers.DictField(child=serializers.IntegerField(), help_text="By table, up to 1,001.")
    alarm = serializers.CharField(help_text="What a person must know of the disk; empty while there is room.")
    search = SearchIndexOut(allow_null=True, help_text="Null where PostgreSQL alone searches.")


REJECTS = inline_serializer(
    "RejectList", {"results": RejectOut(many=True), "next": serializers.URLField(allow_null=True)}
)
ENVIRONMENT = [parameter for parameter in PAGE_PARAMETERS if parameter.name == "environment"]


class Ingest(View):
    @extend_schema(
        operation_id="read_ingest", parameters=ENVIRONMENT, responses={200: IntakeOut(many=True), **PROBLEMS}
    )
    def get(self, request: Request) -> Response:
        """How ingest does in each environment: lately, what waits refused, rows outside their day's partition."""
        now, misplaced, disk = timezone.now(), rows_in_default(), disk_words()
        answer = []
        for environment in self.environments():
            refused: dict[str, int] = {}
            for _, code, count in reject_counts(self.actor, environment):
                refused[code] = refused.get(code, 0) + count
            more = {
                "environment": environment.slug,
                "refused_waiting": refused,
                "rows_in_default": misplaced,
                "alarm": disk,
                "search": _search_index(environment),
            }
            answer.append(asdict(intake_of(environment, now=now)) | more)
        return Response(IntakeOut(answer, many=True).data)


def _search_index(environment: Environment) -> dict[str, Any] | None:
    if settings.SEARCH_BACKEND == "postgresql":
        return None
    status = search_status([environment])
    return asdict(status.environments[0]) | {"behind_s": status.behind_s}


class Rejects(View):
    @extend_schema(
        operation_id="list_reject",
        parameters=[*PAGE_PARAMETERS, OpenApiParameter("state", str, description="`all`; without it those that wait.")],
        responses={200: REJECTS, **PROBLEMS},
    )
    def get(self, request: Request) -> Response:
        """Refused items, newest first."""
        limit, cursor = parse_limit(request.query_params.get("limit")), request.query_params.get("cursor")
        before: UUID | None = decode_uuid_cursor(cursor) if cursor else None
        waiting = request.query_params.get("state") != "all"
        found = find_rejects(self.actor, self.environments(), waiting=waiting, before=before, limit=limit + 1)
        following = encode_cursor(found[limit - 1].pk) if len(found) > limit else None
        return self.page(Page(found[:limit], following), RejectOut)


class OneReject(View):
    @extend_schema(operation_id="read_reject", responses={200: RejectOut, **PROBLEMS})
    def get(self, request: Request, pk: str) -> Response:
        return Response(RejectOut(get_visible_reject(self.actor, uuid_or_404(pk))).data)


class RejectBody(View):
    @extend_schema(operation_id="read_reject_text", responses={200: RejectText, **PROBLEMS})
    def get(self, request: Request, pk: str) -> Response:
        """The refused item itself; the read is audited."""
        return Response({"text": read_refused(get_visible_reject(self.actor, uuid_or_404(pk)), by=self.actor)})


class Resubmit(View):
    @extend_schema(operation_id="resubmit_reject", request=RejectText, responses={200: StoredOut, **CONFLICTS})
    def post(self, request: Request, pk: str) -> Response:
        """Take the mended item as if its agent had sent it now; 400 `not_mended` when it is refused again."""
        reject = get_visible_reject(self.actor, uuid_or_404(pk))
        return Response(StoredOut(resubmit(reject, validated(RejectText, request.data)["text"], by=self.actor)).data)


class Dismiss(View):
    @extend_schema(operation_id="dismiss_reject", request=Reason, responses={200: RejectOut, **CONFLICTS})
    def post(self, request: Request, pk: str) -> Response:
        """Put the item aside with a reason."""
        reject = get_visible_reject(self.actor, uuid_or_404(pk))
        dismiss(reject, validated(Reason, request.data)["reason"], by=self.actor)
        return Response(RejectOut(get_visible_reject(self.actor, reject.pk)).data)
