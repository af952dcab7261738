"""Scheduled checks: due at a time of day on working days. Did the list come, and did every key of it reach its receiver?

Occurrences are decided in turn, each once: the row is claimed like a subscription, its list is compared again at the time that it is due, and the end
of that comparison, or the want of a list, is the verdict. A verdict that is bad is told each time, a good one when it was bad before.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode

import structlog
from django.conf import settings
from django.db import transaction
from django.urls import reverse

from console.audit.services import record_audit
from console.core.errors import Conflict
from console.identity.actor import SYSTEM, actor_of
from messages.models import Reconciliation, ReconciliationCheck
from messages.reconcile.access import visible_checks
from messages.reconcile.calendar import due_after, period_begins
from messages.reconcile.services import RESTING, ListBusy, State, queue_again
from messages.saved.due import claim_due, look_at_due
from messages.saved.outbox import queue_mail, withdraw_mails

log = structlog.get_logger(__name__)
SOON = timedelta(seconds=15)  # a comparison that is under way is looked at again so often
PATIENCE = timedelta(
    hours=2
)  # for a comparison to end since the check waits for it; then the check says that it did not
BUDGET_S = 30.0
Check = ReconciliationCheck.State


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a look decided. state None: not yet; waiting_for is then the comparison that decides."""

    state: str | None
    problem: str = ""
    decided: Reconciliation | None = None
    waiting_for: Reconciliation | None = None


def run_checks(*, now: datetime | None = None, budget_s: float = BUDGET_S) -> int:
    """Look at every check that is due, for at most so many seconds; return how many occurrences were decided."""
    return look_at_due(claim, lambda one, at: settle(one, look_at(one, at), at), now=now, budget_s=budget_s)


def claim(now: datetime) -> ReconciliationCheck | None:
    """Take the check that is due longest, None when none is."""
    rows = ReconciliationCheck.objects.select_related("environment", "flow__team", "owner", "waiting_for")
    return claim_due(rows, now)


def look_at(check: ReconciliationCheck, now: datetime) -> Outcome:
    """Return what is known of the occurrence that is due; starts the comparison that decides it, once."""
    owner = check.owner
    if not owner.is_active:
        return Outcome(state=Check.STOPPED, problem="its owner's account is switched off")
    if not visible_checks(actor_of(owner, via="system")).filter(pk=check.pk).exists():
        return Outcome(
            state=Check.STOPPED, problem="its owner may not see this flow any more: their rights have changed"
        )
    one = check.waiting_for
    if one is None or one.removed_at is not None:
        return _begin(check)
    if one.state == State.DONE and one.problem:  # a newer list was refused meanwhile: that of before is compared now
        return _begin(check)
    if one.state == State.DONE:
        return _verdict(one)
    if one.state in RESTING:
        words = one.problem or f"it was {one.state}"
        return Outcome(state=Check.RAISED, problem=f"the comparison did not end: {words}", decided=one)
    if now - max(check.waiting_since or now, one.received_at or check.due_at) > PATIENCE:
        return Outcome(state=Check.RAISED, problem="the comparison did not end in two hours", decided=one)
    return Outcome(state=None, waiting_for=one)


def _begin(check: ReconciliationCheck) -> Outcome:
    """Have the list of this occurrence compared with what has come until now; without a list the verdict is there at once."""
    since = period_begins(check.due_at, hours=check.hours, minute=check.minute, time_zone=check.time_zone)
    decided = check.decided_due_at or check.checked_at
    if decided is not None:  # what was due by then has decided, though periods of two days may overlap
        since = max(since, decided)
    lists = Reconciliation.objects.filter(of_check=check, removed_at=None, list_attempt__isnull=False)
    one = lists.filter(until__gt=since, until__lte=check.due_at).order_by("-received_at").first()
    if one is None:
        return Outcome(state=Check.RAISED, problem=f"no list had come by {check.due_at:%H:%M} UTC{_refused(check)}")
    try:
        queue_again(one, system_id=check.system_id)
    except (
        ListBusy
    ):  # being compared, or a newer list is coming: its end decides, unless the check was changed to another system
        return Outcome(state=None, waiting_for=one if one.system_id == check.system_id else None)
    except Conflict:
        return Outcome(state=Check.RAISED, problem="its list is gone")
    return Outcome(state=None, waiting_for=one)


def _refused(check: ReconciliationCheck) -> str:
    """Return what became of lists that were sent for this occurrence, and of which none was taken."""
    sent = Reconciliation.objects.filter(of_check=check, until=check.due_at, removed_at=None, state=State.FAILED)
    one = sent.order_by("-pk").first()
    return f"; one that was sent was refused: {one.problem}" if one and one.problem else ""


