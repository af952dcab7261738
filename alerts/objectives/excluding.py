"""Every write to exclusions: a period is excluded or counts again, and the figures are folded anew."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from alerts.models import Exclusion, Objective
from alerts.objectives.access import check_can_withdraw
from alerts.objectives.assess import assess_again
from alerts.objectives.counters import fold_again, one_writer
from alerts.objectives.exclusions import EARLIEST, LONGEST, BadRule, check_rule
from alerts.objectives.windows import Span
from console.audit.services import record_audit
from console.core.calendars import zone_of
from console.core.errors import Conflict, Invalid
from console.identity.actor import Actor
from messages.queries import Flow

MOST_EXCLUSIONS = 500  # in force of one objective or flow


@dataclass(frozen=True, slots=True, kw_only=True)
class NewExclusion:
    """Time that does not count. rule: of RFC 5545, empty for once.   key: of the row, so that a form sent twice makes one."""

    starts_at: datetime
    minutes: int
    reason: str
    category: str = "maintenance"
    rule: str = ""
    time_zone: str = "UTC"
    key: UUID | None = None


def add_exclusion(
    said: NewExclusion, *, objective: Objective | None = None, flow: Flow | None = None, by: Actor
) -> Exclusion:
    """Let a time not count for one objective, or for every one of a flow, audited; the figures are folded anew before this returns.

    The caller has fetched both for this actor.   Raises Invalid, Forbidden.
    """
    if (flow is None) == (objective is None):
        raise Invalid("an exclusion is for an objective or for a flow")
    about = objective or flow
    assert about is not None
    made = Exclusion(environment=about.environment, objective=objective, flow=flow, made_by=by.name, **_excluded(said))
    check_can_withdraw(by, made)
    if (known := _pressed_before(said, made)) is not None:
        return known
    in_force = Exclusion.objects.filter(objective=objective, flow=flow, withdrawn_at=None)
    if in_force.count() >= MOST_EXCLUSIONS:
        raise Invalid(
            f"{about} has {MOST_EXCLUSIONS} exclusions, and more are not taken: withdraw old ones, or make a rule of them"
        )
    taken = set(Exclusion.objects.filter(pk__in=_keys(said, made)).values_list("pk", flat=True))
    made.pk = next((key for key in _keys(said, made) if key not in taken), made.pk)
    try:
        with transaction.atomic():
            made.save(force_insert=True)
            _audit_exclusion(by, "exclusion.added", made, reason=made.reason)
            _fold(made)
    except IntegrityError:
        if (known := _pressed_before(said, made)) is None:
            raise
        return known  # two presses at once: the other one has folded
    assess_again(_about(made), datetime.now(UTC))
    return made


def _pressed_before(said: NewExclusion, made: Exclusion) -> Exclusion | None:
    """Return the exclusion that a first press of the same button made; None when the form says something else by now, or that one counts again."""
    return Exclusion.objects.filter(pk__in=_keys(said, made), withdrawn_at=None, **_same(said, made)).first()


def _same(said: NewExclusion, made: Exclusion) -> dict[str, Any]:
    return {name: getattr(made, name) for name in ("objective", "flow", *_excluded(said))}


def _keys(said: NewExclusion, made: Exclusion) -> list[UUID]:
    """Return the ids that an exclusion of this form may have: the form's own, and one of it and what it says, for when it was sent before."""
    if said.key is None:
        return []
    words = "\n".join(f"{name}={value}" for name, value in sorted(_same(said, made).items()))
    return [said.key, uuid5(said.key, words)]


def _excluded(said: NewExclusion) -> dict[str, Any]:
    """Return the columns of a checked exclusion; raises Invalid."""
    reason, zone = _line(said.reason), zone_of(said.time_zone)
    if not reason:
        raise Invalid("say why this time does not count: it stands in every report")
    if said.category not in Exclusion.Category.values:
        raise Invalid(f"an exclusion is one of: {', '.join(Exclusion.Category.values)}")
    if said.starts_at.tzinfo is None:
        raise Invalid("the beginning has no time zone")
    starts_at = said.starts_at.astimezone(UTC)
    if not EARLIEST <= starts_at <= EARLIEST + timedelta(days=366 * 100):
        raise Invalid("an exclusion begins after the year 2000 and within a hundred years")
    if not 1 <= said.minutes <= LONGEST // timedelta(minutes=1):
        raise Invalid("an exclusion lasts from a minute to 31 days")
    try:
        rule = check_rule(said.rule, starts_at=starts_at, zone=zone)
    except BadRule as error:
        raise Invalid(str(error)) from error
    return {
        "starts_at": starts_at,
        "minutes": said.minutes,
        "reason": reason,
        "category": said.category,
        "rule": rule,
        "time_zone": said.time_zone,
    }


def withdraw_exclusion(one: Exclusion, *, by: Actor, reason: str = "") -> None:
    """Let a time count again, audited; the row stays for the record. Raises Forbidden, Conflict."""
    check_can_withdraw(by, one)
    with transaction.atomic():
        taken = Exclusion.objects.filter(pk=one.pk, withdrawn_at=None).update(
            withdrawn_at=datetime.now(UTC), withdrawn_by=by.name
        )
        if not taken:
            raise Conflict("this exclusion is withdrawn already")
        _audit_exclusion(by, "exclusion.withdrawn", one, reason=_line(reason))
        _fold(one)
    assess_again(_about(one), datetime.now(UTC))
    one.refresh_from_db(fields=["withdrawn_at", "withdrawn_by"])


def _about(one: Exclusion) -> QuerySet[Objective]:
    of = Objective.objects.order_by("pk")
    return of.filter(pk=one.objective_id) if one.objective_id else of.filter(flow=one.flow_id)


def _fold(one: Exclusion) -> None:
    """Fold the figures in the transaction of the change: nothing folds them later where it did not come to that."""
    within = None if one.rule else Span(since=one.starts_at, until=one.ends_at + timedelta(minutes=1))
    with one_writer():  # before they are read: who waits for the counters may wait for another way of counting
        fold_again(list(_about(one)), within)


def _audit_exclusion(by: Actor, action: str, one: Exclusion, *, reason: str) -> None:
    flow = one.flow or (one.objective.flow if one.objective else None)
    team = flow.team_id if flow else one.objective.team_id if one.objective else None
    details = {"objective": one.objective_id, "flow": one.flow_id, "minutes": one.minutes, "rule": one.rule}
    told: dict[str, Any] = {"reason": reason}
    if one.objective is not None and one.objective.flow_id is None and team is None:
        told = {"label": "what does not count for an objective of one’s own"}  # the row keeps the reason
    record_audit(by, action, one, environment=one.environment, team_id=team, details=details, **told)


def _line(text: str) -> str:
    return " ".join(text.replace("\x00", "").split())[:500]
