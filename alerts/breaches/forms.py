"""The forms of silences and alert policies. What may be saved is decided by the services."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django import forms

from alerts.breaches.policies import NewPolicy, NewStep
from alerts.breaches.queries import SOURCES
from alerts.models import AlertPolicy
from console.core.errors import Invalid
from messages.saved.calendars import DAY_NAMES, clock_text, parse_clock

PLAIN = {"autocomplete": "off"}
HOURS = (("1", "1 hour"), ("4", "4 hours"), ("8", "8 hours"), ("24", "1 day"), ("72", "3 days"), ("168", "1 week"))
NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)
MOST_TEXT = 2_000
MOST_NAMED = 50


def parse_channels(text: str) -> tuple[int, ...]:
    """Return the channels of "1, 4": numbers with commas or spaces between; raises Invalid."""
    words = text[:MOST_TEXT].replace(",", " ").split()
    if bad := next((one for one in words if not NUMBER.fullmatch(one)), None):
        raise Invalid(f"a channel is named by its number, not “{bad[:20]}”")
    return tuple(dict.fromkeys(int(one) for one in words))


def parse_steps(text: str) -> tuple[NewStep, ...]:
    """Return the steps of lines such as "15: 3, 4", minutes before and channels after the colon; raises Invalid."""
    steps = []
    for line in text[:MOST_TEXT].splitlines():
        if not line.strip():
            continue
        minutes, colon, channels = line.partition(":")
        if not colon or not NUMBER.fullmatch(minutes.strip()):
            raise Invalid(f"a step is written 15: 3, 4 (minutes, then channels), not “{line.strip()[:40]}”")
        steps.append(NewStep(after_minutes=int(minutes), channels=parse_channels(channels)))
    return tuple(steps)


def parse_labels(text: str) -> dict[str, str]:
    """Return the labels of lines or commas such as "team=orders"; raises Invalid."""
    labels = {}
    for part in text[:MOST_TEXT].replace("\n", ",").split(","):
        if not part.strip():
            continue
        name, equals, value = part.partition("=")
        if not equals or not name.strip():
            raise Invalid(f"a label is written name=value, not “{part.strip()[:40]}”")
        labels[name.strip()] = value.strip()
    return labels


class SilenceForm(forms.Form):
    """What is not told, for how long, and why."""

    flow = forms.ChoiceField(required=False, label="Flow")
    severity = forms.ChoiceField(
        required=False, choices=(("", "pages and tickets"), ("page", "pages"), ("ticket", "tickets"))
    )  # fmt: skip
    source = forms.ChoiceField(required=False, label="About", choices=[("", "anything"), *((one, f"{one}s") for one in SOURCES)])  # fmt: skip
    labels = forms.CharField(
        required=False, max_length=MOST_TEXT, help_text="name=value, with commas between; all must fit.",
        widget=forms.TextInput(attrs=PLAIN | {"placeholder": "team=orders"}),
    )  # fmt: skip
    hours = forms.ChoiceField(label="For", choices=HOURS)
    comment = forms.CharField(max_length=1_000, label="Why", help_text="Who is not told reads it here.", widget=forms.TextInput(attrs=PLAIN))  # fmt: skip
    end_when_resolved = forms.BooleanField(required=False, label="End it when what it silenced is over")

    def __init__(self, data: Any = None, *, flows: Iterable[str], initial: dict[str, Any] | None = None) -> None:
        super().__init__(data, initial=initial)
        field = self.fields["flow"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [("", "every flow"), *((name, name) for name in flows)]

    def clean_labels(self) -> dict[str, str]:
        return _or_error(parse_labels, self.cleaned_data["labels"])

    def expires_at(self, now: datetime) -> datetime:
        return now + timedelta(hours=int(self.cleaned_data["hours"]))


class PolicyForm(forms.Form):
    """Who is told, when, and who then."""

    team = forms.ChoiceField(required=False, label="Of the flows of")
    page_channels = forms.CharField(
        required=False, max_length=MOST_TEXT, label="Pages go to", help_text="Numbers of channels, with commas between.",
        widget=forms.TextInput(attrs=PLAIN | {"placeholder": "1, 4"}),
    )  # fmt: skip
    ticket_channels = forms.CharField(
        required=False, max_length=MOST_TEXT, label="Tickets go to", widget=forms.TextInput(attrs=PLAIN)
    )  # fmt: skip
    steps = forms.CharField(
        required=False, max_length=MOST_TEXT, label="When nobody acknowledges",
        help_text="A line for each step: minutes, a colon, channels.", widget=forms.Textarea(attrs={"rows": 3, "placeholder": "15: 4\n45: 5"}),
    )  # fmt: skip
    days = forms.MultipleChoiceField(
        required=False, label="Tickets are told on", help_text="None ticked: at any time. Pages are told at any time.",
        choices=[(str(number), name) for number, name in enumerate(DAY_NAMES, 1)], widget=forms.CheckboxSelectMultiple,
    )  # fmt: skip
    from_clock = forms.CharField(max_length=5, label="From", initial="08:00", widget=forms.TextInput(attrs=PLAIN))
    until_clock = forms.CharField(max_length=5, label="Until", initial="18:00", widget=forms.TextInput(attrs=PLAIN))
    time_zone = forms.CharField(max_length=60, initial="UTC", widget=forms.TextInput(attrs=PLAIN | {"placeholder": "Europe/Berlin"}))  # fmt: skip
    wait_s = forms.IntegerField(
        label="Seconds to wait for more of the same flow", initial=30, min_value=0, max_value=600
    )  # fmt: skip
    repeat_minutes = forms.IntegerField(
        label="Told again after … minutes", initial=240, min_value=0, max_value=10_080, help_text="While it fires; 0: never.",
    )  # fmt: skip
    quiet_minutes = forms.IntegerField(label="What comes and goes is told once in … minutes", initial=30, min_value=0, max_value=1_440)  # fmt: skip

    def __init__(
        self,
        data: Any = None,
        *,
        teams: Sequence[tuple[str, str]],
        names: Mapping[int, str] | None,
        policy: AlertPolicy | None = None,
    ) -> None:
        super().__init__(data, initial=_initial(policy) if policy else None)
        field = self.fields["team"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = teams
        if names:
            known = ", ".join(f"{pk} {name}" for pk, name in list(names.items())[:MOST_NAMED])
            self.fields["page_channels"].help_text = f"Numbers of channels, with commas between: {known}."
        if policy is not None:
            del self.fields["team"]

    def clean_page_channels(self) -> tuple[int, ...]:
        return _or_error(parse_channels, self.cleaned_data["page_channels"])

    def clean_ticket_channels(self) -> tuple[int, ...]:
        return _or_error(parse_channels, self.cleaned_data["ticket_channels"])

    def clean_steps(self) -> tuple[NewStep, ...]:
        return _or_error(parse_steps, self.cleaned_data["steps"])

    def clean_from_clock(self) -> int:
        return _or_error(parse_clock, self.cleaned_data["from_clock"])

    def clean_until_clock(self) -> int:
        return _or_error(parse_clock, self.cleaned_data["until_clock"])

    def said(self) -> NewPolicy:
        """Return the validated form as what the service takes."""
        said = self.cleaned_data
        return NewPolicy(
            days=tuple(int(one) for one in said["days"]), from_minute=said["from_clock"], until_minute=said["until_clock"],
            **{name: said[name] for name in ("page_channels", "ticket_channels", "steps", "time_zone", "wait_s", "repeat_minutes", "quiet_minutes")},
        )  # fmt: skip


def _or_error(parse: Any, text: str) -> Any:
    try:
        return parse(text)
    except Invalid as error:
        raise forms.ValidationError(str(error)) from error


def _initial(policy: AlertPolicy) -> dict[str, Any]:
    return {
        "page_channels": ", ".join(str(one) for one in policy.page_channels),
        "ticket_channels": ", ".join(str(one) for one in policy.ticket_channels),
        "steps": "\n".join(f"{one['after_minutes']}: {', '.join(str(channel) for channel in one['channels'])}" for one in policy.steps),
        "days": [str(one) for one in policy.days],
        "from_clock": clock_text(policy.from_minute),
        "until_clock": clock_text(policy.until_minute),
        **{name: getattr(policy, name) for name in ("time_zone", "wait_s", "repeat_minutes", "quiet_minutes")},
    }  # fmt: skip
