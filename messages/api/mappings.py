"""REST of mappings, with a preview."""

from __future__ import annotations

import json
from typing import Any

from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from console.identity.access import get_visible_environment
from messages.access import get_visible_mapping
from messages.api.base import Problem, Reason, View, number_or_404, validated
from messages.api.views import PAGE_PARAMETERS, PROBLEMS
from messages.mappings.queries import mappings_of
from messages.mappings.services import NewMapping, add_mapping, change_mapping, preview_mapping, remove_mapping
from messages.mappings.shipped import SHIPPED
from messages.models import Mapping

ENVIRONMENT = [parameter for parameter in PAGE_PARAMETERS if parameter.name == "environment"]


class MappingOut(serializers.Serializer[Any]):
    """A mapping; its secret is write-only."""

    id = serializers.IntegerField(source="pk")
    environment = serializers.SlugField(source="environment.slug")
    slug = serializers.CharField(help_text="Bodies are sent to /ingest/v1/mapped/<slug>.")
    name = serializers.CharField()
    enabled = serializers.BooleanField()
    signature_header = serializers.CharField()
    definition = serializers.SerializerMethodField()
    created_at = serializers.DateTimeField()
    created_by = serializers.CharField()
    updated_at = serializers.DateTimeField()

    def get_definition(self, mapping: Mapping) -> dict[str, Any]:
        return dict(json.loads(mapping.definition))


class MappingChangeIn(serializers.Serializer[Any]):
    """All that a mapping says; docs/mappings.md says what a definition takes. An empty secret keeps the one that there is."""

    name = serializers.CharField(max_length=120)
    definition = serializers.DictField()
    enabled = serializers.BooleanField(default=True)
    signature_header = serializers.CharField(max_length=80, allow_blank=True, default="")
    secret = serializers.CharField(max_length=500, allow_blank=True, default="", trim_whitespace=False, write_only=True)


class MappingIn(MappingChangeIn):
    environment = serializers.SlugField()
    slug = serializers.CharField(max_length=30)


class MappingSampleIn(serializers.Serializer[Any]):
    """A definition and a body to try it on. Nothing of it is kept."""

    environment = serializers.SlugField()
    definition = serializers.DictField()
    sample = serializers.CharField(max_length=262_144, trim_whitespace=False)


class MappedLine(serializers.Serializer[Any]):
    index = serializers.IntegerField()
    becomes = serializers.ChoiceField(source="kind", choices=["event", "dead_letter", "refused"])
    item = serializers.DictField(help_text="In the native shape: docs/schemas/.")
    code = serializers.CharField(allow_blank=True)
    detail = serializers.CharField(allow_blank=True)


class MappingSampleOut(serializers.Serializer[Any]):
    lines = MappedLine(many=True)
    ignored = serializers.IntegerField(help_text="Items that are skipped, or that no condition wants.")


class ShippedMapping(serializers.Serializer[Any]):
    slug = serializers.CharField()
    name = serializers.CharField()
    definition = serializers.DictField()
    sample = serializers.CharField()


def _said(asked: dict[str, Any], slug: str) -> NewMapping:
    definition = json.dumps(asked.pop("definition"), indent=1, ensure_ascii=False)
    return NewMapping(**asked, slug=slug, definition=definition)


class Mappings(View):
    @extend_schema(
        operation_id="list_mappings",
        parameters=ENVIRONMENT,
        responses={200: inline_serializer("MappingList", {"results": MappingOut(many=True)}), **PROBLEMS},
    )
    def get(self, request: Request) -> Response:
        """The mappings of the environments that the key may see."""
        rows = [row for environment in self.environments() for row in mappings_of(self.actor, environment)]
        return Response({"results": MappingOut(rows, many=True).data})

    @extend_schema(operation_id="add_mapping", request=MappingIn, responses={201: MappingOut, 409: Problem, **PROBLEMS})
    def post(self, request: Request) -> Response:
        """Add a mapping; 400 `bad_mapping` says what is wrong with its definition."""
        asked = validated(MappingIn, request.data)
        environment = get_visible_environment(self.actor, asked.pop("environment"))
        made = add_mapping(environment, _said(asked, asked.pop("slug")), by=self.actor)
        return Response(MappingOut(made).data, status=201)


class OneMapping(View):
    @extend_schema(operation_id="get_mapping", responses={200: MappingOut, **PROBLEMS})
    def get(self, request: Request, pk: str) -> Response:
        """One mapping."""
        return Response(MappingOut(get_visible_mapping(self.actor, number_or_404(pk))).data)

    @extend_schema(operation_id="change_mapping", request=MappingChangeIn, responses={200: MappingOut, **PROBLEMS})
    def put(self, request: Request, pk: str) -> Response:
        """Replace what a mapping says; its slug stays."""
        mapping = get_visible_mapping(self.actor, number_or_404(pk))
        said = _said(validated(MappingChangeIn, request.data, answers=MappingOut), mapping.slug)
        return Response(MappingOut(change_mapping(mapping, said, by=self.actor)).data)

    @extend_schema(operation_id="remove_mapping", request=Reason, responses={204: None, **PROBLEMS})
    def delete(self, request: Request, pk: str) -> Response:
        """Remove a mapping, with a `reason`."""
        mapping = get_visible_mapping(self.actor, number_or_404(pk))
        remove_mapping(mapping, by=self.actor, reason=validated(Reason, request.data)["reason"])
        return Response(status=204)


class ShippedMappings(View):
    @extend_schema(
        operation_id="list_shipped_mappings",
        responses={200: inline_serializer("ShippedMappingList", {"results": ShippedMapping(many=True)}), **PROBLEMS},
    )
    def get(self, request: Request) -> Response:
        """Definitions to start from, each with a sample."""
        return Response({"results": ShippedMapping(list(SHIPPED.values()), many=True).data})


class PreviewMapping(View):
    @extend_schema(
        operation_id="preview_mapping", request=MappingSampleIn, responses={200: MappingSampleOut, **PROBLEMS}
    )
    def post(self, request: Request) -> Response:
        """What would become of a body."""
        asked = validated(MappingSampleIn, request.data)
        environment = get_visible_environment(self.actor, asked["environment"])
        found = preview_mapping(environment, json.dumps(asked["definition"]), asked["sample"], by=self.actor)
        return Response(MappingSampleOut(found).data)
