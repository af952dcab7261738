"""What REST says of failure groups and their rules, and what it takes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rest_framework import serializers

from messages.api.base import Reason
from messages.groups.breaching import next_breach_of
from messages.groups.classes import CLASSES
from messages.groups.present import action_of, reach_said
from messages.groups.states import STATES
from messages.models import DeadLetter, FailureGroup


class UnseenOut(serializers.Serializer[Any]):
    """Messages of flows that the key may see that died within 24 hours in flows that it may not see: they are in no group of its own."""

    environment = serializers.SlugField()
    count = serializers.IntegerField()
    at_least = serializers.BooleanField(help_text="There may be more.")
    q = serializers.CharField(help_text="Finds them in `messages`.")


class CauseHereOut(serializers.Serializer[Any]):
    """Failures of one class at one system of one flow; words and trace of the newest."""

    flow = serializers.CharField()
    system = serializers.CharField()
    error_type = serializers.CharField()
    error_message = serializers.CharField()
    count = serializers.IntegerField()
    newest_at = serializers.DateTimeField()
    trace_id = serializers.UUIDField(
        format="hex", allow_null=True, help_text="Its journey is at `journeys/<trace_id>`."
    )


class FailedHereOut(serializers.Serializer[Any]):
    """What failed within 24 hours in flows that the key may see, of messages of flows that it may not see: it is in no group of its own."""

    environment = serializers.SlugField()
    count = serializers.IntegerField(help_text="Messages; one that failed at several systems is at each of its causes.")
    at_least = serializers.BooleanField(help_text="There may be more.")
    causes = CauseHereOut(many=True)


class GroupOut(serializers.Serializer[Any]):
    """A failure group. Figures are of `counted_at`; `waiting` is letters and failed messages without one."""

    reference = serializers.CharField(help_text="G-<number>: the same for ever; `group:G-204` in `q`.")
    environment = serializers.SlugField(source="environment.slug")
    flow = serializers.CharField(source="flow.name")
    flow_id = serializers.IntegerField()
    heading = serializers.CharField()
    step = serializers.CharField(help_text="The system that failed.")
    error_type = serializers.CharField()
    message = serializers.CharField(help_text="Without its values.")
    destination = serializers.CharField()
    state = serializers.ChoiceField(choices=STATES)
    state_at = serializers.DateTimeField()
    failure_class = serializers.ChoiceField(choices=list(CLASSES))
    action = serializers.SerializerMethodField(help_text="What is usually done first.")
    owner = serializers.CharField(source="owner.username", allow_null=True, default=None)
    runbook_url = serializers.CharField(help_text="Its own; empty: that of its rule or flow.")
    first_seen_at = serializers.DateTimeField()
    last_seen_at = serializers.DateTimeField()
    oldest_at = serializers.DateTimeField(allow_null=True)
    counted_at = serializers.DateTimeField(
        source="figures_at", allow_null=True, help_text="Null: being counted; until then figures are those of before."
    )
    waiting = serializers.IntegerField()
    letters = serializers.IntegerField()
    replaying = serializers.IntegerField()
    failed_messages = serializers.IntegerField(source="failed")
    customers = serializers.IntegerField()
    documents = serializers.IntegerField()
    amounts = serializers.DictField(child=serializers.CharField(), help_text="By currency; empty name: not told.")
    customers_partial = serializers.BooleanField(help_text="Some of what failed has no known customer.")
    documents_partial = serializers.BooleanField(help_text="Some failures name no document.")
    amounts_partial = serializers.BooleanField(
        help_text="An amount cannot be read, or some failures name none: these are not in `amounts`."
    )
    at_least = serializers.BooleanField(
        source="is_least",
        help_text="Customers, documents or amounts may be more: more waits than was looked at, or some of it names none.",
    )
    failed_at_least = serializers.BooleanField(
        source="failed_capped", help_text="More failed messages may stand: they, and what waits, may be more."
    )
    reach = serializers.SerializerMethodField(help_text="In words.")
    next_breach_at = serializers.SerializerMethodField(
        help_text="When the budget of an objective on its flow is gone at the present pace; null: not within a week."
    )
    spread = serializers.CharField(help_text="poison, outage, some, or empty.")
    spread_words = serializers.CharField()
    merged_into = serializers.CharField(source="merged_into.reference", allow_null=True, default=None)
    by_hand = serializers.BooleanField()
    rule = serializers.IntegerField(source="rule_id", allow_null=True)

    def get_action(self, group: FailureGroup) -> str:
        return action_of(group)

    def get_next_breach_at(self, group: FailureGroup) -> datetime | None:
        return next_breach_of(group)

    def get_reach(self, group: FailureGroup) -> str:
        return reach_said(group)


class NoteOut(serializers.Serializer[Any]):
    id = serializers.IntegerField(source="pk")
    at = serializers.DateTimeField()
    author = serializers.CharField()
    text = serializers.CharField()


class OneGroupOut(GroupOut):
    """With what a page says of it: failures by hour, notes, what it speaks for, who may own it."""

    runbook = serializers.CharField()
    hours = serializers.ListField(child=serializers.IntegerField(), help_text="Of the last 24, the oldest first.")
    notes = NoteOut(many=True)
    speaks_for = serializers.ListField(child=serializers.CharField())
    owners = serializers.ListField(child=serializers.CharField())


class GroupReason(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=1000, allow_blank=True, default="")


class AssignIn(GroupReason):
    owner = serializers.CharField(max_length=150, allow_blank=True, help_text="A user's name; empty: nobody.")


class RunbookIn(serializers.Serializer[Any]):
    runbook_url = serializers.CharField(max_length=200, allow_blank=True)


class NoteIn(serializers.Serializer[Any]):
    text = serializers.CharField(max_length=4_000)


class MergeIn(Reason):
    """The groups that this one speaks for from then on."""

    groups = serializers.ListField(child=serializers.CharField(max_length=24), min_length=1, max_length=50)


class SplitIn(Reason):
    """Either letters and a name for them, or the part by which all are told apart."""

    letters = serializers.ListField(child=serializers.UUIDField(), max_length=500, default=list)
    name = serializers.CharField(max_length=200, allow_blank=True, default="")
    by = serializers.CharField(
        max_length=80, allow_blank=True, default="", help_text="queue, broker, reason, key.<name>."
    )


class SplitOut(serializers.Serializer[Any]):
    """The new group, or the rule that tells them apart."""

    group = GroupOut(allow_null=True)
    rule = serializers.IntegerField(allow_null=True)


class GroupRuleIn(serializers.Serializer[Any]):
    """Which failures (all that is given must fit) and by which parts they belong together; docs/groups.md."""

    name = serializers.CharField(max_length=120)
    flow = serializers.CharField(max_length=200, allow_blank=True, default="")
    step = serializers.CharField(max_length=120, allow_blank=True, default="")
    error_type = serializers.CharField(max_length=300, allow_blank=True, default="")
    words = serializers.CharField(max_length=310, allow_blank=True, default="")
    destination = serializers.CharField(max_length=300, allow_blank=True, default="")
    reason = serializers.ChoiceField(choices=["", *DeadLetter.ReasonCode.values], default="")
    parts = serializers.ListField(child=serializers.CharField(max_length=80), max_length=8, default=list)
    failure_class = serializers.ChoiceField(choices=["", *CLASSES], default="")
    runbook_url = serializers.CharField(max_length=200, allow_blank=True, default="")


class NewGroupRuleIn(GroupRuleIn):
    environment = serializers.SlugField()


class GroupRulePreviewIn(NewGroupRuleIn):
    instead_of = serializers.IntegerField(
        required=False, min_value=1, help_text="Id of the rule that it would replace."
    )


class GroupRuleOut(serializers.Serializer[Any]):
    id = serializers.IntegerField(source="pk")
    environment = serializers.SlugField(source="environment.slug")
    position = serializers.IntegerField()
    name = serializers.CharField()
    flow = serializers.CharField()
    step = serializers.CharField()
    error_type = serializers.CharField()
    words = serializers.CharField()
    destination = serializers.CharField()
    reason = serializers.CharField()
    parts = serializers.ListField(child=serializers.CharField())
    failure_class = serializers.CharField()
    runbook_url = serializers.CharField()
    created_at = serializers.DateTimeField()
    created_by = serializers.CharField()


class WayOut(serializers.Serializer[Any]):
    before = serializers.CharField(source="before.reference", allow_null=True, default=None)
    after = serializers.CharField()
    count = serializers.IntegerField()


class GroupRulePreviewOut(serializers.Serializer[Any]):
    """What a rule would do to the last seven days."""

    looked_at = serializers.IntegerField(help_text="Letters, the newest of the flows that it is for.")
    at_least = serializers.BooleanField(source="capped", help_text="More came than was looked at.")
    letters = serializers.IntegerField(help_text="That fit it.")
    messages = serializers.IntegerField(help_text="Without a letter, in groups that fit it.")
    moved = serializers.IntegerField(help_text="Letters that would be in another group.")
    ways = WayOut(many=True)


class MoveGroupRuleIn(Reason):
    to = serializers.IntegerField(min_value=1, max_value=1000, help_text="Place in the order, from 1.")


class ApplyIn(Reason):
    environment = serializers.SlugField()


class AppliedOut(serializers.Serializer[Any]):
    moved = serializers.IntegerField()
    more = serializers.BooleanField(help_text="More wait than it had time for; the older ones stay.")
