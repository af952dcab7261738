"""Breaches open, fire, end, come again, are held back and flagged, as the looks say and time passes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from alerts.breaches import acts, watching
from alerts.breaches.policies import watch_groups
from alerts.breaches.services import flag_unwatched, observe
from alerts.conditions import Severity
from alerts.models import Breach, BreachEntry
from console.identity.models import Role
from messages.groups.refresh import refresh_groups
from messages.groups.services import change_state
from messages.models import FailureGroup
from tests.breaches.breaching import NOON, Outbox, after, condition, fired, kinds, over, policy
from tests.factories import ROOT, actor, agent_key, environment, letter, person, push

pytestmark = pytest.mark.django_db


def states() -> list[tuple[str, str]]:
    return list(Breach.objects.order_by("pk").values_list("severity", "state"))


def test_what_does_not_hold_leaves_no_row():
    observe([condition("no"), condition("unknown", key="8")], now=NOON)

    assert not Breach.objects.exists()


def test_a_condition_fires_at_once_or_after_it_held_for_long_enough():
    observe([condition(), condition(key="8", pending=timedelta(minutes=5))], now=NOON)
    assert states() == [("page", "firing"), ("page", "pending")]

    observe([condition(key="8", pending=timedelta(minutes=5))], now=after(minutes=4.9))
    assert states()[1] == ("page", "pending")
    observe([condition(key="8", pending=timedelta(minutes=5), summary="4 %")], now=after(minutes=5))

    late = Breach.objects.get(key="8")
    assert (late.state, late.opened_at, late.fired_at, late.summary) == ("firing", NOON, after(minutes=5), "4 %")


def test_what_calms_before_it_fires_leaves_no_row():
    observe([condition(pending=timedelta(minutes=5))], now=NOON)

    observe([condition("no")], now=after(minutes=1))

    assert not Breach.objects.exists()


def test_it_is_over_after_it_was_well_for_two_minutes_without_a_break():
    breach = fired()

    for minutes, holds in ((1, "no"), (2, "yes"), (3, "no"), (4.9, "no")):
        observe([condition(holds)], now=after(minutes=minutes))
    assert states() == [("page", "firing")]
    observe([condition("no")], now=after(minutes=5))

    breach.refresh_from_db()
    assert (breach.state, breach.resolved_at) == ("resolved", after(minutes=5))
    assert kinds(breach) == ["fired", "resolved"]


def test_what_cannot_be_measured_freezes_every_clock():
    observe([condition(pending=timedelta(minutes=5)), condition(key="8")], now=NOON)
    observe([condition(), condition("no", key="8")], now=after(minutes=1))
    observe([condition("unknown"), condition("unknown", key="8")], now=after(minutes=2))
    observe([condition("unknown"), condition("unknown", key="8")], now=after(hours=5))
    assert states() == [("page", "pending"), ("page", "firing")]

    observe([condition(), condition("no", key="8")], now=after(hours=5, minutes=0.5))
    assert states() == [("page", "pending"), ("page", "firing")]
    observe([condition(), condition("no", key="8")], now=after(hours=5, minutes=1.5))
    assert states() == [("page", "pending"), ("page", "resolved")]
    observe([condition()], now=after(hours=5, minutes=3.5))

    assert states() == [("page", "firing"), ("page", "resolved")]


def test_what_cannot_be_measured_says_nothing_new_and_what_is_well_its_sentence_alone():
    breach = fired(labels={"rule": "1h"})
    observe([condition("unknown", title="?", summary="no data", labels={})], now=after(minutes=1))
    breach.refresh_from_db()
    assert breach.summary.startswith("3.1 %")

    observe([condition("no", title="?", summary="All is well.", labels={})], now=after(minutes=2))

    breach.refresh_from_db()
    assert (breach.title, breach.summary, breach.labels) == (
        "Orders delivered in 5 min",
        "All is well.",
        {"rule": "1h"},
    )


def test_what_fires_again_soon_is_the_same_breach_with_a_count_and_later_another():
    breach = fired()
    over(5)

    fired(after(minutes=20), summary="5 %")
    breach.refresh_from_db()
    assert (breach.state, breach.flaps, breach.summary, breach.resolved_at) == ("firing", 1, "5 %", None)
    assert kinds(breach) == ["fired", "resolved", "flapped"]
    over(30)
    other = fired(after(minutes=48))

    assert other.pk != breach.pk
    assert states() == [("page", "resolved"), ("page", "firing")]


def test_a_breach_that_comes_back_after_pending_goes_on_in_its_own_row():
    breach = fired()
    over(5)
    observe([condition(pending=timedelta(minutes=3))], now=after(minutes=8))
    assert states() == [("page", "resolved"), ("page", "pending")]

    observe([condition(pending=timedelta(minutes=3))], now=after(minutes=11))

    assert states() == [("page", "firing")]
    assert Breach.objects.get().pk == breach.pk


def test_an_acknowledged_breach_that_comes_back_is_nobodys_again():
    breach = fired()
    acts.acknowledge(breach, by=actor(person("olga", Role.OPERATOR)))
    breach.refresh_from_db()
    assert breach.owner is not None
    over(5)

    fired(after(minutes=10))

    breach.refresh_from_db()
    assert (breach.state, breach.acknowledged_at, breach.acknowledged_by, breach.owner) == ("firing", None, "", None)


def test_of_several_that_say_the_same_the_last_counts_and_junk_is_cut():
    observe([condition("no"), condition(title="", url="//evil.example/x", key="k" * 900, summary="a\x00b" + "c" * 5000,
            labels={"a\x00": "b" * 900})], now=NOON)  # fmt: skip
    observe([condition(key="k" * 901)], now=NOON)

    first, other = Breach.objects.order_by("pk")
    assert (first.title, first.url, first.summary[:2], len(first.summary)) == (
        "something without a name",
        "",
        "ab",
        2000,
    )
    assert first.labels == {"a": "b" * 200}
    assert first.key != other.key
    observe([condition("no", key="k" * 900)], now=after(minutes=1))
    assert Breach.objects.get(pk=first.pk).clear_since == after(minutes=1)


def test_what_nobody_looks_at_any_more_is_flagged_and_stays_until_somebody_looks():
    breach = fired()
    observe([condition(key="8", pending=timedelta(hours=9))], now=NOON)

    assert flag_unwatched(now=after(minutes=4)) == 0
    assert flag_unwatched(now=after(hours=5)) == 1
    assert flag_unwatched(now=after(hours=5)) == 0
    assert not Breach.objects.filter(key="8").exists()
    breach.refresh_from_db()
    assert (breach.state, breach.unwatched_since) == ("firing", NOON)
    assert kinds(breach) == ["fired", "unwatched"]
    observe([condition()], now=after(hours=6))

    breach.refresh_from_db()
    assert breach.unwatched_since is None


def test_a_person_closes_what_nobody_looks_at_and_nothing_else():
    breach = fired()
    with pytest.raises(acts.BreachState, match="ends by itself"):
        acts.close(breach, by=ROOT, reason="the agent was taken away")
    flag_unwatched(now=after(hours=1))

    closed = acts.close(breach, by=ROOT, reason="the agent was taken away")

    assert closed.state == "resolved"
    assert kinds(breach) == ["fired", "unwatched", "resolved"]


def test_what_could_not_be_measured_for_an_hour_can_be_closed_and_opens_nothing_anew(monkeypatch: pytest.MonkeyPatch):
    breach = fired()
    for minutes in range(1, 63):
        observe([condition("unknown")], now=after(minutes=minutes))
    monkeypatch.setattr(acts, "now_utc", lambda: after(minutes=61))
    with pytest.raises(acts.BreachState, match="not be measured for more than an hour"):
        acts.close(breach, by=ROOT, reason="the agent was taken away")
    monkeypatch.setattr(acts, "now_utc", lambda: after(minutes=62))

    closed = acts.close(breach, by=ROOT, reason="the agent was taken away")
    observe([condition("unknown")], now=after(minutes=63))

    assert closed.state == "resolved"
    assert list(Breach.objects.values_list("state", flat=True)) == ["resolved"]


def test_a_thousand_conditions_cost_no_more_statements_than_one():
    def cost(count: int, at: float) -> int:
        many = [condition(key=f"{at}-{number}", severity=severity) for number in range(count) for severity in Severity]
        with CaptureQueriesContext(
            connection,
        ) as caught:
            observe(many, now=after(minutes=at))
        return len(caught)

    few, many = cost(1, 0), cost(500, 1)

    assert many <= few + 2  # batches of 500 and 1,000 rows


# held back ----------------------------------------------------------------------------------------------------------------


def test_a_page_holds_back_the_ticket_of_the_same_thing_until_it_is_over(outbox: Outbox):
    policy()
    page = fired(key="7:fast")
    ticket = fired(key="7:slow", severity=Severity.TICKET)
    other = fired(key="70", severity=Severity.TICKET)
    assert ticket.inhibited_by_id == page.pk
    assert other.inhibited_by_id is None
    assert outbox.told(NOON) == [("firing", page.reference, (1,)), ("firing", other.reference, (2,))]

    over(1, key="7:fast")

    ticket.refresh_from_db()
    assert ticket.inhibited_by_id is None
    assert kinds(ticket) == ["fired", "held", "heard"]
    assert outbox.told(after(minutes=3)) == [("resolved", page.reference, (1,)), ("firing", ticket.reference, (2,))]


# watchers -----------------------------------------------------------------------------------------------------------------


def test_groups_of_a_watched_class_make_breaches_while_nobody_has_taken_them():
    push("/ingest/v1/dead-letters", [letter()], key=agent_key())
    refresh_groups()
    watching.look()
    assert not Breach.objects.filter(source="group").exists()
    watch_groups(environment(), {FailureGroup.objects.get().failure_class: "ticket"}, by=ROOT)
    watching.look()
    assert not Breach.objects.filter(source="group").exists(), "it was there before"
    push(
        "/ingest/v1/dead-letters",
        [letter(error={"type": "OtherTimeout", "message": "x", "stack": ""})],
        key=agent_key(),
    )
    refresh_groups()

    watching.look()

    breach = Breach.objects.get(source="group")
    group = FailureGroup.objects.latest("pk")
    assert (breach.key, breach.severity, breach.state, breach.flow_ids) == (
        str(group.pk),
        "ticket",
        "firing",
        [group.flow_id],
    )
    change_state(group, "acknowledge", by=ROOT)
    watching.look()
    breach.refresh_from_db()
    assert breach.clear_since is not None


def test_a_watcher_that_fails_resolves_nothing_and_keeps_no_other_from_looking(monkeypatch):
    observe([condition(source="agent", key="999"), condition(source="ingest", key="disk")], now=NOON)
    monkeypatch.setitem(watching.WATCHERS, "agent", "alerts.breaches.nowhere.at_all")

    watching.look(now=after(minutes=1))

    assert Breach.objects.get(source="agent").clear_since is None
    assert Breach.objects.get(source="ingest").clear_since == after(minutes=1)


def test_a_full_disk_and_overdue_replays_are_watched(monkeypatch):
    monkeypatch.setattr("messages.troubles.disk_words", lambda: "Only 1.0% of the disk is free")
    environment()

    watching.look(now=NOON)

    assert Breach.objects.get().title == "The console’s disk is full"


def test_the_timeline_keeps_what_people_did():
    breach = fired()

    acts.acknowledge(breach, by=ROOT, reason="looking")
    acts.add_note(breach, "the ERP is down", by=ROOT)
    acts.assign(breach, "", by=ROOT)

    assert list(breach.entries.order_by("pk").values_list("kind", "by", "text")) == [
        ("fired", "", ""), ("acknowledged", "root", "looking"), ("note", "root", "the ERP is down"), ("assigned", "root", "to nobody"),
    ]  # fmt: skip
    with pytest.raises(acts.BreachState):
        acts.acknowledge(breach, by=ROOT)
    assert BreachEntry.objects.count() == 4
