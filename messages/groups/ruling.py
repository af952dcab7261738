"""Operators' grouping rules: every write, and the preview of one over the last seven days before it is saved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Max, Sum

from console.audit.services import record_audit
from console.core.errors import Conflict, Invalid
from console.core.ids import uuid7_floor
from console.identity.actor import Actor
from console.identity.models import Environment
from messages.access import visible_dead_letters, visible_flows
from messages.catalog.runbooks import check_runbook
from messages.groups.access import check_can_change_group_rule, check_can_group, teams_to_group, visible_groups
from messages.groups.assign import as_rule
from messages.groups.classes import CLASSES
from messages.groups.fingerprint import Failure, fingerprint_of
from messages.groups.regroup import told_by_themselves
from messages.groups.rules import MOST_PARTS, Placed, Rule, acts_on, is_part, of_team, place
from messages.groups.services import check_reason
from messages.groups.sweep import failure_of_row
from messages.ingest.messages_sql import run
from messages.models import DeadLetter, FailureGroup, Flow, GroupHour, GroupRule

MOST_RULES = 100  # in one environment: each costs time on every failure
LOOKED_BACK = timedelta(days=7)
LOOKED_AT = 10_000  # newest letters of the seven days, in flows that the rule is for
SHOWN = 20
TEXTS = {"name": 120, "flow": 200, "step": 120, "error_type": 300, "words": 310, "destination": 300, "reason": 20}
MATCHERS = ("flow", "step", "error_type", "words", "destination", "reason")
# From the end of the index of each flow: by id alone everything that other flows had meanwhile would be read.
NEWEST = """
SELECT d.id FROM unnest(%b::int8[]) AS f (id) CROSS JOIN LATERAL (
    SELECT id FROM messaging_deadletter WHERE environment_id = %b AND flow_id = f.id AND id >= %b ORDER BY id DESC LIMIT %b
) d ORDER BY d.id DESC LIMIT %b
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewGroupRule:
    """What an operator says of a rule. Patterns have * and ?; an empty one fits everything; no parts: one group a flow."""

    name: str
    flow: str = ""
    step: str = ""
    error_type: str = ""
    words: str = ""
    destination: str = ""
    reason: str = ""
    parts: tuple[str, ...] = ()
    failure_class: str = ""
    runbook_url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """So many letters of one group would be in another."""

    before: FailureGroup | None
    after: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RulePreview:
    """What a rule would do to the last seven days. letters that fit it, messages without a letter in groups that fit it.

    looked_at  letters, the newest of the flows that it is for.   capped  more came there than was looked at.
    ways       the most frequent first.   moved  letters that would be in another group.
    """

    looked_at: int
    letters: int
    messages: int
    moved: int
    ways: tuple[Way, ...]
    capped: bool


def check_said(said: NewGroupRule) -> NewGroupRule:
    """Return a rule trimmed; raises Invalid, in words, for one that cannot be."""
    said = replace(said, **{name: getattr(said, name).replace("\x00", "").strip() for name in TEXTS})
    for name, most in TEXTS.items():
        if len(getattr(said, name)) > most:
            raise Invalid(f"{name.replace('_', ' ')} has at most {most} characters")
    if not said.name:
        raise Invalid("give the rule a name: its groups are called by it")
    if not any(getattr(said, name) for name in MATCHERS):
        raise Invalid("say which failures the rule is for: a rule for everything would hide every other cause")
    if said.reason and said.reason not in DeadLetter.ReasonCode.values:
        raise Invalid(f"reason is one of {', '.join(DeadLetter.ReasonCode.values)}")
    if said.failure_class and said.failure_class not in CLASSES:
        raise Invalid(f"class is one of {', '.join(CLASSES)}")
    if len(said.parts) > MOST_PARTS or not all(is_part(one) for one in said.parts):
        raise Invalid(
            f"at most {MOST_PARTS} parts: step, error_type, message, destination, queue, broker, reason, key.<name>"
        )
    return replace(said, parts=tuple(dict.fromkeys(said.parts)), runbook_url=check_runbook(said.runbook_url))


def _columns(said: NewGroupRule) -> dict[str, Any]:
    return {name: getattr(said, name) for name in (*TEXTS, "failure_class", "runbook_url")} | {
        "parts": list(said.parts)
    }


