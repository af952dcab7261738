"""REST of compensations: proposed, tried without keeping, approved, started, held, and settled step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from console.core.errors import Forbidden, Invalid, NotFound
from console.core.paging import Page, parse_limit
from messages.access import get_visible_dead_letter
from messages.api.base import CONFLICTS, LIST_PARAMETERS, PROBLEMS, Reason, View, validated
from messages.api.compensation_serializers import (
    ActionOut,
    BeforeAfterOut,
    CompensationOut,
    CompensationStartIn,
    CompensationStepOut,
    DryRunOut,
    LateIn,
    ListedCompensationOut,
    ProposeIn,
    StepAssignIn,
    TaskOut,
    tell,
    tell_action,
    tell_before_after,
    tell_steps,
)
from messages.api.once import IDEMPOTENCY_KEY, answer_once
from messages.api.plan_serializers import ApproveIn, MayReason
from messages.compensation import services
from messages.compensation.access import (
    can_read_actions,
    check_can_compensate,
    get_visible_compensation,
    get_visible_step,
)
from messages.compensation.acting import answer
from messages.compensation.actions import shown_actions
from messages.compensation.before_after import TOLD_BYTES, before_and_after
from messages.compensation.books import newest_book, read_book
from messages.compensation.journey import Target
from messages.compensation.proposal import proposal_of
from messages.compensation.proposing import NoBook, check_waits, flow_of, propose, target_of_letter, target_of_message
from messages.compensation.queries import CompensationFilter, find_compensations, find_tasks, steps_of
from messages.compensation.states import STATES
from messages.models import Compensation, CompensationStep
from messages.told import get_message

PAGED = [one for one in LIST_PARAMETERS if one.name in ("limit", "cursor", "environment")]
SAID = OpenApiParameter("q", str, description="A reference, such as `C-12`: that one alone; else words of reason, ticket, message id or author.")  # fmt: skip
STATE = OpenApiParameter("state", str, enum=list(STATES))
FLOW = OpenApiParameter("flow", str, description="Name of a flow.")
NEEDS = OpenApiParameter("needs_person", bool, description="Only those that need a person, the oldest first.")
MINE = OpenApiParameter("mine", bool, description="Only those that you proposed, or have a step of.")
LIST = inline_serializer(
    "CompensationList", {"results": ListedCompensationOut(many=True), "next": serializers.URLField(allow_null=True)}
)
TASKS = inline_serializer(
    "CompensationTaskList", {"results": TaskOut(many=True), "next": serializers.URLField(allow_null=True)}
)
STEPS = inline_serializer(
    "CompensationStepList", {"results": CompensationStepOut(many=True), "next": serializers.URLField(allow_null=True)}
)
TRUE = ("1", "true", "yes")


def _asked(request: Request, name: str) -> bool:
    return request.query_params.get(name, "").lower() in TRUE


class Compensations(View):
    @extend_schema(operation_id="list_compensations", parameters=[SAID, STATE, FLOW, NEEDS, MINE, *PAGED], responses={200: LIST, **PROBLEMS})  # fmt: skip
    def get(self, request: Request) -> Response:
        """Compensations of the flows that the key may see, the newest first."""
        asked = request.query_params
        only = CompensationFilter(
            q=asked.get("q", ""),
            state=asked.get("state", ""),
            flow=asked.get("flow", "").replace("\x00", ""),
            show="needs" if _asked(request, "needs_person") else "all",
            mine=_asked(request, "mine"),
        )
        found = find_compensations(
            self.actor,
            environments=self.environments(),
            only=only,
            now=timezone.now(),
            limit=parse_limit(asked.get("limit")),
            cursor=asked.get("cursor") or None,
        )
        return self.page(found, ListedCompensationOut)

    @extend_schema(
        operation_id="propose_compensation",
        parameters=[IDEMPOTENCY_KEY],
        request=ProposeIn,
        responses={201: CompensationOut, 200: DryRunOut, **CONFLICTS},
    )
    def post(self, request: Request) -> Response:
        """Freeze what had happened and what would undo it; nothing is sent until it is started. For operators. A dry run is answered 200."""
        asked = validated(ProposeIn, request.data)
        target = self._target(asked)
        flow = flow_of(target)
        if asked["dry_run"]:
            return Response(self._tried(target))
        if not asked.get("reason"):
            raise Invalid("say why: `reason` is kept with the compensation and in the audit list")

        def act() -> Response:
            run = propose(
                target, by=self.actor, reason=asked["reason"], ticket=asked["ticket"], on_failure=asked["on_failure"]
            )
            headers = {"Location": f"/api/v1/compensations/{run.reference}"}
            return Response(tell(run, by=self.actor), status=201, headers=headers)

        return answer_once(request, act, by=self.actor, environment=flow.environment)

    def _target(self, asked: dict[str, Any]) -> Target:
        if ("letter" in asked) == ("message" in asked):
            raise Invalid("say what failed: exactly one of `letter` and `message`")
        if "letter" in asked:
            return target_of_letter(get_visible_dead_letter(self.actor, asked["letter"]))
        return target_of_message(get_message(self.actor, asked["message"]))

    def _tried(self, target: Target) -> dict[str, Any]:
        flow = flow_of(target)
        check_can_compensate(self.actor, flow)
        check_waits(target)
        version = newest_book(flow)
        if version is None:
            raise NoBook(f"{flow.name} has no compensation book")
        rows = proposal_of(self.actor, flow, read_book(version), target)
        return dict(DryRunOut({"dry_run": True, "flow": flow.name, "book": version.version, "steps": rows}).data)


class CompensationTasks(View):
    @extend_schema(operation_id="list_compensation_tasks", parameters=[FLOW, MINE, *PAGED], responses={200: TASKS, **PROBLEMS})  # fmt: skip
    def get(self, request: Request) -> Response:
        """Steps that wait for a person, the one that is due first first."""
        asked = request.query_params
        found = find_tasks(
            self.actor,
            environments=self.environments(),
            flow=asked.get("flow", "").replace("\x00", ""),
            mine=_asked(request, "mine"),
            limit=parse_limit(asked.get("limit")),
            cursor=asked.get("cursor") or None,
        )
        return self.page(Page(found.rows, found.next), TaskOut)


class OnCompensation(View):
    """What is asked of one compensation, or done to it or to one of its steps."""

    def run(self, reference: str) -> Compensation:
        return get_visible_compensation(self.actor, reference)

    def act(self, reference: str, do: Callable[[Compensation], Compensation], *, status: int = 200) -> Response:
        run = self.run(reference)

        def once() -> Response:
            done = do(run)
            headers = {"Location": f"/api/v1/compensations/{run.reference}"}
            return Response(tell(done, by=self.actor), status=status, headers=headers)

        return answer_once(self.request, once, by=self.actor, environment=run.environment)

    def act_on_step(self, reference: str, ordinal: int, do: Callable[[CompensationStep], CompensationStep]) -> Response:
        run = self.run(reference)
        step = get_visible_step(self.actor, run, ordinal)
        step.compensation = run

        def once() -> Response:
            done = do(step)
            return Response(tell_steps(self.run(reference), [done], by=self.actor)[0])

        return answer_once(self.request, once, by=self.actor, environment=run.environment)


class OneCompensation(OnCompensation):
    @extend_schema(operation_id="read_compensation", responses={200: CompensationOut, **PROBLEMS})
    def get(self, request: Request, reference: str) -> Response:
        """One compensation: what it undoes and how far it is."""
        return Response(tell(self.run(reference), by=self.actor))


class CompensationSteps(OnCompensation):
    @extend_schema(operation_id="list_compensation_steps", responses={200: STEPS, **PROBLEMS})
    def get(self, request: Request, reference: str) -> Response:
        """All its steps, in the order of undoing."""
        run = self.run(reference)
        return Response({"results": tell_steps(run, steps_of(run), by=self.actor), "next": None})


def _verb(name: str, takes: type[serializers.Serializer[Any]] | None, status: int = 200) -> Any:
    return extend_schema(
        operation_id=f"{name}_compensation", parameters=[IDEMPOTENCY_KEY], request=takes, responses={status: CompensationOut, **CONFLICTS}
    )  # fmt: skip


class StartCompensation(OnCompensation):
    @_verb("start", CompensationStartIn, 202)
    def post(self, request: Request, reference: str) -> Response:
        """Accept it for execution. What became of it is told by its address: accepted is not undone."""
        said = validated(CompensationStartIn, request.data)
        return self.act(reference, lambda run: services.start(run, by=self.actor, undo_s=said["undo_s"]), status=202)


class UndoCompensationStart(OnCompensation):
    @_verb("undo_start_of", None)
    def post(self, request: Request, reference: str) -> Response:
        """Take a start back before anything was sent."""
        return self.act(reference, lambda run: services.undo_start(run, by=self.actor))


class ApproveCompensation(OnCompensation):
    @_verb("approve", ApproveIn)
    def post(self, request: Request, reference: str) -> Response:
        """Approve exactly what this checksum stands for; never by who proposed it."""
        said = validated(ApproveIn, request.data)
        return self.act(reference, lambda run: services.approve(run, by=self.actor, **said))


class RefuseCompensation(OnCompensation):
    @_verb("refuse", Reason)
    def post(self, request: Request, reference: str) -> Response:
        """Take an approval back before it is started."""
        said = validated(Reason, request.data)
        return self.act(reference, lambda run: services.refuse(run, by=self.actor, **said))


class PauseCompensation(OnCompensation):
    @_verb("pause", MayReason)
    def post(self, request: Request, reference: str) -> Response:
        """Send nothing more until it is resumed; what a worker has goes its way."""
        said = validated(MayReason, request.data)
        return self.act(reference, lambda run: services.pause(run, by=self.actor, **said))


class ResumeCompensation(OnCompensation):
    @_verb("resume", MayReason, 202)
    def post(self, request: Request, reference: str) -> Response:
        """Go on where it was paused or stuck; a step that needs a person still does."""
        said = validated(MayReason, request.data)
        return self.act(reference, lambda run: services.resume(run, by=self.actor, **said), status=202)


class StopCompensation(OnCompensation):
    @_verb("stop", Reason)
    def post(self, request: Request, reference: str) -> Response:
        """End it for good: what has not begun is not undone, and its dead letter is open again."""
        said = validated(Reason, request.data)
        return self.act(reference, lambda run: services.stop(run, by=self.actor, **said))


class LookAgain(OnCompensation):
    @_verb("look_again_at", None)
    def post(self, request: Request, reference: str) -> Response:
        """Read the journey and the newest book anew into what was not begun; an approval of it ends."""
        return self.act(reference, lambda run: services.look_again(run, by=self.actor))


class AnswerLateEvent(OnCompensation):
    @_verb("answer_late_event_of", LateIn)
    def post(self, request: Request, reference: str, index: int) -> Response:
        """Say of what was seen to complete meanwhile (`late`, from 0) whether it is undone too, or left."""
        said = validated(LateIn, request.data)

        def do(run: Compensation) -> Compensation:
            answer(run, self.actor, index=index, **said)
            return self.run(reference)

        return self.act(reference, do)


# steps ---------------------------------------------------------------------------------------------------------------


def _step_verb(name: str, takes: type[serializers.Serializer[Any]]) -> Any:
    return extend_schema(
        operation_id=f"{name}_compensation_step", parameters=[IDEMPOTENCY_KEY], request=takes, responses={200: CompensationStepOut, **CONFLICTS}
    )  # fmt: skip


class RetryStep(OnCompensation):
    @_step_verb("retry", Reason)
    def post(self, request: Request, reference: str, ordinal: int) -> Response:
        """Send a failed or unknown step again, with the same idempotency key."""
        said = validated(Reason, request.data)
        return self.act_on_step(reference, ordinal, lambda step: services.retry_step(step, by=self.actor, **said))


class SkipStep(OnCompensation):
    @_step_verb("skip", Reason)
    def post(self, request: Request, reference: str, ordinal: int) -> Response:
        """Leave what happened as it is; the whole is then compensated in part."""
        said = validated(Reason, request.data)
        return self.act_on_step(reference, ordinal, lambda step: services.skip_step(step, by=self.actor, **said))


class MarkStep(OnCompensation):
    @_step_verb("mark", Reason)
    def post(self, request: Request, reference: str, ordinal: int) -> Response:
        """Say that it was undone by hand; `reason` is the note: where, how, by whom."""
        said = validated(Reason, request.data)
        return self.act_on_step(reference, ordinal, lambda step: services.mark_step(step, by=self.actor, **said))


class AssignStep(OnCompensation):
    @_step_verb("assign", StepAssignIn)
    def post(self, request: Request, reference: str, ordinal: int) -> Response:
        """Say who does it, and until when."""
        said = validated(StepAssignIn, request.data)
        return self.act_on_step(reference, ordinal, lambda step: services.assign_step(step, by=self.actor, **said))


class StepAction(OnCompensation):
    @extend_schema(operation_id="read_compensation_step_action", responses={200: ActionOut, **PROBLEMS})
    def get(self, request: Request, reference: str, ordinal: int) -> Response:
        """What the step sends, or asks of a person: with the right to read payloads, and audited like reading one."""
        run = self.run(reference)
        step = get_visible_step(self.actor, run, ordinal)
        if not can_read_actions(self.actor, run.flow):
            raise Forbidden(f"only those who may read payloads of {run.flow.name} may read what its steps send")
        shown = shown_actions(self.actor, run, [step]).get(step.ordinal)
        if shown is None:
            raise NotFound("this step sends nothing")
        return Response(tell_action(shown))


class StepBeforeAfter(OnCompensation):
    @extend_schema(operation_id="read_compensation_step_before_after", responses={200: BeforeAfterOut, **PROBLEMS})
    def get(self, request: Request, reference: str, ordinal: int) -> Response:
        """What the payloads tell of the state before the step was undone, and after: with the right to read them, and audited."""
        run = self.run(reference)
        step = get_visible_step(self.actor, run, ordinal)
        if not can_read_actions(self.actor, run.flow):
            raise Forbidden(f"only those who may read payloads of {run.flow.name} may read what its steps say")
        step.compensation = run
        told = before_and_after(self.actor, [step], shown_bytes=TOLD_BYTES).get(step.pk)
        return Response(tell_before_after(told, shown_actions(self.actor, run, [step]).get(step.ordinal)))
