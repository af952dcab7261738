"""Silences: what they hold back, what they fit, how they end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from alerts.breaches.services import flag_unwatched, observe
from alerts.breaches.silences import NewSilence, SilenceState, end_silence, look_at_silences, silence, silence_breach
from alerts.models import Breach, Silence
from console.core.errors import Invalid
from tests.breaches.breaching import NOON, Outbox, after, condition, fired, flow, over, policy
from tests.factories import ROOT, environment

pytestmark = pytest.mark.django_db


def test_a_silence_holds_back_until_it_expires_and_the_next_notice_says_so(outbox: Outbox, monkeypatch):
    monkeypatch.setattr("alerts.breaches.silences.now_utc", lambda: NOON)
    policy()
    orders = flow()
    silence(environment(), NewSilence(comment="ERP moves house", expires_at=after(hours=1), flow=orders), by=ROOT)
    breach = fired(flow_ids=(orders.pk,))
    assert breach.silenced_by_id
    assert outbox.told(after(minutes=30)) == []

    look_at_silences(now=after(minutes=61))

    assert outbox.told(after(minutes=61)) == [("firing", breach.reference, (1,))]
    assert "“ERP moves house”, root" in outbox.sent[0][0].facts["Silence"]
    assert "Silence" not in outbox.sent[0][0].facts["For"]
    assert outbox.told(after(hours=5, minutes=2)) == [("firing", breach.reference, (1,))]
    assert "Silence" not in outbox.sent[1][0].facts


@pytest.mark.parametrize(
    ("said", "silent"),
    [
        ({}, True),
        ({"source": "ingest"}, True),
        ({"source": "group"}, False),
        ({"severity": "ticket"}, False),
        ({"labels": {"team": "orders"}}, True),
        ({"labels": {"team": "orders", "x": "y"}}, False),
    ],
)
def test_a_silence_fits_by_everything_that_it_names(said, silent, monkeypatch):
    monkeypatch.setattr("alerts.breaches.silences.now_utc", lambda: NOON)
    silence(environment(), NewSilence(comment="x", expires_at=after(hours=1), **said), by=ROOT)

    breach = fired(labels={"team": "orders"})

    assert (breach.silenced_by_id is not None) is silent


def test_a_silence_that_is_to_end_with_what_it_silenced_ends_with_it_and_not_with_another(monkeypatch):
    monkeypatch.setattr("alerts.breaches.silences.now_utc", lambda: NOON)
    breach, other = fired(), fired(key="8")
    made = silence_breach(breach, expires_at=after(days=1), comment="I know", end_when_resolved=True, by=ROOT)
    over(1, key="8")
    assert Silence.objects.get().ended_at is None

    over(4)

    made.refresh_from_db()
    assert made.ended_at == after(minutes=6)
    other.refresh_from_db()
    assert other.silenced_by_id is None


def test_a_silence_that_somebody_ends_lets_what_it_held_back_be_told(outbox: Outbox):
    policy(wait_s=0)
    breach = fired()
    from datetime import UTC, datetime

    until = datetime.now(UTC) + timedelta(hours=1)
    made = silence_breach(breach, expires_at=until, comment="I know", end_when_resolved=False, by=ROOT)
    assert outbox.told(datetime.now(UTC)) == []

    end_silence(made, by=ROOT)

    assert outbox.told(datetime.now(UTC)) == [("firing", breach.reference, (1,))]
    with pytest.raises(Exception, match="over already"):
        end_silence(made, by=ROOT)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"comment": " "}, "comment"),
        ({"expires_at": after(days=-300)}, "past"),
        ({"expires_at": after(days=9000)}, "90 days"),
    ],
)
def test_a_silence_without_words_or_end_is_refused(changes, words):
    said = {"comment": "x", "expires_at": after(days=3650)} | changes

    with pytest.raises(Invalid, match=words):
        silence(environment(), NewSilence(**said), by=ROOT)


def test_a_silence_of_a_breach_that_is_over_by_the_time_it_is_kept_is_refused():
    breach = fired(pending=timedelta(hours=1))
    observe([condition("no")], now=after(minutes=1))

    with pytest.raises(SilenceState, match="nothing to silence"):
        silence_breach(
            breach, expires_at=datetime.now(UTC) + timedelta(hours=1), comment="x", end_when_resolved=True, by=ROOT
        )


def test_a_look_goes_on_although_what_never_fired_was_silenced():
    breach = fired(pending=timedelta(hours=1))
    silence_breach(
        breach, expires_at=datetime.now(UTC) + timedelta(hours=1), comment="x", end_when_resolved=True, by=ROOT
    )

    observe([condition("no"), condition(key="8")], now=after(minutes=1))
    connection.check_constraints()  # as the end of the transaction does

    assert Breach.objects.get().key == "8"
    assert Silence.objects.get().about is None


@pytest.mark.parametrize("to_end", [True, False])
def test_a_silence_of_what_never_fired_ends_with_it_when_it_was_to(to_end: bool):
    breach, until = fired(pending=timedelta(hours=1)), datetime.now(UTC) + timedelta(days=7)
    silence_breach(breach, expires_at=until, comment="it restarts", end_when_resolved=to_end, by=ROOT)

    now = datetime.now(UTC)
    observe([condition("no")], now=now)

    assert (Silence.objects.get().ended_at == now) is to_end
    assert (fired(now + timedelta(days=1)).silenced_by_id is None) is to_end, "the next one is told"


def test_a_silence_of_what_fires_in_the_place_of_an_earlier_breach_is_of_that_one():
    began = datetime.now(UTC) - timedelta(minutes=8)
    breach = fired(began)
    for minutes in (1, 3):
        observe([condition("no")], now=began + timedelta(minutes=minutes))
    pending = fired(began + timedelta(minutes=7), pending=timedelta(minutes=2))
    until = datetime.now(UTC) + timedelta(hours=1)
    silence_breach(pending, expires_at=until, comment="it restarts", end_when_resolved=True, by=ROOT)

    fired(began + timedelta(minutes=9), pending=timedelta(minutes=2))

    breach.refresh_from_db()
    assert (breach.state, breach.silenced_by, Silence.objects.get().about) == ("firing", Silence.objects.get(), breach)


def test_a_silence_of_what_never_fired_stays_when_nobody_looked_at_it_any_more():
    began = datetime.now(UTC)
    breach = fired(began, pending=timedelta(hours=1))
    silence_breach(breach, expires_at=began + timedelta(days=7), comment="it restarts", end_when_resolved=True, by=ROOT)

    flag_unwatched(now=began + timedelta(minutes=6))

    assert not Breach.objects.exists()
    assert Silence.objects.get().ended_at is None, "nobody knows that it is over"
    assert fired(began + timedelta(minutes=7)).silenced_by == Silence.objects.get()


def test_any_number_that_fires_in_the_place_of_earlier_breaches_looks_for_their_silences_once():
    began, many = datetime.now(UTC) - timedelta(minutes=8), range(10)
    for minutes, holds in ((0, "yes"), (1, "no"), (3, "no")):
        observe([condition(holds, key=str(one)) for one in many], now=began + timedelta(minutes=minutes))
    again = [condition(key=str(one), pending=timedelta(minutes=2)) for one in many]
    observe(again, now=began + timedelta(minutes=5))

    with CaptureQueriesContext(connection) as queries:
        observe(again, now=began + timedelta(minutes=7))

    assert Breach.objects.filter(state="firing", flaps=1).count() == len(many)
    assert sum("alerts_silence" in one["sql"] for one in queries) < len(many)
