"""What REST takes and tells of compensations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.urls import reverse
from django.utils import timezone
from rest_framework import serializers

from console.identity.actor import Actor
from messages.api.base import Moment
from messages.compensation.access import can_compensate
from messages.compensation.acting import is_author, offered_to, step_actions
from messages.compensation.actions import ShownAction
from messages.compensation.before_after import BeforeAfter
from messages.compensation.present import begins_in_s, failed_at, heading_of, sentence_of
from messages.compensation.proposal import ProposedRow
from messages.compensation.queries import Line, steps_of
from messages.compensation.states import STATES, STEP_STATES, UNDONE
from messages.compensation.steps import is_overdue, next_step, owner_of, undo_words
from messages.models import Compensation, CompensationStep

VERBS = ("start", "undo", "approve", "refuse", "pause", "resume", "stop", "look-again")
STEP_VERBS = ("retry", "skip", "mark", "assign")


class ProposeIn(serializers.Serializer[Any]):
    """What failed: exactly one of `letter`, a dead letter, and `message`."""

    letter = serializers.UUIDField(required=False)
    message = serializers.UUIDField(required=False)
    reason = serializers.CharField(max_length=1000, required=False, help_text="Why; needed, but for a dry run.")
    ticket = serializers.CharField(max_length=100, required=False, allow_blank=True, default="")
    on_failure = serializers.ChoiceField(
        choices=Compensation.OnFailure.choices, default="stop", help_text="What a step that fails does to the others."
    )
    dry_run = serializers.BooleanField(default=False, help_text="Say what would be undone and keep nothing.")


class CompensationStartIn(serializers.Serializer[Any]):
    """Now, when nothing is said."""

    undo_s = serializers.IntegerField(
        default=0, min_value=0, max_value=3600, help_text="Seconds in which the start can be taken back."
    )


class StepAssignIn(serializers.Serializer[Any]):
    """Who does it, and until when; empty and null: nobody, no time."""

    assignee = serializers.CharField(max_length=150, allow_blank=True, required=False, default="")
    due_at = Moment(required=False, allow_null=True, default=None)


class LateIn(serializers.Serializer[Any]):
    """Whether what was seen to happen meanwhile is undone too, or left, and why."""

    add = serializers.BooleanField()
    reason = serializers.CharField(max_length=1000)


class ListedCompensationOut(serializers.Serializer[Any]):
    """A compensation as lists have it."""

    reference = serializers.CharField(source="run.reference")
    environment = serializers.SlugField(source="run.environment.slug")
    flow = serializers.CharField(source="run.flow.name")
    flow_id = serializers.IntegerField(source="run.flow_id")
    subject = serializers.SerializerMethodField(help_text="What it undoes, for people.")
    state = serializers.ChoiceField(choices=list(STATES), source="run.state")
    state_at = serializers.DateTimeField(source="run.state_at")
    state_by = serializers.CharField(source="run.state_by")
    why = serializers.CharField(source="run.why", help_text="It is in this state, in words.")
    owner = serializers.CharField(help_text="Who has the next step; empty: it has ended.")
    next_step = serializers.CharField(help_text="What a person does next, in words.")
    undone = serializers.IntegerField(help_text="Steps that are undone, of all its `steps`.")
    steps = serializers.IntegerField(source="total")
    reason = serializers.CharField(source="run.reason")
    ticket = serializers.CharField(source="run.ticket")
    created_by = serializers.CharField(source="run.created_by")
    created_at = serializers.DateTimeField(source="run.created_at")

    def get_subject(self, line: Line) -> str:
        return heading_of(line.run)


class CompensationStepOut(serializers.Serializer[Any]):
    """One completed step and what undoes it, `step` from 1 in the order of undoing. What it sends is at `action`."""

    step = serializers.IntegerField(source="ordinal")
    name = serializers.CharField()
    title = serializers.CharField(help_text="What happened, as the book says it.")
    system = serializers.CharField()
    event_id = serializers.UUIDField(help_text="The event that proves that it happened.")
    event_at = serializers.DateTimeField()
    undo = serializers.SerializerMethodField(help_text="What undoes it; why nothing can, of an irreversible one.")
    kind = serializers.CharField(help_text="http, message, manual; empty: it cannot be undone.")
    after = serializers.ListField(child=serializers.CharField(), help_text="Steps that are undone before it.")
    problem = serializers.CharField(help_text="Why it cannot be sent as it stands; empty: it can.")
    idempotency_key = serializers.UUIDField(help_text="The same with every attempt, in whichever compensation.")
    state = serializers.ChoiceField(choices=list(STEP_STATES))
    attempt = serializers.IntegerField()
    detail = serializers.CharField(help_text="The receiver's words, why it is unknown, or a person's note.")
    done_by = serializers.CharField()
    assignee = serializers.CharField()
    due_at = serializers.DateTimeField(allow_null=True)
    overdue = serializers.SerializerMethodField()
    sent_at = serializers.DateTimeField(allow_null=True)
    answered_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    proof_event_id = serializers.UUIDField(allow_null=True, help_text="The receiver's event that proves that it is undone.")  # fmt: skip
    proof_event_at = serializers.DateTimeField(allow_null=True)
    proof_tie = serializers.CharField()
    actions = serializers.SerializerMethodField(help_text=f"What the caller may do to it now: {', '.join(STEP_VERBS)}.")

    def get_undo(self, step: CompensationStep) -> str:
        return undo_words(step)

    def get_overdue(self, step: CompensationStep) -> bool:
        return is_overdue(step, now=timezone.now())

    def get_actions(self, step: CompensationStep) -> list[str]:
        return step_actions(step.compensation, step) if self.context.get("may_act") else []


class TaskOut(CompensationStepOut):
    """A step that waits for a person, and of which compensation."""

    compensation = serializers.CharField(source="compensation.reference")
    environment = serializers.SlugField(source="compensation.environment.slug")
    flow = serializers.CharField(source="compensation.flow.name")
    actions = None  # type: ignore[assignment]


class AlreadyOut(serializers.Serializer[Any]):
    step = serializers.CharField()
    title = serializers.CharField()
    by = serializers.CharField(help_text="The compensation that undid it; empty: an event proves it.")
    event = serializers.CharField()


class LateOut(serializers.Serializer[Any]):
    step = serializers.CharField()
    event = serializers.CharField()
    at = serializers.CharField()
    title = serializers.CharField()
    answer = serializers.CharField(help_text="add, leave; empty: nobody has said yet whether it is undone too.")
    by = serializers.CharField(required=False)
    reason = serializers.CharField(required=False)


class CompensationApprovalOut(serializers.Serializer[Any]):
    needed = serializers.BooleanField()
    why = serializers.CharField()
    approved_by = serializers.CharField()
    approved_at = serializers.DateTimeField(allow_null=True)
    checksum = serializers.CharField(help_text="What was approved: holds while it is the compensation's.")


class ActionOut(serializers.Serializer[Any]):
    """What a step sends, or asks of a person; what masking rules hide is masked here, and sent as it is."""

    title = serializers.CharField()
    connection = serializers.CharField()
    destination = serializers.CharField(help_text="`POST /refunds/4711` of a call.")
    headers = serializers.ListField(child=serializers.ListField(child=serializers.CharField()))
    content_type = serializers.CharField()
    body = serializers.CharField(source="text")
    instructions = serializers.CharField()
    masked = serializers.BooleanField()
    refusal = serializers.CharField(help_text="Why nothing of it can be shown; else empty.")


class StepSideOut(serializers.Serializer[Any]):
    """What one payload, or one answer, said; what masking rules hide is masked."""

    said_by = serializers.CharField(source="label", help_text="Whose event it is; of an answer, to which attempt.")
    at = serializers.DateTimeField()
    event_id = serializers.UUIDField(allow_null=True)
    status = serializers.IntegerField(allow_null=True, help_text="Of an HTTP receiver's answer.")
    words = serializers.CharField(help_text="The receiver's or broker's word, for people.")
    content_type = serializers.CharField()
    body = serializers.CharField(source="text", help_text="At most its first 256 KiB; `cut` when there is more.")
    cut = serializers.BooleanField()
    masked = serializers.BooleanField()
    refusal = serializers.CharField(help_text="Why nothing of it can be shown; else empty.")


class ChangedValueOut(serializers.Serializer[Any]):
    path = serializers.CharField()
    before = serializers.CharField(source="left")
    after = serializers.CharField(source="right")


class BeforeAfterOut(serializers.Serializer[Any]):
    """The state before and after a step was undone, where the payloads tell; null: nothing was told, or not yet."""

    before = StepSideOut(allow_null=True, help_text="What the event that proves the step said.")
    sent = ActionOut(allow_null=True, help_text="What undoes it sends.")
    answered = StepSideOut(allow_null=True, help_text="What was answered to that last.")
    after = StepSideOut(allow_null=True, help_text="What the event that proves its undoing said.")
    changes = ChangedValueOut(many=True, help_text="Values that are others after.")


class WouldUndoOut(serializers.Serializer[Any]):
    """One part of a dry run. state: would_undo, cannot_be_sent (`problem` says why), irreversible, or undone_already (`by`, or an event)."""

    step = serializers.IntegerField(source="number", help_text="Its place in the order of undoing; 0: it is undone already.")  # fmt: skip
    name = serializers.CharField(source="one.completed.step.name")
    title = serializers.CharField(source="happened")
    system = serializers.CharField(source="one.completed.proof.system")
    event_id = serializers.UUIDField(source="one.completed.proof.id")
    event_at = serializers.DateTimeField(source="one.completed.proof.at")
    undo = serializers.CharField()
    state = serializers.SerializerMethodField()
    problem = serializers.CharField(source="one.problem")
    by = serializers.CharField(source="one.by", help_text="The compensation that undid it, or may have.")
    idempotency_key = serializers.UUIDField(source="one.key")
    action = ActionOut(source="sends", allow_null=True)

    def get_state(self, row: ProposedRow) -> str:
        if row.one.settled:
            return "undone_already"
        if row.irreversible:
            return "irreversible"
        return "cannot_be_sent" if row.one.problem else "would_undo"


class DryRunOut(serializers.Serializer[Any]):
    """What would be undone, in this order; nothing is kept."""

    dry_run = serializers.BooleanField()
    flow = serializers.CharField()
    book = serializers.IntegerField()
    steps = WouldUndoOut(many=True)


class CompensationOut(ListedCompensationOut):
    """A compensation and how far it is."""

    sentence = serializers.CharField(help_text="What failed, what had happened, what becomes of it, for people.")
    book = serializers.IntegerField(source="run.book.version")
    message = serializers.UUIDField(source="run.message_uid", allow_null=True)
    message_id = serializers.CharField(source="run.message_id")
    dead_letter = serializers.UUIDField(source="run.dead_letter_id", allow_null=True)
    trace_id = serializers.UUIDField(source="run.trace_id", allow_null=True)
    plan = serializers.CharField(allow_null=True, help_text="The plan that it is part of.")
    on_failure = serializers.CharField(source="run.on_failure")
    checksum = serializers.CharField(source="run.checksum")
    approval = CompensationApprovalOut()
    begins_in_s = serializers.IntegerField(help_text="So long a start can be taken back.")
    started_at = serializers.DateTimeField(source="run.started_at", allow_null=True)
    finished_at = serializers.DateTimeField(source="run.finished_at", allow_null=True)
    already = AlreadyOut(many=True, source="run.already", help_text="What had been undone before it was proposed.")
    late = LateOut(many=True, source="run.late", help_text="What was seen to complete after it was proposed.")
    actions = serializers.ListField(
        child=serializers.ChoiceField(choices=list(VERBS)), help_text="What you may do to it now."
    )
    links = serializers.DictField(child=serializers.CharField())


def tell(run: Compensation, *, by: Actor) -> dict[str, Any]:
    """Return the compensation as CompensationOut describes it."""
    now, steps = timezone.now(), steps_of(run)
    return dict(CompensationOut(_whole(run, steps, by=by, now=now)).data)


class _Whole:
    """A Line with what only one compensation tells."""

    def __init__(self, line: Line, **more: Any) -> None:
        self.__dict__ |= {name: getattr(line, name) for name in Line.__dataclass_fields__} | more


def _whole(run: Compensation, steps: Sequence[CompensationStep], *, by: Actor, now: Any) -> Any:
    words = sentence_of(run, steps, failed_at(run)[0])
    undone = sum(step.state in UNDONE for step in steps)
    line = Line(
        run=run,
        undone=undone,
        total=len(steps),
        since=run.state_at,
        owner=owner_of(run, steps, now=now),
        next_step=next_step(run, steps, now=now),
    )
    own = f"/api/v1/compensations/{run.reference}"
    actions = offered_to(by, run, now=now)
    return _Whole(
        line,
        sentence=" ".join(one for one in (words.refused, words.happened, words.then) if one),
        plan=f"P-{run.plan_id}" if run.plan_id else None,
        approval={
            "needed": bool(run.approval_why),
            "why": run.approval_why,
            "approved_by": run.approved_by,
            "approved_at": run.approved_at,
            "checksum": run.approved_checksum,
        },
        begins_in_s=begins_in_s(run, now=now),
        actions=[verb for verb in VERBS if verb in actions and not (verb == "approve" and is_author(by, run))],
        links={
            "self": own,
            "steps": f"{own}/steps",
            "page": reverse("compensation", args=[run.reference]),
        },
    )


def tell_steps(run: Compensation, steps: Sequence[CompensationStep], *, by: Actor) -> Any:
    """Return steps as CompensationStepOut describes them."""
    for step in steps:
        step.compensation = run
    return CompensationStepOut(steps, many=True, context={"may_act": can_compensate(by, run.flow)}).data


def tell_before_after(told: BeforeAfter | None, sends: ShownAction | None) -> dict[str, Any]:
    """Return what BeforeAfterOut describes of a step."""
    told = told or BeforeAfter()
    parts = {name: getattr(told, name) for name in ("before", "answered", "after", "changes")}
    return dict(BeforeAfterOut(parts | {"sent": sends}).data)


def tell_action(shown: ShownAction) -> dict[str, Any]:
    return dict(ActionOut(shown).data)
