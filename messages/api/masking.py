"""REST of masking rules, with a preview."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from console.identity.access import get_visible_environment
from messages.access import get_visible_masking_rule
from messages.api.base import Problem, Reason, View, number_or_404, validated
from messages.api.views import PAGE_PARAMETERS, PROBLEMS
from messages.masking.queries import RuleLine, masking_lines
from messages.masking.services import (
    NewRule,
    add_masking_rule,
    move_masking_rule,
    preview_masking,
    remove_masking_rule,
)
from messages.models import MaskingRule

ENVIRONMENT = [parameter for parameter in PAGE_PARAMETERS if parameter.name == "environment"]


class MaskingRuleOut(serializers.Serializer[Any]):
    """A rule with what it did in 24 hours."""

    id = serializers.IntegerField(source="rule.pk")
    environment = serializers.SlugField(source="rule.environment.slug")
    position = serializers.IntegerField(source="rule.position")
    flow = serializers.CharField(source="rule.flow.name", allow_null=True, default=None, help_text="null: every flow.")
    kind = serializers.ChoiceField(source="rule.kind", choices=MaskingRule.Kind.choices)
    expression = serializers.CharField(source="rule.expression")
    keep_last = serializers.IntegerField(source="rule.keep_last")
    drop_unreadable = serializers.BooleanField(source="rule.drop_unreadable")
    found_as = serializers.CharField(source="rule.found_as")
    created_at = serializers.DateTimeField(source="rule.created_at")
    created_by = serializers.CharField(source="rule.created_by")
    masked_24h = serializers.IntegerField(source="masked", help_text="Values it replaced.")
    not_stored_24h = serializers.IntegerField(
        source="dropped", help_text="Bodies and texts not stored because it could not be applied."
    )


class MaskingDraftIn(serializers.Serializer[Any]):
    """What is replaced; docs/masking.md says what each kind takes."""

    kind = serializers.ChoiceField(choices=MaskingRule.Kind.choices)
    expression = serializers.CharField(max_length=500, trim_whitespace=False)
    keep_last = serializers.IntegerField(min_value=0, max_value=8, default=0)
    drop_unreadable = serializers.BooleanField(default=True)
    found_as = serializers.CharField(
        max_length=64,
        allow_blank=True,
        default="",
        help_text="Business key that the value's keyed hash becomes; empty: none.",
    )


class MaskingRuleIn(MaskingDraftIn):
    """A new rule; an empty flow is every flow of the environment."""

    environment = serializers.SlugField()
    flow = serializers.CharField(max_length=200, allow_blank=True, default="")


class MaskingSampleIn(serializers.Serializer[Any]):
    """A sample; with `rule` as if that one were saved too. Nothing of it is kept."""

    environment = serializers.SlugField()
    flow = serializers.CharField(max_length=200, allow_blank=True, default="")
    body = serializers.CharField(max_length=262_144, allow_blank=True, trim_whitespace=False, default="")
    content_type = serializers.CharField(max_length=200, allow_blank=True, default="")
    headers = serializers.DictField(child=serializers.CharField(allow_blank=True), default=dict)
    rule = MaskingDraftIn(required=False)


class MaskingSampleOut(serializers.Serializer[Any]):
    body = serializers.CharField()
    headers = serializers.DictField(child=serializers.CharField())
    masked = serializers.DictField(child=serializers.IntegerField(), help_text="Rule id → values; 0 is the draft.")
    replayable = serializers.BooleanField(help_text="Whether a dead letter like this could be sent again.")


class MoveMaskingIn(Reason):
    """Whether the rule goes up one place, else down, and why."""

    up = serializers.BooleanField()


class MaskingRules(View):
    @extend_schema(
        operation_id="list_masking_rules",
        parameters=ENVIRONMENT,
        responses={200: inline_serializer("MaskingRuleList", {"results": MaskingRuleOut(many=True)}), **PROBLEMS},
    )
    def get(self, request: Request) -> Response:
        """The rules in their order, those of flows that the key may see."""
        now = timezone.now()
        lines = [
            line for environment in self.environments() for line in masking_lines(self.actor, environment, now=now)
        ]
        return Response({"results": MaskingRuleOut(lines, many=True).data})

    @extend_schema(
        operation_id="add_masking_rule",
        request=MaskingRuleIn,
        responses={201: MaskingRuleOut, 409: Problem, **PROBLEMS},
    )
    def post(self, request: Request) -> Response:
        """Append a rule; it masks what comes from now on. 400 `bad_expression` names the column."""
        asked = validated(MaskingRuleIn, request.data)
        environment = get_visible_environment(self.actor, asked.pop("environment"))
        made = add_masking_rule(environment, NewRule(**asked), by=self.actor)
        return Response(MaskingRuleOut(RuleLine(rule=made, masked=0, dropped=0)).data, status=201)


class OneMaskingRule(View):
    @extend_schema(operation_id="remove_masking_rule", request=Reason, responses={204: None, **PROBLEMS})
    def delete(self, request: Request, pk: str) -> Response:
        """Remove a rule, with a `reason`; what is stored already stays masked."""
        rule = get_visible_masking_rule(self.actor, number_or_404(pk))
        remove_masking_rule(rule, by=self.actor, reason=validated(Reason, request.data)["reason"])
        return Response(status=204)


class MoveMaskingRule(View):
    @extend_schema(operation_id="move_masking_rule", request=MoveMaskingIn, responses={204: None, **PROBLEMS})
    def post(self, request: Request, pk: str) -> Response:
        """Move a rule up or down by one place."""
        rule, asked = get_visible_masking_rule(self.actor, number_or_404(pk)), validated(MoveMaskingIn, request.data)
        move_masking_rule(rule, up=asked["up"], by=self.actor, reason=asked["reason"])
        return Response(status=204)


class PreviewMasking(View):
    @extend_schema(
        operation_id="preview_masking", request=MaskingSampleIn, responses={200: MaskingSampleOut, **PROBLEMS}
    )
    def post(self, request: Request) -> Response:
        """What the rules of a flow make of a sample."""
        asked = validated(MaskingSampleIn, request.data)
        draft = NewRule(flow=asked["flow"], **asked["rule"]) if "rule" in asked else None
        found = preview_masking(
            get_visible_environment(self.actor, asked["environment"]),
            asked["flow"],
            asked["body"],
            asked["headers"],
            content_type=asked["content_type"],
            draft=draft,
            by=self.actor,
        )
        return Response(
            {
                "body": found.body,
                "headers": dict(found.headers),
                "masked": {str(rule): count for rule, count in found.counts},
                "replayable": found.replayable,
            }
        )
