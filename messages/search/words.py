"""Which business keys a bare word and a field's name mean, for every back end. Pure."""

from __future__ import annotations

NUMBERS = ("order_no", "invoice_no", "customer_no", "shipment_no")  # what a bare word is looked for in


def key_of(field: str) -> str:
    """Return the business key that a field means: `key.status` is the key status, where status alone is the field."""
    return field[4:] if field.lower().startswith("key.") and len(field) > 4 else field
