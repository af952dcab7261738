"""The editor of a schema, with a sample to try it on. What may be saved is decided by the services."""

from __future__ import annotations

import re
from typing import Any

from django import forms

from messages.models import Schema
from messages.schemas.services import LARGEST_TEXT, MOST_IDS, SAMPLE_CHARACTERS, NewSchema

CODE = {"class": "mono", "spellcheck": "false", "autocomplete": "off"}


class IdsField(forms.CharField):
    """Numbers with commas or spaces between them."""

    def clean(self, value: Any) -> list[int]:
        words = [one for one in re.split(r"[,\s]+", super().clean(value)) if one]
        if len(words) > MOST_IDS or not all(one.isascii() and one.isdigit() and len(one) < 11 for one in words):
            raise forms.ValidationError(f"Numbers with commas between them, at most {MOST_IDS}.")
        return [int(one) for one in words]


class SchemaForm(forms.Form):
    """A schema as it is being written."""

    name = forms.CharField(max_length=120)
    format = forms.ChoiceField(choices=Schema.Format.choices)
    definition = forms.CharField(
        max_length=LARGEST_TEXT, strip=False, label="Schema",
        help_text="Avro’s JSON, .proto source, a FileDescriptorSet in base64, a JSON Schema, an XSD, or what the schema registry answers.",
        widget=forms.Textarea(attrs={**CODE, "rows": 20, "wrap": "off"}),
    )  # fmt: skip
    message = forms.CharField(
        required=False, max_length=300, label="Message",
        help_text="Of Protobuf, with its package: shop.v1.Order. Empty when there is one alone.",
        widget=forms.TextInput(attrs=CODE),
    )  # fmt: skip
    ids = IdsField(
        required=False, max_length=2_000, label="Ids in the registry",
        help_text="Of bodies in Confluent framing: 42, 57.", widget=forms.TextInput(attrs=CODE),
    )  # fmt: skip
    destination = forms.CharField(
        required=False, max_length=200, label="Destination",
        help_text="Topic or queue; * and ? stand for anything. With ids: both must fit.",
        widget=forms.TextInput(attrs={**CODE, "placeholder": "orders.*"}),
    )  # fmt: skip
    sample = forms.CharField(
        required=False, max_length=SAMPLE_CHARACTERS, strip=False, label="Sample body, in hex or base64",
        help_text="Its frame may stand before it, and gzip or zstd around it. For a JSON Schema or XSD: as text.",
        widget=forms.Textarea(attrs={**CODE, "rows": 6, "placeholder": "00 00 00 00 2a 0a 34 37 31 31"}),
    )  # fmt: skip

    def __init__(self, data: Any = None, *, schema: Schema | None = None) -> None:
        names = ("name", "format", "definition", "message", "destination")
        initial = {name: getattr(schema, name) for name in names} if schema else {}
        super().__init__(data, initial=initial | ({"ids": ", ".join(map(str, schema.ids))} if schema else {}))

    def said(self) -> NewSchema:
        """Return the validated form as what the service takes."""
        return NewSchema(**{name: value for name, value in self.cleaned_data.items() if name != "sample"})
