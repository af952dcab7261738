"""Every write to environments, flows, systems, rules and connections."""

from __future__ import annotations

from django.db import transaction

from console.identity.models import Environment
from messages.models import KeyRule

DEFAULT_KEYS = ("order_no", "invoice_no", "customer_no", "shipment_no", "business.*")


@transaction.atomic
def ensure_environment(slug: str, *, name: str, colour: str, position: int = 0) -> Environment:
    """Return the environment of this slug; when it is new, its business keys are the four common numbers and `business.*`."""
    defaults = {"name": name, "colour": colour, "position": position}
    environment, created = Environment.objects.get_or_create(slug=slug, defaults=defaults)
    if created:
        KeyRule.objects.bulk_create(
            [
                KeyRule(environment=environment, position=position, attribute=name)
                for position, name in enumerate(DEFAULT_KEYS, 1)
            ]
        )
    return environment
