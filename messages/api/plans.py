"""REST of plans: made, tried without keeping, approved, started, waited for, stopped, and read item by item."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from django.db import transaction
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from console.core.errors import Invalid
from console.core.paging import parse_limit
from console.core.parsers import JSONParser
from console.identity.access import get_visible_environment
from console.identity.models import Environment
from messages.api.base import CONFLICTS, LIST_PARAMETERS, PROBLEMS, Reason, View, problems, validated
from messages.api.once import IDEMPOTENCY_KEY, answer_once
from messages.api.plan_serializers import (
    ApproveIn,
    HowIn,
    ListedPlanOut,
    MayReason,
    PlanIn,
    StartIn,
    WholePlanOut,
    how_of,
    of_parameters,
    options_of,
    tell,
)
from messages.api.reconcile import ListParser, parts_of
from messages.groups.access import get_visible_group
from messages.models import Plan
from messages.plans.access import get_visible_plan
from messages.plans.freeze import MOST_ITEMS
from messages.plans.lists import PlanFilter, find_plans
from messages.plans.selection import Selection, joined
from messages.plans.services import (
    PlanState,
    approve_plan,
    create_plan,
    end_plan,
    pause_plan,
    refuse_plan,
    request_approval,
    resume_plan,
    start_plan,
    undo_start,
)
from messages.plans.states import BEGUN, STATES
from messages.plans.tuning import change_options
from messages.plans.waiting import needs_nobody, preferred_wait_s, wait_until_settled
from messages.reconcile.lists import ListReader
from messages.search.parse import parse_query
from messages.search.window import Window, parse_window

PAGED = [one for one in LIST_PARAMETERS if one.name in ("limit", "cursor", "environment")]
SAID = OpenApiParameter("q", str, description="A reference, such as `P-12`: that plan alone; else words of reason, ticket, query or author.")  # fmt: skip
STATE = OpenApiParameter("state", str, enum=list(STATES))
COLUMN = OpenApiParameter("column", str, description="With a CSV: header of the column of ids, else `id`.")
PREFER = OpenApiParameter(
    "Prefer",
    str,
    OpenApiParameter.HEADER,
    description="`wait=30` (RFC 7240): answers when the plan ends or needs a person, after 30 s at most. `Preference-Applied` says that it "
    "was waited; without it, as many wait already as may: ask again after `Retry-After`.",
)
FOUND = inline_serializer(
    "PlanList", {"results": ListedPlanOut(many=True), "next": serializers.URLField(allow_null=True)}
)
TOLD = CONFLICTS | problems(413, 415, 503)
ID = re.compile(r"[0-9a-f]{32}")
NO_REASON = "a dry run"


class IdListParser(ListParser):
    """Text alone: what a program sends without saying that it is JSON is refused, not read as a list."""

    media_type = "text/*"


class Plans(View):
    parser_classes = (JSONParser, IdListParser)

    @extend_schema(operation_id="list_plans", parameters=[SAID, STATE, *PAGED], responses={200: FOUND, **PROBLEMS})
    def get(self, request: Request) -> Response:
        """Plans, the newest first: those all of whose flows the key may see."""
        asked = request.query_params
        found = find_plans(
            self.actor,
            environments=self.environments(),
            only=PlanFilter(q=asked.get("q", ""), state=asked.get("state", "")),
            limit=parse_limit(asked.get("limit")),
            cursor=asked.get("cursor") or None,
        )
        return self.page(found, ListedPlanOut)

    @extend_schema(
        operation_id="create_plan",
        parameters=[IDEMPOTENCY_KEY, COLUMN],
        request={"application/json": PlanIn, "text/csv": OpenApiTypes.BINARY, "text/plain": OpenApiTypes.BINARY},
        responses={201: WholePlanOut, 200: WholePlanOut, **TOLD},
    )
    def post(self, request: Request) -> Response:
        """Freeze a selection into a plan; nothing is sent until it is started. For operators. A dry run is answered 200.

        Up to 1,000,000 ids come as the body itself: one a line, or a CSV; `environment`, `does`, `reason`, `ticket`, `dry_run` and each option are
        then parameters of the address.
        """
        listed = _listed(request) if (request.content_type or "").startswith("text/") else None
        asked = validated(PlanIn, request.data if listed is None else of_parameters(request.query_params.dict()))
        if not asked["dry_run"] and not asked.get("reason"):
            raise Invalid("say why: `reason` is kept with the plan and in the audit list")
        environment, selection = self._selection(asked, listed)

        def act() -> Response:
            plan = create_plan(
                selection,
                environment=environment,
                by=self.actor,
                reason=asked.get("reason") or NO_REASON,
                ticket=asked["ticket"],
                options=options_of(asked.get("options", {}), asked["does"]),
            )
            headers = {"Location": f"/api/v1/plans/{plan.reference}"}
            return Response(tell(plan, by=self.actor, dry_run=asked["dry_run"]), status=201, headers=headers)

        if not asked["dry_run"]:
            return answer_once(request, act, by=self.actor, environment=environment, said=listed)
        with transaction.atomic():
            tried = act()
            transaction.set_rollback(True)
        return Response(tried.data)

    def _selection(self, asked: dict[str, Any], listed: str | None) -> tuple[Environment, Selection]:
        ways = [name for name in ("q", "group", "ids") if name in asked]
        if len(ways) + (listed is not None) != 1:
            raise Invalid("say what is replayed: exactly one of `q`, `group` and `ids`, or a list of ids as the body")
        if any(asked.get(name) for name in ("window", "since", "until")) and "q" not in asked:
            raise Invalid("`window`, `since` and `until` go with `q`")
        if "group" in asked:
            group = get_visible_group(self.actor, asked["group"])
            if asked.get("environment", group.environment.slug) != group.environment.slug:
                raise Invalid(f"{group.reference} is of {group.environment.slug}")
            return group.environment, Selection(source=Plan.Source.GROUP, group=group)
        if not asked.get("environment"):
            raise Invalid("say in which `environment`")
        environment = get_visible_environment(self.actor, asked["environment"])
        if "q" in asked:
            query = parse_query(asked["q"], "dead-letters")
            return environment, Selection(source=Plan.Source.QUERY, q=asked["q"], query=query, window=_window(asked))
        ids = listed if listed is not None else joined(asked["ids"])
        return environment, Selection(source=Plan.Source.LIST, listed=ids)


def _window(asked: dict[str, Any]) -> Window | None:
    times = {name: asked.get(name) for name in ("window", "since", "until")}
    if not any(times.values()):
        return None
    return parse_window(times["window"], now=datetime.now(UTC), since=times["since"], until=times["until"])


def _listed(request: Request) -> str:
    """Return the ids of the body as a Selection has them; raises Invalid with the line of what is none."""
    column = request.query_params.get("column", "").replace("\x00", "")
    reader = ListReader(key_name="id", column=column)
    listed = ",".join(_ids(reader.read(parts_of(request))))
    if reader.bad_count:
        raise Invalid(f"line {reader.bad[0]['line']}: {reader.bad[0]['why']}")
    if not listed:
        raise Invalid(f"the list is empty: name 1 to {MOST_ITEMS:,} dead letters")
    return listed


def _ids(lines: Iterator[tuple[int, str]]) -> Iterator[str]:
    """Yield each as `joined` writes it: a million of them never become objects."""
    for number, text in lines:
        one = text.replace("-", "").lower()
        if not ID.fullmatch(one):
            raise Invalid(f"line {number} is no id of a dead letter: “{text[:40]}”")
        yield one


class OnPlan(View):
    """What is asked of one plan, or done to it."""

    def plan(self, reference: str) -> Plan:
        return get_visible_plan(self.actor, reference)

    def act(self, reference: str, do: Callable[[Plan], Plan], *, status: int = 200) -> Response:
        plan = self.plan(reference)

        def once() -> Response:
            return Response(tell(do(plan), by=self.actor), status=status, headers={"Location": f"/api/v1/plans/{plan.reference}"})  # fmt: skip

        return answer_once(self.request, once, by=self.actor, environment=plan.environment)

    def waited(self, reference: str, answer: Response) -> Response:
        """Return the answer, or after a wait that the caller prefers what the plan is then."""
        wait_s = preferred_wait_s(self.request.headers.get("Prefer", ""))
        plan = self.plan(reference)
        if not wait_s:
            return answer
        if needs_nobody(plan):
            if not wait_until_settled(plan.pk, wait_s):
                answer["Retry-After"] = "5"
                return answer
            plan = self.plan(reference)
            answer.data = tell(plan, by=self.actor)
        answer["Preference-Applied"] = f"wait={wait_s}"
        return answer


class OnePlan(OnPlan):
    @extend_schema(operation_id="read_plan", parameters=[PREFER], responses={200: WholePlanOut, **PROBLEMS})
    def get(self, request: Request, reference: str) -> Response:
        """One plan: what it stands for, and what became of everything in it."""
        return self.waited(reference, Response(tell(self.plan(reference), by=self.actor)))

    @extend_schema(operation_id="change_plan", parameters=[IDEMPOTENCY_KEY], request=HowIn, responses={200: WholePlanOut, **CONFLICTS})  # fmt: skip
    def patch(self, request: Request, reference: str) -> Response:
        """Change how it is executed before it is started; what is not named stays. One that was approved, or waits to be, is a draft again."""
        said = validated(HowIn, request.data)
        return self.act(reference, lambda plan: change_options(plan, how_of(said), by=self.actor))


class RequestApproval(OnPlan):
    @extend_schema(operation_id="request_plan_approval", parameters=[IDEMPOTENCY_KEY], request=None, responses={200: WholePlanOut, **CONFLICTS})  # fmt: skip
    def post(self, request: Request, reference: str) -> Response:
        """Ask for a second person."""
        return self.act(reference, lambda plan: request_approval(plan, by=self.actor))


class ApprovePlan(OnPlan):
    @extend_schema(operation_id="approve_plan", parameters=[IDEMPOTENCY_KEY], request=ApproveIn, responses={200: WholePlanOut, **CONFLICTS})  # fmt: skip
    def post(self, request: Request, reference: str) -> Response:
        """Approve exactly what this checksum stands for; never by who made or changed the plan, in the browser or with a key."""
        said = validated(ApproveIn, request.data)
        return self.act(reference, lambda plan: approve_plan(plan, by=self.actor, **said))


class RefusePlan(OnPlan):
    @extend_schema(operation_id="refuse_plan", parameters=[IDEMPOTENCY_KEY], request=Reason, responses={200: WholePlanOut, **CONFLICTS})  # fmt: skip
    def post(self, request: Request, reference: str) -> Response:
        """Send it back to its author, with a reason."""
        said = validated(Reason, request.data)
        return self.act(reference, lambda plan: refuse_plan(plan, by=self.actor, **said))


class StartPlan(OnPlan):
    @extend_schema(operation_id="start_plan", parameters=[IDEMPOTENCY_KEY, PREFER], request=StartIn, responses={202: WholePlanOut, **CONFLICTS})  # fmt: skip
    def post(self, request: Request, reference: str) -> Response:
        """Accept it for execution, now or at a time. What became of it is told by its address, in `Location`: accepted is not done."""
        said = validated(StartIn, request.data)
        started = self.act(
            reference,
            lambda plan: start_plan(plan, by=self.actor, at=said.get("at"), undo_s=said["undo_s"]),
            status=202,
        )
        return self.waited(reference, started)


class UndoStart(OnPlan):
    @extend_schema(operation_id="undo_plan_start", parameters=[IDEMPOTENCY_KEY], request=None, responses={200: WholePlanOut, **CONFLICTS})  # fmt: skip
    def post(self, request: Request, reference: str) -> Response:
        """Take a start back before anything was sent."""
        return self.act(reference, lambda plan: undo_start(plan, by=self.actor))


class PausePlan(OnPlan):
    @extend_schema(operation_id="pause_plan", parameters=[IDEMPOTENCY_KEY], request=MayReason, responses={200: WholePlanOut, **CONFLICTS})  # fmt: skip
    def post(self, request: Request, reference: str) -> Response:
        """Send nothing more until it is resumed; what a worker has already is sent."""
        said = validated(MayReason, request.data)
        return self.act(reference, lambda plan: pause_plan(plan, by=self.actor, **said))


class ResumePlan(OnPlan):
    @extend_schema(operation_id="resume_plan", parameters=[IDEMPOTENCY_KEY, PREFER], request=MayReason, responses={202: WholePlanOut, **CONFLICTS})  # fmt: skip
    def post(self, request: Request, reference: str) -> Response:
        """Go on where it was paused or stopped itself; what failed until now no longer counts against its bounds."""
        said = validated(MayReason, request.data)
        resumed = self.act(reference, lambda plan: resume_plan(plan, by=self.actor, **said), status=202)
        return self.waited(reference, resumed)


class CancelPlan(OnPlan):
    @extend_schema(operation_id="cancel_plan", parameters=[IDEMPOTENCY_KEY], request=MayReason, responses={200: WholePlanOut, **CONFLICTS})  # fmt: skip
    def post(self, request: Request, reference: str) -> Response:
        """Give it up before anything was sent; one that has begun is 409."""
        said = validated(MayReason, request.data)

        def cancel(plan: Plan) -> Plan:
            if plan.state in BEGUN:
                raise PlanState(f"{plan.reference} is {plan.state}: it has begun, so `stop` ends it")
            return end_plan(plan, by=self.actor, **said)

        return self.act(reference, cancel)


class StopPlan(OnPlan):
    @extend_schema(operation_id="stop_plan", parameters=[IDEMPOTENCY_KEY], request=MayReason, responses={200: WholePlanOut, **CONFLICTS})  # fmt: skip
    def post(self, request: Request, reference: str) -> Response:
        """End it, whether it has begun or not: what has not left is never sent."""
        said = validated(MayReason, request.data)
        return self.act(reference, lambda plan: end_plan(plan, by=self.actor, **said))
