"""REST of retention: policies and what they take, what a change or the next run would do, legal holds."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from console.identity.access import check_can_administer, get_visible_environment
from console.identity.models import Environment
from messages.access import get_visible_flow_named, get_visible_hold
from messages.api.base import CONFLICTS, PROBLEMS, Reason, View, number_or_404, validated
from messages.api.ingest import ENVIRONMENT
from messages.models import LegalHold, RetentionRun
from messages.retention.plan import Plan, plan_retention
from messages.retention.policies import alarm, holds_of, last_runs, policy_of
from messages.retention.rules import BOUNDS, Policy, check_policy
from messages.retention.services import change_policy, lift_hold, place_hold
from messages.retention.sizes import usage_of


def _days(*, required: bool) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
    return {
        name: serializers.IntegerField(
            min_value=bound.least, max_value=bound.most, required=required, help_text=f"Days: {bound.meaning}."
        )
        for name, bound in BOUNDS.items()
    }


PolicyOut = inline_serializer("RetentionPolicy", _days(required=True))  # type: ignore[arg-type]


class ProjectedOut(serializers.Serializer[Any]):
    """What one kind takes on disk, projected from the last seven full days."""

    now_bytes = serializers.IntegerField()
    per_day_bytes = serializers.IntegerField()
    in_30_days_bytes = serializers.IntegerField()
    steady_bytes = serializers.IntegerField(help_text="When as much goes as comes.")


class HoldOut(serializers.ModelSerializer[LegalHold]):
    environment = serializers.SlugField(source="environment.slug")
    flow = serializers.CharField(source="flow.name", allow_null=True, default=None)

    class Meta:
        model = LegalHold
        fields = ("id", "environment", "flow", "flow_id", "reason", "placed_at", "placed_by")


class HoldIn(serializers.Serializer[Any]):
    """Keep everything of a flow, or, without one, of the environment."""

    environment = serializers.SlugField()
    flow = serializers.CharField(max_length=200, allow_null=True, required=False, help_text="Name of the flow.")
    reason = serializers.CharField(max_length=1000)


class RunOut(serializers.ModelSerializer[RetentionRun]):
    details = serializers.DictField()

    class Meta:
        model = RetentionRun
        fields = ("id", "started_at", "finished_at", "state", "details")


class RetentionOut(serializers.Serializer[Any]):
    """How long one environment's data is kept, and what it takes by kind."""

    environment = serializers.SlugField()
    policy = PolicyOut
    usage = serializers.DictField(child=ProjectedOut(), help_text="By kind.")
    holds = HoldOut(many=True)
    runs = RunOut(many=True)
    alarm = serializers.CharField(
        allow_blank=True, help_text="Why somebody should look at retention; empty when all is well."
    )


class PlanLineOut(serializers.Serializer[Any]):
    """What goes of one table; figures are estimates where `…_exact` is false."""

    environment = serializers.CharField()
    kind = serializers.CharField()
    table = serializers.CharField()
    way = serializers.CharField(help_text="`drop`, `write anew` or `delete`.")
    days = serializers.ListField(child=serializers.DateField())
    rows = serializers.IntegerField()
    rows_exact = serializers.BooleanField()
    bytes = serializers.IntegerField()
    bytes_exact = serializers.BooleanField()


class KeptOut(serializers.Serializer[Any]):
    """What is past its days and stays."""

    environment = serializers.CharField()
    kind = serializers.CharField()
    because = serializers.CharField()
    days = serializers.ListField(child=serializers.DateField())


class PlanOut(serializers.Serializer[Any]):
    """What a run would let go in one environment."""

    lines = PlanLineOut(many=True)
    kept = KeptOut(many=True)


class PreviewOut(serializers.Serializer[Any]):
    """What a policy would take, beside the one in force, and what the next run would let go under it."""

    environment = serializers.SlugField()
    policy = PolicyOut
    usage_now = serializers.DictField(child=ProjectedOut())
    usage_then = serializers.DictField(child=ProjectedOut())
    next_run = PlanOut


class PreviewIn(serializers.Serializer[Any]):
    """A policy on paper. What is left out stays as it is."""

    environment = serializers.SlugField()

    def get_fields(self) -> dict[str, Any]:
        return {**super().get_fields(), **_days(required=False)}


class PolicyIn(PreviewIn):
    """A policy to be set. What is left out stays as it is."""

    reason = serializers.CharField(max_length=1000)


def _asked(environment: Environment, data: dict[str, Any]) -> Policy:
    policy = Policy(**asdict(policy_of(environment)) | {name: data[name] for name in BOUNDS if name in data})
    check_policy(policy)
    return policy


