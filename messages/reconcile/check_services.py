"""Every write to scheduled checks by people and programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from django.db import IntegrityError, transaction
from django.db.models import F

from console.audit.services import record_audit
from console.core.calendars import clock_text, working_time
from console.core.errors import Conflict, Invalid
from console.identity.actor import Actor
from messages.models import Flow, Reconciliation, ReconciliationCheck
from messages.reconcile.access import check_can_own, check_can_reconcile
from messages.reconcile.calendar import due_after, due_before, period_begins
from messages.reconcile.services import (
    RESTING,
    NewReconciliation,
    begin_reconciliation,
    check_names,
    receive_list,
    system_named,
    told_of,
)
from messages.retention.policies import hold_of_flow

MOST_CHECKS = 100  # of one flow
MOST_HOURS = 31 * 24
State = ReconciliationCheck.State


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCheck:
    """Due at `minute` of the local day on these ISO weekdays; its list is of the `hours` before that."""

    name: str
    key_name: str
    minute: int
    days: Sequence[int] = (1, 2, 3, 4, 5, 6, 7)
    time_zone: str = "UTC"
    hours: int = 24
    system: str = ""  # the receiver that decides; empty: any


def _said(flow: Flow, said: NewCheck) -> dict[str, object]:
    """Return the columns of a checked wish; raises Invalid."""
    key_name, name = check_names(said.key_name, said.name)
    if not name:
        raise Invalid("give the check a name")
    if not 0 <= said.minute < 1440:
        raise Invalid("a check is due between 00:00 and 23:59")
    if not 1 <= said.hours <= MOST_HOURS:
        raise Invalid(f"a list is of the last 1 to {MOST_HOURS} hours")
    working_time(said.days, 0, 1440, said.time_zone)
    return {
        "name": name,
        "key_name": key_name,
        "system": system_named(flow, said.system),
        "minute": said.minute,
        "days": sorted(set(said.days)),
        "time_zone": said.time_zone,
        "hours": said.hours,
    }


@transaction.atomic
def add_check(flow: Flow, said: NewCheck, *, by: Actor) -> ReconciliationCheck:
    """Make a check, audited; its maker is told. The caller has fetched the flow for this actor. Raises Invalid, Forbidden, Conflict."""
    now = datetime.now(UTC)
    made = ReconciliationCheck(
        environment=flow.environment, flow=flow, state_since=now, due_at=now, **_said(flow, said)
    )
    check_can_reconcile(by, made)
    made.owner_id = check_can_own(by)
    if ReconciliationCheck.objects.filter(flow=flow).count() >= MOST_CHECKS:
        raise Invalid(f"{flow.name} has {MOST_CHECKS} checks, and more are not taken")
    made.due_at = made.next_look_at = _due_after(made, now)
    try:
        with transaction.atomic():
            made.save(force_insert=True)
    except IntegrityError as error:
        raise Conflict(f"{flow.name} has a check “{made.name}” already") from error
    _audit(by, "reconciliation_check.added", made)
    return made


@transaction.atomic
def change_check(check: ReconciliationCheck, said: NewCheck, *, by: Actor) -> ReconciliationCheck:
    """Change a check, audited: whoever changes it is told from then on. One that is raised stays so until it was compared. Raises as add_check."""
    check_can_reconcile(by, check)
    now, columns = datetime.now(UTC), _said(check.flow, said)
    for name, value in columns.items():
        setattr(check, name, value)
    due_at = _due_after(check, now)
    begun: dict[str, object] = {"due_at": due_at, "next_look_at": due_at, "waiting_for": None}
    if check.state != State.RAISED:
        begun |= {"state": State.NEW, "state_since": now, "problem": ""}
    try:
        with transaction.atomic():
            ReconciliationCheck.objects.filter(pk=check.pk).update(
                **columns, **begun, owner_id=check_can_own(by), attempt=F("attempt") + 1
            )
    except IntegrityError as error:
        raise Conflict(f"{check.flow.name} has a check “{columns['name']}” already") from error
    check.refresh_from_db()
    _audit(by, "reconciliation_check.changed", check)
    return check


@transaction.atomic
def remove_check(check: ReconciliationCheck, *, by: Actor, reason: str = "") -> None:
    """Remove a check; its reconciliations stay. Raises Forbidden."""
    check_can_reconcile(by, check)
    _audit(by, "reconciliation_check.removed", check, reason=reason.replace("\x00", "").strip()[:1000])
    check.delete()


def receive_list_of_check(
    check: ReconciliationCheck, chunks: Iterable[bytes], *, column: str = "", by: Actor
) -> Reconciliation:
    """Take the list of the occurrence that is next, in the place of an earlier one of it, and compare it at once. Raises as receive_list.

    One that comes late is of the occurrence before, which is decided anew: while that has none and is nearer than the next.
    """
    check_can_reconcile(by, check)
    one = receive_list(_of_next(check, by), chunks, column=column, by=by)
    late = ReconciliationCheck.objects.filter(pk=check.pk, state=State.RAISED, waiting_for=None, due_at__gt=one.until)
    now = datetime.now(UTC)
    late.update(waiting_for=one, waiting_since=now, due_at=one.until, next_look_at=now, attempt=F("attempt") + 1)
    return one


@transaction.atomic
def _of_next(check: ReconciliationCheck, by: Actor) -> Reconciliation:
    """Return the reconciliation of the occurrence that a list is of; two programs that send at once get the same one."""
    row = ReconciliationCheck.objects.select_for_update().get(pk=check.pk)
    now = datetime.now(UTC)
    due_at = _missed(row, now) or max(row.due_at, _due_after(row, now))
    known = Reconciliation.objects.filter(
        of_check=row, until=due_at, removed_at=None, state__in=RESTING, system=row.system
    )
    one = known.select_related("flow__team", "environment").order_by("-pk").first()
    if one is not None and (one.list_attempt is None or hold_of_flow(check.flow) is None):
        return one
    said = NewReconciliation(
        name=f"{row.name}, {due_at:%Y-%m-%d}"[:120],
        key_name=row.key_name,
        since=period_begins(due_at, hours=row.hours, minute=row.minute, time_zone=row.time_zone),
        until=due_at,
        system=row.system.name if row.system else "",
    )
    return begin_reconciliation(check.flow, said, by=by, of_check=row)


def _missed(check: ReconciliationCheck, now: datetime) -> datetime | None:
    """Return when the last occurrence was due, if no list had come for it by then and it is nearer than the next; None otherwise."""
    before = due_before(now, minute=check.minute, days=check.days, time_zone=check.time_zone)
    decided = check.state == State.RAISED and check.checked_at is not None and check.checked_at >= before
    undecided = check.due_at <= before
    if not (decided or undecided) or check.waiting_for_id is not None or now - before >= _due_after(check, now) - now:
        return None
    lists = Reconciliation.objects.filter(of_check=check, until=before, removed_at=None, received_at__lte=before)
    return None if lists.exists() else before


def _due_after(check: ReconciliationCheck, at: datetime) -> datetime:
    return due_after(at, minute=check.minute, days=check.days, time_zone=check.time_zone)


def _audit(by: Actor, action: str, check: ReconciliationCheck, *, reason: str = "") -> None:
    record_audit(
        by,
        action,
        check,
        environment=check.environment,
        team_id=check.flow.team_id,
        label=check.name,
        reason=reason,
        details={
            "flow": check.flow.name,
            "at": f"{clock_text(check.minute)} {check.time_zone}",
            **told_of(check.system),
        },
    )
