"""The form of a report schedule. Whether it may be is decided by the services."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms

from alerts.models import ReportSchedule
from alerts.reports.timing import WEEKDAYS
from alerts.reports.wishes import LANGUAGES, LINK_DAYS, MOST_NOUN, MOST_RECEIVERS, NewSchedule
from console.core.calendars import clock_text

PLAIN = {"autocomplete": "off", "spellcheck": "false"}
AS_THEY_ARE = ("name", "cadence", "weekday", "hour", "time_zone", "language", "noun", "nouns", "link_days", "enabled")
Choices = Sequence[tuple[int, str]]


class ScheduleForm(forms.Form):
    """What, when, with which words, to whom."""

    name = forms.CharField(
        max_length=120, label="For whom", help_text="Stands in the mail: a team, a partner, a board.",
        widget=forms.TextInput(attrs={**PLAIN, "placeholder": "Order team"}),
    )  # fmt: skip
    flows = forms.MultipleChoiceField(required=False, widget=forms.SelectMultiple(attrs={"size": 6}))
    objectives = forms.MultipleChoiceField(
        required=False, widget=forms.SelectMultiple(attrs={"size": 6}), help_text="Neither flows nor objectives: everything that its owner sees.",
    )  # fmt: skip
    cadence = forms.ChoiceField(label="Every", choices=(("daily", "day"), ("weekly", "week"), ("monthly", "month")))
    weekday = forms.TypedChoiceField(
        coerce=int, label="On", choices=list(enumerate(WEEKDAYS, 1)), help_text="Of a weekly one; a monthly one goes on the first."
    )  # fmt: skip
    hour = forms.TypedChoiceField(
        coerce=int, label="At", choices=[(hour, clock_text(hour * 60)) for hour in range(24)]
    )  # fmt: skip
    time_zone = forms.CharField(
        max_length=60,
        help_text="Whose days are reported, and whose clocks say when.",
        widget=forms.TextInput(attrs=PLAIN),
    )
    language = forms.ChoiceField(
        choices=list(LANGUAGES.items()), help_text="Of dates and numbers; the words are English."
    )
    noun = forms.CharField(
        required=False, max_length=MOST_NOUN, label="One of its messages is", help_text="As its readers say: an order, an invoice.",
        widget=forms.TextInput(attrs={**PLAIN, "placeholder": "order"}),
    )  # fmt: skip
    nouns = forms.CharField(
        required=False,
        max_length=MOST_NOUN,
        label="Several are",
        widget=forms.TextInput(attrs={**PLAIN, "placeholder": "orders"}),
    )
    receivers = forms.CharField(
        required=False, label="Receivers", help_text=f"Addresses, one a line, {MOST_RECEIVERS} at most. Those that are no member’s are for administrators.",
        widget=forms.Textarea(attrs={**PLAIN, "rows": 5, "placeholder": "ada@example.com"}),
    )  # fmt: skip
    link_days = forms.IntegerField(
        label="Links open for, days", min_value=LINK_DAYS[0], max_value=LINK_DAYS[1], help_text="For people without an account."
    )  # fmt: skip
    enabled = forms.BooleanField(required=False, label="Send it when its time has come.")

    def __init__(
        self, data: Any = None, *, flows: Choices, objectives: Choices, one: ReportSchedule | None = None, receivers: Sequence[str] = ()
    ) -> None:  # fmt: skip
        super().__init__(data, initial=_initial(one, receivers))
        for name, choices in (("flows", flows), ("objectives", objectives)):
            field = self.fields[name]
            assert isinstance(field, forms.MultipleChoiceField)
            field.choices = [(str(pk), label) for pk, label in choices]
        # What its owner chose and this reader does not see stays chosen.
        self.unseen_flows = [pk for pk in (one.flow_ids if one else []) if pk not in dict(flows)]
        self.unseen_objectives = [pk for pk in (one.objective_ids if one else []) if pk not in dict(objectives)]

    def clean_noun(self) -> str:
        return str(self.cleaned_data["noun"]) or "message"

    def clean_nouns(self) -> str:
        return str(self.cleaned_data["nouns"]) or "messages"

    def said(self) -> NewSchedule:
        """Return the validated form as what the services take."""
        said = self.cleaned_data
        return NewSchedule(
            flow_ids=[*map(int, said["flows"]), *self.unseen_flows],
            objective_ids=[*map(int, said["objectives"]), *self.unseen_objectives],
            receivers=said["receivers"].replace(",", "\n").split("\n"),
            **{name: said[name] for name in AS_THEY_ARE},
        )  # fmt: skip


def _initial(one: ReportSchedule | None, receivers: Sequence[str]) -> dict[str, Any]:
    if one is None:
        return {
            "cadence": "weekly",
            "weekday": 1,
            "hour": 7,
            "time_zone": "UTC",
            "language": "en-GB",
            "noun": "message",
            "nouns": "messages",
            "link_days": 30,
            "enabled": True,
        }
    return {
        **{name: getattr(one, name) for name in AS_THEY_ARE},
        "flows": [str(pk) for pk in one.flow_ids],
        "objectives": [str(pk) for pk in one.objective_ids],
        "receivers": "\n".join(receivers),
    }
