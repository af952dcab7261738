"""What people do to plans: make one, change it, have it approved, start, pause, resume, stop it. Each is audited; advance.py executes.

Every change of state is one conditional update under the plan's row lock, so that of two who press at once one is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.db.models import QuerySet

from console.audit.models import AuditEntry
from console.audit.services import record_audit
from console.core.errors import Conflict, Invalid
from console.identity.actor import SYSTEM, Actor
from console.identity.models import Environment
from messages import tasks
from messages.dead_letters.services import check_reason
from messages.models import DeadLetter, Flow, Plan
from messages.plans.access import check_can_operate_plan, check_can_plan
from messages.plans.approvals import (  # noqa: F401  callers of approve_plan know OwnPlan from here
    OwnPlan,
    check_may_approve,
    hold_count,
    why_approval,
)
from messages.plans.checksum import check_checksum, checksum_of
from messages.plans.compensating import look_at_runs
from messages.plans.doing import COMPENSATE, REPLAY, check_does
from messages.plans.freeze import freeze_items
from messages.plans.queries import counts_of, total_of
from messages.plans.selection import Selection, letters_of
from messages.plans.states import BEGUN, next_state
from messages.plans.watch import do_receivers_report
from messages.plans.waves import DEFAULT, parse_waves, wave_ends
from messages.replay.outgoing import check_expiry

LASTS = timedelta(hours=24)
UNDO_S = 10


class PlanState(Conflict):
    """The plan is not in a state in which this can be done: look at it again."""

    code = "plan_state"


class ApprovalNeeded(Conflict):
    """A second person must approve this plan before it is started."""

    code = "approval_needed"


class NothingToSend(Conflict):
    """Every dead letter of the plan is left out: its page says why."""

    code = "nothing_to_send"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a plan is executed. rate_per_s: None as fast as the broker takes them. waits_for None: what its receivers report."""

    does: str = "replay"
    destination: str = ""
    expiry: str = ""
    order_key: str | None = None  # None: that of its flow
    steps: tuple[str, ...] = field(default=DEFAULT)
    rate_per_s: float | None = 10.0
    concurrency: int = 8000  # four windows of RabbitMQ or Kafka
    waits_for: str | None = None
    wave_wait_s: int = 600
    stop_failed_percent: float = 5.0
    stop_latency_times: float | None = 4.0


def check_options(options: Options) -> Options:
    """Raise Invalid, in words, for what cannot be meant."""
    check_expiry(options.expiry)
    check_does(options.does, destination=options.destination, expiry=options.expiry, order_key=options.order_key)
    parse_waves(options.steps)
    if options.rate_per_s is not None and not 0.01 <= options.rate_per_s <= 100_000:
        raise Invalid("a rate is 0.01 to 100,000 a second")
    if not 1 <= options.concurrency <= 100_000:
        raise Invalid("between 1 and 100,000 may be on their way at once")
    if options.waits_for not in (None, *Plan.WaitsFor.values):
        raise Invalid("a wave waits for processed or for confirmed")
    if not 5 <= options.wave_wait_s <= 86_400:
        raise Invalid("a wave waits 5 s to a day")
    if not 0 <= options.stop_failed_percent <= 100:
        raise Invalid("a plan stops itself at 0 to 100 % failed again")
    if options.stop_latency_times is not None and not 1 <= options.stop_latency_times <= 1000:
        raise Invalid("a plan stops itself when the receiver takes 1 to 1,000 times as long as usual")
    return options


