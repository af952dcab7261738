"""What REST says of breaches, silences and alert policies, and what it takes."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from alerts.breaches.present import state_of_silence
from alerts.breaches.queries import SOURCES
from alerts.breaches.states import STATES
from alerts.models import BreachEntry, Silence
from messages.api.base import Moment

SEVERITIES = ("page", "ticket")


class BreachOut(serializers.Serializer[Any]):
    """Something that is wrong, or was. `held_back_by` and `silenced_until`: nobody is told while they stand."""

    reference = serializers.CharField(help_text="B-<number>: the same for ever.")
    environment = serializers.SlugField(source="environment.slug")
    source = serializers.CharField(  # type: ignore[assignment]
        help_text="objective, group, replay, compensation, check, agent or ingest."
    )
    key = serializers.CharField(help_text="Names the thing within its source.")
    severity = serializers.ChoiceField(choices=SEVERITIES)
    title = serializers.CharField()
    summary = serializers.CharField()
    url = serializers.CharField(help_text="Path of the page that shows it.")
    flow_ids = serializers.ListField(child=serializers.IntegerField(), help_text="Empty: all of the environment.")
    labels = serializers.DictField(child=serializers.CharField())
    state = serializers.ChoiceField(choices=STATES)
    owner = serializers.CharField(source="owner.username", allow_null=True, default=None)
    acknowledged_by = serializers.CharField()
    acknowledged_at = serializers.DateTimeField(allow_null=True)
    opened_at = serializers.DateTimeField(help_text="First seen.")
    fired_at = serializers.DateTimeField(allow_null=True, help_text="The last time that it began to fire.")
    resolved_at = serializers.DateTimeField(allow_null=True)
    last_seen_at = serializers.DateTimeField()
    unwatched_since = serializers.DateTimeField(allow_null=True, help_text="Nobody looks at it any more.")
    frozen_at = serializers.DateTimeField(allow_null=True, help_text="It cannot be measured since then.")
    flaps = serializers.IntegerField(help_text="How often it fired again shortly after it was over.")
    held_back_by = serializers.CharField(source="inhibited_by.reference", allow_null=True, default=None)
    silenced_until = serializers.DateTimeField(source="silenced_by.expires_at", allow_null=True, default=None)


class EntryOut(serializers.ModelSerializer[BreachEntry]):
    by = serializers.CharField(help_text="Empty: the console.")

    class Meta:
        model = BreachEntry
        fields = ("id", "at", "kind", "by", "text")


class DoneOut(serializers.Serializer[Any]):
    at = serializers.DateTimeField()
    words = serializers.CharField()
    url = serializers.CharField()


class OneBreachOut(BreachOut):
    """With its timeline, newest first, replays and changes of its flows meanwhile, and who may own it."""

    timeline = EntryOut(many=True)
    meanwhile = DoneOut(many=True)
    told = serializers.ListField(child=serializers.CharField(), help_text="Who knows, in words.")
    holds_back = serializers.ListField(child=serializers.CharField())
    owners = serializers.ListField(child=serializers.CharField())


class BreachReason(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=1000, allow_blank=True, default="")


class AssignBreachIn(BreachReason):
    owner = serializers.CharField(max_length=150, allow_blank=True, help_text="A user's name; empty: nobody.")


class BreachNoteIn(serializers.Serializer[Any]):
    text = serializers.CharField(max_length=4000)


class SilenceBreachIn(serializers.Serializer[Any]):
    """Until when nobody is told of it, and why."""

    expires_at = Moment()
    comment = serializers.CharField(max_length=1000)
    end_when_resolved = serializers.BooleanField(default=True)


class SilenceOut(serializers.ModelSerializer[Silence]):
    environment = serializers.SlugField(source="environment.slug")
    flow = serializers.CharField(source="flow.name", allow_null=True, default=None, help_text="Null: every one.")
    about = serializers.CharField(
        source="about.reference", allow_null=True, default=None, help_text="Made on this breach."
    )
    labels = serializers.DictField(child=serializers.CharField())
    state = serializers.SerializerMethodField(help_text="planned, running or over.")

    class Meta:
        model = Silence
        fields = (
            "id", "environment", "flow", "source", "key", "severity", "labels", "about", "author", "comment", "created_at",
            "starts_at", "expires_at", "end_when_resolved", "ended_at", "ended_by", "state",
        )  # fmt: skip

    def get_state(self, silence: Silence) -> str:
        return state_of_silence(silence, now=self.context["now"])


class SilenceIn(serializers.Serializer[Any]):
    """What is silenced: everything that fits all that is named. Without a flow it needs an administrator."""

    environment = serializers.SlugField()
    flow = serializers.CharField(max_length=200, required=False, allow_null=True, help_text="Its name.")
    source = serializers.ChoiceField(choices=SOURCES, allow_blank=True, default="")  # type: ignore[assignment]
    severity = serializers.ChoiceField(choices=["", *SEVERITIES], default="")
    labels = serializers.DictField(child=serializers.CharField(max_length=200), default=dict)
    comment = serializers.CharField(max_length=1000)
    starts_at = Moment(required=False, allow_null=True, help_text="Now without it.")
    expires_at = Moment()
    end_when_resolved = serializers.BooleanField(default=False)


class StepIn(serializers.Serializer[Any]):
    after_minutes = serializers.IntegerField(min_value=1, max_value=10_080)
    channels = serializers.ListField(child=serializers.IntegerField(min_value=1), max_length=20)


def _channels() -> serializers.ListField:
    return serializers.ListField(child=serializers.IntegerField(min_value=1), max_length=20, default=list)


class AlertPolicyIn(serializers.Serializer[Any]):
    """Who is told. Channels are ids."""

    page_channels = _channels()
    ticket_channels = _channels()
    steps = StepIn(many=True, default=list, help_text="When nobody acknowledges, by rising minutes.")
    days = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=7), max_length=7, default=list,
        help_text="ISO weekdays on which tickets are told; none: at any time.",
    )  # fmt: skip
    from_minute = serializers.IntegerField(min_value=0, max_value=1439, default=480, help_text="Of the day.")
    until_minute = serializers.IntegerField(min_value=1, max_value=1440, default=1080)
    time_zone = serializers.CharField(max_length=60, default="UTC")
    wait_s = serializers.IntegerField(min_value=0, max_value=600, default=30, help_text="For more of the same flow.")
    repeat_minutes = serializers.IntegerField(min_value=0, max_value=10_080, default=240, help_text="0: never.")
    quiet_minutes = serializers.IntegerField(min_value=0, max_value=1440, default=30)


class NewAlertPolicyIn(AlertPolicyIn):
    environment = serializers.SlugField()
    team = serializers.CharField(
        max_length=80, required=False, allow_null=True, help_text="Its name; null: everything else."
    )


class AlertPolicyOut(AlertPolicyIn):
    id = serializers.IntegerField(source="pk")
    environment = serializers.SlugField(source="environment.slug")
    team = serializers.CharField(source="team.name", allow_null=True, default=None)


class GroupWatchesOut(serializers.Serializer[Any]):
    """Class of failure groups → severity of the breach that a new, regressed or escalating one makes; what is not there makes none."""

    environment = serializers.SlugField()
    classes = serializers.DictField(child=serializers.ChoiceField(choices=SEVERITIES))


class GroupWatchesIn(serializers.Serializer[Any]):
    environment = serializers.SlugField()
    classes = serializers.DictField(
        child=serializers.ChoiceField(choices=["", *SEVERITIES]), help_text="Those that are named are changed; empty: nothing."
    )  # fmt: skip
