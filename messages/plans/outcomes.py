"""What became of a plan's items over time, as a picture: sent, processed and failed again in each of at most sixty steps."""

from __future__ import annotations

from datetime import datetime, timedelta
from math import ceil
from typing import Any

from django.db import connection

from console.audit.queries import object_history
from console.core.charts import Mark, Series, line_chart
from messages.figures.present import bundle_address
from messages.figures.vega import outcomes_spec
from messages.models import Plan
from messages.plans.doing import rows_of

STEPS = 60
COUNTED = """
SELECT width_bucket(extract(epoch FROM at)::float8, %(since)s, %(until)s, %(steps)s) AS step, what, count(*) FROM (
    SELECT sent_at AS at, 'sent' AS what FROM {rows} r WHERE plan_id = %(plan)s AND sent_at IS NOT NULL
    UNION ALL SELECT coalesce(proof_event_at, finished_at), 'processed' FROM {rows} r WHERE plan_id = %(plan)s AND state = 'processed'
    UNION ALL SELECT finished_at, 'failed' FROM {rows} r WHERE plan_id = %(plan)s AND state IN ('failed_again', 'refused') AND finished_at IS NOT NULL
) one GROUP BY 1, 2
"""
LOOKS = {"processed": ("processed", "good"), "sent": ("sent", "move"), "failed": ("failed again", "bad")}
TOLD = {"plan.paused": "paused", "plan.aborted": "stopped itself", "plan.resumed": "resumed", "plan.stopped": "stopped"}


def chart_of(plan: Plan, *, now: datetime) -> dict[str, Any]:
    """Return {"chart": of parts/chart.html or None before it began, "step_s", and for Vega "bundle" and "data"}."""
    if plan.started_at is None:
        return {"chart": None, "step_s": 0}
    span = max(timedelta(seconds=STEPS), (plan.finished_at or now) - plan.started_at)
    step = timedelta(seconds=ceil(span.total_seconds() / STEPS))
    since = plan.started_at
    asked = {"plan": plan.pk, "since": since.timestamp(), "until": (since + step * STEPS).timestamp(), "steps": STEPS}
    counts = {what: [0] * STEPS for what in LOOKS}
    with connection.cursor() as cursor:
        cursor.execute(rows_of(plan.does, COUNTED), asked)
        for at, what, count in cursor.fetchall():
            counts[what][min(STEPS, max(1, at)) - 1] += count  # what comes after its end stands in the last step
    series = [Series(name=name, look=look, values=counts[what], area=what == "failed") for what, (name, look) in LOOKS.items()]  # fmt: skip
    entries = object_history("plan", str(plan.pk)).filter(action__in=list(TOLD)).order_by("id")[:20]
    marks = [Mark(at=one.at, label=TOLD[one.action], kind="act") for one in entries if since <= one.at]
    instants = [since + step * number for number in range(STEPS)]
    label = f"Items sent, processed and failed again, every {step.total_seconds():.0f} s"
    steps = [{"at": _ms(at), **{what: counts[what][number] for what in LOOKS}} for number, at in enumerate(instants)]
    return {
        "chart": line_chart(instants, series, label=label, marks=marks),
        "step_s": int(step.total_seconds()),
        "bundle": bundle_address(),
        "data": {
            "still": True,  # nothing is chosen in it
            "step_ms": step // timedelta(milliseconds=1),
            "steps": steps,
            "marks": [{"at": _ms(one.at), "until": None, "words": one.label, "url": ""} for one in marks],
            "charts": {"outcomes": outcomes_spec()},
        },
    }


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)
