"""REST of channels, of what was told over them, and of the hosts where they may send to."""

from __future__ import annotations

from typing import Any

import msgspec
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from alerts.access import approved_hosts, get_approved_host, get_visible_channel, get_visible_delivery, visible_channels
from alerts.delivery import services
from alerts.delivery.frozen import thaw
from alerts.delivery.queries import deliveries_page, find_deliveries, secrets_set
from alerts.delivery.services import NewChannel
from alerts.delivery.states import STATES
from alerts.delivery.templates import MOST_TEXT, MOST_TITLE
from alerts.models import Channel, NoticeDelivery
from console.core.errors import Invalid
from console.core.paging import parse_limit
from console.identity.access import can_administer, get_visible_environment
from messages.api.base import CONFLICTS, PROBLEMS, Reason, View, number_or_404, numbered, validated
from messages.api.views import PAGE_PARAMETERS, listing, reading


class FieldOut(serializers.Serializer[Any]):
    name = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]
    help = serializers.CharField()
    required = serializers.BooleanField()  # type: ignore[assignment]
    default = serializers.CharField()  # type: ignore[assignment]


class ChannelKindOut(serializers.Serializer[Any]):
    """A kind of channel, and what it is told."""

    kind = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]
    settings = FieldOut(many=True)
    secrets = FieldOut(many=True)


class ChannelOut(serializers.Serializer[Any]):
    """A channel; its secrets are never told, only which are set. `settings` and `secrets` are empty for who does not administer it."""

    id = serializers.IntegerField()
    environment = serializers.SlugField(source="environment.slug")
    kind = serializers.CharField()
    name = serializers.CharField()
    settings = serializers.SerializerMethodField()
    secrets = serializers.SerializerMethodField(help_text="The names of those that are set.")
    title_template = serializers.CharField()
    text_template = serializers.CharField()
    enabled = serializers.BooleanField()
    failures = serializers.IntegerField(help_text="Tries in a row without an answer that counts.")
    rests_until = serializers.DateTimeField(
        allow_null=True, help_text="After five failures it is left alone for a while."
    )
    created_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()

    def _may(self, channel: Channel) -> bool:
        return can_administer(self.context["actor"], channel.environment)

    @extend_schema_field(serializers.DictField(child=serializers.CharField()))
    def get_settings(self, channel: Channel) -> dict[str, Any]:
        return dict(channel.settings) if self._may(channel) else {}

    @extend_schema_field(serializers.ListField(child=serializers.CharField()))
    def get_secrets(self, channel: Channel) -> list[str]:
        return secrets_set(channel) if self._may(channel) else []


class ChannelChangeIn(serializers.Serializer[Any]):
    """What a channel is told. Secrets that are left out stay, unless it would send to another host."""

    name = serializers.CharField(max_length=120)
    settings = serializers.DictField(child=serializers.CharField(max_length=2000, allow_blank=True), default=dict)
    secrets = serializers.DictField(
        child=serializers.CharField(max_length=2000, allow_blank=True, trim_whitespace=False),
        default=dict,
        write_only=True,
    )
    title_template = serializers.CharField(max_length=MOST_TITLE, allow_blank=True, default="")
    text_template = serializers.CharField(max_length=MOST_TEXT, allow_blank=True, default="", trim_whitespace=False)
    enabled = serializers.BooleanField(default=True)


class ChannelIn(ChannelChangeIn):
    """A new channel."""

    environment = serializers.SlugField()
    kind = serializers.CharField(max_length=40)


class WordsIn(serializers.Serializer[Any]):
    """Templates to try; empty for ours."""

    title_template = serializers.CharField(max_length=MOST_TITLE, allow_blank=True, default="")
    text_template = serializers.CharField(max_length=MOST_TEXT, allow_blank=True, default="", trim_whitespace=False)


class WordsOut(serializers.Serializer[Any]):
    """A sample notice in these words."""

    title = serializers.CharField()
    text = serializers.CharField()


