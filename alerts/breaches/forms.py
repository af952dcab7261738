"""The forms of silences and alert policies. What may be saved is decided by the services."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django import forms

from alerts.breaches.policies import MOST_STEPS, NewPolicy, NewStep
from alerts.breaches.queries import SOURCES
from alerts.models import AlertPolicy
from console.core.calendars import DAY_NAMES, clock_text, parse_clock
from console.core.errors import Invalid

PLAIN = {"autocomplete": "off"}
HOURS = (("1", "1 hour"), ("4", "4 hours"), ("8", "8 hours"), ("24", "1 day"), ("72", "3 days"), ("168", "1 week"))
MOST_TEXT = 2_000
BLANK_STEPS = 2  # offered below those that there are; save, and there are more


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
    page_channels = forms.TypedMultipleChoiceField(
        required=False, coerce=int, label="Pages go to", widget=forms.CheckboxSelectMultiple
    )
    ticket_channels = forms.TypedMultipleChoiceField(
        required=False, coerce=int, label="Tickets go to", widget=forms.CheckboxSelectMultiple
    )
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
        names: Mapping[int, str],
        policy: AlertPolicy | None = None,
    ) -> None:
        super().__init__(data, initial=_initial(policy) if policy else None)
        field = self.fields["team"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = teams
        self.channels = [(str(pk), name) for pk, name in names.items()]
        self._step_count = min(MOST_STEPS, (len(policy.steps) if policy else 0) + BLANK_STEPS)
        for number in range(self._step_count):
            self.fields |= _step_fields(number)
        for one in self.fields.values():
            if isinstance(one, forms.TypedMultipleChoiceField):
                one.choices = self.channels
        if policy is not None:
            del self.fields["team"]

    @property
    def steps(self) -> list[tuple[forms.BoundField, forms.BoundField]]:
        """Return the fields of each step: after how many minutes, and whom."""
        return [(self[f"step{one}_minutes"], self[f"step{one}_channels"]) for one in range(self._step_count)]

    @property
    def rest(self) -> list[forms.BoundField]:
        """Return the fields that a page draws one after the other."""
        return [self[name] for name in ("from_clock", "until_clock", "time_zone", "wait_s", "repeat_minutes", "quiet_minutes")]  # fmt: skip

    def clean(self) -> dict[str, Any]:
        """Refuse channels of a step without its minutes; a step without both is none."""
        for number in range(self._step_count):
            minutes, channels = (self.cleaned_data.get(f"step{number}_{name}") for name in ("minutes", "channels"))
            if channels and minutes is None and f"step{number}_minutes" not in self.errors:
                self.add_error(f"step{number}_minutes", "Say after how many minutes.")
        return self.cleaned_data

    def clean_from_clock(self) -> int:
        return _or_error(parse_clock, self.cleaned_data["from_clock"])

    def clean_until_clock(self) -> int:
        return _or_error(parse_clock, self.cleaned_data["until_clock"])

    def said(self) -> NewPolicy:
        """Return the validated form as what the service takes."""
        said = self.cleaned_data
        steps = [
            NewStep(after_minutes=minutes, channels=tuple(said[f"step{number}_channels"]))
            for number in range(self._step_count)
            if (minutes := said[f"step{number}_minutes"]) is not None
        ]
        return NewPolicy(
            days=tuple(int(one) for one in said["days"]), from_minute=said["from_clock"], until_minute=said["until_clock"],
            page_channels=tuple(said["page_channels"]), ticket_channels=tuple(said["ticket_channels"]), steps=tuple(steps),
            **{name: said[name] for name in ("time_zone", "wait_s", "repeat_minutes", "quiet_minutes")},
        )  # fmt: skip


def _step_fields(number: int) -> dict[str, forms.Field]:
    return {
        f"step{number}_minutes": forms.IntegerField(required=False, label="After … minutes", min_value=1),
        f"step{number}_channels": forms.TypedMultipleChoiceField(
            required=False, coerce=int, label="tell", widget=forms.CheckboxSelectMultiple
        ),
    }


def _or_error(parse: Any, text: str) -> Any:
    try:
        return parse(text)
    except Invalid as error:
        raise forms.ValidationError(str(error)) from error


def _initial(policy: AlertPolicy) -> dict[str, Any]:
    return {
        "page_channels": [str(one) for one in policy.page_channels],
        "ticket_channels": [str(one) for one in policy.ticket_channels],
        **{f"step{number}_minutes": one["after_minutes"] for number, one in enumerate(policy.steps)},
        **{f"step{number}_channels": [str(channel) for channel in one["channels"]] for number, one in enumerate(policy.steps)},
        "days": [str(one) for one in policy.days],
        "from_clock": clock_text(policy.from_minute),
        "until_clock": clock_text(policy.until_minute),
        **{name: getattr(policy, name) for name in ("time_zone", "wait_s", "repeat_minutes", "quiet_minutes")},
    }  # fmt: skip
