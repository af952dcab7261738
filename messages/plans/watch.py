"""What a plan looks at each second while it runs: what went wrong, and how long its receivers take.

Nothing here counts all items of a plan while nothing has gone wrong, so that a second costs as much in a plan of a million.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from statistics import median

from django.db import connection
from django.db.models import Sum

from messages.figures.percentiles import percentile
from messages.models import Connection, Plan, RollupHour, RollupLatency
from messages.models.stream import Operation
from messages.plans.doing import REPLAY, rows_of
from messages.plans.waves import Bounds, why_abort

# By an index of the few (replay_odd).
WENT_WRONG = """
SELECT count(*) FROM {rows} r WHERE r.plan_id = %s AND r.state IN ('failed_again', 'refused')
"""
OUTCOMES = "SELECT r.state, count(*) FROM {rows} r WHERE r.plan_id = %s GROUP BY r.state"
GAVE_UP_AT = 4  # attempts, 14 s at least: then it is no hiccup
AWAY = """
SELECT c.name, r.detail FROM messaging_replay r JOIN messaging_connection c ON c.id = r.connection_id
WHERE r.state IN ('queued', 'sending') AND r.state = 'queued' AND r.plan_id + 0 = %s AND r.attempt - r.spared >= %s AND r.not_before > now()
ORDER BY r.id LIMIT 1
"""
LATEST, FEWEST = 500, 5  # items that are looked at, the newest; fewer proofs than so many say nothing
TOOK = """
SELECT e.duration_us / 1e6 FROM (
    SELECT r.state, r.proof_event_at, r.proof_event_id FROM messaging_replay r
    WHERE r.plan_id = %s AND r.finished_at >= %s ORDER BY r.id DESC LIMIT %s
) r JOIN messaging_event e ON e.occurred_at = r.proof_event_at AND e.id = r.proof_event_id
WHERE r.state = 'processed' AND e.duration_us > 0
"""
USUAL = timedelta(days=2)  # before it began
REPORTS = timedelta(days=7)


def why_no_connection(plan: Plan) -> str:
    """Return which connection that the plan sends over is not approved any more, in words; "" when all are.

    Items are not left out for it: whoever changes a password at night must not lose a plan its messages.
    """
    brokers = [one["broker"] for one in plan.figures.get("destinations", [])]
    over = Connection.objects.filter(environment=plan.environment_id, approved_at__isnull=True)
    over = over.filter(pk=plan.connection_id) if plan.connection_id else over.filter(name__in=brokers)
    name = over.order_by("name").values_list("name", flat=True).first()
    return f"the connection {name} is not approved any more: approve it, then resume" if name else ""


def why_stop_itself(plan: Plan) -> str:
    """Return why the plan must abort, in words; "" while it need not. What stood when somebody resumed it is forgiven."""
    bounds = Bounds(plan.stop_failed_percent, plan.stop_latency_times)
    since: Counter[str] = Counter()
    if _count(rows_of(plan.does, WENT_WRONG), plan.pk) > plan.forgiven.get("failed_again", 0) + plan.forgiven.get(
        "refused", 0
    ):
        since = outcomes_of(plan) - Counter(plan.forgiven)
    latency_s = (
        latency_of(plan)
        if plan.does == REPLAY and plan.stop_latency_times and plan.waits_for == Plan.WaitsFor.PROCESSED
        else None
    )
    return why_abort(since, bounds, latency_s=latency_s, usual_s=usual_of(plan) if latency_s else None)


def _count(sql: str, plan: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql, [plan])
        return int(cursor.fetchone()[0])


def outcomes_of(plan: Plan) -> Counter[str]:
    """Return {state: replays} of the plan: outcomes of what was handed over."""
    with connection.cursor() as cursor:
        cursor.execute(rows_of(plan.does, OUTCOMES), [plan.pk])
        return Counter(dict(cursor.fetchall()))


def why_wait(plan: Plan) -> str:
    """Return why somebody should look before more attempts are spent, in words: the broker is away for good; "" when not."""
    if plan.does != REPLAY:  # a compensation puts off, and sticks, by itself
        return ""
    with connection.cursor() as cursor:
        cursor.execute(AWAY, [plan.pk, GAVE_UP_AT])
        row = cursor.fetchone()
    return f"{row[0]} does not take them: {row[1]}"[:500] if row else ""


def latency_of(plan: Plan) -> float | None:
    """Return the median of what the receivers took for the latest items, in s; None for too few.

    Of those proved since it began or was resumed: else it would stop itself again at once for what a person has seen.
    As their own events say, and as the usual is measured: how long a message waited in a queue is another figure.
    """
    with connection.cursor() as cursor:
        cursor.execute(TOOK, [plan.pk, plan.state_at, LATEST])
        took = [float(row[0]) for row in cursor.fetchall()]
    return median(took) if len(took) >= FEWEST else None


def usual_of(plan: Plan) -> float | None:
    """Return the median of what receivers of its flows took in the two days before it began, in s; None when nothing is known."""
    until = (plan.started_at or datetime.now(UTC)).replace(minute=0, second=0, microsecond=0)
    rows = RollupLatency.objects.filter(
        environment=plan.environment_id, flow_id__in=plan.sent_flow_ids, hour__gte=until - USUAL, hour__lt=until
    )
    took_ms = percentile(dict(rows.values_list("bucket").annotate(Sum("count"))), 0.5)
    return None if took_ms is None else took_ms / 1000


def do_receivers_report(flow_ids: list[int]) -> bool:
    """Whether the receivers of each of these flows told of processing something in the last seven days."""
    told = RollupHour.objects.filter(
        flow_id__in=flow_ids,
        hour__gte=datetime.now(UTC) - REPORTS,
        operation__in=[Operation.PROCESS, Operation.SETTLE],
    )
    return bool(flow_ids) and set(flow_ids) <= set(told.values_list("flow_id", flat=True).distinct())
