"""What REST takes and tells of plans."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.urls import NoReverseMatch, reverse
from rest_framework import serializers

from console.core.errors import Invalid
from console.identity.actor import Actor
from messages.api.base import Moment
from messages.models import Plan, Replay
from messages.plans.access import can_operate_plan
from messages.plans.approvals import authors_of, why_not_approve
from messages.plans.doing import COMPENSATE, DOES, REPLAY
from messages.plans.reasons import LEFT_OUT
from messages.plans.services import Options
from messages.plans.states import STATES, TRANSITIONS
from messages.plans.summary import summary_of
from messages.plans.waves import OUTCOMES

MOST_IDS = 100_000  # in JSON; a longer list is sent as the body itself
# Verb below /plans/<reference>/ → what it makes happen.
VERBS = {
    "request-approval": ("request",),
    "approve": ("approve",),
    "refuse": ("refuse",),
    "start": ("start",),
    "undo": ("undo", "undo_approved"),
    "pause": ("pause",),
    "resume": ("resume",),
    "cancel": ("cancel",),
    "stop": ("stop", "cancel"),
}


class IdField(serializers.UUIDField):
    """An id as text. The usual field takes a number for one, too."""

    def to_internal_value(self, data: Any) -> UUID:
        if not isinstance(data, str):
            self.fail("invalid", value=data if isinstance(data, int) and data < 10**9 else type(data).__name__)
        return super().to_internal_value(data)


class HowIn(serializers.Serializer[Any]):
    """How it is executed."""

    waves = serializers.ListField(
        child=serializers.CharField(max_length=16),
        required=False,
        help_text="Cumulative: numbers or shares, default `1`, `5%`, `25%`, `100%`.",
    )
    rate_per_s = serializers.FloatField(
        required=False, allow_null=True, help_text="Default 10; null: as fast as broker and flows allow."
    )
    concurrency = serializers.IntegerField(
        required=False, help_text="On their way to the broker at once, default 2000."
    )
    waits_for = serializers.ChoiceField(choices=Plan.WaitsFor.choices, required=False)
    wave_wait_s = serializers.IntegerField(required=False, help_text="How long a wave waits for outcomes, default 600.")
    stop_failed_percent = serializers.FloatField(
        required=False, help_text="It stops itself above this share of failed again, default 5."
    )
    stop_latency_times = serializers.FloatField(
        required=False, allow_null=True, help_text="… or when the receiver takes so many times as long; default 4."
    )


class OptionsIn(HowIn):
    """How it is executed, and what with. What is left out is the usual."""

    destination = serializers.CharField(
        max_length=300, required=False, help_text="Where to, on the same connections; without: each where it came from."
    )
    expiry = serializers.ChoiceField(choices=Replay.Expiry.choices, required=False, help_text="As of a single replay.")
    order_key = serializers.CharField(
        max_length=64,
        required=False,
        allow_blank=True,
        help_text="Business key whose messages keep their order; without: that of the flow; empty: none.",
    )


class PlanIn(serializers.Serializer[Any]):
    """What a plan is made of: exactly one of `q`, `group` and `ids`."""

    environment = serializers.SlugField(required=False, help_text="Needed, but for a group.")
    q = serializers.CharField(max_length=4000, required=False, help_text="Every dead letter that matches now.")
    window = serializers.CharField(max_length=40, required=False, help_text="With `q`: how far back, e.g. `7d`.")
    since = serializers.CharField(max_length=40, required=False, help_text="With `q`: RFC 3339 time, in place of it.")
    until = serializers.CharField(max_length=40, required=False)
    group = serializers.CharField(max_length=30, required=False, help_text="Reference of a failure group: G-204.")
    ids = serializers.ListField(
        child=IdField(),
        required=False,
        allow_empty=False,
        max_length=MOST_IDS,
        help_text="Dead letters. A longer list is sent as the body, see above.",
    )
    does = serializers.ChoiceField(
        choices=list(DOES),
        default=REPLAY,
        help_text="Replay: send them again. Compensate: undo what had happened, by the books of their flows.",
    )
    reason = serializers.CharField(max_length=1000, required=False, help_text="Why; needed, but for a dry run.")
    ticket = serializers.CharField(max_length=100, required=False, allow_blank=True, default="")
    dry_run = serializers.BooleanField(default=False, help_text="Say everything and keep nothing.")
    options = OptionsIn(required=False)


def how_of(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return a checked body as {name in Options: value}."""
    values = dict(said)
    if "waves" in values:
        values["steps"] = tuple(values.pop("waves"))
    return values


