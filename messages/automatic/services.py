"""What people do to replay rules: make one, change it, switch it on and off, all of an environment off at once. running.py acts for them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F

from console.audit.services import record_audit
from console.core.errors import Conflict, Invalid
from console.identity.actor import Actor
from console.identity.models import Environment
from messages.automatic.access import check_can_answer, check_can_rule
from messages.automatic.schedule import check_waits, waits_words
from messages.dead_letters.services import check_reason
from messages.groups.classes import CLASSES
from messages.models import AutomaticRule, FailureGroup

MOST_RULES = 50  # in one environment: each is looked at every 15 s
MOST_A_DAY = 100_000
SAID = ("name", "group_id", "failure_class", "waits", "success_percent", "per_hour", "per_day", "rate_per_s", "stop_failed_percent")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAutomaticRule:
    """What an operator says of a rule: for a group or a class, one of the two. Everything is as in messages.models.automatic."""

    name: str
    group: FailureGroup | None = None
    failure_class: str = ""
    waits: tuple[int, ...] = (5, 15, 60)
    success_percent: float = 95.0
    per_hour: int = 100
    per_day: int = 500
    rate_per_s: float = 5.0
    stop_failed_percent: float = 50.0


def check_said(said: NewAutomaticRule, environment: Environment) -> NewAutomaticRule:
    """Return a rule trimmed; raises Invalid, in words, for one that cannot be."""
    said = replace(said, name=said.name.replace("\x00", "").strip())
    if not said.name or len(said.name) > 120:
        raise Invalid("give the rule a name of at most 120 characters: what it does is told under it")
    if (said.group is None) == (not said.failure_class):
        raise Invalid("say what the rule is for: one failure group, or one class")
    if said.failure_class and said.failure_class not in CLASSES:
        raise Invalid(f"class is one of {', '.join(CLASSES)}")
    if said.group is not None and said.group.environment_id != environment.pk:
        raise Invalid(f"{said.group.reference} is not in {environment.slug}")
    check_waits(said.waits)
    if not 0 <= said.success_percent < 100:
        raise Invalid("it sends only while more than 0 to 99.9 % succeed")
    if not 1 <= said.per_hour <= said.per_day <= MOST_A_DAY:
        raise Invalid(f"a budget is 1 to {MOST_A_DAY:,} messages a day, and no more than that an hour")
    if not 0.01 <= said.rate_per_s <= 1000:
        raise Invalid("a rate is 0.01 to 1,000 a second")
    if not 0 <= said.stop_failed_percent <= 100:
        raise Invalid("a batch stops itself at 0 to 100 % failed again")
    return said


def _columns(said: NewAutomaticRule) -> dict[str, Any]:
    given = {name: getattr(said, name) for name in SAID if name not in ("group_id", "waits")}
    return given | {"group_id": said.group.pk if said.group else None, "waits": list(said.waits)}


@transaction.atomic
def add_automatic_rule(environment: Environment, said: NewAutomaticRule, *, by: Actor) -> AutomaticRule:
    """Make a rule. It is off. Raises Forbidden, Invalid, Conflict."""
    check_can_rule(by, environment, said.group)
    author, said = check_can_answer(by), check_said(said, environment)
    if AutomaticRule.objects.filter(environment=environment).count() >= MOST_RULES:
        raise Invalid(f"{environment.slug} has {MOST_RULES} replay rules, and more are not taken")
    made = AutomaticRule(
        environment=environment, author_id=author, created_by=by.name, switched_at=datetime.now(UTC), switched_by=by.name,
        why="it was never switched on", **_columns(said),
    )  # fmt: skip
    try:
        with transaction.atomic():
            made.save(force_insert=True)
    except IntegrityError as error:
        raise Conflict(f"there is a replay rule “{made.name}” already") from error
    audit_rule(by, "automatic_rule.added", made, details=_told(made))
    return made


@transaction.atomic
def change_automatic_rule(rule: AutomaticRule, said: NewAutomaticRule, *, by: Actor) -> AutomaticRule:
    """Replace what a rule says; it acts under the rights of who changed it from then on, on or off as it was. Raises as add_automatic_rule."""
    check_can_rule(by, rule.environment, rule.group)
    check_can_rule(by, rule.environment, said.group)
    author, columns = check_can_answer(by), _columns(check_said(said, rule.environment))
    changed = sorted(name for name, value in columns.items() if getattr(rule, name) != value)
    try:
        with transaction.atomic():
            AutomaticRule.objects.filter(pk=rule.pk).update(**columns, author_id=author, looked_to=None)
    except IntegrityError as error:
        raise Conflict(f"there is a replay rule “{columns['name']}” already") from error
    rule.refresh_from_db()
    audit_rule(by, "automatic_rule.changed", rule, details=_told(rule) | {"changed": changed})
    return rule


@transaction.atomic
def switch_on(rule: AutomaticRule, *, by: Actor, reason: str) -> AutomaticRule:
    """Let a rule act, under the rights of who switches it on. Raises Forbidden, Conflict when it is on, ReasonMissing."""
    check_can_rule(by, rule.environment, rule.group)
    author, reason, now = check_can_answer(by), check_reason(reason), datetime.now(UTC)
    on = {
        "is_on": True,
        "switched_at": now,
        "switched_by": by.name,
        "why": reason,
        "author_id": author,
        "next_look_at": now,
    }
    fresh = {"waits_because": "", "looked_at": None, "looked_to": None}
    if not AutomaticRule.objects.filter(pk=rule.pk, is_on=False).update(**on, **fresh):
        raise Conflict(f"“{rule.name}” is on already")
    rule.refresh_from_db()
    audit_rule(by, "automatic_rule.switched_on", rule, reason=reason, details=_told(rule))
    return rule


@transaction.atomic
def switch_off(rule: AutomaticRule, *, by: Actor, reason: str) -> AutomaticRule:
    """Let a rule begin nothing more; what it has begun is a plan, which people stop. Raises Forbidden, Conflict when it is off, ReasonMissing."""
    check_can_rule(by, rule.environment)
    reason = check_reason(reason)
    if not turn_off(rule, by=by.name, why=reason):
        raise Conflict(f"“{rule.name}” is off already")
    rule.refresh_from_db()
    audit_rule(by, "automatic_rule.switched_off", rule, reason=reason)
    return rule


@transaction.atomic
def switch_all_off(environment: Environment, *, by: Actor, reason: str) -> int:
    """Switch every rule of an environment off at once; return how many were on. Raises Forbidden, ReasonMissing."""
    check_can_rule(by, environment)
    reason, off = check_reason(reason), 0
    for rule in AutomaticRule.objects.filter(environment=environment, is_on=True).order_by("pk"):
        if turn_off(rule, by=by.name, why=reason):
            off += 1
            audit_rule(by, "automatic_rule.switched_off", rule, reason=reason)
    return off


@transaction.atomic
def remove_automatic_rule(rule: AutomaticRule, *, by: Actor, reason: str) -> None:
    """Remove a rule; its plans stay, with its name. Raises Forbidden, ReasonMissing."""
    check_can_rule(by, rule.environment)
    audit_rule(by, "automatic_rule.removed", rule, reason=check_reason(reason))
    rule.delete()


def turn_off(rule: AutomaticRule, *, by: str, why: str) -> int:
    """Write that a rule is off; return 0 when it was already. A worker that is looking writes nothing any more: `attempt` has moved on."""
    off = {"is_on": False, "switched_at": datetime.now(UTC), "switched_by": by, "why": why[:1000], "next_look_at": None}
    return AutomaticRule.objects.filter(pk=rule.pk, is_on=True).update(
        **off, waits_because="", attempt=F("attempt") + 1
    )


def audit_rule(
    by: Actor, action: str, rule: AutomaticRule, *, reason: str = "", details: dict[str, Any] | None = None
) -> None:
    record_audit(
        by,
        action,
        rule,
        environment=rule.environment,
        team_id=rule.group.flow.team_id if rule.group else None,
        label=rule.name,
        reason=reason,
        details=details,
    )


def _told(rule: AutomaticRule) -> dict[str, Any]:
    return {
        "of": rule.group.reference if rule.group else rule.failure_class,
        "tries": waits_words(rule.waits),
        "per_hour": rule.per_hour,
        "per_day": rule.per_day,
    }
