"""The form of a policy: a number of days for each kind. Bounds are the rules'; whether somebody may save is decided by the service."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django import forms

from messages.retention.rules import BOUNDS, Policy, PolicyInvalid, check_policy


class PolicyForm(forms.Form):
    """One field a number of days, made from the bounds."""

    def __init__(self, data: Any, *, policy: Policy) -> None:
        super().__init__(data, initial=asdict(policy))
        for name, bound in BOUNDS.items():
            self.fields[name] = forms.IntegerField(
                min_value=bound.least, max_value=bound.most, label=bound.label, help_text=bound.meaning
            )

    def clean(self) -> dict[str, Any]:
        said = super().clean() or {}
        if not self.errors:
            try:
                check_policy(Policy(**said))
            except PolicyInvalid as refusal:
                raise forms.ValidationError(str(refusal)) from refusal
        return said

    def policy(self) -> Policy:
        """Return the policy that a valid form says."""
        return Policy(**self.cleaned_data)
