"""Every item of a plan as a CSV, in bounded memory, and no cell that a spreadsheet takes for a formula. The same for pages and programs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from django.http import StreamingHttpResponse

from console.identity.actor import Actor
from messages.models import Plan
from messages.plans.items import ALL, Item, Only, every_item
from messages.plans.present import evidence_of
from messages.reconcile.sets import csv_line

OF_ITEM = (
    *("ordinal", "dead_letter", "key", "outcome", "left_out", "replay", "destination", "attempt", "queued_at", "sent_at", "confirmed_at"),
    *("finished_at", "proof_event_id", "proof_event_at", "proof_tie", "detail", "flow", "message_id"),
)  # fmt: skip
FOR_PEOPLE = ("message", "keys", "took_s", "evidence", "later_dead_letter")
LINES = 500  # a part of the answer


def csv_of(actor: Actor, plan: Plan, *, only: Only = ALL) -> StreamingHttpResponse:
    """Return the answer that a browser saves as a file; the caller has checked that the plan may be seen."""
    response = StreamingHttpResponse(_parts(actor, plan, only), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{plan.reference}.csv"'
    response["Cache-Control"] = "no-store"
    return response


def _parts(actor: Actor, plan: Plan, only: Only) -> Iterator[bytes]:
    lines = [csv_line([*OF_ITEM, *FOR_PEOPLE])]
    for item in every_item(actor, plan, only=only):
        lines.append(csv_line([*(_cell(getattr(item, name)) for name in OF_ITEM), *_for_people(item, plan)]))
        if len(lines) >= LINES:
            yield "".join(lines).encode()
            lines = []
    yield "".join(lines).encode()


def _cell(value: object) -> object:
    if value is None:
        return ""
    return value.isoformat() if isinstance(value, datetime) else value


def _for_people(item: Item, plan: Plan) -> tuple[object, ...]:
    keys = "; ".join(f"{name}={value}" for name, value in sorted(item.keys.items()))
    took = "" if item.took_ms is None else f"{item.took_ms / 1000:.3f}"
    return (item.name.number, keys, took, evidence_of(item, plan), item.later.pk if item.later else "")
