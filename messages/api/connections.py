"""REST of connections to brokers: made, tested, approved, looked through, and written into a harvester's file."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from console.core.errors import Invalid
from console.identity.access import get_visible_environment
from messages.access import (
    get_visible_connection,
    visible_connections,
)
from messages.api import serializers as out
from messages.api.base import CONFLICTS, PROBLEMS, View, number_or_404, numbered, validated
from messages.api.views import listing, reading
from messages.catalog.connecting import LONGEST_QUEUE, MOST_QUEUES, Wanted, files_of, why_not
from messages.catalog.connections import (
    MOST_UNDOING,
    approve_connection,
    check_address,
    check_connection,
    check_options,
    create_connection,
    discover_queues,
    rotate_secret,
    set_undo_at_once,
    withdraw_connection,
)
from messages.catalog.queues import queues_of
from messages.orders.queries import get_visible_agent_named


class ConnectionIn(serializers.Serializer[Any]):
    """A new connection; not yet approved."""

    environment = serializers.SlugField()
    name = serializers.CharField(max_length=120, help_text="What the harvester calls this broker.")
    kind = serializers.CharField(max_length=40)
    agent = serializers.CharField(
        max_length=120, required=False, help_text="It lives with this agent, which has the rest of what stands here."
    )
    address = serializers.CharField(max_length=500, allow_blank=True, default="")
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
    sure = serializers.BooleanField(help_text="The broker's own configuration leads there; else only its name says so.")


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


class UndoingIn(serializers.Serializer[Any]):
    """How many workers may send compensations over it at once."""

    at_once = serializers.IntegerField(min_value=1, max_value=MOST_UNDOING)


class TestIn(serializers.Serializer[Any]):
    """What the connection is asked about."""

    destination = serializers.CharField(max_length=300, required=False)


class MaybeReason(serializers.Serializer[Any]):
    """Why."""

    reason = serializers.CharField(max_length=500, allow_blank=True, default="")


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
        named = asked.pop("agent", "")
        agent = get_visible_agent_named(self.actor, environment, named) if named else None
        made = create_connection(environment, **asked, options=options, agent=agent, by=self.actor)
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


class ConnectionUndoing(View):
    @extend_schema(
        operation_id="bound_undoing_over_connection", request=UndoingIn, responses={200: out.ConnectionOut, **PROBLEMS}
    )
    def put(self, request: Request, pk: str) -> Response:
        """Say how many workers may send compensations over it at once."""
        found = get_visible_connection(self.actor, number_or_404(pk))
        set_undo_at_once(found, at_once=validated(UndoingIn, request.data)["at_once"], by=self.actor)
        return Response(out.ConnectionOut(found).data)
