"""Reads of schemas."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import QuerySet

from console.identity.actor import Actor
from console.identity.models import Environment
from messages.access import visible_schemas
from messages.models import Schema

HEAVY = ("definition", "compiled")  # up to 1 MiB each: read of the schema that applies alone


def schemas_of(actor: Actor, environment: Environment) -> QuerySet[Schema]:
    return visible_schemas(actor).filter(environment=environment).defer("compiled")


def schemas_for_reading(environment_id: int) -> Sequence[Schema]:
    """Return the schemas of an environment for decoding its bodies, the newest first: of two that fit it is the likelier."""
    return list(Schema.objects.filter(environment_id=environment_id).defer(*HEAVY).order_by("-id"))


def schemas_for_checking(environment_id: int) -> Sequence[Schema]:
    """Return the schemas of an environment with their texts, the newest first: for whoever checks several bodies by them."""
    return list(Schema.objects.filter(environment_id=environment_id).defer("compiled").order_by("-id"))
