"""REST of what an environment consists of: flows, systems and the rules of ingest."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from console.core.errors import Invalid
from console.identity.access import get_visible_environment
from messages.access import (
    get_visible_flow,
    get_visible_system,
    teams_to_give_to,
    visible_flows,
    visible_systems,
)
from messages.api import serializers as out
from messages.api.base import CONFLICTS, PROBLEMS, View, number_or_404, numbered, validated
from messages.api.views import PAGE_PARAMETERS, listing, reading
from messages.catalog.queries import find_rule, flow_rules, key_rules
from messages.catalog.replaying import NAMES, ReplaySettings
from messages.catalog.services import FlowChange, add_flow_rule, add_key_rule, change_flow, move_rule, remove_rule
from messages.models import Flow, FlowRule, KeyRule


class FlowIn(serializers.Serializer[Any]):
    """What is left out stays as it is."""

    team = serializers.CharField(allow_null=True, required=False, help_text="Name of a team; null for none.")
    criticality = serializers.ChoiceField(choices=Flow.Criticality.choices, required=False)
    runbook_url = serializers.CharField(allow_blank=True, max_length=200, required=False)
    description = serializers.CharField(allow_blank=True, max_length=4000, required=False)
    receiver_is_idempotent = serializers.BooleanField(required=False)
    payload_search = serializers.BooleanField(
        required=False, help_text="Whether Elasticsearch, where it is configured, may index the words of its payloads."
    )
    payload_days = serializers.IntegerField(
        allow_null=True,
        required=False,
        help_text="Days of payloads; null for those of the environment's retention policy.",
    )
    replay_allowed = serializers.BooleanField(required=False, help_text="Whether its messages are replayed at all.")
    replay_days = serializers.IntegerField(
        allow_null=True, required=False, help_text="Older dead letters are left out of plans; null: none is too old."
    )
    most_replays = serializers.IntegerField(
        required=False, help_text="Of one message, all its deaths together: 1 to 100, usually 5."
    )
    replay_rate = serializers.FloatField(
        allow_null=True, required=False, help_text="Most a second, all running plans together; null: no limit."
    )
    approve_above = serializers.IntegerField(
        allow_null=True,
        required=False,
        help_text="More messages, in one plan or one after the other within an hour, need a second person; 0: every plan; null: none.",
    )
    order_key = serializers.CharField(
        allow_blank=True, max_length=64, required=False, help_text="Business key whose messages keep their order."
    )
    supersede_key = serializers.CharField(
        allow_blank=True,
        max_length=64,
        required=False,
        help_text="Business key of which a newer processed message replaces older ones.",
    )


class FlowRuleOut(serializers.ModelSerializer[FlowRule]):
    environment = serializers.SlugField(source="environment.slug")
    flow = serializers.CharField(source="flow.name")

    class Meta:
        model = FlowRule
        fields = ("id", "environment", "position", "pattern", "flow")


class KeyRuleOut(serializers.ModelSerializer[KeyRule]):
    environment = serializers.SlugField(source="environment.slug")

    class Meta:
        model = KeyRule
        fields = ("id", "environment", "position", "attribute", "key_name")


class FlowRuleIn(serializers.Serializer[Any]):
    """Destinations that match the pattern (`*`, `?`) belong to this flow, which is made when it is new."""

    environment = serializers.SlugField()
    pattern = serializers.CharField(max_length=200)
    flow = serializers.CharField(max_length=200)


class KeyRuleIn(serializers.Serializer[Any]):
    """Attributes of this name (`*`, `?`) are business keys; an empty key name takes the attribute's own."""

    environment = serializers.SlugField()
    attribute = serializers.CharField(max_length=200)
    key_name = serializers.CharField(max_length=64, allow_blank=True, default="")


class MoveIn(serializers.Serializer[Any]):
    """Whether the rule goes up one place, else down."""

    up = serializers.BooleanField()


class Flows(View):
    @listing(out.FlowOut, searchable=False)
    def get(self, request: Request) -> Response:
        """Flows."""
        rows = visible_flows(self.actor).filter(environment__in=self.environments())
        return self.page(numbered(rows, request), out.FlowOut)


