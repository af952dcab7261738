"""The form of a change that a person adds. Whether they may is decided by the services."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms

KINDS = (("maintenance", "Maintenance window"), ("deployment", "Deployment"), ("configuration", "Configuration change"))


class ChangeForm(forms.Form):
    """A maintenance window, a deployment or a configuration change, said by hand. Times are UTC."""

    kind = forms.ChoiceField(choices=KINDS)
    title = forms.CharField(max_length=300, widget=forms.TextInput(attrs={"autocomplete": "off"}))
    systems = forms.CharField(
        required=False, max_length=2000, help_text="Names, with commas. Without system and flow it is about everything here.",
        widget=forms.TextInput(attrs={"list": "system-names", "autocomplete": "off"}),
    )  # fmt: skip
    flow = forms.ChoiceField(required=False)
    version = forms.CharField(
        required=False, max_length=120, widget=forms.TextInput(attrs={"autocomplete": "off", "placeholder": "2.4.1"})
    )
    started_at = forms.DateTimeField(
        required=False, label="Begins (UTC)", help_text="Empty: now. It may lie ahead.",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )  # fmt: skip
    ended_at = forms.DateTimeField(
        required=False, label="Ends (UTC)", help_text="Empty: at once, or for a window until somebody ends it.",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )  # fmt: skip
    url = forms.CharField(
        required=False, max_length=2000, label="Link", widget=forms.URLInput(attrs={"placeholder": "https://…"})
    )

    def __init__(self, data: Any, *, flows: Sequence[str]) -> None:
        super().__init__(data)
        flow = self.fields["flow"]
        assert isinstance(flow, forms.ChoiceField)
        flow.choices = [("", "no flow in particular"), *((name, name) for name in flows)]

    def item(self) -> dict[str, Any]:
        """Return the validated form as a message about a change would say it."""
        said = self.cleaned_data
        kept = {
            name: said[name] for name in ("kind", "title", "version", "started_at", "ended_at", "url") if said[name]
        }
        systems = [name.strip() for name in said["systems"].split(",") if name.strip()]
        return kept | {"systems": systems, "flows": [said["flow"]] if said["flow"] else []}
