"""Forms of flows and connections. Choices come from queries; whether somebody may save is decided by the services."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import forms

from console.identity.models import Agent, Team
from messages.catalog.connecting import LONGEST_QUEUE, MOST_QUEUES, Wanted, why_not
from messages.catalog.connections import ConnectionInvalid, check_address, connection_families, harvested_families
from messages.catalog.replaying import (
    FASTEST,
    LONGEST_KEY,
    MOST_ABOVE,
    MOST_DAYS,
    MOST_REPLAYS,
    NAMES,
    SLOWEST,
    USUAL_REPLAYS,
    ReplaySettings,
)
from messages.catalog.services import FlowChange
from messages.models import Flow
from messages.retention.rules import BOUNDS


class RunbookField(forms.URLField):
    """An address, with https:// before it where nothing is. Whether it is one is decided by the service."""

    default_validators = []  # Django's knows no host without a dot


class FlowForm(forms.Form):
    """What an administrator may say about a flow."""

    team = forms.ChoiceField(
        required=False,
        label="Owner team",
        help_text="Its operators may replay; without a team every operator here may.",
    )
    criticality = forms.ChoiceField(choices=Flow.Criticality.choices)
    runbook_url = RunbookField(required=False, label="Runbook", assume_scheme="https", max_length=200)
    description = forms.CharField(required=False, max_length=4000, widget=forms.Textarea(attrs={"rows": 3}))
    receiver_is_idempotent = forms.BooleanField(required=False)
    payload_search = forms.BooleanField(required=False)
    payload_days = forms.IntegerField(
        required=False,
        label="Days of payloads",
        min_value=BOUNDS["payload_days"].least,
        max_value=BOUNDS["payload_days"].most,
    )
    replay_forbidden = forms.BooleanField(required=False)  # what a form leaves out is off, and replays are on
    most_replays = forms.IntegerField(
        required=False, label="Replays of one message", min_value=1, max_value=MOST_REPLAYS
    )
    replay_days = forms.IntegerField(required=False, label="Too old after days", min_value=1, max_value=MOST_DAYS)
    replay_rate = forms.FloatField(
        required=False,
        label="Most a second",
        min_value=SLOWEST,
        max_value=FASTEST,
        widget=forms.NumberInput(attrs={"step": "any"}),
    )
    approve_above = forms.IntegerField(required=False, label="Second person above", min_value=0, max_value=MOST_ABOVE)
    order_key = forms.CharField(required=False, label="Order by key", max_length=LONGEST_KEY)
    supersede_key = forms.CharField(required=False, label="Superseded by key", max_length=LONGEST_KEY)

    def __init__(self, data: Any, *, flow: Flow, teams: Iterable[Team]) -> None:
        names = (
            "criticality",
            "runbook_url",
            "description",
            "receiver_is_idempotent",
            "payload_days",
            "payload_search",
            *NAMES,
        )
        initial = {name: getattr(flow, name) for name in names} | {"team": str(flow.team_id or "")}
        initial["replay_forbidden"] = not initial.pop("replay_allowed")
        super().__init__(data, initial=initial)
        self.by_id = {str(team.pk): team for team in [*([flow.team] if flow.team else []), *teams]}
        team = self.fields["team"]
        assert isinstance(team, forms.ChoiceField)
        team.choices = [("", "no team: everybody here sees it"), *((pk, one.name) for pk, one in self.by_id.items())]

    def change(self) -> FlowChange:
        """Return the validated form as what the service takes."""
        said = dict(self.cleaned_data)
        said["replay_allowed"] = not said.pop("replay_forbidden")
        said["most_replays"] = said["most_replays"] or USUAL_REPLAYS
        replays = ReplaySettings(**{name: said.pop(name) for name in NAMES})
        return FlowChange(**{**said, "team": self.by_id.get(said["team"]), "replays": replays})