@transaction.atomic
def create_plan(
    selection: Selection,
    *,
    environment: Environment,
    by: Actor,
    reason: str,
    ticket: str = "",
    options: Options | None = None,
) -> Plan:
    """Freeze a selection into a draft. Raises BadQuery, Invalid, ReasonMissing, Forbidden.

    What cannot be sent, or is not the actor's to send, is an item too, left out with its reason.
    """
    check_can_plan(by, environment)
    options = check_options(options or Options())
    letters = letters_of(selection, actor=by, environment=environment)
    plan = _drafted(selection, options, environment=environment, by=by)
    plan.reason, plan.ticket = check_reason(reason), ticket.replace("\x00", "").strip()[:100]
    if options.order_key is None and plan.does == REPLAY:
        plan.order_key = _usual_order(letters)
    plan.save()
    _freeze(plan, letters, by=by)
    plan.wave_ends = wave_ends(plan.steps, plan.items_count)
    plan.waits_for = options.waits_for or (
        Plan.WaitsFor.PROCESSED
        if plan.does == COMPENSATE or do_receivers_report(plan.sent_flow_ids)
        else Plan.WaitsFor.CONFIRMED
    )
    seal_plan(plan)
    audit(
        by,
        "plan.created",
        plan,
        reason=plan.reason,
        details={"items": plan.items_count, "left_out": plan.figures["left_out"]},
    )
    return plan


AS_ASKED = (
    "does",
    "expiry",
    "rate_per_s",
    "concurrency",
    "wave_wait_s",
    "stop_failed_percent",
    "stop_latency_times",
)  # of Options


def _drafted(selection: Selection, options: Options, *, environment: Environment, by: Actor) -> Plan:
    now = datetime.now(UTC)
    return Plan(
        environment=environment,
        created_by=by.name,
        created_by_user_id=by.user_id,
        expires_at=now + LASTS,
        source=selection.source,
        q=selection.q,
        group=selection.group,
        state_at=now,
        state_by=by.name,
        destination=options.destination.replace("\x00", "").strip()[:300],
        order_key=options.order_key or "",
        steps=parse_waves(options.steps),
        **{name: getattr(options, name) for name in AS_ASKED},
    )


def _freeze(plan: Plan, letters: QuerySet[DeadLetter], *, by: Actor) -> None:
    """Freeze; once more when retention deleted a letter of the selection meanwhile: the second look does not find it."""
    for last in (False, False, True):
        try:
            with transaction.atomic():
                return freeze_items(plan, letters, by=by)
        except IntegrityError:
            if last:
                raise


def _usual_order(letters: Any) -> str:
    """Return the order key of the selection's flows; the first by name when several have one."""
    flows = Flow.objects.filter(pk__in=letters.order_by().values("flow_id").distinct()).exclude(order_key="")
    return flows.order_by("name").values_list("order_key", flat=True).first() or ""


def seal_plan(plan: Plan) -> None:
    """Give the plan the checksum of what it says now, and say whether a second person is needed; saves it."""
    plan.checksum = checksum_of(plan)
    plan.approval_why = why_approval(plan)
    plan.save()


def request_approval(plan: Plan, *, by: Actor) -> Plan:
    """Ask for a second person. Raises Forbidden, PlanState, NothingToSend."""
    check_can_operate_plan(by, plan)
    _check_something(plan)
    return move(plan, "request", by=by)


def approve_plan(plan: Plan, *, by: Actor, checksum: str, reason: str = "") -> Plan:
    """Approve exactly what this checksum stands for. Raises Forbidden, OwnPlan, PlanState, PlanChanged."""
    check_may_approve(by, plan)
    if checksum != plan.checksum:
        raise PlanState(f"{plan.reference} was changed since you looked: look at it again")
    check_checksum(plan)
    approval = {
        "approved_by": by.name,
        "approved_by_user_id": by.user_id,
        "approved_at": datetime.now(UTC),
        "approved_checksum": checksum,
    }
    return move(plan, "approve", by=by, why=reason, same={"checksum": checksum}, **approval)


def refuse_plan(plan: Plan, *, by: Actor, reason: str) -> Plan:
    """Send a plan back to its author. Raises Forbidden, PlanState, ReasonMissing."""
    return move(plan, "refuse", by=by, why=check_reason(reason))


