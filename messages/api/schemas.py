"""REST of schemas, with a preview."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from console.identity.access import get_visible_environment
from messages.access import get_visible_schema
from messages.api.base import Problem, Reason, View, number_or_404, validated
from messages.api.views import PAGE_PARAMETERS, PROBLEMS
from messages.models import Schema
from messages.schemas.queries import schemas_of
from messages.schemas.services import (
    LARGEST_ID,
    LARGEST_TEXT,
    MOST_IDS,
    SAMPLE_CHARACTERS,
    NewSchema,
    add_schema,
    change_schema,
    preview_schema,
    remove_schema,
)

ENVIRONMENT = [parameter for parameter in PAGE_PARAMETERS if parameter.name == "environment"]


class SchemaOut(serializers.Serializer[Any]):
    """A schema and the bodies that it is for."""

    id = serializers.IntegerField(source="pk")
    environment = serializers.SlugField(source="environment.slug")
    name = serializers.CharField()
    format = serializers.ChoiceField(choices=Schema.Format.values)
    definition = serializers.CharField()
    message = serializers.CharField(help_text="Protobuf: the message's full name.")
    destination = serializers.CharField(help_text="Pattern of topics and queues; empty: any.")
    ids = serializers.ListField(child=serializers.IntegerField(), help_text="In a Confluent registry; empty: any.")
    fingerprint = serializers.CharField(help_text="Avro: CRC-64-AVRO, as single-object encoding writes it.")
    created_at = serializers.DateTimeField()
    created_by = serializers.CharField()
    updated_at = serializers.DateTimeField()


class SchemaTextIn(serializers.Serializer[Any]):
    format = serializers.ChoiceField(choices=Schema.Format.values, default="avro")
    definition = serializers.CharField(
        max_length=LARGEST_TEXT,
        trim_whitespace=False,
        help_text="Avro's JSON, .proto source, a FileDescriptorSet in base64, a JSON Schema, an XSD, or what a schema registry answers.",
    )
    message = serializers.CharField(max_length=300, allow_blank=True, default="")


class SchemaChangeIn(SchemaTextIn):
    """All that a schema says. Of `destination` and `ids` at least one is given, and both must fit a body."""

    name = serializers.CharField(max_length=120)
    destination = serializers.CharField(max_length=200, allow_blank=True, default="")
    ids = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=LARGEST_ID), max_length=MOST_IDS, default=list
    )


class SchemaIn(SchemaChangeIn):
    environment = serializers.SlugField()


class SchemaSampleIn(SchemaTextIn):
    """A schema and a body to try it on, in hex or base64; for json and xsd as text. Nothing of it is kept."""

    environment = serializers.SlugField()
    sample = serializers.CharField(max_length=SAMPLE_CHARACTERS)


class SchemaSampleOut(serializers.Serializer[Any]):
    json = serializers.CharField(allow_blank=True)
    steps = serializers.ListField(child=serializers.CharField(), help_text="How it was read.")
    problem = serializers.CharField(allow_blank=True, help_text="Why it could not be.")


class Schemas(View):
    @extend_schema(
        operation_id="list_schemas",
        parameters=ENVIRONMENT,
        responses={200: inline_serializer("SchemaList", {"results": SchemaOut(many=True)}), **PROBLEMS},
    )
    def get(self, request: Request) -> Response:
        """The schemas of the environments that the key may see."""
        rows = [row for environment in self.environments() for row in schemas_of(self.actor, environment)]
        return Response({"results": SchemaOut(rows, many=True).data})

    @extend_schema(operation_id="add_schema", request=SchemaIn, responses={201: SchemaOut, 409: Problem, **PROBLEMS})
    def post(self, request: Request) -> Response:
        """Add a schema; 400 `bad_schema` says what is wrong with it."""
        asked = validated(SchemaIn, request.data)
        environment = get_visible_environment(self.actor, asked.pop("environment"))
        return Response(SchemaOut(add_schema(environment, NewSchema(**asked), by=self.actor)).data, status=201)


class OneSchema(View):
    @extend_schema(operation_id="get_schema", responses={200: SchemaOut, **PROBLEMS})
    def get(self, request: Request, pk: str) -> Response:
        """One schema."""
        return Response(SchemaOut(get_visible_schema(self.actor, number_or_404(pk))).data)

    @extend_schema(
        operation_id="change_schema", request=SchemaChangeIn, responses={200: SchemaOut, 409: Problem, **PROBLEMS}
    )
    def put(self, request: Request, pk: str) -> Response:
        """Replace what a schema says."""
        schema = get_visible_schema(self.actor, number_or_404(pk))
        said = NewSchema(**validated(SchemaChangeIn, request.data, answers=SchemaOut))
        return Response(SchemaOut(change_schema(schema, said, by=self.actor)).data)

    @extend_schema(operation_id="remove_schema", request=Reason, responses={204: None, **PROBLEMS})
    def delete(self, request: Request, pk: str) -> Response:
        """Remove a schema, with a `reason`."""
        schema = get_visible_schema(self.actor, number_or_404(pk))
        remove_schema(schema, by=self.actor, reason=validated(Reason, request.data)["reason"])
        return Response(status=204)


class PreviewSchema(View):
    @extend_schema(operation_id="preview_schema", request=SchemaSampleIn, responses={200: SchemaSampleOut, **PROBLEMS})
    def post(self, request: Request) -> Response:
        """What a schema makes of a body."""
        asked = validated(SchemaSampleIn, request.data)
        environment = get_visible_environment(self.actor, asked.pop("environment"))
        sample = asked.pop("sample")
        found = preview_schema(environment, NewSchema(name="", **asked), sample, by=self.actor)
        return Response(SchemaSampleOut(found).data)
