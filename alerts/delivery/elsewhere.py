"""Reads of alerts from elsewhere: the list, and those of a flow."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from django.db.models import Q

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


def alerts_meanwhile(
    actor: Actor,
    environment: Environment,
    flow_ids: Collection[int],
    *,
    since: datetime,
    until: datetime,
    most: int = 20,
) -> list[ExternalAlert]:
    """Return what others told of these flows in a time: the alerts that fired in it, at most so many, those that began last."""
    rows = visible_external_alerts(actor).filter(environment=environment, flow__in=list(flow_ids), starts_at__lte=until)
    return list(rows.filter(Q(ends_at=None) | Q(ends_at__gte=since)).order_by("-starts_at", "-pk")[:most])
