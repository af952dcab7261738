"""Changing what a plan sends and where: its edits, another destination. In a draft; an approval of what it was before is void."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from console.core.errors import Conflict, Invalid
from console.identity.actor import Actor
from messages.access import get_visible_connection
from messages.models import Connection, DeadLetter, Plan
from messages.plans.access import check_can_operate_plan, check_can_read_plan_payloads
from messages.plans.doing import COMPENSATE
from messages.plans.edits import BadEdits, Body, Edits, Jq, Xslt, kind_of, sha256_of
from messages.plans.freeze import freeze_items
from messages.plans.sealed import sealed_edits
from messages.plans.selection import Selection, letters_of
from messages.plans.services import Options, PlanState, audit, create_plan, move, seal_plan
from messages.plans.waves import wave_ends
from messages.programs.runner import BadProgram, ProgramFailed, Runner

UNAPPROVED: dict[str, Any] = {
    "approved_by": "",
    "approved_by_user": None,
    "approved_at": None,
    "approved_checksum": "",
}


class NotApproved(Conflict):
    """An administrator has to approve the connection first."""

    code = "connection_not_approved"


def check_programs(edits: Edits) -> None:
    """Raise BadEdits, with the compiler's words, for a jq program or stylesheet that cannot be used."""
    if not any(isinstance(one, Jq | Xslt) for one in edits):
        return
    with Runner() as runner:
        for number, step in enumerate(edits, 1):
            try:
                if isinstance(step, Jq):
                    runner.run("jq", step.program.encode("utf-8", "replace"), b"null")
                elif isinstance(step, Xslt):
                    runner.run("xslt", step.stylesheet.encode("utf-8", "replace"), b"<a/>")
            except BadProgram as error:
                raise BadEdits(f"step {number} ({kind_of(step)}): {error}"[:600]) from error
            except ProgramFailed:
                continue  # a program that does not fit nothing at all may fit messages


def check_edits(plan: Plan, edits: Edits) -> None:
    """Raise BadEdits for what this plan cannot have."""
    if any(isinstance(one, Body) for one in edits) and plan.figures.get("selected") != 1:
        raise BadEdits("a whole body is for a plan of one message: write a patch for several")
    check_programs(edits)


def set_edits(plan: Plan, edits: Edits, *, by: Actor) -> Plan:
    """Replace what is changed in each message; () for nothing. Raises Forbidden, PlanState, BadEdits.

    A plan that was approved, or waits to be, is a draft again.
    """
    _check_may_edit(plan, by)
    check_edits(plan, edits)  # runs compilers: before the transaction
    with transaction.atomic():
        now = as_draft(plan, by)
        now.edits, now.edits_sha256 = sealed_edits(now, edits), sha256_of(edits)
        seal_plan(now)
        audit(by, "plan.edited", now, details={"steps": [kind_of(one) for one in edits], "edits": now.edits_sha256})
    return now


def set_destination(plan: Plan, destination: str, connection_id: int | None, *, by: Actor) -> Plan:
    """Send everything to another destination, over another approved connection of the plan's environment; "" and None: back to its own.

    The same letters are frozen again, for what could not be sent back may go there. Raises Forbidden, NotFound, PlanState, Invalid, NotApproved.
    """
    _check_may_edit(plan, by)
    connection = _approved(plan, connection_id, by) if connection_id is not None else None
    destination = destination.replace("\x00", "").strip()
    if len(destination) > 300:
        raise Invalid("a destination has at most 300 characters")
    if connection is not None and not destination:
        raise Invalid(f"say where to on {connection.name}")
    with transaction.atomic():
        now = as_draft(plan, by)
        now.destination, now.connection = destination, connection
        ids = list(now.items.values_list("dead_letter_id", flat=True))
        now.items.all().delete()
        freeze_items(
            now, letters_of(Selection(source=Plan.Source.LIST, ids=ids), actor=by, environment=now.environment), by=by
        )
        now.wave_ends = wave_ends(now.steps, now.items_count)
        seal_plan(now)
        audit(
            by,
            "plan.redirected",
            now,
            details={"destination": destination, "connection": connection.name if connection else ""},
        )
    return now


def plan_of_one(letter: DeadLetter, *, by: Actor, reason: str) -> Plan:
    """Make a plan of this one letter, to be edited. Raises Forbidden, ReasonMissing."""
    selection = Selection(source=Plan.Source.TICKED, ids=[letter.pk])
    options = Options(steps=("100%",))
    with transaction.atomic():
        plan = create_plan(selection, environment=letter.environment, by=by, reason=reason, options=options)
        _check_may_edit(plan, by)
    return plan


def _check_may_edit(plan: Plan, by: Actor) -> None:
    if plan.does == COMPENSATE:
        raise Invalid(f"{plan.reference} compensates: what it sends is in its compensation books")
    check_can_operate_plan(by, plan)
    check_can_read_plan_payloads(by, plan)


def _approved(plan: Plan, connection_id: int, by: Actor) -> Connection:
    found = get_visible_connection(by, connection_id)
    if found.environment_id != plan.environment_id:
        raise Invalid(f"{found.name} is of another environment")
    if found.approved_at is None:
        raise NotApproved(f"{found.name} is not approved: ask an administrator of {plan.environment.slug}")
    return found


def as_draft(plan: Plan, by: Actor) -> Plan:
    """Return the plan locked and a draft; raises PlanState when it cannot be one any more."""
    now = Plan.objects.select_for_update(of=("self",)).select_related("environment").get(pk=plan.pk)
    if now.state in ("awaiting_approval", "approved"):
        now = move(now, "change", by=by, **UNAPPROVED)
    if now.state != "draft":
        raise PlanState(f"{now.reference} is {now.state}: only a draft can be changed")
    return now
