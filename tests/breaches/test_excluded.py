"""What is open of a promise whose time is excluded: told no further, closed by a person, told again when it is measured."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from alerts.breaches import acts
from alerts.breaches.present import held_words
from alerts.breaches.services import observe
from alerts.models import BreachEntry
from tests.breaches.breaching import NOON, STEPS, Outbox, after, condition, fired, policy
from tests.factories import ROOT

pytestmark = pytest.mark.django_db


def test_nobody_is_told_more_while_its_time_is_excluded_and_what_is_due_comes_when_it_is_measured_again(outbox: Outbox):
    policy(steps=STEPS)
    breach = fired()
    outbox.told(NOON)

    observe([condition("unknown", is_excluded=True)], now=after(minutes=10))
    assert [outbox.told(after(minutes=at)) for at in (15, 46, 300)] == [[], [], []]
    breach.refresh_from_db()
    assert (breach.state, breach.held, "excluded" in held_words(breach)) == ("firing", True, True)
    observe([condition()], now=after(minutes=301))

    assert outbox.told(after(minutes=301)) == [("escalated", breach.reference, (8,))]
    assert [one.text for one in BreachEntry.objects.filter(breach=breach, kind__in=["held", "heard"]).order_by("pk")] == [
        "its time is excluded: it is not measured, and nobody is told", "its time is no longer excluded",
    ]  # fmt: skip
    breach.refresh_from_db()
    assert (breach.held, held_words(breach)) == (False, "")


def test_what_could_not_be_measured_for_another_reason_is_told_further(outbox: Outbox):
    policy(steps=STEPS)
    breach = fired()
    outbox.told(NOON)

    observe([condition("unknown")], now=after(minutes=10))

    assert outbox.told(after(minutes=15)) == [("escalated", breach.reference, (8,))]


def test_a_breach_whose_time_is_excluded_is_closed_by_a_person_at_once(outbox: Outbox):
    policy()
    breach = fired(datetime.now(UTC))
    with pytest.raises(acts.BreachState):
        acts.close(breach, by=ROOT, reason="the partner's window")
    observe([condition("unknown", is_excluded=True)], now=datetime.now(UTC))

    closed = acts.close(breach, by=ROOT, reason="the partner's window")

    assert (closed.state, closed.is_excluded) == ("resolved", False)