class DeliveryOut(serializers.Serializer[Any]):
    """One notice for one channel."""

    id = serializers.IntegerField()
    channel_id = serializers.IntegerField()
    thread = serializers.CharField(help_text="The same for all that is told of one breach.")
    happening = serializers.CharField()
    title = serializers.CharField()
    state = serializers.ChoiceField(choices=STATES)
    attempt = serializers.IntegerField(help_text="Tries in all.")
    answer = serializers.CharField(help_text="Of the last try.")
    next_at = serializers.DateTimeField(
        allow_null=True, help_text="Of the next try; while it is sent, the end of the lease."
    )
    created_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)


class AttemptOut(serializers.Serializer[Any]):
    """One try, and what came back."""

    number = serializers.IntegerField()
    at = serializers.DateTimeField()
    duration_ms = serializers.IntegerField()
    result = serializers.CharField(help_text="taken, refused or later")
    status = serializers.IntegerField(allow_null=True, help_text="Of HTTP or SMTP.")
    response = serializers.CharField(help_text="Cut, without the channel's secrets.")


class OneDeliveryOut(DeliveryOut):
    """One notice for one channel, as it was frozen, with every try."""

    notice = serializers.SerializerMethodField()
    attempts = AttemptOut(many=True)

    @extend_schema_field(serializers.DictField())
    def get_notice(self, delivery: NoticeDelivery) -> Any:
        return msgspec.to_builtins(thaw(delivery.notice))


class ApprovedHostOut(serializers.Serializer[Any]):
    """A host where channels may send to."""

    id = serializers.IntegerField()
    host = serializers.CharField()
    approved_by = serializers.CharField()
    approved_at = serializers.DateTimeField()


class ApprovedHostIn(serializers.Serializer[Any]):
    host = serializers.CharField(max_length=260, help_text="`host` for its ports 80 and 443, or `host:port`.")


class ChannelView(View):
    def shown(self, channel: Channel) -> Any:
        return ChannelOut(channel, context={"actor": self.actor}).data


class Channels(ChannelView):
    @listing(ChannelOut, searchable=False)
    def get(self, request: Request) -> Response:
        """Channels, without their secrets."""
        found = numbered(visible_channels(self.actor).filter(environment__in=self.environments()), request)
        response = self.page(found, serializers.Serializer)
        response.data["results"] = [self.shown(one) for one in found.rows]
        return response

    @extend_schema(operation_id="create_channel", request=ChannelIn, responses={201: ChannelOut, **CONFLICTS})
    def post(self, request: Request) -> Response:
        """Make a channel; 409 `host_not_approved` when it would send where nobody approved."""
        asked = validated(ChannelIn, request.data)
        environment = get_visible_environment(self.actor, asked.pop("environment"))
        return Response(
            self.shown(services.create_channel(environment, NewChannel(**asked), by=self.actor)), status=201
        )


class OneChannel(ChannelView):
    @reading(ChannelOut)
    def get(self, request: Request, pk: str) -> Response:
        """One channel, without its secrets."""
        return Response(self.shown(get_visible_channel(self.actor, number_or_404(pk))))

    @extend_schema(operation_id="change_channel", request=ChannelChangeIn, responses={200: ChannelOut, **CONFLICTS})
    def put(self, request: Request, pk: str) -> Response:
        """Replace what a channel is told; its kind stays."""
        channel = get_visible_channel(self.actor, number_or_404(pk))
        asked = request.data
        if isinstance(asked, dict) and asked.get("secrets") == self.shown(channel)["secrets"]:  # as GET names them
            asked = {name: value for name, value in asked.items() if name != "secrets"}
        said = NewChannel(kind=channel.kind, **validated(ChannelChangeIn, asked, answers=ChannelOut))
        return Response(self.shown(services.change_channel(channel, said, by=self.actor)))

    @extend_schema(operation_id="remove_channel", request=Reason, responses={204: None, **CONFLICTS})
    def delete(self, request: Request, pk: str) -> Response:
        """Remove a channel, with a `reason`; what waits is not told any more."""
        channel = get_visible_channel(self.actor, number_or_404(pk))
        services.remove_channel(channel, by=self.actor, reason=validated(Reason, request.data)["reason"])
        return Response(status=204)


class TestChannel(View):
    @extend_schema(operation_id="test_channel", request=None, responses={200: OneDeliveryOut, **PROBLEMS})
    def post(self, request: Request, pk: str) -> Response:
        """Send a test now; the answer is in `attempts`."""
        channel = get_visible_channel(self.actor, number_or_404(pk))
        return Response(OneDeliveryOut(services.send_test(channel, by=self.actor)).data)