@transaction.atomic
def add_rule(environment: Environment, said: NewGroupRule, *, by: Actor) -> GroupRule:
    """Append a rule: what fails from then on, in flows of teams that the actor operates or of no team, is grouped by it.

    Raises Forbidden, Invalid, Conflict.
    """
    check_can_group(by, environment)
    said = check_said(said)
    rules = GroupRule.objects.filter(environment=environment)
    if rules.count() >= MOST_RULES:
        raise Invalid(f"{environment.slug} has {MOST_RULES} grouping rules, and more are not taken")
    last = rules.aggregate(last=Max("position"))["last"] or 0
    try:
        with transaction.atomic():
            made = GroupRule.objects.create(
                environment=environment,
                position=last + 1,
                created_by=by.name,
                teams=teams_to_group(by, environment),
                **_columns(said),
            )
    except IntegrityError as error:
        raise Conflict(f"there is a grouping rule “{said.name}” already") from error
    _audit(by, "group_rule.added", made)
    return made


@transaction.atomic
def change_rule(rule: GroupRule, said: NewGroupRule, *, by: Actor) -> GroupRule:
    """Replace what a rule says: one for every flow is then for those of the actor. Raises Forbidden, Invalid, Conflict."""
    check_can_change_group_rule(by, rule)
    columns = _columns(check_said(said))
    if rule.teams is None:
        columns["teams"] = teams_to_group(by, rule.environment)
    changed = sorted(name for name, value in columns.items() if getattr(rule, name) != value)
    try:
        with transaction.atomic():
            GroupRule.objects.filter(pk=rule.pk).update(**columns)
    except IntegrityError as error:
        raise Conflict(f"there is a grouping rule “{columns['name']}” already") from error
    rule.refresh_from_db()
    _audit(by, "group_rule.changed", rule, details={"changed": changed})
    return rule


@transaction.atomic
def remove_rule(rule: GroupRule, *, by: Actor, reason: str) -> None:
    """Remove a rule; its groups stay, and what comes goes by the next rule that fits. Raises Forbidden, Invalid."""
    check_can_change_group_rule(by, rule)
    _audit(by, "group_rule.removed", rule, reason=check_reason(reason))
    rule.delete()


@transaction.atomic
def move_rule(rule: GroupRule, *, to: int, by: Actor, reason: str) -> None:
    """Put a rule in a place of the order, counted from 1; beyond the ends is at them. Raises Forbidden, Invalid."""
    check_can_change_group_rule(by, rule)
    reason = check_reason(reason)
    # Locked in one order, so that two operators who move at the same time wait instead of losing one move.
    rules = list(
        GroupRule.objects.select_for_update().filter(environment=rule.environment_id).order_by("position", "id")
    )
    moved = next((one for one in rules if one.pk == rule.pk), None)
    if moved is None:
        return
    rules.remove(moved)
    rules.insert(max(0, to - 1), moved)
    for position, one in enumerate(rules, 1):
        if one.position != position:
            GroupRule.objects.filter(pk=one.pk).update(position=position)
    _audit(by, "group_rule.moved", rule, reason=reason, details={"to": rules.index(moved) + 1})


def place_of(rule: GroupRule) -> int:
    """Return the place of a rule in the order, from 1."""
    earlier = GroupRule.objects.filter(environment=rule.environment_id)
    return (
        earlier.filter(position__lt=rule.position).count()
        + earlier.filter(position=rule.position, pk__lt=rule.pk).count()
        + 1
    )


def preview_rule(
    environment: Environment, said: NewGroupRule, *, by: Actor, instead_of: GroupRule | None = None
) -> RulePreview:
    """Return what a rule would do to the letters of the last seven days that the actor may see; nothing is written.

    A new rule is tried after all others, a changed one in its place. Raises Forbidden, Invalid.
    """
    check_can_group(by, environment)
    if instead_of is not None:
        check_can_change_group_rule(by, instead_of)
    teams = instead_of.teams if instead_of is not None else None
    draft = _draft(check_said(said), instead_of, teams_to_group(by, environment) if teams is None else teams)
    rows = list(GroupRule.objects.filter(environment=environment).order_by("position", "id"))
    rules = [draft if instead_of is not None and row.pk == instead_of.pk else as_rule(row) for row in rows]
    rules += [] if instead_of is not None else [draft]
    since = datetime.now(UTC) - LOOKED_BACK
    found = _newest_letters(by, environment, draft, since)
    fitting, ways = 0, Counter[tuple[int | None, str]]()
    groups = {
        one.pk: one
        for one in visible_groups(by).filter(pk__in={row.group_id for row in found[:LOOKED_AT] if row.group_id})
    }
    for row in told_by_themselves(found[:LOOKED_AT]):
        failure = failure_of_row(row)
        placed = place(failure, of_team(rules, row.flow.team_id))
        before = groups.get(row.group_id or 0)
        leaves = before is not None and before.rule_id is not None and before.rule_id == draft.id  # as the rule is now
        if not (placed.rule is draft or leaves) or (before is not None and before.by_hand):
            continue  # what was taken out by hand stays so, whatever rules say
        fitting += placed.rule is draft
        if before is None or not _is_there(before, placed, environment.pk):
            ways[(row.group_id, _called(placed))] += 1
    return RulePreview(
        looked_at=min(len(found), LOOKED_AT),
        letters=fitting,
        messages=_messages(by, environment, rules, draft, since),
        moved=sum(ways.values()),
        ways=tuple(
            Way(before=groups.get(before or 0), after=after, count=count)
            for (before, after), count in ways.most_common(SHOWN)
        ),
        capped=len(found) > LOOKED_AT,
    )


