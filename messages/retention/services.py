"""What people do about retention: change a policy, place a legal hold, lift it. Each with a reason, each audited."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime

from django.db import IntegrityError, connection, transaction

from console.audit.services import record_audit
from console.core.errors import Conflict, Forbidden
from console.identity.access import check_can_administer
from console.identity.actor import Actor
from console.identity.models import Environment
from messages.access import can_change_flow
from messages.dead_letters.services import check_reason
from messages.models import Flow, LegalHold, RetentionPolicy
from messages.retention.policies import policy_of
from messages.retention.rules import Policy, check_policy
from messages.retention.run import LOCK


class AlreadyHeld(Conflict):
    """There is a legal hold already."""

    code = "already_held"


def _wait_for_runs() -> None:
    """Let a step of a run that is under way end first: what begins afterwards knows what was decided here."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = '55s'; SET LOCAL statement_timeout = '55s'")
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])


@transaction.atomic
def change_policy(environment: Environment, policy: Policy, *, by: Actor, reason: str) -> Policy:
    """Set how long an environment's data is kept; the next run acts on it. Raises Forbidden, PolicyInvalid, ReasonMissing."""
    check_can_administer(by, environment)
    check_policy(policy)
    reason = check_reason(reason)
    _wait_for_runs()
    before = asdict(policy_of(environment))
    changed = {name: value for name, value in asdict(policy).items() if value != before[name]}
    if changed:
        row, _ = RetentionPolicy.objects.update_or_create(
            environment=environment,
            defaults=asdict(policy) | {"changed_at": datetime.now(UTC), "changed_by": by.name},
        )
        details = {name: f"{before[name]} → {value} days" for name, value in changed.items()}
        record_audit(by, "retention.changed", row, environment=environment, reason=reason, details=details)
    return policy


@transaction.atomic
def place_hold(environment: Environment, flow: Flow | None, *, by: Actor, reason: str) -> LegalHold:
    """Keep everything of this flow, or of the whole environment, until the hold is lifted; what is gone stays gone.

    When it returns, no run deletes anything of it any more. Raises Forbidden, ReasonMissing, AlreadyHeld.
    """
    check_can_hold(by, environment, flow)
    reason = check_reason(reason)
    _wait_for_runs()
    try:
        with transaction.atomic():
            hold = LegalHold.objects.create(environment=environment, flow=flow, reason=reason, placed_by=by.name)
    except IntegrityError as error:
        raise AlreadyHeld(f"{flow or environment} is on legal hold already") from error
    _audit(by, "legal_hold.placed", hold, reason)
    return hold


@transaction.atomic
def lift_hold(hold: LegalHold, *, by: Actor, reason: str) -> None:
    """Let policies hold again for what was on hold; the next run acts on it. Raises Forbidden, ReasonMissing."""
    check_can_hold(by, hold.environment, hold.flow)
    reason = check_reason(reason)
    _audit(by, "legal_hold.lifted", hold, reason)
    hold.delete()


def check_can_hold(by: Actor, environment: Environment, flow: Flow | None) -> None:
    if flow is None:
        check_can_administer(by, environment)
    elif not can_change_flow(by, flow):
        raise Forbidden(f"only administrators of {flow.team or flow.environment} may do this to {flow.name}")


def _audit(by: Actor, action: str, hold: LegalHold, reason: str) -> None:
    """Write it into the history of what is held: its page shows it."""
    record_audit(
        by,
        action,
        hold.flow or hold.environment,
        environment=hold.environment,
        team_id=hold.flow.team_id if hold.flow else None,
        reason=reason,
    )
