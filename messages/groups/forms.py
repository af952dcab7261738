"""The form of a grouping rule. What may be saved is decided by the services."""

from __future__ import annotations

from typing import Any

from django import forms

from messages.groups.classes import CLASSES
from messages.groups.rules import KEY, PARTS
from messages.groups.ruling import NewGroupRule
from messages.models import DeadLetter, GroupRule

TEXT = {"autocomplete": "off", "spellcheck": "false"}


def _text(most: int, label: str, hint: str, placeholder: str = "") -> forms.CharField:
    widget = forms.TextInput(attrs=TEXT | {"placeholder": placeholder})
    return forms.CharField(required=False, max_length=most, label=label, help_text=hint, widget=widget)


class GroupRuleForm(forms.Form):
    """Which failures, and by which parts they belong together. No part ticked: one group of all in a flow."""

    name = forms.CharField(
        max_length=120, help_text="Its groups are called so.", widget=forms.TextInput(attrs=TEXT | {"placeholder": "ERP is away"})
    )  # fmt: skip
    flow = _text(200, "Flow", "A name; * and ? stand for anything.", "orders*")
    step = _text(120, "System that failed", "", "erp")
    error_type = _text(300, "Exception", "The innermost one's name.", "*TimeoutException")
    words = _text(
        310, "Words of the error", "Anywhere in it; after = the whole of it, values written as …", "did not answer"
    )
    destination = _text(300, "Destination", "", "erp.*")
    reason = forms.ChoiceField(
        required=False, choices=[("", "any"), *((one, one.replace("_", " ")) for one in DeadLetter.ReasonCode.values)]
    )
    parts = forms.MultipleChoiceField(
        required=False,
        label="Belong together by",
        choices=list(PARTS.items()),
        widget=forms.CheckboxSelectMultiple,
    )
    keys = _text(200, "and by business keys", "Names with spaces between, such as country.", "country")
    failure_class = forms.ChoiceField(
        required=False, label="Class", choices=[("", "as shipped"), *((one, one) for one in CLASSES)]
    )
    runbook_url = forms.CharField(required=False, max_length=200, label="Runbook", widget=forms.URLInput(attrs=TEXT))

    def __init__(self, data: Any = None, *, rule: GroupRule | None = None) -> None:
        super().__init__(data, initial=_initial(rule))

    def said(self) -> NewGroupRule:
        """Return the validated form as what the service takes."""
        said = dict(self.cleaned_data)
        keys = [f"{KEY}{one}" for one in said.pop("keys").split()]
        return NewGroupRule(**said | {"parts": (*said["parts"], *keys)})


def _initial(rule: GroupRule | None) -> dict[str, Any]:
    if rule is None:
        return {}
    names = ("name", "flow", "step", "error_type", "words", "destination", "reason", "failure_class", "runbook_url")
    keys = [one.removeprefix(KEY) for one in rule.parts if one.startswith(KEY)]
    return {name: getattr(rule, name) for name in names} | {
        "parts": [one for one in rule.parts if one in PARTS],
        "keys": " ".join(keys),
    }
