"""REST of what an environment consists of: flows, systems, connections and the rules of ingest."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from console.core.errors import Invalid
from console.identity.access import get_visible_environment
from messages.access import (
    get_visible_connection,
    get_visible_flow,
    get_visible_system,
    teams_to_give_to,
    visible_connections,
    visible_flows,
    visible_systems,
)
from messages.api import serializers as out
from messages.api.base import CONFLICTS, PROBLEMS, View, number_or_404, numbered, validated
from messages.api.views import listing, reading
from messages.catalog.connecting import LONGEST_QUEUE, MOST_QUEUES, Wanted, files_of, why_not
from messages.catalog.connections import (
    approve_connection,
    check_address,
    check_connection,
    check_options,
    create_connection,
    discover_queues,
    rotate_secret,
    withdraw_connection,
)
from messages.catalog.queries import find_rule, flow_rules, key_rules
from messages.catalog.queues import queues_of
from messages.catalog.services import FlowChange, add_flow_rule, add_key_rule, change_flow, move_rule, remove_rule
from messages.models import Flow, FlowRule, KeyRule


class FlowIn(serializers.Serializer[Any]):
    """What is left out stays as it is."""

    team = serializers.CharField(allow_null=True, required=False, help_text="Name of a team; null for none.")
    criticality = serializers.ChoiceField(choices=Flow.Criticality.choices, required=False)
    runbook_url = serializers.URLField(allow_blank=True, max_length=200, required=False)
    description = serializers.CharField(allow_blank=True, max_length=4000, required=False)
    receiver_is_idempotent = serializers.BooleanField(required=False)
    payload_days = serializers.IntegerField(
        allow_null=True,
        required=False,
        help_text="Days of payloads; null for those of the environment's retention policy.",
    )


class ConnectionIn(serializers.Serializer[Any]):
    """A new connection; not yet approved."""

    environment = serializers.SlugField()
    name = serializers.CharField(max_length=120, help_text="What the harvester calls this broker.")
    kind = serializers.CharField(max_length=40)
    address = serializers.CharField(max_length=500)
    username = serializers.CharField(max_length=200, allow_blank=True, default="")
    secret = serializers.CharField(
        max_length=2000, allow_blank=True, trim_whitespace=False, default="", write_only=True
    )
    management = serializers.CharField(
        max_length=500,
        allow_blank=True,
        default="",
        help_text="RabbitMQ: its management API; ActiveMQ Classic: its web console.",
    )


class QueueNowOut(serializers.Serializer[Any]):
    """A queue behind the connection, as its harvester last said; depth and lag_s null when the broker does not tell."""

    queue = serializers.CharField()
    agent = serializers.CharField(source="agent.name")
    mode = serializers.CharField(help_text="move or mirror")
    depth = serializers.IntegerField(allow_null=True)
    lag_s = serializers.FloatField(allow_null=True, help_text="Age of the oldest letter there.")
    harvested_per_hour = serializers.IntegerField(source="harvested")
    parked = serializers.IntegerField(help_text="Letters that the console will never have.")
    error = serializers.CharField()
    as_of = serializers.DateTimeField(allow_null=True)
    stale = serializers.BooleanField(help_text="The harvester was not heard for ten minutes.")
    trend = serializers.ListField(help_text="By hour, 24 of them, oldest first: depth and lag_s, the most of each.")


class FoundOut(serializers.Serializer[Any]):
    """A queue that seems to hold dead letters, and what says so."""

    queue = serializers.CharField()
    why = serializers.CharField()
    waiting = serializers.IntegerField(allow_null=True)


class HarvestIn(serializers.Serializer[Any]):
    """Which queues of which broker a new harvester is to read."""

    broker = serializers.CharField(max_length=120, help_text="As its connection here is called.")
    kind = serializers.CharField(max_length=40)
    address = serializers.CharField(max_length=500)
    username = serializers.CharField(max_length=200, allow_blank=True, default="")
    with_secret = serializers.BooleanField(default=False, help_text="Whether it needs a password or token.")
    queues = serializers.ListField(
        child=serializers.CharField(max_length=LONGEST_QUEUE), min_length=1, max_length=MOST_QUEUES
    )
    system = serializers.CharField(max_length=120, allow_blank=True, default="")
    mode = serializers.ChoiceField(choices=["move", "mirror"], default="move")
    agent = serializers.CharField(max_length=120)
    management = serializers.CharField(
        max_length=500, allow_blank=True, default="", help_text="As a connection has it: tells the age of the oldest."
    )


class HarvestOut(serializers.Serializer[Any]):
    """harvest.toml, harvest.env, and the lines for a shell, for Docker and for systemd."""

    toml = serializers.CharField()
    environment = serializers.CharField()
    check = serializers.CharField()
    docker = serializers.CharField()
    systemd = serializers.CharField()


class SecretIn(serializers.Serializer[Any]):
    """The credentials that replace the old ones; nobody can read them again."""

    username = serializers.CharField(max_length=200, allow_blank=True, default="")
    secret = serializers.CharField(max_length=2000, allow_blank=True, trim_whitespace=False, write_only=True)
    management = serializers.CharField(
        max_length=500, allow_blank=True, required=False, help_text="As above; left out, it stays."
    )


class TestIn(serializers.Serializer[Any]):
    """What the connection is asked about."""

    destination = serializers.CharField(max_length=300, required=False)


class MaybeReason(serializers.Serializer[Any]):
    """Why."""

    reason = serializers.CharField(max_length=500, allow_blank=True, default="")


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
        """Change owner, criticality, runbook, description, or whether the receiver is idempotent."""
        flow = get_visible_flow(self.actor, number_or_404(pk))
        asked = validated(FlowIn, request.data)
        team = flow.team
        if "team" in asked:
            name = asked.pop("team")
            team = teams_to_give_to(self.actor, flow.environment).filter(name=name).first() if name else None
            if name and team is None:
                raise Invalid("you can give a flow only to a team that you administer, by its name")
        kept = {
            name: getattr(flow, name)
            for name in ("criticality", "runbook_url", "description", "receiver_is_idempotent", "payload_days")
        }
        change_flow(flow, FlowChange(team=team, **(kept | asked)), by=self.actor)
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


class Connections(View):
    @listing(out.ConnectionOut, searchable=False)
    def get(self, request: Request) -> Response:
        """Connections, without their secrets."""
        rows = visible_connections(self.actor).filter(environment__in=self.environments())
        return self.page(numbered(rows, request), out.ConnectionOut)

    @extend_schema(
        operation_id="create_connection", request=ConnectionIn, responses={201: out.ConnectionOut, **CONFLICTS}
    )
    def post(self, request: Request) -> Response:
        """Add a connection; replays use it once it is approved."""
        asked = validated(ConnectionIn, request.data)
        environment = get_visible_environment(self.actor, asked.pop("environment"))
        management = asked.pop("management")
        options = {"management": management} if management else {}
        made = create_connection(environment, **asked, options=options, by=self.actor)
        return Response(out.ConnectionOut(made).data, status=201)


class OneConnection(View):
    @reading(out.ConnectionOut)
    def get(self, request: Request, pk: str) -> Response:
        """One connection, without its secret."""
        return Response(out.ConnectionOut(get_visible_connection(self.actor, number_or_404(pk))).data)


class TestConnection(View):
    @extend_schema(operation_id="test_connection", request=TestIn, responses={200: out.ConnectionOut, **PROBLEMS})
    def post(self, request: Request, pk: str) -> Response:
        """Ask the broker what works; the answers are in `check_result`."""
        found = get_visible_connection(self.actor, number_or_404(pk))
        check_connection(found, by=self.actor, destination=validated(TestIn, request.data).get("destination"))
        return Response(out.ConnectionOut(found).data)


class ConnectionQueues(View):
    @extend_schema(
        operation_id="list_connection_queues",
        responses={200: inline_serializer("ConnectionQueueList", {"results": QueueNowOut(many=True)}), **PROBLEMS},
    )
    def get(self, request: Request, pk: str) -> Response:
        """The queues that harvesters read from the broker of this name, now and by hour."""
        found = get_visible_connection(self.actor, number_or_404(pk))
        queues = queues_of(self.actor, found, now=timezone.now())
        return Response({"results": QueueNowOut(queues, many=True).data})


class DiscoverQueues(View):
    @extend_schema(
        operation_id="discover_queues",
        request=None,
        responses={200: inline_serializer("FoundList", {"results": FoundOut(many=True)}), **PROBLEMS},
    )
    def post(self, request: Request, pk: str) -> Response:
        """Look for dead-letter queues on the broker; nothing is read from them or kept."""
        found = get_visible_connection(self.actor, number_or_404(pk))
        return Response({"results": FoundOut(discover_queues(found, by=self.actor), many=True).data})


class HarvestFiles(View):
    @extend_schema(operation_id="write_harvest_files", request=HarvestIn, responses={200: HarvestOut, **PROBLEMS})
    def post(self, request: Request) -> Response:
        """Write the files of a harvester for one broker, without its key: `POST agents` makes that. Nothing is kept."""
        asked = validated(HarvestIn, request.data)
        check_address(asked["kind"], asked["address"])
        check_options(asked["kind"], {"management": asked["management"]})
        wanted = Wanted(console=request.build_absolute_uri("/").rstrip("/"), **asked)
        if words := why_not(wanted):
            raise Invalid(words)
        return Response(HarvestOut(files_of(wanted)).data)


class ApproveConnection(View):
    @extend_schema(operation_id="approve_connection", request=None, responses={200: out.ConnectionOut, **PROBLEMS})
    def post(self, request: Request, pk: str) -> Response:
        """Let replays use it."""
        found = get_visible_connection(self.actor, number_or_404(pk))
        approve_connection(found, by=self.actor)
        return Response(out.ConnectionOut(found).data)


class WithdrawConnection(View):
    @extend_schema(
        operation_id="withdraw_connection", request=MaybeReason, responses={200: out.ConnectionOut, **PROBLEMS}
    )
    def post(self, request: Request, pk: str) -> Response:
        """Stop replays from using it."""
        found = get_visible_connection(self.actor, number_or_404(pk))
        withdraw_connection(found, by=self.actor, reason=validated(MaybeReason, request.data)["reason"])
        return Response(out.ConnectionOut(found).data)


class ConnectionSecret(View):
    @extend_schema(
        operation_id="rotate_connection_secret", request=SecretIn, responses={200: out.ConnectionOut, **PROBLEMS}
    )
    def put(self, request: Request, pk: str) -> Response:
        """Replace user and password or token."""
        found = get_visible_connection(self.actor, number_or_404(pk))
        asked = validated(SecretIn, request.data)
        options = {"management": asked.pop("management")} if "management" in asked else None
        rotate_secret(found, **asked, options=options, by=self.actor)
        return Response(out.ConnectionOut(found).data)


KIND = OpenApiParameter("kind", str, OpenApiParameter.PATH, enum=["flows", "keys"])


def _rules(name: str, shape: type[serializers.BaseSerializer[Any]]) -> Any:
    return extend_schema(
        operation_id=f"list_{name}",
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
