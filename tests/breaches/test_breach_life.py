"""Whatever watchers, people, silences and tellers do, in any order: the rows of a breach stay true, and nobody is told nonsense."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.db import transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.breaches import acts, services, silences
from alerts.breaches.policies import NewStep
from alerts.breaches.services import flag_unwatched, observe
from alerts.breaches.silences import look_at_silences, silence_breach
from alerts.breaches.states import OPEN, TRANSITIONS
from alerts.conditions import Severity
from alerts.models import Breach, BreachEntry, Telling
from console.core.errors import ConsoleError
from tests.breaches.breaching import NOON, Outbox, condition, fired, policy
from tests.factories import ROOT

pytestmark = pytest.mark.django_db
KEYS, SEVERITIES = ("7:a", "7:b"), tuple(Severity)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["yes", "yes", "no", "no", "unknown", "acknowledge", "close", "silence", "flag"]),
        st.sampled_from(KEYS),
        st.sampled_from(SEVERITIES),
        st.sampled_from([1, 40, 150, 700, 4000]),
    ),
    max_size=14,
)
ALLOWED = {before: {*ways.values(), before} for before, ways in TRANSITIONS.items()} | {"gone": {"pending", "firing"}}
ALLOWED["pending"] |= {"gone"}


def act(what: str, key: str, severity: Severity, now: datetime) -> None:
    if what in ("yes", "no", "unknown"):
        observe(
            [condition(what, key=key, severity=severity, pending=timedelta(seconds=60 if key == "7:b" else 0))], now=now
        )
        return
    if what == "flag":
        flag_unwatched(now=now)
        return
    breach = Breach.objects.filter(key=key, severity=severity).order_by("-pk").first()
    if breach is None:
        return
    try:
        if what == "acknowledge":
            acts.acknowledge(breach, by=ROOT)
        elif what == "close":
            acts.close(breach, by=ROOT, reason="x")
        else:
            silence_breach(breach, expires_at=now + timedelta(minutes=10), comment="x", end_when_resolved=True, by=ROOT)
    except ConsoleError:
        pass


@settings(max_examples=15, deadline=None)
@given(steps=STEPS)
def test_any_walk_leaves_true_rows(steps):
    with transaction.atomic(), pytest.MonkeyPatch.context() as patched:
        walk(steps, patched)
        transaction.set_rollback(True)


def walk(steps: list[tuple[str, str, Severity, int]], patched: pytest.MonkeyPatch) -> None:
    outbox, now = Outbox(), NOON
    patched.setattr("alerts.breaches.telling.send", outbox)
    for module in (acts, silences):
        patched.setattr(module, "now_utc", lambda: now)
    policy(steps=(NewStep(after_minutes=5, channels=(8,)),), quiet_minutes=30)
    states: dict[int, str] = {}
    for what, key, severity, seconds in steps:
        now += timedelta(seconds=seconds)
        act(what, key, severity, now)
        look_at_silences(now=now)
        outbox.told(now)
        after = dict(Breach.objects.values_list("pk", "state"))
        for pk in {*states, *after}:
            before, state = states.get(pk, "gone"), after.get(pk, "gone")
            assert before == state or state in ALLOWED[before], (before, state, what)
        states = after
        opened = list(Breach.objects.filter(state__in=OPEN).values_list("key", "severity"))
        assert len(opened) == len(set(opened))
        assert not BreachEntry.objects.filter(breach__state="pending").exists()
    said: dict[str, str] = {}
    for notice, channels in outbox.sent:
        before, happening = said.get(notice.thread, ""), notice.happening.value
        assert channels
        assert happening not in ("resolved", "acknowledged") or before in ("firing", "escalated", "acknowledged")
        assert (before, happening) not in (
            ("resolved", "resolved"),
            ("acknowledged", "acknowledged"),
            ("resolved", "escalated"),
        )
        said[notice.thread] = happening
    outbox.told(now + timedelta(days=1))
    for telling in Telling.objects.select_related("breach"):
        state = telling.breach.state
        assert state != "resolved" or telling.said in ("", "resolved")
        assert state != "acknowledged" or telling.said in ("", "acknowledged", "resolved")


def test_what_ended_long_ago_is_forgotten_with_its_timeline_and_what_is_open_never():
    for at in (NOON, NOON + timedelta(days=1)):
        fired(at)
        observe([condition("no")], now=at)
        observe([condition("no")], now=at + timedelta(minutes=3))
    still = fired(NOON, key="open")

    assert services.expire(now=NOON + timedelta(days=400, hours=1)) == 1
    assert services.expire(now=NOON + timedelta(days=400, hours=1)) == 0

    [kept] = Breach.objects.exclude(pk=still.pk)
    assert kept.resolved_at == NOON + timedelta(days=1, minutes=3)
    assert set(BreachEntry.objects.values_list("breach", flat=True)) == {kept.pk, still.pk}
