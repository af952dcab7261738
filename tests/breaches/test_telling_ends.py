"""What is said of the end of a breach that a person closed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from alerts.breaches import acts
from alerts.breaches.moves import write
from alerts.breaches.notices import notice_of
from alerts.breaches.services import observe
from alerts.models import Breach, BreachEntry
from alerts.notices import Happening
from tests.breaches.breaching import NOON, Outbox, condition, fired, over, policy
from tests.factories import ROOT

pytestmark = pytest.mark.django_db


def test_the_end_that_a_person_said_names_the_person_and_why(outbox: Outbox):
    policy(repeat_minutes=0)
    breach, other = fired(), fired(key="8")
    outbox.told(NOON)
    Breach.objects.filter(pk=breach.pk).update(unwatched_since=NOON)
    acts.close(breach, by=ROOT, reason="the agent was taken away")
    over(10, key="8")

    outbox.told(datetime.now(UTC))

    facts = {notice.thread.rpartition("/")[2]: notice.facts for notice, _ in outbox.sent[-2:]}
    assert facts[breach.reference]["Closed by"] == "root: the agent was taken away"
    assert "Closed by" not in facts[other.reference]
    told_together = notice_of(Happening.RESOLVED, [other, breach], now=NOON).facts["Closed by"]
    assert told_together == f"root ({breach.reference}): the agent was taken away"


def test_the_end_of_many_that_people_closed_says_how_many_it_does_not_name():
    many = [fired(key=str(key)) for key in range(5)]
    write([one.pk for one in many], BreachEntry.Kind.RESOLVED, "it moved", now=NOON, by="root")

    closed = notice_of(Happening.RESOLVED, many, now=NOON).facts["Closed by"]

    assert closed.count("it moved") == 3
    assert closed.endswith("; 2 more by people")


def test_the_end_of_what_a_person_closed_and_what_came_again_names_nobody():
    breach = fired()
    Breach.objects.filter(pk=breach.pk).update(unwatched_since=NOON)
    acts.close(breach, by=ROOT, reason="the agent was taken away")
    closed_at = datetime.now(UTC)
    assert "Closed by" in notice_of(Happening.RESOLVED, [breach], now=closed_at).facts

    assert fired(closed_at + timedelta(minutes=1)).pk == breach.pk
    for minutes in (2, 4):
        observe([condition("no")], now=closed_at + timedelta(minutes=minutes))

    breach.refresh_from_db()
    assert breach.state == "resolved"
    assert "Closed by" not in notice_of(Happening.RESOLVED, [breach], now=closed_at).facts
