"""Forms of a saved search and of a subscription to it. What may be saved is decided by the services."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import forms

from console.core.calendars import DAY_NAMES, clock_text, parse_clock
from console.core.errors import Invalid
from console.identity.models import Team
from messages.models import SavedSearch, Subscription
from messages.saved.services import NewSearch, Wish

WINDOWS = (
    ("", "that of the list"),
    ("1h", "last hour"),
    ("24h", "last 24 hours"),
    ("7d", "last 7 days"),
    ("30d", "last 30 days"),
)
PLAIN = {"autocomplete": "off"}


class SearchForm(forms.Form):
    """A saved search: its name, its query, how far back, and with whom it is shared."""

    name = forms.CharField(max_length=80, widget=forms.TextInput(attrs=PLAIN))
    q = forms.CharField(
        required=False, max_length=4_000, label="Query", help_text="As in the search box; docs/search.md has examples.",
        widget=forms.TextInput(attrs={**PLAIN, "class": "mono", "spellcheck": "false"}),
    )  # fmt: skip
    window = forms.ChoiceField(required=False, label="How far back")
    team = forms.ChoiceField(required=False, label="Shared with")

    def __init__(
        self,
        data: Any = None,
        *,
        teams: Iterable[Team],
        search: SavedSearch | None = None,
        initial: dict[str, Any] | None = None,
    ):
        super().__init__(data, initial=_initial(search) if search else initial)
        team, window = self.fields["team"], self.fields["window"]
        assert isinstance(team, forms.ChoiceField)
        assert isinstance(window, forms.ChoiceField)
        shared = [(str(one.pk), one.name) for one in teams]
        if search is not None and search.team is not None and search.team not in teams:
            shared.append((str(search.team.pk), search.team.name))
        team.choices = [("", "nobody: it is mine"), *shared]
        own = (self.initial or {}).get("window") or ""
        window.choices = [*WINDOWS, *([(own, own)] if own not in dict(WINDOWS) else [])]

    def said(self) -> NewSearch:
        """Return the validated form as what the service takes."""
        said = self.cleaned_data
        team_id = int(said["team"]) if said["team"] else None
        return NewSearch(name=said["name"], q=said["q"], window=said["window"], team_id=team_id)


def _initial(search: SavedSearch) -> dict[str, Any]:
    return {"name": search.name, "q": search.q, "window": search.window, "team": str(search.team_id or "")}


class WishForm(forms.Form):
    """When to be told. Empty minutes between news: changes only."""

    when = forms.ChoiceField(
        label="Tell me", choices=(("matches", "when it matches"), ("silent", "when it does not match for …"))
    )
    digest_minutes = forms.IntegerField(
        required=False, label="News at most every … minutes", help_text="While it matches. Empty: only when that changes.",
        widget=forms.NumberInput(attrs={"min": 5, "max": 10_080, "placeholder": "60"}),
    )  # fmt: skip
    minutes = forms.IntegerField(
        required=False, label="… minutes without a match", help_text="Counted in working time alone.",
        widget=forms.NumberInput(attrs={"min": 1, "max": 10_080, "placeholder": "60"}),
    )  # fmt: skip
    days = forms.MultipleChoiceField(
        required=False, label="Working days", choices=[(str(at + 1), name) for at, name in enumerate(DAY_NAMES)],
        widget=forms.CheckboxSelectMultiple,
    )  # fmt: skip
    begins = forms.CharField(max_length=20, label="From", widget=forms.TextInput(attrs={**PLAIN, "size": 6}))
    ends = forms.CharField(max_length=20, label="Until", widget=forms.TextInput(attrs={**PLAIN, "size": 6}))
    time_zone = forms.CharField(
        max_length=60, widget=forms.TextInput(attrs={**PLAIN, "placeholder": "Europe/Berlin", "spellcheck": "false"})
    )

    def __init__(self, data: Any = None, *, subscription: Subscription | None = None):
        super().__init__(data, initial=_wished(subscription))

    def wish(self) -> Wish:
        """Return the validated form as what the service takes; what belongs to the other choice is left out. Raises Invalid."""
        said = self.cleaned_data
        silent = said["when"] == Subscription.When.SILENT
        return Wish(
            when=said["when"],
            minutes=said["minutes"] if silent else None,
            digest_minutes=None if silent else said["digest_minutes"],
            days=[int(day) for day in said["days"]],
            from_minute=parse_clock(said["begins"]),
            until_minute=parse_clock(said["ends"]),
            time_zone=said["time_zone"],
        )

    def complain(self, error: Invalid) -> None:
        self.add_error(None, str(error))


def _wished(subscription: Subscription | None) -> dict[str, Any]:
    if subscription is None:
        days = ["1", "2", "3", "4", "5"]
        return {
            "when": "matches",
            "digest_minutes": 60,
            "days": days,
            "begins": "08:00",
            "ends": "18:00",
            "time_zone": "UTC",
        }
    return {
        "when": subscription.when,
        "digest_minutes": subscription.digest_minutes,
        "minutes": subscription.minutes,
        "days": [str(day) for day in subscription.days],
        "begins": clock_text(subscription.from_minute),
        "ends": clock_text(subscription.until_minute),
        "time_zone": subscription.time_zone,
    }
