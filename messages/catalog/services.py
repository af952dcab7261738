"""Every write to environments, flows, systems, rules and connections."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Max

from console.audit.services import record_audit
from console.core.errors import Conflict, Forbidden, Invalid
from console.identity.access import check_can_administer
from console.identity.actor import Actor
from console.identity.models import Environment, Team
from messages.access import can_change_flow, can_give_flow_to
from messages.catalog.replaying import NAMES as OF_REPLAYS
from messages.catalog.replaying import ReplaySettings, check_replay_settings
from messages.catalog.runbooks import check_runbook
from messages.models import Flow, FlowRule, KeyRule
from messages.retention.rules import check_payload_days

DEFAULT_KEYS = ("order_no", "invoice_no", "customer_no", "shipment_no", "business.*")


@transaction.atomic
def ensure_environment(slug: str, *, name: str, colour: str, position: int = 0) -> Environment:
    """Return the environment of this slug; when it is new, its business keys are the four common numbers and `business.*`."""
    defaults = {"name": name, "colour": colour, "position": position}
    environment, created = Environment.objects.get_or_create(slug=slug, defaults=defaults)
    if created:
        KeyRule.objects.bulk_create(
            [
                KeyRule(environment=environment, position=position, attribute=name)
                for position, name in enumerate(DEFAULT_KEYS, 1)
            ]
        )
    return environment


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowChange:
    """What an administrator may say about a flow."""

    team: Team | None
    criticality: str
    runbook_url: str
    description: str
    receiver_is_idempotent: bool
    payload_days: int | None = None  # None: those of the environment's policy
    payload_search: bool = False  # Elasticsearch, where it is configured, may index the words of its payloads
    replays: ReplaySettings = field(default_factory=ReplaySettings)


@transaction.atomic
def change_flow(flow: Flow, change: FlowChange, *, by: Actor) -> Flow:
    """Change a flow and audit what changed; raises Forbidden unless `by` administers it and the team it goes to, Invalid."""
    if not can_change_flow(by, flow):
        raise Forbidden(f"only administrators of {flow.team or flow.environment} may change {flow.name}")
    if change.team and change.team != flow.team and not can_give_flow_to(by, flow, change.team):
        raise Forbidden(f"you can give a flow only to a team that you administer, and {change.team} is not one")
    if change.payload_days is not None:
        check_payload_days(change.payload_days)
    if change.runbook_url != flow.runbook_url:
        change = replace(change, runbook_url=check_runbook(change.runbook_url))
    replays = check_replay_settings(change.replays)
    names = (
        "team",
        "criticality",
        "runbook_url",
        "description",
        "receiver_is_idempotent",
        "payload_days",
        "payload_search",
    )
    wanted = {name: getattr(change, name) for name in names} | {name: getattr(replays, name) for name in OF_REPLAYS}
    changed = {name: value for name, value in wanted.items() if getattr(flow, name) != value}
    if changed:
        for name, value in changed.items():
            setattr(flow, name, value)
        flow.save(update_fields=list(changed))
        details = {name: str(value) if value is not None else None for name, value in changed.items()}
        record_audit(by, "flow.changed", flow, environment=flow.environment, team_id=flow.team_id, details=details)
    return flow


@transaction.atomic
def add_flow_rule(environment: Environment, *, pattern: str, flow_name: str, by: Actor) -> FlowRule:
    """Append "destination pattern → flow", making the flow when it is new; raises Conflict when the pattern has a rule."""
    check_can_administer(by, environment)
    pattern, flow_name = _clean(pattern, "a destination pattern"), _clean(flow_name, "the name of a flow")
    flow, _ = Flow.objects.get_or_create(environment=environment, name=flow_name)
    position = _next_position(FlowRule, environment)
    try:
        with transaction.atomic():
            rule = FlowRule.objects.create(environment=environment, position=position, pattern=pattern, flow=flow)
    except IntegrityError as error:
        raise Conflict(f"there is a rule for {pattern} already; remove it first") from error
    label = f"{pattern} → {flow_name}"
    record_audit(by, "flow_rule.added", rule, environment=environment, team_id=flow.team_id, label=label)
    return rule


@transaction.atomic
def add_key_rule(environment: Environment, *, attribute: str, key_name: str, by: Actor) -> KeyRule:
    """Append "attribute → business key"; an empty key name takes the attribute's own. Raises Conflict when it has a rule."""
    check_can_administer(by, environment)
    attribute = _clean(attribute, "an attribute")
    key_name = key_name.replace("\x00", "").strip()
    if len(key_name) > 64:
        raise Invalid("a key name has at most 64 characters")
    position = _next_position(KeyRule, environment)
    try:
        with transaction.atomic():
            rule = KeyRule.objects.create(
                environment=environment, position=position, attribute=attribute, key_name=key_name
            )
    except IntegrityError as error:
        raise Conflict(f"there is a rule for {attribute} already; remove it first") from error
    record_audit(by, "key_rule.added", rule, environment=environment, label=f"{attribute} → {key_name or attribute}")
    return rule


def _clean(text: str, what: str) -> str:
    text = text.replace("\x00", "").strip()
    if not text or len(text) > 200:
        raise Invalid(f"{what} has 1 to 200 characters")
    return text


def _next_position(model: type[FlowRule] | type[KeyRule], environment: Environment) -> int:
    highest = model._default_manager.filter(environment=environment).aggregate(highest=Max("position"))["highest"]
    return int(highest or 0) + 1


@transaction.atomic
def remove_rule(rule: FlowRule | KeyRule, *, by: Actor) -> None:
    """Remove a rule; messages already stored keep the flow and keys they got."""
    check_can_administer(by, rule.environment)
    label = (
        f"{rule.pattern} → {rule.flow}"
        if isinstance(rule, FlowRule)
        else f"{rule.attribute} → {rule.key_name or rule.attribute}"
    )
    action = "flow_rule.removed" if isinstance(rule, FlowRule) else "key_rule.removed"
    record_audit(by, action, rule, environment=rule.environment, team_id=_team_of(rule), label=label)
    rule.delete()


def _team_of(rule: FlowRule | KeyRule) -> int | None:
    """Return the team that reads of the rule in the audit list: that of the flow that it names."""
    return rule.flow.team_id if isinstance(rule, FlowRule) else None


@transaction.atomic
def move_rule(rule: FlowRule | KeyRule, *, up: bool, by: Actor) -> None:
    """Swap a rule with its neighbour above or below; at the end of the list nothing happens."""
    check_can_administer(by, rule.environment)
    # Locked in one order, so that two administrators who move at the same time wait instead of losing one move.
    rules: list[Any] = list(
        type(rule)._default_manager.select_for_update().filter(environment=rule.environment).order_by("position", "id")
    )
    here = next((index for index, other in enumerate(rules) if other.pk == rule.pk), None)
    there = None if here is None else here - 1 if up else here + 1
    if here is None or there is None or not 0 <= there < len(rules):
        return
    rules[here], rules[there] = rules[there], rules[here]
    for position, other in enumerate(rules, 1):
        if other.position != position:
            type(rule)._default_manager.filter(pk=other.pk).update(position=position)
    action = "flow_rule.moved" if isinstance(rule, FlowRule) else "key_rule.moved"
    label = rule.pattern if isinstance(rule, FlowRule) else rule.attribute
    details = {"up": up}
    record_audit(by, action, rule, environment=rule.environment, team_id=_team_of(rule), label=label, details=details)