def options_of(said: Mapping[str, Any], does: str = REPLAY) -> Options:
    """Return the options of a checked body."""
    return Options(**how_of(said), does=does)


def of_parameters(parameters: Mapping[str, str]) -> dict[str, Any]:
    """Return the body that these query parameters stand for, where the body itself is a list of ids. Raises Invalid."""
    said: dict[str, Any] = {}
    options: dict[str, Any] = {}
    for name, value in parameters.items():
        if name in OptionsIn().fields:
            options[name] = value.split(",") if name == "waves" else None if value == "null" else value
        elif name in ("environment", "does", "reason", "ticket", "dry_run"):
            said[name] = value
        elif name != "column":
            raise Invalid(f"a list of ids knows no parameter “{name[:40]}”")
    return said | {"options": options}


class ApprovalOut(serializers.Serializer[Any]):
    needed = serializers.BooleanField()
    why = serializers.CharField(help_text="Why a second person is needed; empty: none is.")
    approved_by = serializers.CharField()
    approved_at = serializers.DateTimeField(allow_null=True)
    checksum = serializers.CharField(help_text="What was approved: holds while it is the plan's.")
    authors = serializers.ListField(
        child=serializers.CharField(), help_text="Who made or changed it, and so may not approve it."
    )
    why_not = serializers.CharField(help_text="Why the caller may not approve it; empty: they may.")


class LeftOutOut(serializers.Serializer[Any]):
    reason = serializers.CharField(help_text=f"One of {', '.join(LEFT_OUT)}.")
    words = serializers.CharField()
    items = serializers.IntegerField()


class WaveOut(serializers.Serializer[Any]):
    wave = serializers.IntegerField(source="number")
    first = serializers.IntegerField(help_text="Ordinal of its first item.")
    last = serializers.IntegerField()
    counts = serializers.DictField(child=serializers.IntegerField())


class ListedPlanOut(serializers.ModelSerializer[Plan]):
    """A plan as lists have it."""

    reference = serializers.CharField()
    environment = serializers.SlugField(source="environment.slug")
    state = serializers.ChoiceField(choices=list(STATES))
    group = serializers.CharField(source="group.reference", allow_null=True, default=None)
    items = serializers.IntegerField(source="items_count", help_text="That are sent; those that are left out apart.")

    class Meta:
        model = Plan
        fields = (
            "reference",
            "environment",
            "state",
            "state_at",
            "state_by",
            "why",
            "does",
            "source",
            "q",
            "group",
            "reason",
            "ticket",
            "items",
            "checksum",
            "created_by",
            "created_at",
            "expires_at",
            "begins_at",
            "started_at",
            "finished_at",
            "wave",
        )


class OptionsOut(serializers.ModelSerializer[Plan]):
    waves = serializers.ListField(child=serializers.CharField(), source="steps")
    connection = serializers.CharField(source="connection.name", allow_null=True, default=None)

    class Meta:
        model = Plan
        fields = (
            "destination",
            "connection",
            "expiry",
            "order_key",
            "waves",
            "rate_per_s",
            "concurrency",
            "waits_for",
            "wave_wait_s",
            "stop_failed_percent",
            "stop_latency_times",
        )


class WholePlanOut(ListedPlanOut):
    """A plan and how far it is. `counts` sum to `items`; `items` and what is `left_out` sum to `selected`. "Sent" is never "processed"."""

    reference = serializers.CharField(allow_null=True, help_text="Null of a dry run: nothing was kept.")
    sentence = serializers.CharField(help_text="What it is and how far, for people.")
    dry_run = serializers.BooleanField()
    selected = serializers.IntegerField()
    left_out = LeftOutOut(many=True)
    counts = serializers.DictField(
        child=serializers.IntegerField(), help_text=f"Of what is sent: {', '.join(OUTCOMES)}."
    )
    waves = WaveOut(many=True)
    held = serializers.CharField(help_text="Who stopped all replays and why, while nothing is sent for it.")
    allowed_per_s = serializers.FloatField(
        allow_null=True, help_text="What its rate and its flows allow now; null: no limit."
    )
    figures = serializers.DictField(
        help_text="Of what is sent, when it was frozen: size_bytes, oldest, newest, keys, destinations."
    )
    options = OptionsOut()
    approval = ApprovalOut()
    actions = serializers.ListField(
        child=serializers.ChoiceField(choices=list(VERBS)), help_text="What the caller may do to it now."
    )
    links = serializers.DictField(child=serializers.CharField())

    class Meta(ListedPlanOut.Meta):
        fields = (  # type: ignore[assignment]
            *ListedPlanOut.Meta.fields,
            "sentence",
            "dry_run",
            "selected",
            "left_out",
            "counts",
            "waves",
            "held",
            "allowed_per_s",
            "figures",
            "options",
            "approval",
            "actions",
            "links",
        )


