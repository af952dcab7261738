"""The editor of a mapping, with a sample to try it on. What may be saved is decided by the services."""

from __future__ import annotations

from typing import Any

from django import forms

from messages.mappings.services import SAMPLE_BYTES, NewMapping
from messages.models import Mapping

CODE = {"class": "mono", "spellcheck": "false", "autocomplete": "off"}


class MappingForm(forms.Form):
    """A mapping as it is being written. Its slug is said once; its secret is taken and never shown again."""

    name = forms.CharField(max_length=120)
    slug = forms.SlugField(
        max_length=30, label="End of the address", help_text="/ingest/v1/mapped/… It stays, for senders know it.",
        widget=forms.TextInput(attrs={**CODE, "placeholder": "shop-webhook"}),
    )  # fmt: skip
    definition = forms.CharField(
        max_length=65_536, strip=False,
        help_text="JSON; docs/mappings.md says what can be written.",
        widget=forms.Textarea(attrs={**CODE, "rows": 28, "wrap": "off"}),
    )  # fmt: skip
    signature_header = forms.CharField(
        required=False, max_length=80, label="Header with the signature",
        help_text="HMAC-SHA-256 of the body, such as X-Hub-Signature-256. Empty: the key is enough.",
        widget=forms.TextInput(attrs=CODE),
    )  # fmt: skip
    secret = forms.CharField(
        required=False, max_length=500, strip=False, label="Secret that signs",
        help_text="Sealed and never shown. Empty keeps the one that there is.",
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )  # fmt: skip
    enabled = forms.BooleanField(required=False, initial=True)
    sample = forms.CharField(
        required=False, max_length=SAMPLE_BYTES, strip=False, label="Sample body",
        widget=forms.Textarea(attrs={**CODE, "rows": 14, "wrap": "off", "placeholder": '{"id": "evt-4711", …}'}),
    )  # fmt: skip

    def __init__(self, data: Any = None, *, mapping: Mapping | None = None, initial: dict[str, Any] | None = None):
        names = ("name", "slug", "definition", "signature_header", "enabled")
        super().__init__(data, initial={name: getattr(mapping, name) for name in names} if mapping else initial)
        self.fields["slug"].disabled = mapping is not None

    def said(self) -> NewMapping:
        """Return the validated form as what the service takes."""
        said = {**self.cleaned_data, "definition": self.cleaned_data["definition"].replace("\r\n", "\n")}
        return NewMapping(**{name: value for name, value in said.items() if name != "sample"})
