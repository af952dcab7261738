"""REST of alerts from elsewhere: what Alertmanager and Grafana pushed."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from alerts.api.breaches import PAGE_PARAMETERS
from alerts.delivery.elsewhere import STATUSES, find_external_alerts
from console.core.paging import parse_limit
from messages.api.base import PROBLEMS, View


class ExternalAlertOut(serializers.Serializer[Any]):
    """One occurrence of an alert of another system, from its beginning to its end."""

    id = serializers.IntegerField()
    environment = serializers.SlugField(source="environment.slug")
    flow = serializers.CharField(
        source="flow.name", allow_null=True, default=None, help_text="That its label `flow` names."
    )
    fingerprint = serializers.CharField(help_text="The sender's name of the alert.")
    status = serializers.CharField(help_text="firing or resolved")
    name = serializers.CharField()
    severity = serializers.CharField(help_text="As the sender calls it.")
    summary = serializers.CharField()
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField(allow_null=True)
    labels = serializers.DictField(child=serializers.CharField())
    annotations = serializers.DictField(child=serializers.CharField())
    url = serializers.CharField(help_text="The sender's page.")
    received_at = serializers.DateTimeField(help_text="When the last word of it came.")


LIST = inline_serializer(
    "ExternalAlertList", {"results": ExternalAlertOut(many=True), "next": serializers.URLField(allow_null=True)}
)
FILTERS = [
    OpenApiParameter("flow", str, description="Name of a flow."),
    OpenApiParameter("status", str, enum=list(STATUSES)),
]


class ExternalAlerts(View):
    @extend_schema(
        operation_id="list_external_alerts", parameters=[*PAGE_PARAMETERS, *FILTERS], responses={200: LIST, **PROBLEMS}
    )
    def get(self, request: Request) -> Response:
        """Alerts from elsewhere, the newest first."""
        asked = {name: str(value).replace("\x00", "").strip()[:300] for name, value in request.query_params.items()}
        found = find_external_alerts(
            self.actor,
            environments=self.environments(),
            flow=asked.get("flow", ""),
            status=asked.get("status", ""),
            limit=parse_limit(asked.get("limit")),
            cursor=asked.get("cursor") or None,
        )
        return self.page(found, ExternalAlertOut)
