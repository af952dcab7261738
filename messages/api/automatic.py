"""REST of what replays by itself: rules and their switch, recipes of a group, the report of a plan."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from console.core.paging import parse_limit
from console.identity.access import get_visible_environment
from messages.api.base import CONFLICTS, PROBLEMS, Reason, View, number_or_404, validated
from messages.api.views import PAGE_PARAMETERS
from messages.automatic.access import get_visible_rule
from messages.automatic.queries import budget_of, find_rules, plans_of_rule
from messages.automatic.services import (
    NewAutomaticRule,
    add_automatic_rule,
    change_automatic_rule,
    remove_automatic_rule,
    switch_all_off,
    switch_off,
    switch_on,
)
from messages.groups.access import get_visible_group
from messages.groups.classes import CLASSES
from messages.models import AutomaticRule
from messages.plans.access import get_visible_plan
from messages.plans.recipes import plan_like, recipes_of
from messages.plans.report import ask_for_report, report_of


class ReplayRuleOut(serializers.Serializer[Any]):
    """A rule that replays by itself. Its hook for alerts is `on`: false with `why` when it switched itself off."""

    id = serializers.IntegerField(source="pk")
    environment = serializers.SlugField(source="environment.slug")
    name = serializers.CharField()
    group = serializers.CharField(source="group.reference", allow_null=True, default=None)
    failure_class = serializers.CharField()
    waits = serializers.ListField(child=serializers.IntegerField(), help_text="Minutes before each replay.")
    success_percent = serializers.FloatField(help_text="Of its flow's receivers more must have succeeded.")
    per_hour = serializers.IntegerField()
    per_day = serializers.IntegerField()
    rate_per_s = serializers.FloatField()
    stop_failed_percent = serializers.FloatField()
    author = serializers.CharField(
        source="author.username", allow_null=True, default=None, help_text="Whose rights it has."
    )
    on = serializers.BooleanField(source="is_on")
    why = serializers.CharField(help_text="It is on or off.")
    switched_at = serializers.DateTimeField()
    switched_by = serializers.CharField()
    waits_because = serializers.CharField(help_text="Why the last look sent nothing, or not everything.")
    looked_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()
    created_by = serializers.CharField()


class BudgetOut(serializers.Serializer[Any]):
    last_hour = serializers.IntegerField()
    last_day = serializers.IntegerField()
    left = serializers.IntegerField()


class OneReplayRuleOut(ReplayRuleOut):
    """With what is left of its budget, and its newest plans."""

    budget = serializers.SerializerMethodField()
    plans = serializers.SerializerMethodField()

    def get_budget(self, rule: AutomaticRule) -> BudgetOut:
        return BudgetOut(budget_of(rule, timezone.now())).data  # type: ignore[return-value]

    def get_plans(self, rule: AutomaticRule) -> list[str]:
        return [plan.reference for plan in plans_of_rule(self.context["actor"], rule)]


class ReplayRuleIn(serializers.Serializer[Any]):
    """For a group or a class, one of the two; docs/automatic-replay.md."""

    name = serializers.CharField(max_length=120)
    group = serializers.CharField(max_length=24, allow_blank=True, default="", help_text="Such as G-204.")
    failure_class = serializers.ChoiceField(choices=["", *CLASSES], default="")
    waits = serializers.ListField(child=serializers.IntegerField(), max_length=10, default=[5, 15, 60])
    success_percent = serializers.FloatField(default=95.0)
    per_hour = serializers.IntegerField(default=100)
    per_day = serializers.IntegerField(default=500)
    rate_per_s = serializers.FloatField(default=5.0)
    stop_failed_percent = serializers.FloatField(default=50.0)


class NewReplayRuleIn(ReplayRuleIn):
    environment = serializers.SlugField()


class ReplayRulesOffIn(Reason):
    environment = serializers.SlugField()


class _View(View):
    def answer(self, rule: AutomaticRule, status: int = 200) -> Response:
        one = get_visible_rule(self.actor, rule.pk)
        return Response(OneReplayRuleOut(one, context={"actor": self.actor}).data, status=status)

    def said(self, asked: dict[str, Any]) -> NewAutomaticRule:
        group = get_visible_group(self.actor, asked["group"]) if asked["group"] else None
        return NewAutomaticRule(**asked | {"group": group, "waits": tuple(asked["waits"])})


class ReplayRules(_View):
    @extend_schema(
        operation_id="list_replay_rules",
        parameters=PAGE_PARAMETERS,
        responses={
            200: inline_serializer(
                "ReplayRuleList", {"results": ReplayRuleOut(many=True), "next": serializers.URLField(allow_null=True)}
            ),
            **PROBLEMS,
        },
    )
    def get(self, request: Request) -> Response:
        """Rules that replay by themselves, on and off, the newest first."""
        found = find_rules(
            self.actor,
            environments=self.environments(),
            limit=parse_limit(request.query_params.get("limit")),
            cursor=request.query_params.get("cursor") or None,
        )
        return self.page(found, ReplayRuleOut)

    @extend_schema(
        operation_id="add_replay_rule", request=NewReplayRuleIn, responses={201: OneReplayRuleOut, **CONFLICTS}
    )
    def post(self, request: Request) -> Response:
        """Make a rule, for operators of the environment. It is off."""
        asked = validated(NewReplayRuleIn, request.data)
        environment = get_visible_environment(self.actor, asked.pop("environment"))
        return self.answer(add_automatic_rule(environment, self.said(asked), by=self.actor), 201)


class OneReplayRule(_View):
    @extend_schema(operation_id="read_replay_rule", responses={200: OneReplayRuleOut, **PROBLEMS})
    def get(self, request: Request, pk: str) -> Response:
        """One rule: whether it is on, why it waits, what its budget stands at, its plans."""
        return self.answer(get_visible_rule(self.actor, number_or_404(pk)))

    @extend_schema(
        operation_id="change_replay_rule", request=ReplayRuleIn, responses={200: OneReplayRuleOut, **CONFLICTS}
    )
    def put(self, request: Request, pk: str) -> Response:
        """Replace what a rule says; it has the rights of the key's user from then on, on or off as it was."""
        rule = get_visible_rule(self.actor, number_or_404(pk))
        return self.answer(
            change_automatic_rule(
                rule, self.said(validated(ReplayRuleIn, request.data, answers=OneReplayRuleOut)), by=self.actor
            )
        )

    @extend_schema(operation_id="remove_replay_rule", request=Reason, responses={204: None, **PROBLEMS})
    def delete(self, request: Request, pk: str) -> Response:
        """Remove a rule, with a `reason`; its plans stay."""
        rule = get_visible_rule(self.actor, number_or_404(pk))
        remove_automatic_rule(rule, by=self.actor, reason=validated(Reason, request.data)["reason"])
        return Response(status=204)


