"""Policies that are removed, made or take over while something fires: nobody loses an end, and nobody hears of one twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError

from alerts.breaches import telling
from alerts.breaches.access import get_visible_policy
from alerts.breaches.policies import (
    NewPolicy,
    PolicyExists,
    change_policy,
    remove_policy,
)
from alerts.breaches.services import expire
from alerts.models import AlertPolicy, Telling
from console.audit.access import visible_audit
from console.core.errors import NotFound
from console.identity.models import Team
from messages.models import Flow
from tests.breaches.breaching import NOON, STEPS, Outbox, after, fired, flow, over, policy
from tests.factories import ROOT

pytestmark = pytest.mark.django_db


def test_a_policy_made_while_something_fires_tells_of_it_and_one_removed_tells_no_more(outbox: Outbox):
    breach = fired()
    assert outbox.told(NOON) == []
    made = policy()
    assert outbox.told(datetime.now(UTC)) == [("firing", breach.reference, (1,))]

    remove_policy(made, by=ROOT, reason="nobody wants it")

    assert outbox.told(datetime.now(UTC) + timedelta(days=1)) == []
    with pytest.raises(PolicyExists):
        policy(), policy()


def test_who_was_told_by_a_policy_that_was_removed_hears_of_the_end_and_of_nothing_else(outbox: Outbox):
    made = policy(steps=STEPS)
    breach = fired()
    outbox.told(NOON)

    remove_policy(made, by=ROOT, reason="others are told now")

    assert outbox.told(after(hours=9)) == []
    fired(after(hours=9), key="8")
    assert outbox.told(after(hours=9)) == []
    with pytest.raises(NotFound):
        get_visible_policy(ROOT, made.pk)
    over(600)
    assert outbox.told(after(minutes=602)) == [("resolved", breach.reference, (1,))]
    expire()
    assert not AlertPolicy.objects.exists()


def test_the_policy_that_takes_over_tells_its_channels_and_no_channel_hears_of_the_end_twice(outbox: Outbox):
    policy(page_channels=(1, 3), repeat_minutes=0)
    made = policy("Order team", page_channels=(1, 5), repeat_minutes=0)
    breach = fired(flow_ids=(flow(team="Order team").pk,))
    assert outbox.told(NOON) == [("firing", breach.reference, (1, 5))]
    remove_policy(made, by=ROOT, reason="others are told now")

    now = datetime.now(UTC)
    assert outbox.told(now) == [("firing", breach.reference, (1, 3))]
    over((now - NOON).total_seconds() / 60 + 1, flow_ids=tuple(breach.flow_ids))
    ended = outbox.told(now + timedelta(minutes=4))
    assert sorted(ended) == [("resolved", breach.reference, (1, 3)), ("resolved", breach.reference, (5,))]


def test_a_team_that_gets_a_policy_of_its_own_is_told_and_the_environment_s_hears_of_the_end_alone(outbox: Outbox):
    policy(steps=STEPS)
    breach = fired(flow_ids=(flow(team="Order team").pk,))
    assert outbox.told(NOON) == [("firing", breach.reference, (1,))]

    policy("Order team", page_channels=(5,), repeat_minutes=0)

    now = datetime.now(UTC)
    assert outbox.told(now) == [("firing", breach.reference, (5,))]
    assert outbox.told(now + timedelta(days=1)) == []
    over((now - NOON).total_seconds() / 60 + 2000, flow_ids=tuple(breach.flow_ids))
    ended = outbox.told(now + timedelta(minutes=2003))
    assert sorted(ended) == [("resolved", breach.reference, (1,)), ("resolved", breach.reference, (5,))]


def test_when_a_team_s_policy_is_removed_that_of_the_environment_goes_on(outbox: Outbox):
    policy(steps=STEPS)
    breach = fired(flow_ids=(flow(team="Order team").pk,))
    outbox.told(NOON)
    own = policy("Order team", page_channels=(5,))
    outbox.told(datetime.now(UTC))

    remove_policy(own, by=ROOT, reason="the environment tells of it")

    assert outbox.told(datetime.now(UTC)) == [("escalated", breach.reference, (8,))]


@pytest.mark.parametrize("before", [{"steps": STEPS}, {"repeat_minutes": 0}, {"page_channels": ()}])
def test_who_gets_a_flow_of_which_something_fires_is_told_at_once(outbox: Outbox, before: dict[str, Any]):
    policy(**{"repeat_minutes": 60} | before)
    policy("Order team", page_channels=(5,), repeat_minutes=0)
    orders = flow()
    breach = fired(flow_ids=(orders.pk,))
    assert outbox.told(NOON) == [("firing", breach.reference, before.get("page_channels", (1,)))]
    assert outbox.told(after(seconds=5)) == []

    given(orders, "Order team")

    assert outbox.told(after(seconds=10)) == [("firing", breach.reference, (5,))]
    assert outbox.told(after(days=3)) == []


def test_a_channel_hears_of_the_end_of_a_thread_in_which_whoever_took_over_never_told(outbox: Outbox):
    policy(wait_s=30, repeat_minutes=0)
    orders = flow(team="Order team").pk
    one, other = fired(flow_ids=(orders,)), fired(key="8", flow_ids=(orders,))
    assert outbox.told(after(seconds=30)) == [("firing", one.reference, (1,))]
    over(10, flow_ids=(orders,))
    assert outbox.told(after(minutes=12)) == []
    policy("Order team", page_channels=(1,), repeat_minutes=0)
    now = datetime.now(UTC)
    assert outbox.told(now) == [("firing", other.reference, (1,))]

    over((now - NOON).total_seconds() / 60 + 1, key="8", flow_ids=(orders,))

    ended = outbox.told(now + timedelta(minutes=4))
    assert sorted(ended) == [("resolved", one.reference, (1,)), ("resolved", other.reference, (1,))]


def given(flow: Flow, team: str) -> None:
    flow.team = Team.objects.get(name=team) if team else None
    flow.save()


def test_no_end_is_lost_between_policies_of_those_who_had_the_flow_one_after_the_other(outbox: Outbox):
    policy()
    policy("Order team", page_channels=(1,))
    policy("Billing team", page_channels=(5,))
    orders = flow()
    breach = fired(flow_ids=(orders.pk,))
    assert outbox.told(NOON) == [("firing", breach.reference, (1,))]
    given(orders, "Order team")
    assert outbox.told(after(hours=2)) == [("firing", breach.reference, (1,))]
    given(orders, "Billing team")
    assert outbox.told(after(hours=5)) == [("firing", breach.reference, (5,))]

    over(600, flow_ids=(orders.pk,))

    ended = outbox.told(after(minutes=602))
    assert sorted(channels for *_, channels in ended) == [(), (1,), (5,)]


def test_who_gets_a_flow_back_goes_on_telling(outbox: Outbox):
    policy()
    policy("Order team", page_channels=(5,))
    orders = flow()
    breach = fired(flow_ids=(orders.pk,))
    outbox.told(NOON)
    given(orders, "Order team")
    assert outbox.told(after(hours=1)) == [("firing", breach.reference, (5,))]
    assert outbox.told(after(hours=4)) == []  # nobody repeats what others tell

    given(orders, "")

    assert outbox.told(after(hours=5)) == [("firing", breach.reference, (1,))]
    assert outbox.told(after(hours=5, seconds=5)) == []
    assert outbox.told(after(hours=9)) == [("firing", breach.reference, (1,))]
    assert Telling.objects.filter(due_at=None).count() == 1


def test_flows_that_cannot_be_handed_over_now_keep_nobody_from_being_told(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
):
    policy()
    policy("Order team", page_channels=(5,))
    orders = flow()
    breach = fired(flow_ids=(orders.pk,))
    assert outbox.told(NOON) == [("firing", breach.reference, (1,))]
    given(orders, "Order team")
    other = fired(after(minutes=1), key="8")

    with monkeypatch.context() as patched:
        patched.setattr(telling, "route_breaches", _locked)
        assert outbox.told(after(minutes=1)) == [("firing", other.reference, (1,))]

    assert outbox.told(after(minutes=1, seconds=5)) == [("firing", breach.reference, (5,))]


def _locked(*_: object, **__: object) -> None:
    raise OperationalError("canceling statement due to lock timeout")


def test_the_end_of_what_a_removed_policy_told_together_has_the_name_of_its_beginning(outbox: Outbox):
    made = policy(wait_s=30, repeat_minutes=0)
    orders = flow().pk
    one, _ = fired(flow_ids=(orders,), title="Late orders"), fired(key="8", flow_ids=(orders,), title="Lost orders")
    outbox.told(after(seconds=30))
    over(10, flow_ids=(orders,))
    assert outbox.told(after(minutes=12)) == []
    remove_policy(made, by=ROOT, reason="others are told now")

    over(20, key="8", flow_ids=(orders,))

    assert outbox.told(after(minutes=22)) == [("resolved", one.reference, (1,))]
    assert outbox.sent[-1][0].title == "Late orders"


def test_a_policy_that_somebody_removed_meanwhile_is_neither_changed_nor_removed_again(outbox: Outbox):
    made = policy()
    fired()
    outbox.told(NOON)
    remove_policy(made, by=ROOT, reason="others are told now")

    with pytest.raises(NotFound):
        change_policy(made, NewPolicy(page_channels=(3,)), by=ROOT)
    with pytest.raises(NotFound):
        remove_policy(made, by=ROOT, reason="once more")

    assert visible_audit(ROOT).filter(action__startswith="alert_policy.").count() == 2