class OneFlow(View):
    @reading(out.FlowOut)
    def get(self, request: Request, pk: str) -> Response:
        """One flow."""
        return Response(out.FlowOut(get_visible_flow(self.actor, number_or_404(pk))).data)

    @extend_schema(operation_id="change_flow", request=FlowIn, responses={200: out.FlowOut, **PROBLEMS})
    def patch(self, request: Request, pk: str) -> Response:
        """Change owner, criticality, runbook, description, whether the receiver is idempotent, or what it says of replays."""
        flow = get_visible_flow(self.actor, number_or_404(pk))
        asked = validated(FlowIn, request.data, answers=out.FlowOut)
        team = flow.team
        if "team" in asked:
            name = asked.pop("team")
            team = teams_to_give_to(self.actor, flow.environment).filter(name=name).first() if name else None
            if name and team is None:
                raise Invalid("you can give a flow only to a team that you administer, by its name")
        kept = {
            name: getattr(flow, name)
            for name in (
                "criticality",
                "runbook_url",
                "description",
                "receiver_is_idempotent",
                "payload_days",
                "payload_search",
            )
        }
        replays = ReplaySettings(**{name: asked.pop(name, getattr(flow, name)) for name in NAMES})
        change_flow(flow, FlowChange(team=team, replays=replays, **(kept | asked)), by=self.actor)
        return Response(out.FlowOut(flow).data)


class Systems(View):
    @listing(out.SystemOut, searchable=False)
    def get(self, request: Request) -> Response:
        """Systems."""
        rows = visible_systems(self.actor).filter(environment__in=self.environments())
        return self.page(numbered(rows, request), out.SystemOut)


class OneSystem(View):
    @reading(out.SystemOut)
    def get(self, request: Request, pk: str) -> Response:
        """One system."""
        return Response(out.SystemOut(get_visible_system(self.actor, number_or_404(pk))).data)


KIND = OpenApiParameter("kind", str, OpenApiParameter.PATH, enum=["flows", "keys"])


def _rules(name: str, shape: type[serializers.BaseSerializer[Any]]) -> Any:
    return extend_schema(
        operation_id=f"list_{name}",
        parameters=[one for one in PAGE_PARAMETERS if one.name == "environment"],
        responses={200: inline_serializer(f"{shape.__name__}List", {"results": shape(many=True)}), **PROBLEMS},
    )


class FlowRules(View):
    @_rules("flow_rules", FlowRuleOut)
    def get(self, request: Request) -> Response:
        """The rules that give destinations their flow, in the order they are tried."""
        rules = [rule for environment in self.environments() for rule in flow_rules(environment)]
        return Response({"results": FlowRuleOut(rules, many=True).data})

    @extend_schema(operation_id="add_flow_rule", request=FlowRuleIn, responses={201: FlowRuleOut, **CONFLICTS})
    def post(self, request: Request) -> Response:
        """Append a rule."""
        asked = validated(FlowRuleIn, request.data)
        environment = get_visible_environment(self.actor, asked["environment"])
        rule = add_flow_rule(environment, pattern=asked["pattern"], flow_name=asked["flow"], by=self.actor)
        return Response(FlowRuleOut(rule).data, status=201)


class KeyRules(View):
    @_rules("key_rules", KeyRuleOut)
    def get(self, request: Request) -> Response:
        """The rules that make attributes business keys, in the order they are tried."""
        rules = [rule for environment in self.environments() for rule in key_rules(environment)]
        return Response({"results": KeyRuleOut(rules, many=True).data})

    @extend_schema(operation_id="add_key_rule", request=KeyRuleIn, responses={201: KeyRuleOut, **CONFLICTS})
    def post(self, request: Request) -> Response:
        """Append a rule."""
        asked = validated(KeyRuleIn, request.data)
        environment = get_visible_environment(self.actor, asked["environment"])
        rule = add_key_rule(environment, attribute=asked["attribute"], key_name=asked["key_name"], by=self.actor)
        return Response(KeyRuleOut(rule).data, status=201)


class OneRule(View):
    @extend_schema(operation_id="remove_rule", parameters=[KIND], responses={204: None, **PROBLEMS})
    def delete(self, request: Request, kind: str, pk: str) -> Response:
        """Remove a rule; messages already stored keep what it gave them."""
        remove_rule(find_rule(self.actor, kind, number_or_404(pk)), by=self.actor)
        return Response(status=204)


class MoveRule(View):
    @extend_schema(operation_id="move_rule", parameters=[KIND], request=MoveIn, responses={204: None, **PROBLEMS})
    def post(self, request: Request, kind: str, pk: str) -> Response:
        """Move a rule up or down by one place: the first that matches wins."""
        move_rule(
            find_rule(self.actor, kind, number_or_404(pk)), up=validated(MoveIn, request.data)["up"], by=self.actor
        )
        return Response(status=204)