def _projected(environment: Environment, policy: Policy) -> dict[str, Any]:
    projected = usage_of(environment.pk, now=timezone.now()).under(policy)
    return {kind: asdict(one) for kind, one in projected.items()}


def _of(plan: Plan, environment: Environment) -> dict[str, Any]:
    whole = plan.as_json()
    return {name: [one for one in whole[name] if one["environment"] == environment.slug] for name in ("lines", "kept")}


class Retention(View):
    @extend_schema(
        operation_id="read_retention", parameters=ENVIRONMENT, responses={200: RetentionOut(many=True), **PROBLEMS}
    )
    def get(self, request: Request) -> Response:
        """Each environment's policy, what it takes on disk now and later, its legal holds and the last runs."""
        return Response([self._one(environment) for environment in self.environments()])

    def _one(self, environment: Environment) -> dict[str, Any]:
        policy = policy_of(environment)
        return {
            "environment": environment.slug,
            "policy": asdict(policy),
            "usage": _projected(environment, policy),
            "holds": HoldOut(holds_of(self.actor, [environment]), many=True).data,
            "runs": RunOut(last_runs(), many=True).data,
            "alarm": alarm(environment, now=timezone.now()),
        }

    @extend_schema(operation_id="change_retention", request=PolicyIn, responses={200: RetentionOut, **PROBLEMS})
    def patch(self, request: Request) -> Response:
        """Set how long an environment's data is kept; the next run acts on it."""
        asked = validated(PolicyIn, request.data)
        environment = get_visible_environment(self.actor, asked["environment"])
        change_policy(environment, _asked(environment, asked), by=self.actor, reason=asked["reason"])
        return Response(self._one(environment))


class Preview(View):
    @extend_schema(operation_id="preview_retention", request=PreviewIn, responses={200: PreviewOut, **PROBLEMS})
    def post(self, request: Request) -> Response:
        """What a policy would take and let go; changes nothing."""
        asked = validated(PreviewIn, request.data)
        environment = get_visible_environment(self.actor, asked["environment"])
        check_can_administer(self.actor, environment)
        policy = _asked(environment, asked)
        plan = plan_retention(now=timezone.now(), count=False, instead={environment.pk: policy}, reader=self.actor)
        return Response(
            {
                "environment": environment.slug,
                "policy": asdict(policy),
                "usage_now": _projected(environment, policy_of(environment)),
                "usage_then": _projected(environment, policy),
                "next_run": _of(plan, environment),
            }
        )


class DryRun(View):
    @extend_schema(operation_id="read_retention_plan", parameters=ENVIRONMENT, responses={200: PlanOut, **PROBLEMS})
    def get(self, request: Request) -> Response:
        """What the next run would let go in these environments, for those who administer them."""
        environments = self.environments()
        for environment in environments:
            check_can_administer(self.actor, environment)
        plan = plan_retention(now=timezone.now(), count=False, reader=self.actor)
        found = [_of(plan, environment) for environment in environments]
        return Response({name: [line for one in found for line in one[name]] for name in ("lines", "kept")})


class Holds(View):
    @extend_schema(
        operation_id="list_legal_holds",
        parameters=ENVIRONMENT,
        responses={200: inline_serializer("LegalHoldList", {"results": HoldOut(many=True)}), **PROBLEMS},
    )
    def get(self, request: Request) -> Response:
        """Legal holds in force."""
        return Response({"results": HoldOut(holds_of(self.actor, self.environments()), many=True).data})

    @extend_schema(operation_id="place_legal_hold", request=HoldIn, responses={201: HoldOut, **CONFLICTS})
    def post(self, request: Request) -> Response:
        """Keep everything of a flow or environment until the hold is lifted."""
        asked = validated(HoldIn, request.data)
        environment = get_visible_environment(self.actor, asked["environment"])
        flow = None
        if name := asked.get("flow"):
            flow = get_visible_flow_named(self.actor, environment, name)
        hold = place_hold(environment, flow, by=self.actor, reason=asked["reason"])
        return Response(HoldOut(hold).data, status=201)


class OneHold(View):
    @extend_schema(operation_id="lift_legal_hold", request=Reason, responses={204: None, **PROBLEMS})
    def delete(self, request: Request, pk: str) -> Response:
        """Lift a legal hold; the body has the `reason`."""
        hold = get_visible_hold(self.actor, number_or_404(pk))
        lift_hold(hold, by=self.actor, reason=validated(Reason, request.data)["reason"])
        return Response(status=204)
