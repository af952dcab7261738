"""The form of a channel: its kind decides the fields. Whether somebody may save is decided by the services."""

from __future__ import annotations

from typing import Any

from django import forms

from alerts.delivery.notifiers.base import Notifier
from alerts.delivery.services import NewChannel
from alerts.delivery.templates import FIELDS, MOST_TEXT, MOST_TITLE
from alerts.models import Channel

OWN = "field_"


class ChannelForm(forms.Form):
    """Fields of the kind are named `field_<name>`; a secret is taken and never shown again."""

    name = forms.CharField(max_length=120, widget=forms.TextInput(attrs={"autocomplete": "off"}))
    enabled = forms.BooleanField(required=False, initial=True)
    title_template = forms.CharField(
        required=False, max_length=MOST_TITLE, label="Title", help_text="Empty: {happening}: {title}",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )  # fmt: skip
    text_template = forms.CharField(
        required=False, max_length=MOST_TEXT, label="Text", strip=False, widget=forms.Textarea(attrs={"rows": 3}),
        help_text=f"Empty: {{summary}}. Fields: {', '.join(f'{{{name}}}' for name in FIELDS)}.",
    )  # fmt: skip

    def __init__(
        self, data: Any, *, notifier: Notifier, channel: Channel | None = None, secrets: list[str] | None = None
    ) -> None:
        initial: dict[str, Any] = {}
        if channel is not None:
            initial = {name: getattr(channel, name) for name in ("name", "enabled", "title_template", "text_template")}
        super().__init__(data, initial=initial)
        self.notifier = notifier
        for field in notifier.fields:
            stored = field.name in (secrets or [])
            self.fields[f"{OWN}{field.name}"] = forms.CharField(
                required=field.required and not stored,
                max_length=2000,
                label=field.label,
                help_text=" ".join(part for part in (field.help, "Stored; empty keeps it." if stored else "") if part),
                initial="" if field.secret else (channel.settings.get(field.name, "") if channel else field.default),
                widget=forms.PasswordInput(attrs={"autocomplete": "new-password"})
                if field.secret
                else forms.TextInput(attrs={"autocomplete": "off"}),
            )

    def own(self) -> list[forms.BoundField]:
        """Return the fields of this kind, in its order."""
        return [self[f"{OWN}{field.name}"] for field in self.notifier.fields]

    def said(self) -> NewChannel:
        """Return the validated form as what the service takes."""
        data = self.cleaned_data
        own = {field: data.get(f"{OWN}{field.name}", "") for field in self.notifier.fields}
        return NewChannel(
            kind=self.notifier.kind,
            name=data["name"],
            settings={field.name: value for field, value in own.items() if not field.secret},
            secrets={field.name: value for field, value in own.items() if field.secret and value},
            title_template=data["title_template"],
            text_template=data["text_template"],
            enabled=data["enabled"],
        )