def tell(plan: Plan, *, by: Actor, dry_run: bool = False) -> dict[str, Any]:
    """Return the plan as WholePlanOut describes it."""
    summary = summary_of(plan)
    said: dict[str, Any] = dict(ListedPlanOut(plan).data)
    said |= {
        "reference": None if dry_run else plan.reference,
        "sentence": _of_a_dry_run(plan, summary.selected) if dry_run else summary.sentence,
        "dry_run": dry_run,
        "selected": summary.selected,
        "left_out": LeftOutOut(summary.left_out, many=True).data,
        "counts": summary.counts,
        "waves": WaveOut(summary.waves, many=True).data,
        "held": summary.held,
        "allowed_per_s": summary.per_s,
        "figures": {name: value for name, value in plan.figures.items() if name not in ("left_out", "selected")},
        "options": OptionsOut(plan).data,
        "approval": {
            "needed": bool(plan.approval_why),
            "why": plan.approval_why,
            "approved_by": plan.approved_by,
            "approved_at": plan.approved_at,
            "checksum": plan.approved_checksum,
            "authors": [plan.created_by] if dry_run else authors_of(plan),
            "why_not": why_not_approve(by, plan),
        },
        "actions": [] if dry_run else actions_of(plan, by),
        "links": {} if dry_run else links_of(plan),
    }
    return said


def _of_a_dry_run(plan: Plan, selected: int) -> str:
    verb = "undone" if plan.does == COMPENSATE else "sent"
    return f"dry run, nothing is kept: {plan.items_count:,} would be {verb}, {selected - plan.items_count:,} left out"


def actions_of(plan: Plan, by: Actor) -> list[str]:
    """Return the verbs that this actor may use on the plan now."""
    if not can_operate_plan(by, plan):
        return []
    possible = TRANSITIONS[plan.state]
    verbs = [verb for verb, happenings in VERBS.items() if any(one in possible for one in happenings)]
    return [verb for verb in verbs if verb != "approve" or not why_not_approve(by, plan)]


def links_of(plan: Plan) -> dict[str, str]:
    """Return the addresses of a plan: itself, its items, their CSV, its page."""
    own = f"/api/v1/plans/{plan.reference}"
    try:
        page = {"page": reverse("plan", args=[plan.reference])}
    except NoReverseMatch:
        page = {}
    return {"self": own, "items": f"{own}/items", "csv": f"{own}/csv"} | page


class StartIn(serializers.Serializer[Any]):
    """Now, when nothing is said."""

    at = Moment(required=False, help_text="When it begins.")
    undo_s = serializers.IntegerField(
        default=0, min_value=0, max_value=3600, help_text="Seconds in which the start can be taken back."
    )


class ApproveIn(serializers.Serializer[Any]):
    """The checksum of what you looked at: approved is that and nothing else."""

    checksum = serializers.CharField(max_length=64)
    reason = serializers.CharField(max_length=1000, required=False, allow_blank=True, default="")


class MayReason(serializers.Serializer[Any]):
    """Why, when there is something to say; kept in the audit list."""

    reason = serializers.CharField(max_length=1000, required=False, allow_blank=True, default="")


class PlanItemOut(serializers.Serializer[Any]):
    """One dead letter of a plan and what became of it. `detail` has the words of the broker, or why it is unknown."""

    ordinal = serializers.IntegerField()
    dead_letter = serializers.UUIDField()
    key = serializers.CharField(help_text="Its value of the plan's order key.")
    outcome = serializers.ChoiceField(choices=list(OUTCOMES))
    left_out = serializers.CharField(help_text=f"Why it is not sent: {', '.join(LEFT_OUT)}; empty: it is.")
    why_left_out = serializers.CharField()
    replay = serializers.UUIDField(allow_null=True)
    compensation = serializers.CharField(help_text="Reference, such as C-7, of a plan that compensates; else empty.")
    destination = serializers.CharField()
    attempt = serializers.IntegerField()
    queued_at = serializers.DateTimeField(allow_null=True)
    sent_at = serializers.DateTimeField(allow_null=True)
    confirmed_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    proof_event_id = serializers.UUIDField(allow_null=True, help_text="The receiver's event that proves it.")
    proof_event_at = serializers.DateTimeField(allow_null=True)
    proof_tie = serializers.CharField()
    detail = serializers.CharField()
