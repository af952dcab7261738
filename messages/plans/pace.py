"""How fast a plan may send: its own rate, and what the flows of its messages allow all running plans together."""

from __future__ import annotations

from django.db import connection

from messages.models import Plan

# A flow's rate is shared evenly by the running plans that send messages of it.
OF_FLOWS = """
SELECT min(f.replay_rate / greatest(1, (
    SELECT count(*) FROM messaging_plan p WHERE p.state = 'running' AND p.sent_flow_ids @> ARRAY[f.id])))
FROM messaging_flow f WHERE f.id = ANY(%s) AND f.replay_rate IS NOT NULL
"""


def allowed_per_s(plan: Plan) -> float | None:
    """Return the items a second that the plan may send now; None for no limit."""
    with connection.cursor() as cursor:
        cursor.execute(OF_FLOWS, [plan.sent_flow_ids])
        of_flows: float | None = cursor.fetchone()[0]
    rates = [rate for rate in (plan.rate_per_s, of_flows) if rate is not None]
    return min(rates, default=None)
