"""REST of the search box: what may follow in a query."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from console.core.errors import Invalid
from messages.api.base import PROBLEMS, View
from messages.search.complete import complete
from messages.search.fields import TARGETS
from messages.search.scan import LONGEST


class CompletionOut(serializers.Serializer[Any]):
    text = serializers.CharField(help_text="Replaces the characters from `start` to `cursor`.")
    label = serializers.CharField(help_text="What a reader sees of it.")  # type: ignore[assignment]
    what = serializers.CharField(help_text="A short word of what it is.")


class CompletionsOut(serializers.Serializer[Any]):
    start = serializers.IntegerField(help_text="Offset from 0, in code points.")
    cursor = serializers.IntegerField()
    items = CompletionOut(many=True)


class Completions(View):
    @extend_schema(
        operation_id="complete_query",
        parameters=[
            OpenApiParameter("q", str, description="A query, written so far."),
            OpenApiParameter("cursor", int, description="Where in it, in code points from 0; default: its end."),
            OpenApiParameter("of", str, enum=list(TARGETS), description="The list that is searched; default messages."),
            OpenApiParameter("environment", str, description="Slug; without it, every environment the key may see."),
        ],
        responses={200: CompletionsOut, **PROBLEMS},
    )
    def get(self, request: Request) -> Response:
        """At most ten completions of what stands before the cursor: fields, their words, names that the key may see."""
        of, at = request.query_params.get("of", "messages"), request.query_params.get("cursor")
        if of not in TARGETS:
            raise Invalid(f"of is one of {', '.join(TARGETS)}")
        if at is not None and not (at.isascii() and at.isdigit() and len(at) < 6):
            raise Invalid("cursor is a number of characters")
        text = request.query_params.get("q", "")[:LONGEST]
        found = complete(self.actor, self.environments(), of, text, None if at is None else int(at))
        return Response(CompletionsOut(asdict(found)).data)