def _verdict(one: Reconciliation) -> Outcome:
    wrong = []
    if one.never:
        wrong.append(f"{one.never:,} of {one.listed:,} keys never seen")
    if one.failed:
        wrong.append(f"{one.failed:,} failed")
    if one.moving:  # nobody has said that they reached their receiver
        wrong.append(f"{one.moving:,} still on the way")
    if one.bad_lines:
        wrong.append(f"{one.bad_lines:,} line{'' if one.bad_lines == 1 else 's'} of the list cannot be read")
    return Outcome(state=Check.RAISED if wrong else Check.CALM, problem=", ".join(wrong), decided=one)


@transaction.atomic
def settle(check: ReconciliationCheck, outcome: Outcome, now: datetime) -> bool:
    """Write what a look decided, and the mail that tells it; return whether the occurrence is decided. Nothing if the claim is lost."""
    mine = ReconciliationCheck.objects.select_for_update(of=("self",)).filter(
        pk=check.pk, attempt=check.attempt, next_look_at__isnull=False
    )
    row = mine.first()
    if row is None:
        return False
    if outcome.state is None:
        if row.waiting_since is None or row.waiting_for != outcome.waiting_for:
            row.waiting_since = now
        row.waiting_for, row.next_look_at = outcome.waiting_for, now + SOON
        row.save(update_fields=["waiting_for", "waiting_since", "next_look_at"])
        return False
    changed = outcome.state != row.state
    if outcome.state == Check.STOPPED:
        withdraw_mails(about_of(row.pk), outcome.problem)
    if outcome.state != Check.CALM or (changed and row.state == Check.RAISED):
        _tell(check, row, outcome)
        row.told_at = now if check.owner.is_active and check.owner.email else row.told_at
    if outcome.state == Check.STOPPED:
        _audit_stop(check, outcome.problem)
    row.state_since = now if changed else row.state_since
    row.state, row.problem, row.checked_at, row.waiting_for = outcome.state, outcome.problem[:500], now, None
    # The next one, also when it is over: what was due while no worker looked is decided in turn.
    due_at = due_after(row.due_at, minute=row.minute, days=row.days, time_zone=row.time_zone)
    row.next_look_at = None if outcome.state == Check.STOPPED else due_at
    row.decided_due_at, row.due_at = row.due_at, due_at
    row.save(
        update_fields=[
            "state", "state_since", "problem", "checked_at", "waiting_for", "decided_due_at", "due_at", "next_look_at", "told_at",
        ]
    )  # fmt: skip
    return True


def _tell(check: ReconciliationCheck, row: ReconciliationCheck, outcome: Outcome) -> None:
    """Write the mail of this occurrence: counts and links, never a key. Who may not see the flow any more is told no name of it."""
    said = outcome.problem or "every key of the list was processed"
    subject = f"[{check.environment.name}] {check.name}: {said}"
    lines = [f"“{check.name}” in {check.environment.name}, due {row.due_at:%Y-%m-%d %H:%M} UTC: {said}."]
    if outcome.state == Check.STOPPED:
        subject = f"[{check.environment.name}] {check.name}: this check has stopped"
    else:
        slug = check.environment.slug
        if outcome.decided is not None:
            lines += ["", f"Reconciliation: {_link(reverse('reconciliation', args=[outcome.decided.pk]), slug)}"]
        lines += ["", f"Change or end this check: {_link(reverse('reconciliation-check', args=[check.pk]), slug)}"]
    queue_mail(
        about_of(check.pk),
        f"{about_of(check.pk)}:{row.due_at.isoformat()}:{outcome.state}:{outcome.decided.pk if outcome.decided else ''}",
        to=check.owner.email if check.owner.is_active else "",
        subject=subject,
        body="\n".join(lines) + "\n",
        flows=[check.flow_id] if outcome.state != Check.STOPPED else [],
    )


def _link(path: str, slug: str) -> str:
    return f"{settings.CONSOLE_URL}{path}?{urlencode({'environment': slug})}"


def _audit_stop(check: ReconciliationCheck, problem: str) -> None:
    log.info("check_stopped", check=check.pk, reason=problem)
    record_audit(
        SYSTEM,
        "reconciliation_check.stopped",
        check,
        environment=check.environment,
        team_id=check.flow.team_id,
        label=check.name,
        reason=problem,
    )


def about_of(pk: int) -> str:
    """Return by what the outbox knows the mails of a check."""
    return f"reconciliation-check:{pk}"
