"""Stopping every replay of a flow or an environment at once, and letting them go again. Single ones, plans and automatic ones heed it.

A worker looks at the rows with each claim (messages.replay.window.LET), a plan with each turn (advance.py); what a worker has already is sent.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.db import IntegrityError, connection, transaction
from django.db.models import Q

from console.audit.services import record_audit
from console.identity.actor import Actor
from console.identity.models import Environment
from messages.dead_letters.services import check_reason
from messages.models import Flow, Plan, Replay, ReplayStop
from messages.plans.access import check_can_stop, stoppable_environments, visible_stops

SENDS = ("running", "finished")  # as messages.replay.window.LET has it
STOPPED = """
SELECT s.reason, s.stopped_by, f.name, e.slug FROM messaging_replaystop s
JOIN identity_environment e ON e.id = s.environment_id LEFT JOIN messaging_flow f ON f.id = s.flow_id
WHERE s.environment_id = %s AND (s.flow_id IS NULL OR s.flow_id = ANY(%s)) ORDER BY s.flow_id IS NOT NULL, s.id LIMIT 1
"""


def stop_replays(environment: Environment, flow: Flow | None, *, by: Actor, reason: str) -> tuple[ReplayStop, bool]:
    """Send nothing again in this flow, in the whole environment without one. Return the stop and whether it is new.

    One that stands already stays as it is: whoever presses second wanted the same. Raises Forbidden, ReasonMissing.
    """
    check_can_stop(by, environment, flow)
    reason = check_reason(reason)
    try:
        with transaction.atomic():
            stop = ReplayStop.objects.create(environment=environment, flow=flow, stopped_by=by.name, reason=reason)
            _audit(by, "replays.stopped", stop, reason)
            return stop, True
    except IntegrityError:
        standing = ReplayStop.objects.filter(environment=environment, flow=flow).first()
        if standing is None:  # lifted at this very moment
            return stop_replays(environment, flow, by=by, reason=reason)
        return standing, False


def stop_everywhere(*, by: Actor, reason: str) -> list[ReplayStop]:
    """Stop replays in every environment that the actor operates. Raises ReasonMissing."""
    return [stop_replays(one, None, by=by, reason=reason)[0] for one in stoppable_environments(by)]


@transaction.atomic
def lift_stop(stop: ReplayStop, *, by: Actor, reason: str) -> None:
    """Let replays go again; who was faster lifted it already. Raises Forbidden, ReasonMissing."""
    check_can_stop(by, stop.environment, stop.flow)
    reason = check_reason(reason)
    if ReplayStop.objects.filter(pk=stop.pk).delete()[0]:
        _audit(by, "replays.let_go", stop, reason)


def why_stopped(plan: Plan) -> str:
    """Return why nothing of a plan may be sent, in words; "" when it may.

    A plan over several flows holds as a whole while one of them is stopped: what it sends is what was previewed, in its order.
    """
    return _why(plan.environment_id, plan.sent_flow_ids)


def why_flow_stopped(flow: Flow) -> str:
    """Return why nothing of a flow may be sent again, nor undone, in words; "" when it may."""
    return _why(flow.environment_id, [flow.pk])


def why_replay_waits(replay: Replay) -> str:
    """Return what holds a queued replay back, in words: a stop, or its plan; "" when nothing does."""
    letter, plan = replay.dead_letter, replay.plan
    if stopped := _why(letter.environment_id, [letter.flow_id]):
        return stopped
    if plan is None or plan.state in SENDS:
        return ""
    why = f": {plan.why}" if plan.why else ""
    return f"its plan {plan.reference} is {plan.state.replace('_', ' ')}{why}"


def _why(environment_id: int, flow_ids: Iterable[int]) -> str:
    with connection.cursor() as cursor:
        cursor.execute(STOPPED, [environment_id, list(flow_ids)])
        row = cursor.fetchone()
    if row is None:
        return ""
    reason, by, flow, slug = row
    return f"{by} stopped all replays of {flow or slug}: {reason}"


def _audit(by: Actor, action: str, stop: ReplayStop, reason: str) -> None:
    record_audit(
        by,
        action,
        stop,
        environment=stop.environment,
        team_id=stop.flow.team_id if stop.flow else None,
        reason=reason,
        label=str(stop.flow or stop.environment.slug),
        details={"flow": stop.flow_id},
    )


def standing_stops(actor: Actor, environment: Environment) -> list[ReplayStop]:
    """Return what stops replays there now, the oldest first."""
    return list(visible_stops(actor, [environment])[:20])


def stops_of(flow: Flow) -> list[ReplayStop]:
    """Return what stops the replays of a flow: its own stop, and that of its environment."""
    own = Q(flow=flow) | Q(flow__isnull=True)
    return list(ReplayStop.objects.filter(own, environment=flow.environment_id).select_related("flow", "environment"))
