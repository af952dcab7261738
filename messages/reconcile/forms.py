"""Forms of a reconciliation and of a scheduled check. Whether they may is decided by the services."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, timedelta
from typing import Any

from django import forms
from django.utils import timezone

from console.core.calendars import DAY_NAMES, clock_text, parse_clock
from messages.models import ReconciliationCheck
from messages.reconcile.check_services import NewCheck
from messages.reconcile.services import NewReconciliation

PLAIN = {"autocomplete": "off", "spellcheck": "false"}
SYSTEM_HELP = "Whose word decides. Empty: any receiver's; name one where several take these messages."
MOMENT = forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M")


def _system() -> forms.CharField:
    return forms.CharField(
        required=False, max_length=120, label="Receiving system", help_text=SYSTEM_HELP,
        widget=forms.TextInput(attrs={**PLAIN, "list": "system-names", "placeholder": "any"}),
    )  # fmt: skip


class ListForm(forms.Form):
    """The list itself: pasted or as a file."""

    keys = forms.CharField(
        required=False, strip=False, label="Paste the keys",
        help_text="One a line. For a column of a CSV the first line names it.",
        widget=forms.Textarea(attrs={**PLAIN, "class": "mono", "rows": 10, "placeholder": "4711\n4712"}),
    )  # fmt: skip
    file = forms.FileField(required=False, label="or a file", help_text="Text or CSV, UTF-8, up to 1,000,000 keys.")
    column = forms.CharField(
        required=False, max_length=120, label="Column", help_text="Of a CSV, when it is not called like the key.",
        widget=forms.TextInput(attrs=PLAIN),
    )  # fmt: skip

    def clean(self) -> dict[str, Any]:
        said = super().clean() or {}
        if bool(said.get("keys", "").strip()) == bool(said.get("file")):
            raise forms.ValidationError("paste the keys or choose a file: one of the two, a file of at most 128 MiB")
        return said

    def chunks(self) -> Iterator[bytes]:
        """Yield the list as bytes."""
        if self.cleaned_data.get("file"):
            yield from self.cleaned_data["file"].chunks()
        else:
            yield self.cleaned_data["keys"].encode()


class ReconciliationForm(ListForm):
    """What is compared, and the list. Times are UTC."""

    flow = forms.ChoiceField()
    key_name = forms.CharField(
        max_length=64, label="Business key", widget=forms.TextInput(attrs={**PLAIN, "list": "key-names", "placeholder": "order_no"})
    )  # fmt: skip
    system = _system()
    since = forms.DateTimeField(label="From (UTC)", widget=MOMENT)
    until = forms.DateTimeField(label="Until (UTC)", help_text="Of when messages were first seen.", widget=MOMENT)
    name = forms.CharField(
        required=False, max_length=120, help_text="Empty: after flow and key.", widget=forms.TextInput(attrs=PLAIN)
    )
    field_order = ("flow", "key_name", "system", "since", "until", "name", "keys", "file", "column")

    def __init__(self, data: Any = None, files: Any = None, *, flows: Sequence[str], flow: str = ""):
        now = timezone.now().astimezone(UTC).replace(second=0, microsecond=0)
        until = now + timedelta(minutes=1)  # what comes in this minute is in it
        initial = {"flow": flow, "since": until - timedelta(hours=24), "until": until, "key_name": "order_no"}
        super().__init__(data, files, initial=initial)
        _offer(self, flows)

    def said(self) -> NewReconciliation:
        said = self.cleaned_data
        return NewReconciliation(
            name=said["name"],
            key_name=said["key_name"],
            since=said["since"],
            until=said["until"],
            system=said["system"],
        )


class CheckForm(forms.Form):
    """A check: what is compared, when it is due, of how many hours its list is."""

    flow = forms.ChoiceField()
    name = forms.CharField(
        max_length=120, widget=forms.TextInput(attrs={**PLAIN, "placeholder": "every order reached the ERP"})
    )
    key_name = forms.CharField(
        max_length=64, label="Business key", widget=forms.TextInput(attrs={**PLAIN, "list": "key-names", "placeholder": "order_no"})
    )  # fmt: skip
    system = _system()
    due = forms.CharField(
        max_length=20, label="Due at", widget=forms.TextInput(attrs={**PLAIN, "placeholder": "06:30"})
    )
    time_zone = forms.CharField(max_length=60, widget=forms.TextInput(attrs={**PLAIN, "placeholder": "Europe/Berlin"}))
    days = forms.MultipleChoiceField(
        required=False, label="On", choices=[(str(at + 1), name) for at, name in enumerate(DAY_NAMES)],
        widget=forms.CheckboxSelectMultiple,
    )  # fmt: skip
    hours = forms.IntegerField(label="Of the last … hours", help_text="Before it is due: the period of its list.")

    def __init__(self, data: Any = None, *, flows: Sequence[str], check: ReconciliationCheck | None = None):
        super().__init__(data, initial=_initial(check))
        _offer(self, flows)
        if check is not None:
            self.fields["flow"].disabled = True

    def said(self) -> NewCheck:
        """Return the validated form as what the service takes; raises Invalid."""
        said = self.cleaned_data
        return NewCheck(
            name=said["name"],
            key_name=said["key_name"],
            minute=parse_clock(said["due"]),
            days=[int(day) for day in said["days"]],
            time_zone=said["time_zone"],
            hours=said["hours"],
            system=said["system"],
        )


def _offer(form: forms.Form, flows: Sequence[str]) -> None:
    flow = form.fields["flow"]
    assert isinstance(flow, forms.ChoiceField)
    flow.choices = [("", "choose a flow"), *((name, name) for name in flows)]


def _initial(check: ReconciliationCheck | None) -> dict[str, Any]:
    if check is None:
        return {
            "key_name": "order_no",
            "due": "06:30",
            "time_zone": "UTC",
            "days": [str(n) for n in range(1, 8)],
            "hours": 24,
        }
    return {
        "flow": check.flow.name,
        "name": check.name,
        "key_name": check.key_name,
        "system": check.system.name if check.system else "",
        "due": clock_text(check.minute),
        "time_zone": check.time_zone,
        "days": [str(day) for day in check.days],
        "hours": check.hours,
    }