class ChannelKinds(View):
    @extend_schema(
        operation_id="list_channel_kinds",
        responses={200: inline_serializer("ChannelKindList", {"results": ChannelKindOut(many=True)}), **PROBLEMS},
    )
    def get(self, request: Request) -> Response:
        """The kinds of channel, and what each is told."""
        kinds = [
            {
                "kind": one.kind,
                "label": one.label,
                "settings": [field for field in one.fields if not field.secret],
                "secrets": [field for field in one.fields if field.secret],
            }
            for one in services.channel_kinds()
        ]
        return Response({"results": ChannelKindOut(kinds, many=True).data})


class PreviewWords(View):
    @extend_schema(operation_id="preview_channel_words", request=WordsIn, responses={200: WordsOut, **PROBLEMS})
    def post(self, request: Request) -> Response:
        """A sample notice in words of your own."""
        title, text = services.preview_words(*validated(WordsIn, request.data).values())
        return Response({"title": title, "text": text})


class Deliveries(View):
    @extend_schema(
        operation_id="list_deliveries",
        parameters=[
            *PAGE_PARAMETERS,
            OpenApiParameter("channel", int, description="Of this channel alone."),
            OpenApiParameter(
                "state", str, enum=[state for state, _ in STATES], description="`dead`: what was given up."
            ),
        ],
        responses={
            200: inline_serializer(
                "DeliveryList", {"results": DeliveryOut(many=True), "next": serializers.URLField(allow_null=True)}
            ),
            **PROBLEMS,
        },
    )
    def get(self, request: Request) -> Response:
        """What was told, newest first; of environments that you administer."""
        asked, state = request.query_params, request.query_params.get("state", "")
        if state and (state, state) not in STATES:
            raise Invalid(f"a delivery is {', '.join(name for name, _ in STATES)}, not “{state[:20]}”")
        channel = get_visible_channel(self.actor, number_or_404(asked["channel"])) if asked.get("channel") else None
        rows = find_deliveries(self.actor, channel=channel, state=state).filter(
            channel__environment__in=self.environments()
        )
        page = deliveries_page(rows, asked.get("cursor"), limit=parse_limit(asked.get("limit")))
        return self.page(page, DeliveryOut)


class OneDelivery(View):
    @extend_schema(operation_id="read_delivery", responses={200: OneDeliveryOut, **PROBLEMS})
    def get(self, request: Request, pk: str) -> Response:
        """One notice for one channel, with every try."""
        return Response(OneDeliveryOut(get_visible_delivery(self.actor, number_or_404(pk))).data)


class SendDeliveryAgain(View):
    @extend_schema(operation_id="send_delivery_again", request=None, responses={202: DeliveryOut, **CONFLICTS})
    def post(self, request: Request, pk: str) -> Response:
        """Send again what was given up; 409 `delivery_state` for anything else."""
        found = services.send_again(get_visible_delivery(self.actor, number_or_404(pk)), by=self.actor)
        return Response(DeliveryOut(found).data, status=202)


class ApprovedHosts(View):
    @listing(ApprovedHostOut, searchable=False)
    def get(self, request: Request) -> Response:
        """The hosts where channels may send to, beside the vendors' own."""
        return self.page(numbered(approved_hosts(self.actor), request), ApprovedHostOut)

    @extend_schema(operation_id="approve_host", request=ApprovedHostIn, responses={201: ApprovedHostOut, **CONFLICTS})
    def post(self, request: Request) -> Response:
        """Approve a host; administrators of the whole console."""
        made = services.approve_host(validated(ApprovedHostIn, request.data)["host"], by=self.actor)
        return Response(ApprovedHostOut(made).data, status=201)


class OneApprovedHost(View):
    @extend_schema(operation_id="withdraw_host", responses={204: None, **PROBLEMS})
    def delete(self, request: Request, pk: str) -> Response:
        """Approve it no longer: what would go there is refused from the next try on."""
        services.withdraw_host(get_approved_host(self.actor, number_or_404(pk)), by=self.actor)
        return Response(status=204)
