"""The form of a replay rule. What may be saved is decided by the services."""

from __future__ import annotations

from typing import Any

from django import forms

from console.identity.actor import Actor
from messages.automatic.schedule import parse_waits
from messages.automatic.services import NewAutomaticRule
from messages.groups.access import get_visible_group
from messages.groups.classes import CLASSES
from messages.models import AutomaticRule

TEXT = {"autocomplete": "off", "spellcheck": "false"}


class AutomaticRuleForm(forms.Form):
    """For a group or a class, when it replays, and under which bounds."""

    name = forms.CharField(max_length=120, widget=forms.TextInput(attrs=TEXT | {"placeholder": "ERP is away at night"}))
    failure_class = forms.ChoiceField(
        required=False,
        label="Failures of the class",
        choices=[("", "of one group only"), *((name, f"{name}: {one.words}") for name, one in CLASSES.items())],
    )
    group = forms.CharField(
        required=False, max_length=24, label="or of the group", help_text="Its reference; with what it speaks for.",
        widget=forms.TextInput(attrs=TEXT | {"placeholder": "G-204"}),
    )  # fmt: skip
    waits = forms.CharField(
        max_length=100, label="Replay after … minutes", help_text="Of each death of a message: 5, 15, 60 is three times.",
        widget=forms.TextInput(attrs=TEXT),
    )  # fmt: skip
    success_percent = forms.FloatField(
        label="Only above … % of success", help_text="Of what the receivers of its flow processed in the last 15 min."
    )
    per_hour = forms.IntegerField(label="At most … messages an hour")
    per_day = forms.IntegerField(label="At most … messages a day")
    rate_per_s = forms.FloatField(label="At … a second")
    stop_failed_percent = forms.FloatField(
        label="Stop at more than … % failed again",
        help_text="Of a batch; the rule is then off. The first message goes alone, so below 100 it stops when that fails.",
    )

    def __init__(self, data: Any = None, *, rule: AutomaticRule | None = None, group: str = "") -> None:
        super().__init__(data, initial=_initial(rule, group))

    def said(self, actor: Actor) -> NewAutomaticRule:
        """Return the validated form as what the service takes. Raises Invalid, and NotFound for a group that the actor may not see."""
        said = dict(self.cleaned_data)
        reference = said.pop("group").strip()
        return NewAutomaticRule(
            **said | {"waits": tuple(parse_waits(said["waits"]))},
            group=get_visible_group(actor, reference) if reference else None,
        )


def _initial(rule: AutomaticRule | None, group: str) -> dict[str, Any]:
    usual = rule or AutomaticRule(waits=[5, 15, 60], failure_class="" if group else "transient")
    names = ("name", "failure_class", "success_percent", "per_hour", "per_day", "rate_per_s", "stop_failed_percent")
    values = {name: getattr(usual, name) for name in names}
    return {name: f"{value:g}" if isinstance(value, float) else value for name, value in values.items()} | {
        "waits": ", ".join(str(one) for one in usual.waits),
        "group": usual.group.reference if usual.group_id and usual.group else group,
    }
