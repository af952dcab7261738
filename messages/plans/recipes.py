"""What fixed a failure group before: its finished plans that worked, by what they did. One of them again is a new draft, never a start.

A plan counts for a group when it was made from it, or from what it speaks for. Plans made of ticked letters or of a query are not told
apart by their groups, so they are no recipes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace

from django.db import connection, transaction

from console.core.errors import Invalid
from console.identity.actor import Actor
from messages.access import can_operate, check_can_operate
from messages.groups.queries import whole_of
from messages.models import FailureGroup, Plan
from messages.plans.access import can_read_plan_payloads, check_can_read_plan_payloads, visible_plans
from messages.plans.editing import set_destination, set_edits
from messages.plans.sealed import opened_edits
from messages.plans.selection import Selection
from messages.plans.services import Options, create_plan

LOOKED_AT = 20  # newest finished plans of a group
COUNTED = 1_000  # first items of each
WORKED_PERCENT = 95.0
WORKED = """
SELECT i.plan_id, count(*), count(*) FILTER (WHERE r.state = 'processed' OR r.state = 'confirmed' AND p.waits_for = 'confirmed')
FROM messaging_planitem i JOIN messaging_plan p ON p.id = i.plan_id LEFT JOIN messaging_replay r ON r.id = i.replay_id
WHERE i.plan_id = ANY(%s) AND i.ordinal <= %s AND i.left_out = '' GROUP BY i.plan_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """times: plans that did this and worked.   like: the newest of them.   items: that they sent.   words: what was done.

    why_not  why the reader cannot make a draft of it, in words; "": they can.
    """

    times: int
    items: int
    like: Plan
    words: str
    why_not: str = ""


def recipes_of(actor: Actor, group: FailureGroup) -> list[Recipe]:
    """Return what fixed a group before, the most frequent first; of plans that the actor may see."""
    finished = Plan.objects.filter(group__in=parts_of(group), does="replay", state="finished", items_count__gt=0)
    if not finished.exists():
        return []
    newest = list(visible_plans(actor).filter(pk__in=finished.values("pk")).order_by("-pk")[:LOOKED_AT])
    found = recipes_among(newest, worked_among([plan.pk for plan in newest]))
    return [replace(one, why_not=_why_not(actor, group, one.like)) for one in found]


def _why_not(actor: Actor, group: FailureGroup, like: Plan) -> str:
    if not can_operate(actor, group.flow):
        return "only operators of its flow make plans of it"
    if like.edits_sha256 and not can_read_plan_payloads(actor, like):
        return f"its edits may hold values of payloads, and you may not read those of every flow in {like.reference}"
    return ""


def parts_of(group: FailureGroup) -> list[int]:
    return [group.pk, *(one.pk for one in whole_of(group))]


def recipes_among(plans: Iterable[Plan], worked: set[int]) -> list[Recipe]:
    """Return the recipes among plans, which are the newest first."""
    alike: dict[tuple[object, ...], list[Plan]] = {}
    for plan in plans:
        if plan.pk in worked:
            alike.setdefault(
                (plan.edits_sha256, plan.destination, plan.connection_id, plan.expiry, plan.rate_per_s), []
            ).append(plan)
    found = [
        Recipe(times=len(some), items=sum(one.items_count for one in some), like=some[0], words=words_of(some[0]))
        for some in alike.values()
    ]
    return sorted(found, key=lambda one: -one.times)


def worked_among(plan_ids: Sequence[int]) -> set[int]:
    """Return the plans of whose first items at least 95 % were processed, or confirmed where that is what the plan waits for."""
    with connection.cursor() as cursor:
        cursor.execute(WORKED, [list(plan_ids), COUNTED])
        return {plan for plan, items, worked in cursor.fetchall() if 100 * worked >= WORKED_PERCENT * items}


def words_of(plan: Plan) -> str:
    """Return what a plan did, as one clause: "the edits of P-12, replay at 5/s to erp.orders.v2"."""
    rate = "as fast as the broker takes them" if plan.rate_per_s is None else f"at {plan.rate_per_s:g}/s"
    edits = f"the edits of {plan.reference}, " if plan.edits_sha256 else ""
    where = f" to {plan.destination}" if plan.destination else ""
    expiry = f", expiry: {plan.expiry}" if plan.expiry else ""
    return f"{edits}replay {rate}{where}{expiry}"


@transaction.atomic
def plan_like(group: FailureGroup, like: Plan, *, by: Actor, reason: str = "") -> Plan:
    """Make a draft of what waits in a group now, with the options and edits of a plan that the actor may see.

    reason  without one the plan says of which recipe it is.   Raises as create_plan, set_edits and set_destination; Invalid for a plan
    of another group.
    """
    check_can_operate(by, group.flow)
    if like.group_id not in parts_of(group):
        raise Invalid(f"{like.reference} was not made from {group.reference}")
    made = create_plan(
        Selection(source=Plan.Source.GROUP, group=group),
        environment=group.environment,
        by=by,
        reason=reason.strip() or f"as {like.reference} did: {words_of(like)}",
        options=options_of(like),
    )
    if like.connection_id is not None:
        made = set_destination(made, like.destination, like.connection_id, by=by)
    return copy_edits(like, made, by=by)


def options_of(plan: Plan) -> Options:
    """Return how a plan is executed, as options of a new one."""
    known = {one.name: getattr(plan, one.name) for one in fields(Options) if hasattr(plan, one.name)}
    return Options(**known | {"steps": tuple(plan.steps)})


def copy_edits(old: Plan, new: Plan, by: Actor) -> Plan:
    """Give a draft the edits of another plan, sealed anew for it; raises as set_edits, for the plan that they come from too."""
    if not old.edits_sha256:
        return new
    check_can_read_plan_payloads(by, old)
    return set_edits(new, opened_edits(old), by=by)
