"""REST of objectives: the promise, its budget, its minutes, what if, and OpenSLO."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from alerts.models import Objective
from alerts.objectives.access import get_visible_objective
from alerts.objectives.burn import PAIRS
from alerts.objectives.counters import hour_of
from alerts.objectives.importing import Imported, export_openslo, import_openslo
from alerts.objectives.openslo import MOST_BYTES
from alerts.objectives.present import promise_words, verdict
from alerts.objectives.queries import attained, find_objectives, minutes, what_if_of, window_at
from alerts.objectives.services import add_objective, change_objective, remove_objective
from alerts.objectives.windows import HOUR, MINUTE, Span
from alerts.objectives.wishes import NewObjective, ObjectiveInvalid
from console.core.calendars import clock_text, parse_clock
from console.core.errors import Invalid
from console.core.paging import parse_limit
from console.identity.access import get_visible_environment
from messages.api.base import CONFLICTS, LIST_PARAMETERS, PROBLEMS, SAID, View, number_or_404, said_in, validated
from messages.queries import get_visible_flow_named, get_visible_saved_search, parse_window

PAGED = [one for one in LIST_PARAMETERS if one.name in ("limit", "cursor", "environment")]
ENVIRONMENT = [one for one in LIST_PARAMETERS if one.name == "environment"]
TIMES = [one for one in LIST_PARAMETERS if one.name in ("since", "until")]
SHOW = OpenApiParameter(
    "show", str, enum=["all", "risk", "no-data", "kept"], description="Only these; `risk`: burning too fast, or spent."
)
KIND = OpenApiParameter("kind", str, enum=Objective.Kind.values)
FLOW = OpenApiParameter("flow", str, description="Name of a flow.")
TARGETS = OpenApiParameter(
    "targets", str, description="Per cent, by commas: `99,99.9`; without it, the neighbours of its own."
)
MOST_MINUTES = timedelta(days=7)
RESOLUTION = datetime.resolution  # of times: the last moment before an hour


class ObjectiveStandingOut(serializers.Serializer[Any]):
    """How it stands, as the last look found it; every 15 s."""

    state = serializers.CharField(help_text="filling, kept, burning, spent, no_data")
    state_since = serializers.DateTimeField()
    assessed_at = serializers.DateTimeField(allow_null=True)
    problem = serializers.CharField(help_text="Why there are no data.")
    since = serializers.DateTimeField(allow_null=True)
    until = serializers.DateTimeField(allow_null=True)
    good = serializers.IntegerField()
    late = serializers.IntegerField()
    lost = serializers.IntegerField()
    excluded = serializers.IntegerField(source="out")
    attained = serializers.FloatField(allow_null=True, help_text="As everything came.")
    adjusted = serializers.FloatField(allow_null=True, help_text="Without what is excluded.")
    budget = serializers.FloatField(help_text="Events, or time slices, that may be bad.")
    spent = serializers.FloatField()
    left = serializers.FloatField(help_text="Share of the budget; below 0 when too much is spent.")
    burn = serializers.FloatField(help_text="Of the last hour: at 1 the budget lasts the period.")
    gone_at = serializers.DateTimeField(allow_null=True)
    severity = serializers.CharField(help_text="page, ticket or empty")
    last_event_at = serializers.DateTimeField(allow_null=True)
    rules = serializers.ListField(child=serializers.DictField())


class ObjectiveOut(serializers.Serializer[Any]):
    """A promise and how it stands."""

    id = serializers.IntegerField(source="pk")
    environment = serializers.SlugField(source="environment.slug")
    flow = serializers.CharField(source="flow.name", allow_null=True, default=None)
    search = serializers.IntegerField(source="search_id", allow_null=True)
    q = serializers.CharField(help_text="Of the saved search, when the promise was made.")
    name = serializers.CharField()
    description = serializers.CharField()
    promise = serializers.SerializerMethodField(help_text="In a sentence.")
    verdict = serializers.SerializerMethodField(help_text="In a sentence.")
    kind = serializers.ChoiceField(choices=Objective.Kind.choices)
    target = serializers.FloatField()
    limit_ms = serializers.IntegerField(allow_null=True)
    limit_minutes = serializers.IntegerField(allow_null=True)
    recover_minutes = serializers.IntegerField(allow_null=True)
    at_least = serializers.IntegerField(allow_null=True)
    method = serializers.CharField()
    slice_minutes = serializers.IntegerField()
    slice_target = serializers.FloatField()
    empty_is_good = serializers.BooleanField()
    window = serializers.CharField(source="unit")
    days = serializers.IntegerField()
    time_zone = serializers.CharField()
    work_days = serializers.ListField(child=serializers.IntegerField())
    opens = serializers.SerializerMethodField()
    closes = serializers.SerializerMethodField()
    holidays = serializers.ListField(child=serializers.DateField())
    pairs = serializers.ListField(child=serializers.CharField())
    guarded = serializers.BooleanField()
    sustained = serializers.BooleanField()
    exhausted = serializers.BooleanField()
    progress = serializers.FloatField(help_text="Of its history, 0 to 1.")
    created_at = serializers.DateTimeField()
    standing = ObjectiveStandingOut()

    def get_promise(self, one: Objective) -> str:
        return promise_words(one)

    def get_verdict(self, one: Objective) -> str:
        said = verdict(one, one.standing, now=datetime.now(UTC))
        return f"{said['lead']}{said['rest']}" + (
            f" At this pace it is gone in {said['gone']}." if said["gone"] else ""
        )

    def get_opens(self, one: Objective) -> str:
        return clock_text(one.from_minute)

    def get_closes(self, one: Objective) -> str:
        return clock_text(one.until_minute)


class ObjectiveChangeIn(serializers.Serializer[Any]):
    """A promise. What its kind does not need is passed over."""

    name = serializers.CharField(max_length=120)
    description = serializers.CharField(max_length=1050, default="", allow_blank=True)
    kind = serializers.ChoiceField(choices=Objective.Kind.choices)
    target = serializers.DecimalField(max_digits=12, decimal_places=10, help_text="A ratio: 0.995.")
    limit_ms = serializers.IntegerField(default=None, allow_null=True, help_text="Latency of a flow: 1, 2, 4, 8 … ms.")
    limit_minutes = serializers.IntegerField(
        default=None, allow_null=True, help_text="Freshness, dead-letter age; volume: a period, 0 is a working day."
    )
    recover_minutes = serializers.IntegerField(
        default=None, allow_null=True, help_text="Freshness: later than this is lost, not late."
    )
    at_least = serializers.IntegerField(
        default=None,
        allow_null=True,
        help_text="Volume, a period: processings on a flow, by every station; messages on a saved search.",
    )
    method = serializers.ChoiceField(choices=Objective.Method.choices, default="occurrences")
    slice_minutes = serializers.IntegerField(default=1)
    slice_target = serializers.FloatField(default=0.95)
    empty_is_good = serializers.BooleanField(default=False)
    window = serializers.ChoiceField(choices=Objective.Unit.choices, default="rolling")
    days = serializers.IntegerField(default=30)
    time_zone = serializers.CharField(max_length=60, default="UTC")
    work_days = serializers.ListField(child=serializers.IntegerField(), default=[], max_length=7)
    opens = serializers.CharField(max_length=5, default="00:00")
    closes = serializers.CharField(max_length=5, default="24:00")
    holidays = serializers.ListField(child=serializers.DateField(), default=[], max_length=400)
    pairs = serializers.ListField(
        child=serializers.ChoiceField(choices=[pair.name for pair in PAIRS]),
        default=None,
        allow_null=True,
        help_text="Null: every one that can fire.",
    )
    guarded = serializers.BooleanField(default=True)
    sustained = serializers.BooleanField(default=True)
    exhausted = serializers.BooleanField(default=True)


class ObjectiveIn(ObjectiveChangeIn):
    environment = serializers.SlugField()
    flow = serializers.CharField(max_length=200, default="", allow_blank=True, help_text="Name; or give `search`.")
    search = serializers.IntegerField(default=None, allow_null=True, help_text="Id of a saved search of messages.")


def _said(asked: dict[str, Any]) -> NewObjective:
    same = {
        name: value
        for name, value in asked.items()
        if name not in ("environment", "flow", "search", "window", "opens", "closes")
    }
    try:
        times: dict[str, Any] = {
            "from_minute": parse_clock(asked["opens"]),
            "until_minute": parse_clock(asked["closes"]),
        }
    except Invalid as error:
        raise ObjectiveInvalid(str(error)) from error
    return NewObjective(**same, unit=asked["window"], **times)


def _check_is_about(one: Objective, asked: Any) -> None:
    """Raise ObjectiveInvalid for a change of what a promise is about: passed over, it would look as if it were done."""
    told = ObjectiveOut(one).data
    removed = one.flow_id is None and one.search_id is None  # its saved search, meanwhile: no matter of the caller
    for name in ("environment", "flow", "q") if removed else ("environment", "flow", "search", "q"):
        if name in asked and (asked[name] or None) != (told[name] or None):
            raise ObjectiveInvalid(
                f"what an objective is about does not change: leave “{name}” out, or make another one"
            )


FOUND = inline_serializer(
    "ObjectiveList", {"results": ObjectiveOut(many=True), "next": serializers.URLField(allow_null=True)}
)


class Objectives(View):
    @extend_schema(
        operation_id="list_objective", parameters=[SAID, *PAGED, SHOW, KIND, FLOW], responses={200: FOUND, **PROBLEMS}
    )
    def get(self, request: Request) -> Response:
        """Objectives with how they stand, those with the least budget left first."""
        asked = request.query_params
        found = find_objectives(
            self.actor,
            environments=self.environments(),
            show=asked.get("show", "all"),
            kind=asked.get("kind", "").replace("\x00", ""),
            flow=asked.get("flow", "").replace("\x00", ""),
            q=said_in(request),
            limit=parse_limit(asked.get("limit")),
            cursor=asked.get("cursor") or None,
        )
        return self.page(found, ObjectiveOut)

    @extend_schema(operation_id="add_objective", request=ObjectiveIn, responses={201: ObjectiveOut, **CONFLICTS})
    def post(self, request: Request) -> Response:
        """Make a promise about a flow or a saved search. For operators of the flow; a search is counted with the key's user's rights."""
        asked = validated(ObjectiveIn, request.data)
        environment = get_visible_environment(self.actor, asked["environment"])
        about: dict[str, Any] = {}
        if asked["flow"]:
            about["flow"] = get_visible_flow_named(self.actor, environment, asked["flow"])
        if asked["search"] is not None:
            about["search"] = get_visible_saved_search(self.actor, asked["search"])
            if about["search"].environment_id != environment.pk:
                raise Invalid("this saved search is of another environment")
        made = add_objective(_said(asked), by=self.actor, **about)
        return Response(ObjectiveOut(get_visible_objective(self.actor, made.pk)).data, status=201)


class OneObjective(View):
    @extend_schema(operation_id="read_objective", responses={200: ObjectiveOut, **PROBLEMS})
    def get(self, request: Request, pk: str) -> Response:
        """One objective and how it stands."""
        return Response(ObjectiveOut(get_visible_objective(self.actor, number_or_404(pk))).data)

    @extend_schema(
        operation_id="change_objective", request=ObjectiveChangeIn, responses={200: ObjectiveOut, **CONFLICTS}
    )
    def put(self, request: Request, pk: str) -> Response:
        """Change a promise. Another way of counting folds its history anew; another kind or limit counts it anew."""
        one = get_visible_objective(self.actor, number_or_404(pk))
        said = _said(validated(ObjectiveChangeIn, request.data, answers=ObjectiveOut))
        _check_is_about(one, request.data)
        change_objective(one, said, by=self.actor)
        return Response(ObjectiveOut(get_visible_objective(self.actor, one.pk)).data)

    @extend_schema(operation_id="remove_objective", responses={204: None, **PROBLEMS})
    def delete(self, request: Request, pk: str) -> Response:
        """Remove a promise with its counters; what is open for it is resolved."""
        remove_objective(get_visible_objective(self.actor, number_or_404(pk)), by=self.actor)
        return Response(status=204)


class ObjectiveBudgetOut(serializers.Serializer[Any]):
    """What was attained in a span; of whole hours, as `since` and `until` say."""

    since = serializers.DateTimeField(source="span.since")
    until = serializers.DateTimeField(source="span.until")
    good = serializers.IntegerField(source="raw.good")
    late = serializers.IntegerField(source="raw.late")
    lost = serializers.IntegerField(source="raw.lost")
    kept_good = serializers.IntegerField(source="kept.good", help_text="Without what is excluded.")
    kept_late = serializers.IntegerField(source="kept.late")
    kept_lost = serializers.IntegerField(source="kept.lost")
    attained = serializers.FloatField(allow_null=True)
    adjusted = serializers.FloatField(allow_null=True)
    unit = serializers.CharField(help_text="events, slices, periods of a volume, minutes of an age of dead letters")
    budget = serializers.FloatField(source="budget.total")
    spent = serializers.FloatField(source="budget.spent")
    left = serializers.FloatField(source="budget.left", help_text="In `unit`; may be below 0.")
    left_ratio = serializers.FloatField(source="budget.left_ratio")
    excluded = serializers.SerializerMethodField(help_text="Merged periods that do not count.")

    def get_excluded(self, found: Any) -> list[dict[str, datetime]]:
        return [{"since": span.since, "until": span.until} for span in found.excluded]


class ObjectiveBudget(View):
    @extend_schema(
        operation_id="read_objective_budget", parameters=TIMES, responses={200: ObjectiveBudgetOut, **PROBLEMS}
    )
    def get(self, request: Request, pk: str) -> Response:
        """What it attained and what is left of its budget: in its window, or between `since` and `until`."""
        one = get_visible_objective(self.actor, number_or_404(pk))
        return Response(ObjectiveBudgetOut(attained(one, self._span(request, one))).data)

    def _span(self, request: Request, one: Objective) -> Span:
        since, until = request.query_params.get("since"), request.query_params.get("until")
        if not since and until:
            raise Invalid("give since too: until alone says no time")
        if not since:
            return window_at(one)
        window = parse_window(None, now=datetime.now(UTC), since=since, until=until or None)
        if window.since >= window.until:
            raise Invalid("since is before until")
        return Span(since=hour_of(window.since), until=hour_of(window.until + HOUR - RESOLUTION))


class ObjectiveMinutesView(View):
    @extend_schema(
        operation_id="read_objective_minutes", parameters=TIMES, responses={200: OpenApiTypes.OBJECT, **PROBLEMS}
    )
    def get(self, request: Request, pk: str) -> Response:
        """Its counters minute by minute, without what is excluded: of the last hour, or of at most 7 days between `since` and `until`."""
        one = get_visible_objective(self.actor, number_or_404(pk))
        now = datetime.now(UTC)
        since, until = request.query_params.get("since"), request.query_params.get("until")
        window = parse_window(None if since else "1h", now=now, since=since or None, until=until or None)
        span = Span(since=window.since.astimezone(UTC), until=min(window.until, now + MINUTE))
        if span.since >= span.until or span.length > MOST_MINUTES:
            raise Invalid("minutes are read for at most 7 days, which begin before they end")
        good, late, lost = minutes(one, span)
        first = span.since.replace(minute=0, second=0, microsecond=0)
        return Response({"since": first, "good": good, "late": late, "lost": lost})


class WhatIfOut(serializers.Serializer[Any]):
    target = serializers.FloatField()
    current = serializers.BooleanField(source="now")
    pages = serializers.IntegerField()
    tickets = serializers.IntegerField()
    found_after_s = serializers.SerializerMethodField()

    def get_found_after_s(self, found: Any) -> float | None:
        return found.found_after.total_seconds() if found.found_after is not None else None


class ObjectiveWhatIf(View):
    @extend_schema(
        operation_id="replay_objective",
        parameters=[TARGETS],
        responses={200: inline_serializer("WhatIfList", {"results": WhatIfOut(many=True)}), **PROBLEMS},
    )
    def get(self, request: Request, pk: str) -> Response:
        """How often somebody would have been called at other targets: the window's history replayed, at most 90 days of it."""
        one = get_visible_objective(self.actor, number_or_404(pk))
        targets = _targets(request.query_params.get("targets", ""))
        return Response({"results": WhatIfOut(what_if_of(one, now=datetime.now(UTC), targets=targets), many=True).data})


