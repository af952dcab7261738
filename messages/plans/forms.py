"""The form of a new plan: why, and how it is executed. What may be meant is decided by services.check_options."""

from __future__ import annotations

from typing import Any

from django import forms

from messages.models import Plan
from messages.plans.doing import COMPENSATE, REPLAY
from messages.plans.services import Options

PLAIN = {"autocomplete": "off", "spellcheck": "false"}
USUAL = Options()


def _number(**attrs: str) -> forms.TextInput:
    return forms.TextInput(attrs={**PLAIN, "inputmode": "decimal", **attrs})


class HowForm(forms.Form):
    """How a plan is executed. Empty rate: as fast as the broker takes them. Empty latency: not looked at."""

    rate = forms.FloatField(
        required=False, label="At most … a second", widget=_number(), help_text="Empty: as fast as the broker takes them.",
    )  # fmt: skip
    waves = forms.CharField(
        max_length=120, required=False, label="Waves", widget=forms.TextInput(attrs={**PLAIN, "class": "mono"}),
        help_text="Cumulative, numbers or shares. Each begins when the one before is over.",
    )  # fmt: skip
    waits_for = forms.ChoiceField(
        label="A wave is over when each is",
        choices=[
            (Plan.WaitsFor.PROCESSED, "processed, proved by the receiver"),
            (Plan.WaitsFor.CONFIRMED, "confirmed by the broker"),
        ],
    )
    wave_wait = forms.IntegerField(
        label="and waits at most … seconds",
        widget=_number(),
        help_text="Then the plan pauses and says what is missing.",
    )
    failed = forms.FloatField(label="Stop itself above … % failed again", widget=_number())
    latency = forms.FloatField(
        required=False, label="or when the receiver takes … times as long as usual", widget=_number(),
        help_text="Empty: not looked at.",
    )  # fmt: skip

    def __init__(self, data: Any = None, *, plan: Plan | None = None, does: str = REPLAY):
        """plan  whose values stand in the fields; None: the usual ones. One that compensates waits for nothing of a broker."""
        how = plan or USUAL
        initial = {
            "rate": "" if how.rate_per_s is None else f"{how.rate_per_s:g}",
            "waves": ", ".join(how.steps),
            "waits_for": how.waits_for or Plan.WaitsFor.PROCESSED,
            "wave_wait": how.wave_wait_s,
            "failed": f"{how.stop_failed_percent:g}",
            "latency": "" if how.stop_latency_times is None else f"{how.stop_latency_times:g}",
        }
        super().__init__(data, initial=initial)
        self.does = plan.does if plan else does
        if self.does == COMPENSATE:
            del self.fields["waits_for"], self.fields["latency"]
            self.fields["rate"].help_text = "Empty: as fast as the workers take them."
            self.fields["failed"].label = "Stop itself above … % stuck, or undone in part"
            self.fields["wave_wait"].label = "A wave waits for its outcomes at most … seconds"

    def said(self) -> dict[str, Any]:
        """Return the validated form as {name in Options: value}."""
        said = self.cleaned_data
        proofs = {"waits_for": said["waits_for"], "stop_latency_times": said["latency"]} if self.does == REPLAY else {}
        return proofs | {
            "steps": tuple(one for one in said["waves"].replace(";", ",").split(",") if one.strip()),
            "rate_per_s": said["rate"],
            "wave_wait_s": said["wave_wait"],
            "stop_failed_percent": said["failed"],
        }


class PlanForm(HowForm):
    """Why, and how."""

    reason = forms.CharField(
        max_length=1000, label="Why", help_text="Kept on the plan, in every replay and in the audit list, with your name.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "autofocus": True, "placeholder": "erp 4.2.2 is out"}),
    )  # fmt: skip
    ticket = forms.CharField(
        max_length=100, required=False, label="Ticket", widget=forms.TextInput(attrs={**PLAIN, "placeholder": "INC-2291"}),
    )  # fmt: skip

    def options(self) -> Options:
        """Return the validated form as what the service takes."""
        return Options(**self.said(), does=self.does)
