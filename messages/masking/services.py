"""Every write to masking rules, and the preview of one that is not saved yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Max

from console.audit.services import record_audit
from console.core.errors import Conflict, Invalid
from console.identity.access import check_can_administer
from console.identity.actor import Actor
from console.identity.models import Environment
from messages.masking.bodies import mask_content
from messages.masking.queries import as_rule, find_flow
from messages.masking.rules import MOST_KEPT, Budget, Masking, Rule, Work, check_expression
from messages.models import MaskingRule
from messages.payloads.seal import Content

MOST_RULES = 100  # in one environment
SAMPLE_BYTES = 256 * 1024
DRAFT = 0  # id of a rule that is not saved


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRule:
    """What an administrator says of a rule; an empty flow name is every flow."""

    flow: str = ""
    kind: str
    expression: str
    keep_last: int = 0
    drop_unreadable: bool = True
    found_as: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What the rules make of a sample. counts: (rule id, values), 0 for the rule that is not saved yet."""

    body: str
    headers: list[tuple[str, str]]
    counts: list[tuple[int, int]]
    replayable: bool


def check_rule(rule: NewRule) -> None:
    """Raise BadExpression or Invalid, in words, for a rule that cannot be."""
    check_expression(rule.kind, rule.expression)
    if not 0 <= rule.keep_last <= MOST_KEPT:
        raise Invalid(f"between 0 and {MOST_KEPT} characters can be kept")
    if rule.found_as != rule.found_as.strip() or "\x00" in rule.found_as or len(rule.found_as) > 64:
        raise Invalid("the name that a hash is found by has at most 64 characters, and no space around them")


@transaction.atomic
def add_masking_rule(environment: Environment, rule: NewRule, *, by: Actor) -> MaskingRule:
    """Append a rule; it acts within 3 s on what comes from then on. Raises Forbidden, BadExpression, Invalid, NotFound, Conflict."""
    check_can_administer(by, environment)
    check_rule(rule)
    flow = find_flow(by, environment, rule.flow)
    rules = MaskingRule.objects.filter(environment=environment)
    if rules.count() >= MOST_RULES:
        raise Invalid(
            f"{environment.slug} has {MOST_RULES} masking rules, and more are not taken: each costs time on every message"
        )
    try:
        with transaction.atomic():
            made = MaskingRule.objects.create(
                environment=environment,
                flow=flow,
                position=(rules.aggregate(highest=Max("position"))["highest"] or 0) + 1,
                kind=rule.kind,
                expression=rule.expression,
                keep_last=rule.keep_last,
                drop_unreadable=rule.drop_unreadable,
                found_as=rule.found_as,
                created_by=by.name,
            )
    except IntegrityError as error:
        raise Conflict("there is this rule already") from error
    _audit(by, "masking_rule.added", made)
    return made


@transaction.atomic
def remove_masking_rule(rule: MaskingRule, *, by: Actor, reason: str) -> None:
    """Remove a rule: what comes from then on is stored as it is. Raises Forbidden, Invalid without a reason."""
    check_can_administer(by, rule.environment)
    _audit(by, "masking_rule.removed", rule, reason=_reason(reason))
    rule.delete()


@transaction.atomic
def move_masking_rule(rule: MaskingRule, *, up: bool, by: Actor, reason: str) -> None:
    """Swap a rule with its neighbour above or below; at the end of the list nothing happens. Raises Forbidden, Invalid."""
    check_can_administer(by, rule.environment)
    reason = _reason(reason)
    # Locked in one order, so that two administrators who move at the same time wait instead of losing one move.
    rules = list(
        MaskingRule.objects.select_for_update().filter(environment=rule.environment_id).order_by("position", "id")
    )
    here = next((index for index, other in enumerate(rules) if other.pk == rule.pk), -1)
    there = here - 1 if up else here + 1
    if here < 0 or not 0 <= there < len(rules):
        return
    rules[here], rules[there] = rules[there], rules[here]
    for position, other in enumerate(rules, 1):
        if other.position != position:
            MaskingRule.objects.filter(pk=other.pk).update(position=position)
    _audit(by, "masking_rule.moved", rule, reason=reason, details={"up": up})


def _reason(reason: str) -> str:
    reason = reason.replace("\x00", "").strip()[:1000]
    if not reason:
        raise Invalid("say why: the reason is kept in the audit list")
    return reason


def _audit(
    by: Actor, action: str, rule: MaskingRule, *, reason: str = "", details: dict[str, Any] | None = None
) -> None:
    said: dict[str, Any] = {"keep_last": rule.keep_last, "drop_unreadable": rule.drop_unreadable}
    said |= {"found_as": rule.found_as} if rule.found_as else {}
    record_audit(
        by,
        action,
        rule,
        environment=rule.environment,
        team_id=rule.flow.team_id if rule.flow else None,
        label=f"{rule} for {rule.flow or 'every flow'}",
        reason=reason,
        details=details or said,
    )


def preview_masking(
    environment: Environment,
    flow_name: str,
    body: str,
    headers: Mapping[str, str],
    *,
    content_type: str = "",
    draft: NewRule | None = None,
    by: Actor,
) -> Preview:
    """Return what the rules of a flow, and a draft after them, would make of a sample; nothing of it is kept.

    Raises Forbidden, NotFound, BadExpression, Invalid.
    """
    check_can_administer(by, environment)
    flow = find_flow(by, environment, flow_name)
    data = body.encode("utf-8", "replace")
    if len(data) > SAMPLE_BYTES:
        raise Invalid(f"a sample has at most {SAMPLE_BYTES // 1024} KiB")
    rules = [as_rule(row) for row in MaskingRule.objects.filter(environment=environment)]
    if draft is not None:
        check_rule(draft)
        rules.append(
            Rule(
                id=DRAFT,
                flow_id=flow.pk if flow else None,
                kind=draft.kind,
                expression=draft.expression,
                keep_last=draft.keep_last,
                drop=draft.drop_unreadable,
            )
        )
    compiled = Masking(rules).of_flow(flow.pk if flow else DRAFT)
    sent = Content(data, [{"name": name, "type": "string", "value": value} for name, value in headers.items()])
    if compiled is None:
        return _preview(sent, [], changed=False)
    work = Work(compiled, Budget())
    masked, changed = mask_content(work, sent, content_type)
    return _preview(masked, sorted(work.counts.items()), changed=changed)


def _preview(content: Content, counts: Iterable[tuple[int, int]], *, changed: bool) -> Preview:
    return Preview(
        body=content.body.decode("utf-8", "replace"),
        headers=[(str(header["name"]), str(header["value"])) for header in content.headers],
        counts=list(counts),
        replayable=not changed,
    )