@transaction.atomic
def start_plan(plan: Plan, *, by: Actor, at: datetime | None = None, undo_s: int = 0) -> Plan:
    """Begin at that time, or in undo_s seconds, which can be taken back. Raises Forbidden, PlanState, ApprovalNeeded, NothingToSend, PlanChanged."""
    check_can_operate_plan(by, plan)
    _check_something(plan)
    check_checksum(plan)
    hold_count(plan)
    needed = why_approval(plan) or plan.approval_why  # it may be asked for since
    if needed and (plan.approved_at is None or plan.approved_checksum != plan.checksum):
        raise ApprovalNeeded(f"{needed}: ask for approval first")
    now = datetime.now(UTC)
    begins_at = at or now + timedelta(seconds=undo_s)
    if at is not None and at < now - timedelta(minutes=1):
        raise Invalid("a plan begins now or later, not in the past")
    if begins_at > plan.expires_at:
        raise Invalid(f"{plan.reference} expires before it would begin: make it again closer to the time")
    seen = {
        "checksum": plan.checksum,
        "approved_at": plan.approved_at,
        "approved_checksum": plan.approved_checksum,
    }  # else what changed since would begin
    starter: dict[str, Any] = {"started_by_user_id": by.user_id, "started_by_key_id": by.key_id}
    moved = move(plan, "start", by=by, same=seen, begins_at=begins_at, **starter)
    if begins_at <= now:
        transaction.on_commit(partial(tell_plan, plan.pk))
    return moved


def undo_start(plan: Plan, *, by: Actor) -> Plan:
    """Take a start back before anything was sent. Raises Forbidden, PlanState when it has begun."""
    return move(plan, "undo_approved" if plan.approved_at else "undo", by=by, begins_at=None)


def pause_plan(plan: Plan, *, by: Actor, reason: str = "") -> Plan:
    """Send nothing more until somebody resumes it; what workers have already is sent. Raises Forbidden, PlanState."""
    return move(plan, "pause", by=by, why=reason)


@transaction.atomic
def resume_plan(plan: Plan, *, by: Actor, reason: str = "") -> Plan:
    """Go on where it stopped. What failed until now no longer counts against its bounds: the person has seen it.

    A plan that paused because its wave was not proved in time goes on with the next one, without that proof.
    """
    now = Plan.objects.select_for_update().get(pk=plan.pk)
    counts = counts_of(now)
    wave = now.wave + 1 if _waited_in_vain(now, counts) else now.wave
    resumed = move(
        plan, "resume", by=by, why=reason, allowance=1.0, allowance_at=datetime.now(UTC),
        wave_released_at=None, wave=wave, forgiven=total_of(counts),
    )  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(AT_ONCE, [plan.pk])
    look_at_runs(resumed)
    transaction.on_commit(partial(tell_plan, plan.pk))
    return resumed


def _waited_in_vain(plan: Plan, counts: Mapping[int, Mapping[str, int]]) -> bool:
    """Whether the plan paused itself at the end of a wave's wait, when nothing of this wave is left to be sent."""
    wave = counts.get(plan.wave, {})
    left = any(wave.get(outcome) for outcome in ("waiting", "queued", "sending"))
    at_its_end = plan.state == "paused" and plan.wave_released_at is not None and plan.wave < len(plan.wave_ends)
    return at_its_end and not left and _paused_itself(plan)


def _paused_itself(plan: Plan) -> bool:
    """By the audit list, which knows the console from a person of that name."""
    paused = AuditEntry.objects.filter(object_kind="plan", object_id=str(plan.pk), action="plan.paused")
    return paused.order_by("-id").values_list("via", flat=True).first() == SYSTEM.via


@transaction.atomic
def end_plan(plan: Plan, *, by: Actor, reason: str = "") -> Plan:
    """Give a plan up: cancelled when nothing was sent, else stopped; what has not left is taken back. Raises Forbidden, PlanState."""
    now = Plan.objects.select_for_update().get(pk=plan.pk)  # it may have begun since the caller looked
    ended = move(plan, "stop" if now.state in BEGUN else "cancel", by=by, why=reason, finished_at=datetime.now(UTC))
    withdraw(ended)
    look_at_runs(ended)
    return ended


