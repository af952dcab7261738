"""Changing how a plan is executed before it is started: its rate, waves, waits and bounds. What is sent and where stays as it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.db import transaction

from console.core.errors import Invalid
from console.identity.actor import Actor
from messages.models import Plan
from messages.plans.access import check_can_operate_plan
from messages.plans.editing import as_draft
from messages.plans.recipes import options_of
from messages.plans.services import audit, check_options, seal_plan
from messages.plans.waves import parse_waves, wave_ends

CHANGEABLE = frozenset(
    {
        "steps",
        "rate_per_s",
        "concurrency",
        "waits_for",
        "wave_wait_s",
        "stop_failed_percent",
        "stop_latency_times",
    }
)  # of Options: the others change what is sent


@transaction.atomic
def change_options(plan: Plan, changes: Mapping[str, Any], *, by: Actor) -> Plan:
    """Change how a plan is executed. Raises Forbidden, Invalid, PlanState once it was started.

    changes  {one of CHANGEABLE: its value as in Options}; what is not named stays.
    A plan that was approved, or waits to be, is a draft again: the second person saw another rate. Nothing happens when nothing changes.
    """
    check_can_operate_plan(by, plan)
    if unknown := sorted(set(changes) - CHANGEABLE):
        raise Invalid(f"this cannot be changed: {', '.join(unknown)[:200]}")
    said = check_options(replace(options_of(plan), **changes))
    new = {name: getattr(said, name) for name in changes} | (
        {"steps": parse_waves(said.steps)} if "steps" in changes else {}
    )
    differing = {name: value for name, value in new.items() if getattr(plan, name) != value}
    if not differing:
        return plan
    now = as_draft(plan, by)
    for name, value in differing.items():
        setattr(now, name, value)
    now.wave_ends = wave_ends(now.steps, now.items_count)
    seal_plan(now)
    audit(by, "plan.options_changed", now, details={"changed": differing})
    return now
