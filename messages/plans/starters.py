"""Whether who started a plan may still do so when it begins, which may be hours later; and what becomes of it when not."""

from __future__ import annotations

from datetime import UTC, datetime

from console.identity.actor import SYSTEM, actor_of
from console.identity.keys import alive
from console.identity.models import Key, User
from messages.models import Plan
from messages.plans.access import can_operate_plan
from messages.plans.services import move


def why_not_begin(plan: Plan) -> str:
    """Return why a scheduled plan must not begin, in words: its starter has lost the right; "" while they have it.

    Asked of their rights at this moment. What a command started has no person behind it, and whoever runs commands may do everything;
    what a rule started has its author.
    """
    if plan.started_by_user_id is None:
        return ""
    user = User.objects.filter(pk=plan.started_by_user_id).first()
    if user is None:
        return f"{plan.state_by} started it, and their account is gone"
    started = f"{user.username} started it"
    if not user.is_active:
        return f"{started}, and their account is switched off"
    if not can_operate_plan(actor_of(user, via="system"), plan):
        return f"{started}, and is not an operator of every flow in it any more"
    if plan.started_by_key_id and not Key.objects.filter(alive(), pk=plan.started_by_key_id).exists():
        return f"{started} with a key that was revoked or has expired"
    return ""


def take_back_start(plan: Plan, *, why: str) -> Plan:
    """Take the start back in the name of the console: another person may start it. One of a rule is given up, the rule makes the next."""
    why = f"it did not begin: {why}"
    if plan.automatic_id is not None:
        return move(plan, "cancel", by=SYSTEM, why=why, finished_at=datetime.now(UTC))
    if plan.expires_at < datetime.now(UTC):
        return move(plan, "expire", by=SYSTEM, why=why)
    fresh = {"begins_at": None, "started_by_user_id": None, "started_by_key_id": None}
    return move(plan, "undo_approved" if plan.approved_at else "undo", by=SYSTEM, why=why, **fresh)
