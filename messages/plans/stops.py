"""Stopping every replay at once, in an environment or in one flow, and lifting the stop again. Audited; the claim and advance.py heed the rows."""

from __future__ import annotations

from django.db import IntegrityError, transaction

from console.audit.services import record_audit
from console.core.errors import Conflict, NotFound
from console.identity.actor import Actor
from console.identity.models import Environment
from messages.dead_letters.services import check_reason
from messages.models import Flow, ReplayStop
from messages.plans.access import check_can_stop


class AlreadyStopped(Conflict):
    """Replays are stopped there already: lift that stop first, or leave it."""

    code = "already_stopped"


@transaction.atomic
def stop_replays(environment: Environment, flow: Flow | None, *, by: Actor, reason: str) -> ReplayStop:
    """Send nothing again until the stop is lifted, in one flow, or with None in the whole environment. Raises Forbidden, ReasonMissing, AlreadyStopped."""
    check_can_stop(by, environment, flow)
    reason = check_reason(reason)
    try:
        with transaction.atomic():
            stop = ReplayStop.objects.create(environment=environment, flow=flow, stopped_by=by.name, reason=reason)
    except IntegrityError as error:
        raise AlreadyStopped(f"replays of {flow or environment.name} are stopped already") from error
    _audit(by, "replays.stopped", stop, reason)
    return stop


@transaction.atomic
def lift_stop(stop: ReplayStop, *, by: Actor, reason: str) -> None:
    """Let replays go on. Raises Forbidden, ReasonMissing, NotFound when somebody was faster."""
    check_can_stop(by, stop.environment, stop.flow)
    reason = check_reason(reason)
    _audit(by, "replays.resumed", stop, reason)
    if not ReplayStop.objects.filter(pk=stop.pk).delete()[0]:
        raise NotFound("this stop is lifted already")


def _audit(by: Actor, action: str, stop: ReplayStop, reason: str) -> None:
    details = {"flow": stop.flow.name} if stop.flow else {}
    team = stop.flow.team_id if stop.flow else None
    record_audit(by, action, stop, environment=stop.environment, team_id=team, reason=reason, details=details)
