"""Every item of a plan as a CSV, in bounded memory, and no cell that a spreadsheet takes for a formula."""

from __future__ import annotations

from collections.abc import Iterator

from django.http import StreamingHttpResponse

from console.identity.actor import Actor
from messages.models import Plan
from messages.plans.items import every_item
from messages.plans.present import evidence_of
from messages.reconcile.sets import csv_line

COLUMNS = (
    *("position", "message", "flow", "outcome", "evidence", "took_s", "attempts", "sent_at", "finished_at"),
    *("order_key", "message_id", "dead_letter", "replay_id", "later_dead_letter", "keys"),
)
LINES = 500  # a part of the answer


def csv_of(actor: Actor, plan: Plan) -> StreamingHttpResponse:
    """Return the answer that a browser saves as a file; the caller has checked that the plan may be seen."""
    response = StreamingHttpResponse(_parts(actor, plan), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="plan-{plan.reference}.csv"'
    response["Cache-Control"] = "no-store"
    return response


def _parts(actor: Actor, plan: Plan) -> Iterator[bytes]:
    lines = [csv_line(list(COLUMNS))]
    for item in every_item(actor, plan):
        took = item.took_ms
        keys = "; ".join(f"{name}={value}" for name, value in sorted(item.keys.items()))
        lines.append(
            csv_line([
                item.ordinal, item.name.number, item.flow, item.outcome, evidence_of(item, plan),
                "" if took is None else f"{took / 1000:.3f}", item.attempt or "", (item.sent_at and item.sent_at.isoformat()) or "",
                (item.finished_at and item.finished_at.isoformat()) or "", item.key, item.message_id, item.letter_id,
                item.replay_id if item.attempt is not None else "", item.later.pk if item.later else "", keys,
            ])
        )  # fmt: skip
        if len(lines) >= LINES:
            yield "".join(lines).encode()
            lines = []
    yield "".join(lines).encode()
