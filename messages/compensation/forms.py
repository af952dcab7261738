"""The editor of a compensation book. What may be saved is decided by the services."""

from __future__ import annotations

from django import forms

from console.core.yamltext import MOST_BYTES

CODE = {"class": "mono", "spellcheck": "false", "autocomplete": "off"}


class BookForm(forms.Form):
    """A book as it is being written, or uploaded: a file that is chosen wins over the text."""

    content = forms.CharField(
        required=False, max_length=MOST_BYTES, strip=False, label="Book",
        help_text="YAML or JSON; docs/compensation.md says what can be written.",
        widget=forms.Textarea(attrs={**CODE, "rows": 20, "wrap": "off"}),
    )  # fmt: skip
    file = forms.FileField(
        required=False, label="Or a file", help_text="An exported book; it is taken in place of the text."
    )
    reason = forms.CharField(
        max_length=500, label="What changed, and why", help_text="Kept with the version and in the audit list.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )  # fmt: skip
    base = forms.IntegerField(min_value=0, max_value=10**9, widget=forms.HiddenInput)
    on = forms.CharField(
        required=False, max_length=512, label="Message", help_text="A dead letter, a message, or its message id; empty: the latest dead letter of this flow.",
        widget=forms.TextInput(attrs=CODE),
    )  # fmt: skip

    def text(self) -> str:
        """Return the file's text, or what was typed; bytes that are no UTF-8 are shown as such and refused by the parser."""
        uploaded = self.files.get("file")
        if uploaded:
            return str(uploaded.read(MOST_BYTES + 1).decode("utf-8", "replace"))
        return str(self.data.get("content", "")).replace("\r\n", "\n")
