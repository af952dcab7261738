"""Reads of alerts from elsewhere: the list, and those of a flow."""

from __future__ import annotations

from collections.abc import Sequence

from alerts.access import visible_external_alerts
from alerts.models import ExternalAlert
from console.core.errors import Invalid
from console.core.paging import Page, decode_number_cursor, encode_cursor
from console.identity.actor import Actor
from console.identity.models import Environment

STATUSES = ("firing", "resolved")


def find_external_alerts(
    actor: Actor,
    *,
    environments: Sequence[Environment],
    flow: str = "",
    status: str = "",
    limit: int = 50,
    cursor: str | None = None,
) -> Page[ExternalAlert]:
    """Return alerts from elsewhere, the last heard of first: one that fires again is a new row. Keyset by id. Raises Invalid, InvalidCursor."""
    if status and status not in STATUSES:
        raise Invalid(f"status is one of {', '.join(STATUSES)}, not “{status[:40]}”")
    rows = visible_external_alerts(actor).filter(environment__in=environments)
    if flow:
        rows = rows.filter(flow__name=flow)
    if status:
        rows = rows.filter(status=status)
    if cursor:
        rows = rows.filter(pk__lt=decode_number_cursor(cursor))
    found = list(rows.order_by("-pk")[: limit + 1])
    return Page(found[:limit], encode_cursor(found[limit - 1].pk) if len(found) > limit else None)
