"""Reads of mappings."""

from __future__ import annotations

from django.db.models import QuerySet

from console.core.errors import NotFound
from console.identity.actor import Actor
from console.identity.models import Environment
from messages.access import visible_mappings
from messages.models import Mapping


def find_mapping(environment_id: int, slug: str) -> Mapping:
    """Return the enabled mapping of this name for an agent of its environment; raises NotFound."""
    slug = slug.replace("\x00", "")
    found = Mapping.objects.filter(environment_id=environment_id, slug=slug, enabled=True).first()
    if found is None:
        raise NotFound(f"there is no mapping '{slug[:40]}' in this key's environment, or it is switched off")
    return found


def mappings_of(actor: Actor, environment: Environment) -> QuerySet[Mapping]:
    return visible_mappings(actor).filter(environment=environment)
