"""How journeys look in REST."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from messages.api.serializers import ChangeOut, DeadLetterOut, Keys, Label, ReplayOut, TraceId
from messages.journeys.evidence import words_of_tie
from messages.models import DeadLetter, Message


class LoggedOut(serializers.Serializer[Any]):
    """An exception that the system logged inside a step."""

    error_type = serializers.CharField()
    error_message = serializers.CharField(allow_null=True)
    error_stack = serializers.CharField(allow_null=True)


class EvidenceOut(serializers.Serializer[Any]):
    """Why an event belongs to the journey."""

    kind = serializers.CharField(help_text="trace, link, message id, answer, request, correlation id or key.")
    value = serializers.CharField(help_text="What is shared.")
    by = serializers.UUIDField(allow_null=True, help_text="The event that brought it; null where the search began.")
    strength = serializers.CharField(
        help_text="strong, likely or weak; never stronger than that of the event that brought it."
    )


class NotFollowedOut(serializers.Serializer[Any]):
    """A tie that more share than a journey follows."""

    kind = serializers.CharField(help_text="correlation id, answer or key.")
    value = serializers.CharField(help_text="What is shared.")
    words = serializers.CharField(help_text="How many share it, and what of them is not here.")
    q = serializers.CharField(help_text="The query that finds their messages; empty where you are not told the value.")


class SpreadOut(serializers.Serializer[Any]):
    median_us = serializers.IntegerField()
    longest_us = serializers.IntegerField()


class HopOut(serializers.Serializer[Any]):
    """The messages that went from one system over a destination to another: see /docs, journeys, for what is queue and processing."""

    sender = serializers.CharField()
    receiver = serializers.CharField()
    destination = serializers.CharField()
    messages = serializers.IntegerField()
    failed = serializers.IntegerField()
    batches = serializers.IntegerField(help_text="Of the messages, how many came in a batch receive.")
    attempts = serializers.IntegerField(help_text="The most that one message needed.")
    queue = SpreadOut()
    processing = SpreadOut()
    retry = SpreadOut(help_text="Between the attempts.")


class FoldOut(serializers.Serializer[Any]):
    """Events of a folded journey that did the same with the same outcome; times in µs from the journey's start."""

    ref = serializers.CharField(help_text="Read its events at folds/<ref> below the address of the journey.")
    system = serializers.CharField()
    operation = serializers.CharField()
    destination = serializers.CharField()
    outcome = serializers.CharField()
    count = serializers.IntegerField()
    start_us = serializers.IntegerField()
    end_us = serializers.IntegerField()
    took = SpreadOut()
    queue = SpreadOut(allow_null=True)
    ties = serializers.ListField(child=serializers.CharField())


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
    queue_us = serializers.IntegerField(
        allow_null=True,
        help_text="How long its message waited since it was sent, at the step that took it; of a batch the longest.",
    )
    outcome = serializers.CharField()
    tie = serializers.CharField(
        help_text="Why it belongs here: trace, link, message id, answer, request, correlation id or a business key."
    )
    evidence = EvidenceOut()
    why = serializers.CharField(help_text="The evidence as a sentence: it carries …, it is about ….")
    clamped = serializers.BooleanField()
    has_body = serializers.SerializerMethodField(
        help_text="Whether its payload can be read, and compared with another."
    )
    logged = LoggedOut(many=True)

    def get_has_body(self, step: Any) -> bool:
        return step.event.payload_on is not None


class StationOut(serializers.Serializer[Any]):
    system = serializers.CharField()
    state = serializers.CharField()
    note = serializers.CharField()
    hop_us = serializers.IntegerField(
        allow_null=True,
        help_text="From the station before; null when it came from elsewhere, or began while that was at work.",
    )
    queue_us = serializers.IntegerField(allow_null=True, help_text="The longest of the messages that came to it.")
    processing_us = serializers.IntegerField(allow_null=True, help_text="The longest of the messages that came to it.")


class CorrectionOut(serializers.Serializer[Any]):
    """What was added to the times of one system's clock, and why."""

    system = serializers.CharField()
    shift_us = serializers.SerializerMethodField()
    why = serializers.CharField()

    def get_shift_us(self, correction: Any) -> int:
        return int(correction.shift / timedelta(microseconds=1))


class JourneyLetterOut(DeadLetterOut):
    """A dead letter of the journey, and why it belongs there where neither its message nor its trace does."""

    evidence = serializers.SerializerMethodField(help_text="Null for a letter of the journey's messages and traces.")
    why = serializers.SerializerMethodField(help_text="The evidence as a sentence; empty without.")

    class Meta(DeadLetterOut.Meta):
        fields = (*DeadLetterOut.Meta.fields, "evidence", "why")  # type: ignore[assignment]

    @extend_schema_field(EvidenceOut(allow_null=True))
    def get_evidence(self, letter: DeadLetter) -> Any:
        why = self.context["tied"].get(letter.pk)
        return EvidenceOut(why).data if why else None

    def get_why(self, letter: DeadLetter) -> str:
        why = self.context["tied"].get(letter.pk)
        return words_of_tie(why, "") if why else ""


class JourneyOut(serializers.Serializer[Any]):
    trace_ids = serializers.ListField(child=TraceId())
    started_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    total = serializers.IntegerField(help_text="Events found.")
    folded = serializers.SerializerMethodField(
        help_text="Over 200 events: `steps` are its failures and some of each fold, `folds` count all."
    )
    truncated = serializers.BooleanField(
        source="more",
        help_text="There is more than was looked at: at most 50,000 events, failures first, four rounds of ties, 25,000 traces, "
        "25,000 links at a time, 20 correlation ids and 20 traces of a document number; or a tie was not followed.",
    )
    not_followed = NotFollowedOut(many=True, help_text="Ties that too many share: what they lead to is not here.")
    ties = serializers.ListField(child=serializers.CharField())
    corrections = CorrectionOut(many=True)
    stations = StationOut(many=True)
    unreached = serializers.ListField(
        child=serializers.CharField(), help_text="Systems where such messages usually go on, when this one stopped."
    )
    hops = HopOut(many=True)
    folds = FoldOut(many=True)
    steps = StepOut(many=True)
    dead_letters = serializers.SerializerMethodField()
    more_letters = serializers.BooleanField(help_text="There are more dead letters than the 50 that are here.")
    groups = serializers.SerializerMethodField(help_text="The failure groups of what failed in it: G-204.")
    replays = ReplayOut(many=True)
    changes = ChangeOut(many=True, help_text="To its systems and flows, during it or just before.")

    def get_folded(self, journey: Any) -> bool:
        return bool(journey.folds)

    @extend_schema_field(JourneyLetterOut(many=True))
    def get_dead_letters(self, journey: Any) -> Any:
        return JourneyLetterOut(journey.dead_letters, many=True, context={**self.context, "tied": journey.tied}).data

    def get_groups(self, journey: Any) -> list[str]:
        return [group.reference for group in journey.groups]


class JourneyLine(serializers.Serializer[Message]):
    """One line of the list of journeys: where it starts and where to read it."""

    trace_id = TraceId(allow_null=True)
    message = serializers.UUIDField(source="id")
    environment = serializers.SlugField(source="environment.slug")
    flow = serializers.CharField(source="flow.name")
    status = Label("status")
    first_seen_at = serializers.DateTimeField()
    keys = Keys()