def _targets(text: str) -> list[float]:
    try:
        found = [float(Decimal(word) / 100) for word in text[:200].split(",") if word.strip()]
    except ArithmeticError as error:
        raise Invalid("targets are per cent by commas: 99,99.9") from error
    if len(found) > 6 or not all(0 < one < 1 for one in found):
        raise Invalid("ask for at most 6 targets between 0 and 100 per cent")
    return found


class OpenSloIn(serializers.Serializer[Any]):
    """A text of one or more OpenSLO v1 documents."""

    environment = serializers.SlugField()
    text = serializers.CharField(max_length=MOST_BYTES, trim_whitespace=False)
    only_look = serializers.BooleanField(default=False, help_text="Make nothing, say what would become of each.")


class ImportedOut(serializers.Serializer[Any]):
    name = serializers.CharField()
    flow = serializers.CharField()
    objective = serializers.SerializerMethodField(help_text="Id, null when none was made.")
    refusal = serializers.CharField(help_text="Why it was not made.")
    warnings = serializers.ListField(child=serializers.CharField())

    def get_objective(self, one: Imported) -> int | None:
        return one.made.pk if one.made else None


class OpenSlo(View):
    @extend_schema(
        operation_id="export_openslo",
        parameters=ENVIRONMENT,
        responses={200: inline_serializer("OpenSloText", {"text": serializers.CharField()}), **PROBLEMS},
    )
    def get(self, request: Request) -> Response:
        """The objectives on flows as OpenSLO v1, YAML."""
        return Response({"text": export_openslo(self.actor, self.environments())})

    @extend_schema(
        operation_id="import_openslo",
        request=OpenSloIn,
        responses={200: inline_serializer("ImportedList", {"results": ImportedOut(many=True)}), **PROBLEMS},
    )
    def post(self, request: Request) -> Response:
        """Make an objective of each SLO of a text; what cannot be one is said and keeps no other from it. Cautions are warnings in words."""
        asked = validated(OpenSloIn, request.data)
        environment = get_visible_environment(self.actor, asked["environment"])
        found = import_openslo(asked["text"], environment=environment, by=self.actor, only_look=asked["only_look"])
        return Response({"results": ImportedOut(found, many=True).data})
