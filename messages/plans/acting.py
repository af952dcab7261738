"""The buttons of a plan: which stand in which state, what each does, and in which state a second press finds its work done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from console.core.errors import Invalid
from console.core.words import exact_words
from console.identity.actor import Actor
from messages.models import Plan
from messages.plans.access import can_operate_plan
from messages.plans.approvals import why_not_approve
from messages.plans.report import ask_for_report
from messages.plans.services import (
    UNDO_S,
    approve_plan,
    end_plan,
    pause_plan,
    refuse_plan,
    request_approval,
    resume_plan,
    start_plan,
    undo_start,
)
from messages.plans.states import ENDED

Said = Mapping[str, str]


def _request(plan: Plan, by: Actor, said: Said) -> str:
    request_approval(plan, by=by)
    return "A second person is asked for. Send them the address of this page."


def _approve(plan: Plan, by: Actor, said: Said) -> str:
    approve_plan(plan, by=by, checksum=said.get("checksum", ""), reason=said.get("reason", ""))
    return f"{plan.reference} is approved, exactly as its checksum says."


def _refuse(plan: Plan, by: Actor, said: Said) -> str:
    refuse_plan(plan, by=by, reason=said.get("reason", ""))
    return f"{plan.reference} is sent back to {plan.created_by}."


def _start(plan: Plan, by: Actor, said: Said) -> str:
    start_plan(plan, by=by, undo_s=UNDO_S)
    return f"{plan.reference} begins in {UNDO_S} s. Nothing is sent before."


def _later(plan: Plan, by: Actor, said: Said) -> str:
    at = parse_begin(said.get("at", ""))
    start_plan(plan, by=by, at=at)
    return f"{plan.reference} begins {exact_words(at)}."


def parse_begin(text: str) -> datetime:
    """Return the time of "2026-11-26T22:00", in UTC unless it names its zone. Raises Invalid."""
    try:
        at = datetime.fromisoformat(text.strip()[:40])
    except ValueError as error:
        raise Invalid(f"“{text[:40]}” is no time: say 2026-11-26T22:00, in UTC") from error
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _undo(plan: Plan, by: Actor, said: Said) -> str:
    undo_start(plan, by=by)
    return "Taken back: nothing was sent."


def _pause(plan: Plan, by: Actor, said: Said) -> str:
    pause_plan(plan, by=by, reason=said.get("reason", ""))
    return f"{plan.reference} is paused. What a worker has already goes its way."


def _resume(plan: Plan, by: Actor, said: Said) -> str:
    resume_plan(plan, by=by, reason=said.get("reason", ""))
    return f"{plan.reference} goes on. What failed until now counts no more against its bounds."


def _end(plan: Plan, by: Actor, said: Said) -> str:
    ended = end_plan(plan, by=by, reason=said.get("reason", ""))
    return f"{ended.reference} is {ended.state}. What had not left was never sent."


def _report(plan: Plan, by: Actor, said: Said) -> str:
    asked = ask_for_report(plan, wanted=True, by=by)
    return "The report is on its way to you." if asked.state in ENDED else "You get the report by mail when the plan has ended."  # fmt: skip


ACTIONS: dict[str, Callable[[Plan, Actor, Said], str]] = {
    "request": _request,
    "approve": _approve,
    "refuse": _refuse,
    "start": _start,
    "later": _later,
    "undo": _undo,
    "pause": _pause,
    "resume": _resume,
    "stop": _end,
    "cancel": _end,
    "report": _report,
}
AFTER: dict[str, frozenset[str]] = {
    "request": frozenset({"awaiting_approval"}),
    "approve": frozenset({"approved"}),
    "refuse": frozenset({"draft"}),
    "start": frozenset({"scheduled", "running"}),
    "later": frozenset({"scheduled"}),
    "undo": frozenset({"draft", "approved"}),
    "pause": frozenset({"paused"}),
    "resume": frozenset({"running"}),
    "stop": frozenset({"stopped"}),
    "cancel": frozenset({"cancelled"}),
    "report": frozenset(),
}
OF_STATE: dict[str, frozenset[str]] = {
    "draft": frozenset({"start", "later", "request", "cancel"}),
    "awaiting_approval": frozenset({"approve", "refuse", "cancel"}),
    "approved": frozenset({"start", "later", "cancel"}),
    "scheduled": frozenset({"undo", "cancel"}),
    "running": frozenset({"pause", "stop"}),
    "paused": frozenset({"resume", "stop"}),
    "aborted": frozenset({"resume", "stop"}),
}


def offered_to(actor: Actor, plan: Plan) -> set[str]:
    """Return the actions whose buttons this reader sees."""
    if not can_operate_plan(actor, plan):
        return set()
    found = set(OF_STATE.get(plan.state, frozenset()))
    if plan.state == "draft":
        found -= {"start", "later"} if plan.approval_why else {"request"}
        if not plan.items_count:
            found &= {"cancel"}
    if "approve" in found and why_not_approve(actor, plan):
        found -= {"approve"}
    return found | ({"report"} if plan.state not in ("draft", "cancelled", "expired") else set())
