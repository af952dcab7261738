"""Forms of an objective, of an excluded period, of an OpenSLO file. Whether they may be is decided by the services."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django import forms

from alerts.models import Exclusion, Objective
from alerts.objectives.budgeting import SLICES
from alerts.objectives.burn import PAIRS, pairs_that_can_fire, percent, span_text
from alerts.objectives.calendars import parse_holidays
from alerts.objectives.excluding import NewExclusion
from alerts.objectives.openslo import MOST_BYTES
from alerts.objectives.shapes import slice_minutes_of, window_of
from alerts.objectives.wishes import LONGEST_LATENCY, NewObjective, ObjectiveInvalid
from console.core.calendars import DAY_NAMES, clock_text, parse_clock
from console.core.errors import Invalid

PLAIN = {"autocomplete": "off", "spellcheck": "false"}
MOMENT = forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M")
KINDS = (
    ("success", "Success: processed, not failed"),
    ("latency", "Latency: processed in less than …"),
    ("freshness", "Freshness: every message processed within …"),
    ("volume", "Volume: at least so much processed a period"),
    ("dead_letter_age", "Dead letters: none waits longer than …"),
)
METHODS = (
    ("occurrences", "Messages: each weighs the same"),
    ("timeslices", "Time slices: good or bad"),
    ("ratio_timeslices", "Time slices: the mean of their ratios"),
)
UNITS = (
    ("rolling", "rolling days"),
    ("week", "calendar week"),
    ("month", "calendar month"),
    ("quarter", "quarter"),
    ("year", "year"),
)
LATENCIES = [
    (
        str(1 << n),
        f"{1 << n:,} ms" if n < 10 else f"{(1 << n) / 1000:,.1f} s" if n < 16 else f"{(1 << n) / 60_000:,.1f} min",
    )
    for n in range(LONGEST_LATENCY.bit_length())
]
AUTOMATIC = "auto"


class ObjectiveForm(forms.Form):
    """A promise. What a kind does not need is passed over."""

    about = forms.ChoiceField(label="About")
    name = forms.CharField(
        max_length=120, widget=forms.TextInput(attrs={**PLAIN, "placeholder": "Orders delivered in 5 min"})
    )
    description = forms.CharField(required=False, max_length=1050, widget=forms.Textarea(attrs={"rows": 2}))
    kind = forms.ChoiceField(label="What is promised", choices=KINDS)
    target = forms.DecimalField(
        label="Target, %",
        help_text="Of 100 % nothing may ever fail: then there is nothing to reckon with.",
        max_digits=10,
    )
    limit_ms = forms.TypedChoiceField(
        required=False, label="Latency below", coerce=int, empty_value=None, choices=LATENCIES,
        help_text="The bounds of the buckets in which time to process is counted.",
    )  # fmt: skip
    limit_minutes = forms.IntegerField(
        required=False,
        label="Minutes",
        help_text="Freshness: processed within. Dead letters: the oldest. Volume: length of a period, 0 is a working day.",
    )
    recover_minutes = forms.IntegerField(
        required=False,
        label="Lost after, minutes",
        help_text="Freshness: processed later than this is lost, not late. Empty: a day.",
    )
    at_least = forms.IntegerField(
        required=False,
        label="At least",
        help_text="Volume, in each period. On a flow processings: of a message that two stations process, or one twice, two. Of a saved search messages.",
    )
    days_of_week = forms.MultipleChoiceField(
        required=False, label="Working days", choices=[(str(at + 1), name) for at, name in enumerate(DAY_NAMES)],
        widget=forms.CheckboxSelectMultiple,
    )  # fmt: skip
    opens = forms.CharField(required=False, max_length=5, label="From", widget=forms.TextInput(attrs=PLAIN))
    closes = forms.CharField(required=False, max_length=5, label="Until", widget=forms.TextInput(attrs=PLAIN))
    holidays = forms.CharField(
        required=False, max_length=8_000, widget=forms.Textarea(attrs={**PLAIN, "rows": 3, "class": "mono", "placeholder": "2026-12-25"}),
        help_text="One date a line. Nothing is expected on them.",
    )  # fmt: skip
    unit = forms.ChoiceField(label="Window", choices=UNITS)
    days = forms.IntegerField(label="Days, rolling", initial=30)
    time_zone = forms.CharField(max_length=60, widget=forms.TextInput(attrs={**PLAIN, "placeholder": "Europe/Berlin"}))
    method = forms.ChoiceField(label="What is counted", choices=METHODS)
    slice_minutes = forms.TypedChoiceField(
        label="Slice, minutes", coerce=int, choices=[(str(one), str(one)) for one in SLICES]
    )
    slice_target = forms.DecimalField(label="A slice is good from, %", max_digits=25)
    empty_is_good = forms.ChoiceField(
        label="A slice without messages", choices=(("", "is left out"), ("1", "is good")), required=False
    )
    pairs = forms.MultipleChoiceField(required=False, label="Alerts", widget=forms.CheckboxSelectMultiple)
    guarded = forms.BooleanField(
        required=False, label="Low-traffic guard", help_text="One failure of ten messages wakes nobody."
    )
    sustained = forms.BooleanField(required=False, label="Failures that go on for hours")
    exhausted = forms.BooleanField(required=False, label="The budget is spent")

    def __init__(
        self,
        data: Any = None,
        *,
        flows: Sequence[str] = (),
        searches: Sequence[tuple[int, str]] = (),
        one: Objective | None = None,
        flow: str = "",
    ):
        super().__init__(data, initial=_initial(one, flow))
        about, pairs = self.fields["about"], self.fields["pairs"]
        assert isinstance(about, forms.ChoiceField)
        assert isinstance(pairs, forms.MultipleChoiceField)
        about.choices = [
            ("", "choose a flow"),
            *((f"flow:{name}", name) for name in flows),
            *((f"search:{pk}", f"search: {name}") for pk, name in searches),
        ]
        pairs.choices = [
            (AUTOMATIC, "every one that can fire"),
            *((pair.name, f"{pair.severity}: {span_text(pair.long)} and {span_text(pair.short)}") for pair in PAIRS),
        ]
        if one is not None:
            del self.fields["about"]
            _keep_choice(self.fields["limit_ms"], one.limit_ms)

    @property
    def switches(self) -> list[forms.BoundField]:
        """Return the boxes that stand below the pairs."""
        return [self[name] for name in ("guarded", "sustained", "exhausted")]

    def said(self) -> NewObjective:
        """Return the validated form as what the services take; raises ObjectiveInvalid."""
        said = self.cleaned_data
        volume, latency = said["kind"] == "volume", said["kind"] == "latency"
        if volume and not said["days_of_week"]:
            raise ObjectiveInvalid("choose at least one working day")
        try:
            calendar: dict[str, Any] = {
                "work_days": [int(day) for day in said["days_of_week"]],
                "from_minute": parse_clock(said["opens"] or "00:00"),
                "until_minute": parse_clock(said["closes"] or "24:00"),
                "holidays": parse_holidays(said["holidays"]),
            }
        except Invalid as error:
            raise ObjectiveInvalid(str(error)) from error
        return NewObjective(
            name=said["name"],
            description=said["description"],
            kind=said["kind"],
            target=said["target"] / Decimal(100),
            limit_ms=said["limit_ms"] if latency else None,
            limit_minutes=said["limit_minutes"],
            recover_minutes=said["recover_minutes"],
            at_least=said["at_least"],
            method=said["method"],
            slice_minutes=said["slice_minutes"],
            slice_target=float(said["slice_target"] / 100),
            empty_is_good=bool(said["empty_is_good"]),
            unit=said["unit"],
            days=said["days"],
            time_zone=said["time_zone"],
            pairs=None if AUTOMATIC in said["pairs"] else said["pairs"],
            guarded=said["guarded"],
            sustained=said["sustained"],
            exhausted=said["exhausted"],
            **(calendar if volume else {}),
        )


def _keep_choice(field: forms.Field, limit_ms: int | None) -> None:
    """Offer the limit that a promise has by REST, too, of a saved search: else saving anything would make it the first that is offered."""
    assert isinstance(field, forms.TypedChoiceField)
    if limit_ms is not None and str(limit_ms) not in dict(LATENCIES):
        field.choices = sorted([*LATENCIES, (str(limit_ms), f"{limit_ms:,} ms")], key=lambda one: int(one[0]))


def _initial(one: Objective | None, flow: str) -> dict[str, Any]:
    if one is None:
        return {
            "about": f"flow:{flow}" if flow else "", "kind": "success", "target": "99.5", "limit_ms": "4096", "limit_minutes": 15, "unit": "rolling",
            "days": 30, "time_zone": "UTC", "method": "occurrences", "slice_minutes": "1", "slice_target": "95", "empty_is_good": "", "pairs": [AUTOMATIC],
            "guarded": True, "sustained": True, "exhausted": True, "days_of_week": [str(day) for day in range(1, 6)], "opens": "08:00", "closes": "18:00",
        }  # fmt: skip
    volume = one.kind == "volume"
    return {
        **{name: getattr(one, name) for name in ("name", "description", "kind", "limit_minutes", "recover_minutes", "at_least", "unit", "days", "time_zone")},
        **{name: getattr(one, name) for name in ("method", "guarded", "sustained", "exhausted")},
        "target": percent(float(one.target)).removesuffix(" %"),
        "limit_ms": str(one.limit_ms or 4096),
        "slice_minutes": str(one.slice_minutes),
        "slice_target": f"{Decimal(repr(one.slice_target)) * 100:.20f}".rstrip("0").rstrip("."),
        "empty_is_good": "1" if one.empty_is_good else "",
        "pairs": _pairs(one),
        "days_of_week": [str(day) for day in (one.work_days if volume else range(1, 6))],
        "opens": clock_text(one.from_minute) if volume else "08:00",
        "closes": clock_text(one.until_minute) if volume else "18:00",
        "holidays": "\n".join(day.isoformat() for day in one.holidays),
    }  # fmt: skip


def _pairs(one: Objective) -> list[str]:
    """Return the pairs as a form shows them: every one that can fire now is said so, for others can fire at another target."""
    period, slices = window_of(one).period, slice_minutes_of(one)
    can_fire = pairs_that_can_fire(target=float(one.target), period=period, slice_minutes=slices)
    automatic = one.kind == Objective.Kind.VOLUME or set(one.pairs) == {pair.name for pair in can_fire}
    return [AUTOMATIC] if automatic else list(one.pairs)


class ExclusionForm(forms.Form):
    """A period that does not count. Times are UTC; a rule recurs in its zone."""

    token = forms.UUIDField(widget=forms.HiddenInput, required=False)  # of the row: a second press finds the first
    starts_at = forms.DateTimeField(label="From (UTC)", widget=MOMENT)
    ends_at = forms.DateTimeField(label="Until (UTC)", widget=MOMENT)
    category = forms.ChoiceField(choices=Exclusion.Category.choices)
    reason = forms.CharField(
        max_length=500, widget=forms.TextInput(attrs={**PLAIN, "placeholder": "maintenance of the carrier"})
    )
    rule = forms.CharField(
        required=False, max_length=200, label="Again", help_text="Empty: once. Else as in RFC 5545.",
        widget=forms.TextInput(attrs={**PLAIN, "class": "mono", "placeholder": "FREQ=WEEKLY;BYDAY=SU"}),
    )  # fmt: skip
    time_zone = forms.CharField(max_length=60, widget=forms.TextInput(attrs=PLAIN))
    whole_flow = forms.BooleanField(required=False, label="For every objective of this flow")

    def __init__(self, data: Any = None, *, one: Objective):
        now = datetime.now(UTC).replace(second=0, microsecond=0)
        super().__init__(
            data,
            initial={
                "token": uuid.uuid4(),
                "starts_at": now - timedelta(hours=1),
                "ends_at": now,
                "category": "maintenance",
                "time_zone": one.time_zone,
            },
        )
        if one.flow_id is None:
            del self.fields["whole_flow"]

    def clean(self) -> dict[str, Any]:
        said = super().clean() or {}
        if said.get("starts_at") and said.get("ends_at") and said["starts_at"] >= said["ends_at"]:
            raise forms.ValidationError("a period ends after it begins")
        return said

    def said(self) -> NewExclusion:
        said = self.cleaned_data
        return NewExclusion(
            key=said["token"],
            starts_at=said["starts_at"],
            minutes=-((said["starts_at"] - said["ends_at"]) // timedelta(minutes=1)),
            category=said["category"],
            reason=said["reason"],
            rule=said["rule"],
            time_zone=said["time_zone"],
        )


class OpenSloForm(forms.Form):
    """An OpenSLO file, pasted."""

    text = forms.CharField(
        strip=False, max_length=MOST_BYTES, label="OpenSLO, YAML",
        widget=forms.Textarea(attrs={**PLAIN, "class": "mono", "rows": 14, "placeholder": "apiVersion: openslo/v1\nkind: SLO"}),
    )  # fmt: skip
