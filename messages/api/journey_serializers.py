"""How journeys look in REST."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from rest_framework import serializers

from messages.api.serializers import ChangeOut, DeadLetterOut, Label, ReplayOut, TraceId
from messages.models import Message


class LoggedOut(serializers.Serializer[Any]):
    """An exception that the system logged inside a step."""

    error_type = serializers.CharField()
    error_message = serializers.CharField(allow_null=True)
    error_stack = serializers.CharField(allow_null=True)


class StepOut(serializers.Serializer[Any]):
    """One bar of the waterfall; times in µs from the journey's start."""

    event = serializers.UUIDField(source="event.id")
    message = serializers.UUIDField(source="event.message_uid", allow_null=True)
    occurred_at = serializers.DateTimeField(source="event.occurred_at", help_text="As its sender reported it.")
    at = serializers.DateTimeField(help_text="As far as we know: with its sender's clock corrected.")
    system = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]
    offset_us = serializers.IntegerField()
    duration_us = serializers.IntegerField()
    queue_us = serializers.IntegerField(allow_null=True)
    outcome = serializers.CharField()
    tie = serializers.CharField(
        help_text="Why it belongs here: trace, link, message id, correlation id or a business key."
    )
    clamped = serializers.BooleanField()
    logged = LoggedOut(many=True)


class StationOut(serializers.Serializer[Any]):
    system = serializers.CharField()
    state = serializers.CharField()
    note = serializers.CharField()
    hop_us = serializers.IntegerField(allow_null=True)


class CorrectionOut(serializers.Serializer[Any]):
    """What was added to the times of one system's clock, and why."""

    system = serializers.CharField()
    shift_us = serializers.SerializerMethodField()
    why = serializers.CharField()

    def get_shift_us(self, correction: Any) -> int:
        return int(correction.shift / timedelta(microseconds=1))


class JourneyOut(serializers.Serializer[Any]):
    trace_ids = serializers.ListField(child=TraceId())
    started_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    truncated = serializers.BooleanField()
    ties = serializers.ListField(child=serializers.CharField())
    corrections = CorrectionOut(many=True)
    stations = StationOut(many=True)
    unreached = serializers.ListField(
        child=serializers.CharField(), help_text="Systems where such messages usually go on, when this one stopped."
    )
    steps = StepOut(many=True)
    dead_letters = DeadLetterOut(many=True)
    replays = ReplayOut(many=True)
    changes = ChangeOut(many=True, help_text="To its systems and flows, during it or just before.")


class JourneyLine(serializers.Serializer[Message]):
    """One line of the list of journeys: where it starts and where to read it."""

    trace_id = TraceId(allow_null=True)
    message = serializers.UUIDField(source="id")
    environment = serializers.SlugField(source="environment.slug")
    flow = serializers.CharField(source="flow.name")
    status = Label("status")
    first_seen_at = serializers.DateTimeField()
    keys = serializers.DictField(child=serializers.CharField())
