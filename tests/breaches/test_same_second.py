"""What happens in one second: somebody takes a breach when its next step is due, it ends then, a silence of it expires then."""

from __future__ import annotations

import pytest

from alerts.breaches import acts
from alerts.breaches.policies import NewStep
from alerts.breaches.services import observe
from alerts.breaches.silences import look_at_silences, silence_breach
from alerts.models import Breach, BreachEntry
from tests.breaches.breaching import NOON, Outbox, after, condition, fired, policy
from tests.factories import ROOT

pytestmark = pytest.mark.django_db
DUE = after(minutes=15)


@pytest.fixture
def told(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> tuple[Breach, Outbox]:
    """Return a breach that was told at noon and whose first step is due at a quarter past, when people act."""
    policy(steps=(NewStep(after_minutes=15, channels=(8,)), NewStep(after_minutes=45, channels=(9,))))
    breach = fired()
    outbox.told(NOON)
    for module in ("acts", "silences"):
        monkeypatch.setattr(f"alerts.breaches.{module}.now_utc", lambda: DUE)
    return breach, outbox


def test_who_takes_it_in_the_second_of_the_step_is_in_time(told: tuple[Breach, Outbox]):
    breach, outbox = told

    acts.acknowledge(breach, by=ROOT)

    assert outbox.told(DUE) == [("acknowledged", breach.reference, (1,))]
    assert outbox.told(after(days=2)) == []


def test_who_takes_it_just_after_the_step_of_that_second_is_told_of_to_all_who_know(told: tuple[Breach, Outbox]):
    breach, outbox = told
    assert outbox.told(DUE) == [("escalated", breach.reference, (8,))]

    acts.acknowledge(breach, by=ROOT)

    assert outbox.told(DUE) == [("acknowledged", breach.reference, (1, 8))]
    assert outbox.told(DUE) == []


def test_what_ends_in_the_second_of_the_step_is_over_and_not_escalated(told: tuple[Breach, Outbox]):
    breach, outbox = told
    observe([condition("no")], now=after(minutes=13))
    observe([condition("no")], now=DUE)

    assert outbox.told(DUE) == [("resolved", breach.reference, (1,))]
    assert outbox.told(after(days=2)) == []


def test_a_silence_that_expires_in_the_second_of_the_step_lets_it_go_once(told: tuple[Breach, Outbox], monkeypatch):
    breach, outbox = told
    monkeypatch.setattr("alerts.breaches.silences.now_utc", lambda: after(minutes=5))
    silence_breach(breach, expires_at=DUE, comment="I look at it", end_when_resolved=False, by=ROOT)
    assert outbox.told(after(minutes=14)) == []

    look_at_silences(now=DUE)

    assert outbox.told(DUE) == [("escalated", breach.reference, (8,))]
    assert outbox.told(DUE) == []


def test_what_cannot_be_measured_for_a_day_and_is_well_then_is_over_two_minutes_later_and_said_once(
    told: tuple[Breach, Outbox],
):
    breach, outbox = told
    observe(
        [condition("no")], now=after(minutes=1)
    )  # it was well for half of its two minutes when its agent fell silent
    observe([condition("unknown")], now=after(minutes=2))
    assert outbox.told(after(minutes=15)) == [("escalated", breach.reference, (8,))]  # silence is no good news
    for hour in range(1, 24):
        observe([condition("unknown")], now=after(hours=hour))
    assert Breach.objects.get().state == "firing"

    observe([condition("no")], now=after(hours=24))
    assert Breach.objects.get().state == "firing"
    observe([condition("no")], now=after(hours=24, minutes=1))

    assert Breach.objects.get().state == "resolved"
    assert [one[0] for one in outbox.told(after(hours=24, minutes=1))] == ["resolved"]
    assert BreachEntry.objects.filter(kind=BreachEntry.Kind.RESOLVED).count() == 1
