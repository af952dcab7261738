"""The form of a masking rule, with a sample to try it on. What may be saved is decided by the services."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import forms

from messages.masking.rules import MOST_KEPT
from messages.masking.services import NewRule
from messages.models import MaskingRule


class MaskingForm(forms.Form):
    """A rule that is not saved yet; without an expression the preview shows what the saved rules do."""

    flow = forms.CharField(
        required=False, max_length=200, help_text="Empty: every flow of this environment.",
        widget=forms.TextInput(attrs={"list": "flow-names", "placeholder": "every flow", "autocomplete": "off"}),
    )  # fmt: skip
    kind = forms.ChoiceField(choices=MaskingRule.Kind.choices)
    expression = forms.CharField(
        max_length=500, required=False, strip=False,
        widget=forms.TextInput(
            attrs={"class": "mono", "placeholder": "$..card", "autocomplete": "off", "spellcheck": "false"}
        ),
        help_text="$..card, //card/@number, authorization or \\b(?:\\d[ -]?){13,16}\\b",
    )  # fmt: skip
    keep_last = forms.IntegerField(
        min_value=0, max_value=MOST_KEPT, required=False, initial=0, label="Characters kept at the end",
        help_text="4 leaves •••1111 of a card number; never more than half of the value.",
    )  # fmt: skip
    drop_unreadable = forms.BooleanField(required=False, initial=True)
    found_as = forms.CharField(
        required=False, max_length=64, label="Found by, as a business key",
        widget=forms.TextInput(attrs={"class": "mono", "placeholder": "customer.vat", "autocomplete": "off", "spellcheck": "false"}),
        help_text="A keyed hash of the value is kept, so that who knows the value finds the message: customer.vat:DE123. Empty: none is.",
    )  # fmt: skip
    headers = forms.CharField(
        required=False, max_length=20_000, label="Sample headers",
        widget=forms.Textarea(
            attrs={"rows": 2, "class": "mono", "placeholder": "authorization: Bearer abc", "spellcheck": "false"}
        ),
    )  # fmt: skip
    body = forms.CharField(
        required=False, max_length=300_000, strip=False, label="Sample body",
        widget=forms.Textarea(
            attrs={"rows": 8, "class": "mono", "placeholder": '{"card": "4111 1111 1111 1111"}', "spellcheck": "false"}
        ),
    )  # fmt: skip

    def __init__(self, data: Any = None, *, flows: Iterable[str] = ()) -> None:
        super().__init__(data)
        self.flow_names = list(flows)

    def rule(self) -> NewRule:
        """Return the validated form as what the service takes."""
        said = self.cleaned_data
        return NewRule(
            flow=said["flow"],
            kind=said["kind"],
            expression=said["expression"],
            keep_last=said["keep_last"] or 0,
            drop_unreadable=said["drop_unreadable"],
            found_as=said["found_as"],
        )

    def sample_headers(self) -> dict[str, str]:
        """Return "name: value" lines as headers; a line without a colon is a name without a value."""
        lines = (line.partition(":") for line in self.cleaned_data["headers"].splitlines() if line.strip())
        return {name.strip(): value.strip() for name, _, value in lines}