class ReplayRuleOn(_View):
    @extend_schema(operation_id="switch_replay_rule_on", request=Reason, responses={200: OneReplayRuleOut, **CONFLICTS})
    def post(self, request: Request, pk: str) -> Response:
        """Let a rule act, under the rights of the key's user."""
        rule = get_visible_rule(self.actor, number_or_404(pk))
        return self.answer(switch_on(rule, by=self.actor, reason=validated(Reason, request.data)["reason"]))


class ReplayRuleOff(_View):
    @extend_schema(
        operation_id="switch_replay_rule_off", request=Reason, responses={200: OneReplayRuleOut, **CONFLICTS}
    )
    def post(self, request: Request, pk: str) -> Response:
        """Let a rule begin nothing more; what it has begun is a plan."""
        rule = get_visible_rule(self.actor, number_or_404(pk))
        return self.answer(switch_off(rule, by=self.actor, reason=validated(Reason, request.data)["reason"]))


class ReplayRulesOff(View):
    @extend_schema(
        operation_id="switch_replay_rules_off",
        request=ReplayRulesOffIn,
        responses={200: inline_serializer("ReplayRulesOff", {"off": serializers.IntegerField()}), **PROBLEMS},
    )
    def post(self, request: Request) -> Response:
        """The kill switch: every rule of an environment off at once."""
        asked = validated(ReplayRulesOffIn, request.data)
        environment = get_visible_environment(self.actor, asked["environment"])
        return Response({"off": switch_all_off(environment, by=self.actor, reason=asked["reason"])})


