"""Acting for the rules that are on: look what is due, make one plan of it, start it, or say why not.

A look is one transaction under the rule's row: the plan, its start and what the row says are there together or not at all. What is sent,
how fast, and when it stops itself, is the plan's matter (messages.plans), so every safety of a person's plan holds for a rule's.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.db import transaction

from console.identity.actor import Actor
from messages.automatic.access import actor_of_rule, name_of_rule, why_lost
from messages.automatic.queries import Due, budget_of, find_due, flow_names, health_of, stopped_flows
from messages.automatic.schedule import why_unwell
from messages.automatic.services import audit_rule, turn_off
from messages.models import AutomaticRule, Plan
from messages.plans.selection import Selection
from messages.plans.services import ApprovalNeeded, NothingToSend, Options, create_plan, request_approval, start_plan
from messages.plans.states import ENDED, WORDS
from messages.saved.due import claim_due, look_at_due

log = structlog.get_logger(__name__)
EVERY = timedelta(seconds=15)
BUDGET_S = 30.0
MOST_AT_ONCE = 1_000  # messages in one plan of a rule
STEPS = ("1", "10%", "100%")


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """because: why nothing, or not everything, was sent; made: the plan of what was."""

    because: str = ""
    looked_to: UUID | None = None
    made: Plan | None = None


def run_rules(*, now: datetime | None = None, budget_s: float = BUDGET_S) -> int:
    """Look for every rule that is due, for at most so many seconds; return how many plans were made. May run twice at once."""
    return look_at_due(claim, run_rule, now=now, budget_s=budget_s)


def claim(now: datetime) -> AutomaticRule | None:
    """Take the rule that is due longest, None when none is."""
    return claim_due(AutomaticRule.objects.all(), now)


@transaction.atomic
def run_rule(rule: AutomaticRule, now: datetime) -> int:
    """Look once for a rule under the claim that it was read with; return 1 when a plan was made. Nothing if the claim is lost."""
    rows = AutomaticRule.objects.select_related("environment", "group__flow", "author").select_for_update(of=("self",))
    row = rows.filter(pk=rule.pk, attempt=rule.attempt, is_on=True).first()
    if row is None:
        return 0
    actor = actor_of_rule(row)
    last = Plan.objects.filter(automatic=row).order_by("-pk").first()
    if why := why_lost(row, actor) or _why_off(row, last):
        _switch_itself_off(row, why)
        return 0
    assert actor is not None
    looked = _look(row, actor, last, now)
    AutomaticRule.objects.filter(pk=row.pk).update(
        next_look_at=now + EVERY, looked_at=now, waits_because=looked.because[:1000], looked_to=looked.looked_to
    )
    return 1 if looked.made else 0


def _why_off(rule: AutomaticRule, last: Plan | None) -> str:
    """Return why a rule must not go on: its plan stopped itself, or a person ended it, since the rule was switched on."""
    if last is None or last.state_at <= rule.switched_at:
        return ""
    why = f": {last.why}" if last.why else ""
    if last.state == "aborted":
        return f"{last.reference} stopped itself{why}"
    if last.state in ("draft", "cancelled", "stopped"):
        return f"{last.state_by} {'refused' if last.state == 'draft' else last.state} {last.reference}{why}"
    return ""


def _switch_itself_off(rule: AutomaticRule, why: str) -> None:
    name = name_of_rule(rule)
    if turn_off(rule, by=name, why=why):
        audit_rule(Actor(name=name, via="system"), "automatic_rule.switched_itself_off", rule, reason=why)
        log.info("automatic_rule_off", rule=rule.pk, why=why)


def _look(rule: AutomaticRule, actor: Actor, last: Plan | None, now: datetime) -> Looked:
    if last is not None and last.state == "approved":
        return _start_approved(rule, actor, last, now)
    if last is not None and last.state not in ENDED:
        return Looked(
            because=f"{last.reference} is under way: {last.why or WORDS[last.state]}", looked_to=rule.looked_to
        )
    due = find_due(rule, actor, now, after=rule.looked_to)
    if not due.letters:
        return Looked(looked_to=due.looked_to)
    well, because = _of_well_flows(rule, due, now)
    budget = budget_of(rule, now)
    chosen = well[: min(MOST_AT_ONCE, budget.left)]
    if len(chosen) < len(well) and budget.left < MOST_AT_ONCE:
        because.append(
            f"its budget is used up: {budget.last_hour:,} in the last hour, {budget.last_day:,} in the last day"
        )
    said = "; ".join(because)
    if not chosen:
        return Looked(because=said, looked_to=due.looked_to)
    # What was due and did not go is looked at again first.
    after = rule.looked_to if len(chosen) < len(due.letters) else due.looked_to
    return Looked(because=said, looked_to=after, made=_make_plan(rule, actor, chosen))


def _start_approved(rule: AutomaticRule, actor: Actor, plan: Plan, now: datetime) -> Looked:
    """Start what a second person approved, when its flows are well at this moment too."""
    hindered = _hindered(rule, plan.sent_flow_ids, now)
    if not hindered:
        start_plan(plan, by=actor)
    because = "; ".join(hindered.values()) or WORDS["scheduled"]
    return Looked(because=f"{plan.reference} was approved: {because}", looked_to=rule.looked_to)


def _of_well_flows(rule: AutomaticRule, due: Due, now: datetime) -> tuple[list[UUID], list[str]]:
    """Return what is due in flows that may be sent to now, and in words why the others may not."""
    hindered = _hindered(rule, sorted({flow for _, flow in due.letters}), now)
    return [pk for pk, flow in due.letters if flow not in hindered], list(dict.fromkeys(hindered.values()))[:5]


def _hindered(rule: AutomaticRule, flows: list[int], now: datetime) -> dict[int, str]:
    """Return {flow: why nothing is sent to it now}: replays are stopped, or its receivers do not do well."""
    stops, names, health = stopped_flows(rule.environment), flow_names(flows), health_of(flows, now)
    if None in stops:
        return dict.fromkeys(flows, f"replays are stopped in {rule.environment.slug}: {stops[None]}")
    found = {}
    for flow in flows:
        stopped = f"replays are stopped: {stops[flow]}" if flow in stops else ""
        if why := stopped or why_unwell(health[flow], rule.success_percent):
            found[flow] = f"{names.get(flow, 'a flow')}: {why}"
    return found


def _make_plan(rule: AutomaticRule, actor: Actor, chosen: list[UUID]) -> Plan | None:
    """Make the plan of a batch and start it, or ask for the second person whom its flows ask for; None when nothing of it can be sent any more."""
    options = Options(rate_per_s=rule.rate_per_s, stop_failed_percent=rule.stop_failed_percent, steps=STEPS)
    try:
        with transaction.atomic():
            plan = create_plan(
                Selection(source=Plan.Source.LIST, ids=chosen, group=rule.group),
                environment=rule.environment,
                by=actor,
                reason=f"automatic replay by the rule “{rule.name}”: {len(chosen):,} due",
                options=options,
            )
            Plan.objects.filter(pk=plan.pk).update(automatic=rule, mail_to_author=True)
            plan.refresh_from_db()
            try:
                start_plan(plan, by=actor)
            except ApprovalNeeded:
                request_approval(plan, by=actor)
    except NothingToSend:
        return None
    return plan