class ConnectionForm(forms.Form):
    """A new connection, with what its family may be told. The secret is taken and never shown again."""

    name = forms.CharField(max_length=120, help_text="What the harvester calls this broker in harvest.toml.")
    kind = forms.ChoiceField(choices=lambda: [(family.kind, family.label) for family in connection_families()])
    agent = forms.ChoiceField(
        required=False,
        label="Lives with",
        help_text="With an agent: it has address and credentials, and sends what is ordered.",
    )
    address = forms.CharField(max_length=500, required=False)
    username = forms.CharField(
        max_length=200, required=False, label="User name", widget=forms.TextInput(attrs={"autocomplete": "off"})
    )
    secret = forms.CharField(
        max_length=2000, required=False, strip=False, label="Password or token",
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}), help_text="Stored encrypted; no page and no API shows it again.",
    )  # fmt: skip

    def __init__(self, data: Any = None, *, kind: str = "", agents: Iterable[Agent] = (), **more: Any) -> None:
        super().__init__(data, **more)
        self.by_id = {str(agent.pk): agent for agent in agents}
        place = self.fields["agent"]
        assert isinstance(place, forms.ChoiceField)
        place.choices = [("", "the console, which sends itself"), *((pk, one.name) for pk, one in self.by_id.items())]
        if not self.by_id:
            del self.fields["agent"]
        families = {family.kind: family for family in connection_families()}
        self.family = families.get(kind)
        address = self.fields["address"]
        examples = [family.example for family in families.values() if family.example]
        address.help_text = f"{', '.join(examples)}: without user and password."
        if self.family is not None:
            address.help_text = f"For example {self.family.example}: without user and password."
            address.widget.attrs["placeholder"] = self.family.example
            for option in self.family.options:
                self.fields[f"option_{option.name}"] = forms.CharField(
                    max_length=500, required=False, label=option.label, help_text=option.help
                )
            self.order_fields(["kind", "name", "agent", "address"])

    def clean(self) -> dict[str, Any]:
        said = super().clean() or {}
        if not said.get("agent") and not said.get("address") and "address" not in self.errors:
            self.add_error("address", "This field is required.")
        return said

    def connection(self) -> dict[str, Any]:
        """Return the validated form as what the service takes."""
        said = dict(self.cleaned_data)
        said["agent"] = self.by_id.get(said.pop("agent", ""))
        options = {name.removeprefix("option_"): said.pop(name) for name in list(said) if name.startswith("option_")}
        return said | {"options": {name: value for name, value in options.items() if value}}


class ConnectForm(forms.Form):
    """Which queues of which broker a new harvester is to read. Nothing of it is secret: it stands in the page's address."""

    kind = forms.ChoiceField(choices=lambda: [(family.kind, family.label) for family in harvested_families()])
    name = forms.CharField(
        max_length=120,
        label="Name of the broker",
        help_text="As its connection here is called, so that replays find the way back.",
    )
    address = forms.CharField(max_length=500)
    username = forms.CharField(max_length=200, required=False, label="User name")
    password = forms.BooleanField(required=False, label="It needs a password or token")
    queues = forms.CharField(
        max_length=(LONGEST_QUEUE + 2) * MOST_QUEUES,
        label="Dead-letter queues or streams",
        help_text="One a line.",
        widget=forms.Textarea(attrs={"rows": 3}),
    )
    system = forms.CharField(
        max_length=120,
        required=False,
        label="System that failed to process them",
        help_text="For instance erp. May stay empty.",
    )
    mode = forms.ChoiceField(
        choices=[("move", "move them to the console"), ("mirror", "look and leave them there")],
        label="What is done with the letters",
    )
    agent = forms.CharField(max_length=120, label="Name of the harvester")

    def __init__(self, data: Any = None, *, kind: str = "", **more: Any) -> None:
        super().__init__(data, **more)
        family = next((one for one in harvested_families() if one.kind == kind), None)
        self.example = family.example if family else ""
        if family is not None:
            self.fields["address"].help_text = f"For example {family.example}: without user and password."
            self.fields["address"].widget.attrs["placeholder"] = family.example

    def clean_queues(self) -> str:
        named = self.cleaned_data["queues"].splitlines()
        if len(named) > MOST_QUEUES or any(len(one) > LONGEST_QUEUE for one in named):
            words = f"One harvester takes at most {MOST_QUEUES} here, of at most {LONGEST_QUEUE} characters each."
            raise forms.ValidationError(words)
        return str(self.cleaned_data["queues"])

    def clean(self) -> dict[str, Any]:
        said = super().clean() or {}
        if not self.errors:
            try:
                check_address(said["kind"], said["address"])
            except ConnectionInvalid as error:
                self.add_error("address", str(error))
            else:
                if words := why_not(self._wanted(said, "")):
                    self.add_error("mode", words)
        return said

    def wanted(self, console: str) -> Wanted:
        """Return the validated form as what the files are written from."""
        return self._wanted(self.cleaned_data, console)

    @staticmethod
    def _wanted(said: dict[str, Any], console: str) -> Wanted:
        return Wanted(
            console=console,
            agent=said["agent"],
            broker=said["name"],
            kind=said["kind"],
            address=said["address"],
            username=said["username"],
            with_secret=bool(said["password"]),
            queues=[line.strip() for line in said["queues"].splitlines() if line.strip()],
            system=said["system"],
            mode=said["mode"],
        )