def _newest_letters(by: Actor, environment: Environment, draft: Rule, since: datetime) -> list[DeadLetter]:
    """Return the newest letters of the flows that a rule is for, and of those that have groups of it as it is: one more than is looked at."""
    letters = visible_dead_letters(by).filter(environment=environment, pk__gte=uuid7_floor(since)).order_by("-pk")
    flows = visible_flows(by).filter(environment=environment).order_by().values_list("pk", "name", "team_id")
    left = set(FailureGroup.objects.filter(rule_id=draft.id).values_list("flow_id", flat=True))
    meant = [pk for pk, name, team in flows if pk in left or acts_on(draft, name, team)]
    if len(meant) < len(flows):
        most = LOOKED_AT + 1
        ids = run(NEWEST, [meant, environment.pk, uuid7_floor(since), most, most]).fetchall() if meant else []
        letters = letters.filter(pk__in=[pk for (pk,) in ids])
    return list(letters.defer("error_stack", "route").select_related("flow", "system")[: LOOKED_AT + 1])


def _draft(said: NewGroupRule, instead_of: GroupRule | None, teams: list[int] | None) -> Rule:
    texts = {name: getattr(said, name) for name in TEXTS}
    pk = instead_of.pk if instead_of else 0
    return Rule(id=pk, parts=said.parts, failure_class=said.failure_class, teams=teams, **texts)


def _is_there(group: FailureGroup, placed: Placed, environment_id: int) -> bool:
    return group.fingerprint == fingerprint_of(environment_id, group.flow_id, placed.parts)


def _called(placed: Placed) -> str:
    parts = placed.parts
    told = (
        parts.step,
        parts.error_type.rpartition(".")[2],
        parts.message,
        parts.destination,
        *(value for _, value in parts.more),
    )
    return placed.name or ", ".join(one for one in told if one) or "the usual group"


def _messages(by: Actor, environment: Environment, rules: Sequence[Rule], draft: Rule, since: datetime) -> int:
    """Return how many messages without a letter failed in groups that the rule would be for: told from the groups, not from each."""
    counted = GroupHour.objects.filter(hour__gte=since).values_list("group_id").annotate(count=Sum("messages"))
    counts = dict(counted.filter(count__gt=0))
    groups = visible_groups(by).filter(environment=environment, pk__in=list(counts), by_hand=False)
    return sum(
        counts[group.pk]
        for group in groups
        if place(_as_failure(group), of_team(rules, group.flow.team_id)).rule is draft
    )


def _as_failure(group: FailureGroup) -> Failure:
    return Failure(
        flow_id=group.flow_id,
        flow=group.flow.name,
        step=group.step,
        error_type=group.error_type,
        message=group.title or group.message,
        destination=group.destination,
    )


def _audit(by: Actor, action: str, rule: GroupRule, *, reason: str = "", details: dict[str, Any] | None = None) -> None:
    said = {name: getattr(rule, name) for name in MATCHERS if getattr(rule, name)} | {"parts": ", ".join(rule.parts)}
    record_audit(
        by,
        action,
        rule,
        environment=rule.environment,
        team_id=_owner_of(rule),
        label=rule.name,
        reason=reason,
        details=details or said,
    )


def _owner_of(rule: GroupRule) -> int | None:
    """Return the team whose members read of the rule in the audit list, None for all: that of the flow that it names, else one that it is for."""
    named = Flow.objects.filter(environment=rule.environment_id, name__iexact=rule.flow, team__isnull=False)
    of_flow = named.order_by("team_id").values_list("team_id", flat=True).first() if rule.flow else None
    return of_flow if rule.teams is None or of_flow in rule.teams else min(rule.teams, default=None)
