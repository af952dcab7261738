"""REST of silences: what nobody is told of."""

from __future__ import annotations

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from alerts.api.breach_serializers import SilenceIn, SilenceOut
from alerts.api.breaches import PAGE_PARAMETERS
from alerts.breaches.access import get_visible_silence
from alerts.breaches.queries import SILENCE_TABS, find_silences
from alerts.breaches.silences import NewSilence, end_silence, silence
from alerts.models import Silence
from console.core.paging import Page, parse_limit
from console.identity.access import get_visible_environment
from messages.access import get_visible_flow_named
from messages.api.base import CONFLICTS, PROBLEMS, Reason, View, number_or_404, said_in, validated

SHOW = OpenApiParameter("show", str, enum=list(SILENCE_TABS), description="Default `running`, with planned ones.")
SAID = OpenApiParameter("q", str, description="Part of the comment.")
LIST = inline_serializer(
    "SilenceList", {"results": SilenceOut(many=True), "next": serializers.URLField(allow_null=True)}
)  # fmt: skip


def _out(row: Silence) -> object:
    return SilenceOut(row, context={"now": timezone.now()}).data


class Silences(View):
    @extend_schema(
        operation_id="list_silences", parameters=[SAID, *PAGE_PARAMETERS, SHOW], responses={200: LIST, **PROBLEMS}
    )
    def get(self, request: Request) -> Response:
        """Silences, the newest first."""
        asked, now = request.query_params, timezone.now()
        found = find_silences(
            self.actor,
            environments=self.environments(),
            show=asked.get("show") or "running",
            q=said_in(request),
            now=now,
            limit=parse_limit(asked.get("limit")),
            cursor=asked.get("cursor") or None,
        )
        rows: Page[object] = Page([_out(row) for row in found.rows], found.next)
        return Response({"results": rows.rows, "next": self._next(rows.next)})

    @extend_schema(operation_id="add_silence", request=SilenceIn, responses={201: SilenceOut, **PROBLEMS})
    def post(self, request: Request) -> Response:
        """Tell nobody of what fits, until it expires."""
        asked = validated(SilenceIn, request.data)
        environment = get_visible_environment(self.actor, asked.pop("environment"))
        name = asked.pop("flow", None)
        flow = get_visible_flow_named(self.actor, environment, name) if name else None
        return Response(_out(silence(environment, NewSilence(flow=flow, **asked), by=self.actor)), status=201)


class OneSilence(View):
    @extend_schema(operation_id="get_silence", responses={200: SilenceOut, **PROBLEMS})
    def get(self, request: Request, pk: str) -> Response:
        """One silence."""
        return Response(_out(get_visible_silence(self.actor, number_or_404(pk))))

    @extend_schema(operation_id="end_silence", request=Reason, responses={200: SilenceOut, **CONFLICTS})
    def delete(self, request: Request, pk: str) -> Response:
        """End it before its time, with a `reason`; what still fires is told. It stays in the list."""
        reason = validated(Reason, request.data)["reason"]
        return Response(_out(end_silence(get_visible_silence(self.actor, number_or_404(pk)), by=self.actor, reason=reason)))  # fmt: skip
