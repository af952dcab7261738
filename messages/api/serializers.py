"""How rows look in REST. Names for foreign keys, text for states, hex for trace ids."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from console.audit.models import AuditEntry
from console.identity.models import Agent
from messages.changes.present import state_of
from messages.groups.reference import reference_of
from messages.masking.shown import keys_shown
from messages.models import Change, Connection, DeadLetter, Event, Flow, Message, Replay, System


class TraceId(serializers.UUIDField):
    """32 hex digits, as on the wire."""

    def to_representation(self, value: Any) -> str:
        return str(value.hex)


class Label(serializers.CharField):
    """The word of a small-integer state."""

    def __init__(self, source: str) -> None:
        super().__init__(source=f"get_{source}_display", read_only=True)


@extend_schema_field(str)
class Group(serializers.Field[Any, Any, Any, Any]):
    """The reference of its failure group, null without one."""

    def __init__(self) -> None:
        super().__init__(source="group_id", read_only=True)

    def to_representation(self, value: int) -> str:
        return reference_of(value)


class Keys(serializers.DictField):
    """The business keys of a row, as the `actor` of the context may know them."""

    child = serializers.CharField()

    def __init__(self) -> None:
        super().__init__(
            read_only=True, help_text="`•••` where a value was masked and the caller may not find by its hash."
        )

    def get_attribute(self, instance: Any) -> dict[str, str]:
        return keys_shown(self.context["actor"], instance.environment_id, instance.keys)


class MessageOut(serializers.ModelSerializer[Message]):
    environment = serializers.SlugField(source="environment.slug")
    flow = serializers.CharField(source="flow.name")
    flow_id = serializers.IntegerField()
    status = Label("status")
    trace_id = TraceId(allow_null=True)
    keys = Keys()
    first_seen_at = serializers.DateTimeField(
        help_text="What the batch that first named it said; lists are in this order."
    )
    started_at = serializers.DateTimeField(source="began_at", help_text="Its earliest event, whenever that came.")
    group = Group()

    class Meta:
        model = Message
        fields = (
            "id",
            "environment",
            "flow",
            "flow_id",
            "message_id",
            "correlation_id",
            "trace_id",
            "status",
            "first_seen_at",
            "started_at",
            "last_seen_at",
            "failed_at",
            "event_count",
            "keys",
            "error_type",
            "error_message",
            "group",
        )


class EventOut(serializers.ModelSerializer[Event]):
    environment = serializers.SlugField(source="environment.slug")
    flow = serializers.CharField(source="flow.name")
    system = serializers.CharField(source="system.name")
    agent = serializers.CharField(source="agent.name", allow_null=True, default=None)
    message = serializers.UUIDField(source="message_uid", allow_null=True)
    operation = Label("operation")
    outcome = Label("outcome")
    trace_id = TraceId(allow_null=True)
    duration_ms = serializers.SerializerMethodField()
    keys = Keys()
    attributes = serializers.DictField()

    class Meta:
        model = Event
        fields = (
            "id",
            "occurred_at",
            "received_at",
            "environment",
            "flow",
            "system",
            "agent",
            "message",
            "message_id",
            "correlation_id",
            "trace_id",
            "span_id",
            "parent_span_id",
            "operation",
            "outcome",
            "duration_ms",
            "name",
            "destination",
            "error_type",
            "error_message",
            "error_stack",
            "keys",
            "attributes",
            "clamped_from",
        )

    def get_duration_ms(self, event: Event) -> float:
        return event.duration_us / 1000


class DeadLetterOut(serializers.ModelSerializer[DeadLetter]):
    environment = serializers.SlugField(source="environment.slug")
    flow = serializers.CharField(source="flow.name")
    system = serializers.CharField(source="system.name", allow_null=True, default=None)
    message = serializers.UUIDField(source="message_uid", allow_null=True)
    trace_id = TraceId(allow_null=True)
    keys = Keys()
    previous = serializers.UUIDField(source="previous_id", allow_null=True)
    group = Group()
    masked = serializers.DictField(
        child=serializers.IntegerField(), help_text="Masking rule id → values it replaced before this was stored."
    )

    class Meta:
        model = DeadLetter
        fields = (
            "id",
            "environment",
            "flow",
            "flow_id",
            "system",
            "state",
            "resolution",
            "received_at",
            "first_failed_at",
            "failed_at",
            "closed_at",
            "broker",
            "family",
            "queue",
            "origin",
            "reason",
            "reason_code",
            "error_type",
            "error_root_type",
            "error_message",
            "error_stack",
            "attempts",
            "message",
            "message_id",
            "correlation_id",
            "trace_id",
            "span_id",
            "keys",
            "content_type",
            "size_bytes",
            "masked",
            "content_masked",
            "previous",
            "group",
        )


class DeadLetterAloneOut(DeadLetterOut):
    """A letter with what its page alone looks up."""

    hindrance = serializers.CharField(help_text="Why it cannot be sent again now; empty when it can.")
    later = serializers.UUIDField(
        source="later_id", allow_null=True, help_text="The letter that a replay of this one died into."
    )

    class Meta(DeadLetterOut.Meta):
        fields = (*DeadLetterOut.Meta.fields, "hindrance", "later")  # type: ignore[assignment]


class ReplayOut(serializers.ModelSerializer[Replay]):
    dead_letter = serializers.UUIDField(source="dead_letter_id")
    connection = serializers.CharField(source="connection.name")
    plan = serializers.SerializerMethodField(
        help_text="That sent it, null for none; its edits are at plans/<reference>/edits."
    )
    trace_id = TraceId()

    def get_plan(self, replay: Replay) -> str | None:
        return f"P-{replay.plan_id}" if replay.plan_id else None

    class Meta:
        model = Replay
        fields = (
            "id",
            "dead_letter",
            "plan",
            "connection",
            "destination",
            "state",
            "attempt",
            "requested_by",
            "reason",
            "expiry",
            "detail",
            "trace_id",
            "created_at",
            "sent_at",
            "confirmed_at",
            "finished_at",
            "proof_event_id",
            "proof_event_at",
            "proof_tie",
        )


class FlowOut(serializers.ModelSerializer[Flow]):
    environment = serializers.SlugField(source="environment.slug")
    team = serializers.CharField(source="team.name", allow_null=True, default=None)

    class Meta:
        model = Flow
        fields = (
            "id",
            "environment",
            "name",
            "team",
            "criticality",
            "runbook_url",
            "description",
            "receiver_is_idempotent",
            "payload_days",
            "payload_search",
            "replay_allowed",
            "replay_days",
            "most_replays",
            "replay_rate",
            "approve_above",
            "order_key",
            "supersede_key",
            "found_by_itself",
        )


class SystemOut(serializers.ModelSerializer[System]):
    environment = serializers.SlugField(source="environment.slug")

    class Meta:
        model = System
        fields = ("id", "environment", "name", "created_at")


class ConnectionOut(serializers.ModelSerializer[Connection]):
    """Without the secret: it is write-only."""

    environment = serializers.SlugField(source="environment.slug")
    has_secret = serializers.SerializerMethodField()
    agent = serializers.CharField(
        source="agent.name",
        allow_null=True,
        default=None,
        help_text="It lives with this agent; null: the console sends.",
    )

    class Meta:
        model = Connection
        fields = (
            "id",
            "environment",
            "name",
            "kind",
            "agent",
            "agent_asked_at",
            "address",
            "username",
            "has_secret",
            "options",
            "approved_at",
            "approved_by",
            "not_before",
            "undo_at_once",
            "checked_at",
            "check_result",
        )

    def get_has_secret(self, connection: Connection) -> bool:
        return bool(connection.secret)


class AgentOut(serializers.ModelSerializer[Agent]):
    environment = serializers.SlugField(source="environment.slug")

    class Meta:
        model = Agent
        fields = (
            "id",
            "environment",
            "name",
            "created_at",
            "last_seen_at",
            "events_per_s",
            "bytes_per_s",
            "heartbeat_at",
            "heartbeat",
        )


class AuditOut(serializers.ModelSerializer[AuditEntry]):
    environment = serializers.SlugField(source="environment.slug", allow_null=True, default=None)

    class Meta:
        model = AuditEntry
        fields = (
            "id",
            "at",
            "actor",
            "via",
            "action",
            "environment",
            "object_kind",
            "object_id",
            "object_label",
            "reason",
            "details",
        )


class ChangeOut(serializers.ModelSerializer[Change]):
    environment = serializers.SlugField(source="environment.slug")
    agent = serializers.CharField(source="agent.name", allow_null=True, default=None)
    systems = serializers.ListField(child=serializers.CharField())
    flows = serializers.ListField(child=serializers.CharField(), help_text="Those that the key may see.")
    state = serializers.SerializerMethodField(help_text="How it stands now.")

    class Meta:
        model = Change
        fields = (
            "id",
            "environment",
            "agent",
            "external_id",
            "kind",
            "title",
            "version",
            "systems",
            "flows",
            "started_at",
            "ended_at",
            "outcome",
            "state",
            "url",
            "author",
            "received_at",
            "withdrawn_at",
            "withdrawn_by",
        )

    def get_state(self, change: Change) -> str:
        return state_of(change, now=timezone.now())


class ReadableOut(serializers.Serializer[Any]):
    """A body unpacked, and decoded by the schema that applies: docs/bodies.md."""

    text = serializers.CharField(
        allow_null=True, help_text="Null when it is no text, is withheld, or is `body` itself: no steps."
    )
    content_type = serializers.CharField()
    steps = serializers.ListField(child=serializers.CharField(), help_text="How it was read; empty: as it is stored.")
    problem = serializers.CharField(allow_blank=True, help_text="Why it could not be read.")
    truncated = serializers.BooleanField(help_text="It unpacks to more than 4 MiB, and the rest is left out.")
    masked = serializers.DictField(
        child=serializers.IntegerField(), help_text="Masking rule id → values it replaced for reading; they are stored."
    )
    withheld = serializers.CharField(allow_blank=True, help_text="Why nothing of it is shown.")


class PayloadOut(serializers.Serializer[Any]):
    """A body: as text when it is UTF-8, always as base64; both null where rules mask only what is in it. And how people read it."""

    content_type = serializers.CharField()
    size_bytes = serializers.IntegerField()
    body = serializers.CharField(allow_null=True)
    body_base64 = serializers.CharField(allow_null=True)
    readable = ReadableOut()
    headers = serializers.ListField(child=serializers.DictField())
    properties = serializers.DictField()
    masked = serializers.DictField(
        child=serializers.IntegerField(), help_text="Masking rule id → values it replaced before this was stored."
    )