class RecipeOut(serializers.Serializer[Any]):
    """What fixed a group before: so many plans that did the same and worked."""

    times = serializers.IntegerField()
    items = serializers.IntegerField(help_text="Messages that they sent.")
    words = serializers.CharField()
    like = serializers.CharField(source="like.reference", help_text="The newest of them.")
    why_not = serializers.CharField(help_text="Why the caller cannot make a draft of it; empty: they can.")


class RecipeIn(serializers.Serializer[Any]):
    like = serializers.CharField(max_length=24, help_text="`like` of a recipe, such as P-12.")
    reason = serializers.CharField(max_length=1000, allow_blank=True, default="")


class GroupRecipes(View):
    @extend_schema(
        operation_id="list_group_recipes",
        responses={200: inline_serializer("RecipeList", {"results": RecipeOut(many=True)}), **PROBLEMS},
    )
    def get(self, request: Request, reference: str) -> Response:
        """What fixed this group before, the most frequent first."""
        found = recipes_of(self.actor, get_visible_group(self.actor, reference))
        return Response({"results": RecipeOut(found, many=True).data})

    @extend_schema(
        operation_id="plan_group_recipe",
        request=RecipeIn,
        responses={
            201: inline_serializer(
                "RecipePlan",
                {
                    "plan": serializers.CharField(),
                    "state": serializers.CharField(),
                    "items": serializers.IntegerField(),
                },
            ),
            **CONFLICTS,
        },
    )
    def post(self, request: Request, reference: str) -> Response:
        """Make a draft of what waits in the group now, with the options and edits of that plan. Nothing is sent."""
        asked, group = validated(RecipeIn, request.data), get_visible_group(self.actor, reference)
        made = plan_like(group, get_visible_plan(self.actor, asked["like"]), by=self.actor, reason=asked["reason"])
        return Response({"plan": made.reference, "state": made.state, "items": made.items_count}, status=201)


class ReportLineOut(serializers.Serializer[Any]):
    name = serializers.CharField()
    words = serializers.CharField()
    items = serializers.IntegerField()


class PlanReportOut(serializers.Serializer[Any]):
    """A plan in figures: selected = items + left_out; items = outcomes, always."""

    plan = serializers.CharField(source="plan.reference")
    state = serializers.CharField(source="plan.state")
    why = serializers.CharField(source="plan.why")
    created_by = serializers.CharField(source="plan.created_by")
    approved_by = serializers.CharField(source="plan.approved_by")
    checksum = serializers.CharField(source="plan.checksum")
    mail_to_author = serializers.BooleanField(source="plan.mail_to_author")
    selected = serializers.IntegerField()
    items = serializers.IntegerField()
    left_out = ReportLineOut(many=True)
    outcomes = ReportLineOut(many=True)
    overdue = serializers.IntegerField(help_text="Sent, not confirmed as processed for too long.")
    duration_s = serializers.FloatField(allow_null=True)
    per_s = serializers.FloatField(allow_null=True)
    failed_by = serializers.SerializerMethodField(help_text="{why: items}, the most frequent first.")
    address = serializers.CharField()

    def get_failed_by(self, report: Any) -> dict[str, int]:
        return dict(report.errors)


class ReportMailIn(serializers.Serializer[Any]):
    mail_to_author = serializers.BooleanField()


class PlanReport(View):
    @extend_schema(operation_id="read_plan_report", responses={200: PlanReportOut, **PROBLEMS})
    def get(self, request: Request, reference: str) -> Response:
        """The report of a plan, at this moment: what its mail says."""
        return Response(PlanReportOut(report_of(get_visible_plan(self.actor, reference))).data)

    @extend_schema(
        operation_id="ask_for_plan_report", request=ReportMailIn, responses={200: PlanReportOut, **CONFLICTS}
    )
    def put(self, request: Request, reference: str) -> Response:
        """Have the plan's author and yourself told by mail whenever it ends or stops itself, or nobody. For operators of all its flows."""
        wanted = validated(ReportMailIn, request.data)["mail_to_author"]
        plan = ask_for_report(get_visible_plan(self.actor, reference), wanted=wanted, by=self.actor)
        return Response(PlanReportOut(report_of(plan)).data)