# What may have left is unknown, not withdrawn: sent_at says when it first may have, see MARK in messages/replay/window.py.
WITHDRAW = """
WITH back AS (
    UPDATE messaging_replay SET state = CASE WHEN sent_at IS NULL THEN 'withdrawn' ELSE 'unknown' END,
           finished_at = CASE WHEN sent_at IS NULL THEN now() END, not_before = NULL,
           detail = CASE WHEN sent_at IS NULL THEN 'its plan was stopped before it was sent'
                         ELSE 'its plan was stopped; an earlier attempt may have brought it to the broker: ' || detail END
    WHERE state = 'queued' AND NOT despite_stop AND plan_id IN (
        SELECT p.id FROM messaging_plan p WHERE p.state = 'stopped' AND p.id = coalesce(%s::int8, p.id))
    RETURNING dead_letter_id, state
)
UPDATE messaging_deadletter d SET state = 'open' FROM back WHERE d.id = back.dead_letter_id AND back.state = 'withdrawn' AND d.state = 'replaying'
"""
# Whoever resumes says that it is worth an attempt now.
AT_ONCE = (
    "UPDATE messaging_replay SET not_before = NULL WHERE state = 'queued' AND plan_id = %s AND not_before IS NOT NULL"
)


def withdraw(plan: Plan | None = None) -> None:
    """Take back what no worker has of a stopped plan, or of all: its letters are open again.

    Of all, because a worker may put back what it had claimed and did not send while its plan was being stopped.
    """
    with connection.cursor() as cursor:
        cursor.execute(WITHDRAW, [plan.pk if plan else None])


@transaction.atomic
def move(
    plan: Plan, happening: str, *, by: Actor, why: str = "", same: dict[str, Any] | None = None, **values: Any
) -> Plan:
    """Change the plan's state, once, and audit it; return the plan as it is then. Raises Forbidden, PlanState.

    same  values that the row must still have.
    """
    check_can_operate_plan(by, plan)
    now = Plan.objects.select_for_update().get(pk=plan.pk)
    after = next_state(now.state, happening)
    if after is None or any(getattr(now, name) != value for name, value in (same or {}).items()):
        raise PlanState(
            f"{plan.reference} is {now.state.replace('_', ' ')}: somebody was faster, or this cannot be done now"
        )
    why = why.replace("\x00", "").strip()[:1000]
    values |= {"state": after, "state_at": datetime.now(UTC), "state_by": by.name, "why": why}
    Plan.objects.filter(pk=plan.pk).update(**values)
    plan.refresh_from_db()
    audit(by, f"plan.{DONE[happening]}", plan, reason=why, details={"was": now.state})
    return plan


DONE = {
    "request": "approval_requested",
    "approve": "approved",
    "refuse": "refused",
    "change": "changed",
    "start": "started",
    "begin": "begun",
    "undo": "start_undone",
    "undo_approved": "start_undone",
    "pause": "paused",
    "resume": "resumed",
    "abort": "aborted",
    "finish": "finished",
    "stop": "stopped",
    "cancel": "cancelled",
    "expire": "expired",
}


def audit(by: Actor, action: str, plan: Plan, *, reason: str = "", details: dict[str, Any] | None = None) -> None:
    teams = set(Flow.objects.filter(pk__in=plan.sent_flow_ids).values_list("team_id", flat=True))
    record_audit(
        by,
        action,
        plan,
        environment=plan.environment,
        team_id=next(iter(teams)) if len(teams) == 1 else None,
        reason=reason,
        details={"checksum": plan.checksum, **(details or {})},
    )


def _check_something(plan: Plan) -> None:
    if not plan.items_count:
        raise NothingToSend(f"{plan.reference} sends nothing: every dead letter in it is left out")


def tell_plan(pk: int) -> None:
    """Say "look" to a worker; when the broker is away the next beat does."""
    try:
        tasks.advance_plan.delay(pk)
    except Exception:  # noqa: BLE001  any broker failure means the same: the beat will
        return
