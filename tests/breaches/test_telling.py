"""Who is told of a breach, when and how often: time travel through policies."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from alerts.breaches import acts
from alerts.breaches.policies import (
    NewPolicy,
    NewStep,
    add_policy,
    change_policy,
    check_policy,
)
from alerts.breaches.queries import why_untold
from alerts.breaches.silences import silence_breach
from alerts.conditions import Severity
from alerts.models import Breach, BreachEntry, Telling
from alerts.objectives.services import add_objective
from alerts.objectives.wishes import NewObjective
from console.audit.access import visible_audit
from console.core.errors import Invalid
from console.identity.models import Role, Team
from messages.models import SavedSearch
from tests.breaches.breaching import NOON, STEPS, Outbox, after, fired, flow, over, policy
from tests.factories import ROOT, actor, environment, person

pytestmark = pytest.mark.django_db


def test_a_page_is_told_escalated_step_by_step_repeated_and_its_end_told_to_all_who_knew(outbox: Outbox):
    policy(steps=STEPS)
    name = fired().reference

    assert outbox.told(NOON) == [("firing", name, (1,))]
    assert outbox.told(after(minutes=14.9)) == []
    assert outbox.told(after(minutes=15)) == [("escalated", name, (8,))]
    assert outbox.told(after(minutes=46)) == [("escalated", name, (9,))]
    assert outbox.told(after(hours=4)) == []
    assert outbox.told(after(hours=4, minutes=46)) == [("firing", name, (1, 8, 9))]
    over(500)
    assert outbox.told(after(minutes=502)) == [("resolved", name, (1, 8, 9))]
    assert outbox.told(after(days=3)) == []
    assert Telling.objects.get().due_at is None
    assert outbox.sent[-1][0].ends_at == after(minutes=502)


def test_who_acknowledges_ends_steps_and_repeats_and_those_who_know_hear_of_it(outbox: Outbox):
    policy(steps=STEPS)
    breach = fired()
    outbox.told(NOON)

    acts.acknowledge(breach, by=ROOT)

    now = datetime.now(UTC)
    assert outbox.told(now) == [("acknowledged", breach.reference, (1,))]
    assert outbox.sent[-1][0].facts["Acknowledged by"] == "root"
    assert outbox.told(now.replace(year=2028)) == []


def test_nothing_is_said_of_what_was_acknowledged_or_over_before_anybody_was_told(outbox: Outbox):
    policy(wait_s=60)
    acts.acknowledge(fired(), by=ROOT)
    fired(key="8")
    over(0, key="8")

    assert outbox.told(after(days=1000)) == []


def test_what_fires_in_one_flow_within_the_wait_is_told_together_and_ends_together(outbox: Outbox):
    policy(wait_s=30)
    orders, other = flow().pk, flow("other").pk
    one = fired(flow_ids=(orders,))
    two = fired(after(seconds=20), key="8", flow_ids=(orders,))
    elsewhere = fired(after(seconds=20), key="9", flow_ids=(other,))
    ticket = fired(after(seconds=20), key="10", flow_ids=(orders,), severity=Severity.TICKET)
    assert outbox.told(after(seconds=25)) == []

    assert outbox.told(after(seconds=30)) == [("firing", one.reference, (1,))]
    assert outbox.sent[0][0].facts["Also 1"].startswith(f"{two.reference} Orders delivered")
    assert outbox.told(after(seconds=50)) == [("firing", elsewhere.reference, (1,)), ("firing", ticket.reference, (2,))]

    over(5)
    assert outbox.told(after(minutes=7)) == []  # the other one of the thread still fires
    over(10, key="8", flow_ids=(orders,))
    assert outbox.told(after(minutes=12)) == [("resolved", one.reference, (1,))]
    ended = outbox.sent[-1][0]
    assert ended.labels["breach"] == one.reference  # under the name by which it began, until the last of it was over
    assert ended.facts["Also 1"].startswith(two.reference)
    assert ended.ends_at == after(minutes=12)


def test_the_timeline_says_when_those_who_know_hear_that_somebody_has_a_part(outbox: Outbox):
    policy(repeat_minutes=0)
    orders = flow().pk
    one, two = fired(flow_ids=(orders,)), fired(key="8", flow_ids=(orders,))
    outbox.told(NOON)

    acts.acknowledge(two, by=ROOT)
    assert outbox.told(datetime.now(UTC)) == []
    assert (
        BreachEntry.objects.filter(breach=two)
        .latest("pk")
        .text.endswith(f"is told when somebody has all of {one.reference}")
    )
    acts.acknowledge(one, by=ROOT)
    assert outbox.told(datetime.now(UTC)) == [("acknowledged", one.reference, (1,))]
    assert BreachEntry.objects.filter(breach=one).latest("pk").text.endswith(": somebody has it")


def test_a_breach_that_comes_and_goes_is_told_once_in_a_quiet_period(outbox: Outbox):
    policy(quiet_minutes=30)
    name = fired().reference
    assert outbox.told(NOON) == [("firing", name, (1,))]
    over(1)
    assert outbox.told(after(minutes=3)) == [("resolved", name, (1,))]
    fired(after(minutes=5))
    assert outbox.told(after(minutes=5)) == []
    over(6)
    assert outbox.told(after(minutes=8)) == []
    fired(after(minutes=10))
    assert outbox.told(after(minutes=29)) == []

    assert outbox.told(after(minutes=30)) == [("firing", name, (1,))]
    assert outbox.sent[-1][0].facts["Comes and goes"].startswith("fired 3 times")


def test_a_ticket_waits_for_the_working_hours_of_its_policy(outbox: Outbox):
    policy(days=(1, 2, 3, 4, 5), time_zone="Europe/Berlin")
    night = datetime(2026, 10, 23, 20, 0, tzinfo=UTC)  # Friday evening, before the clocks go back
    page, ticket = fired(night), fired(night, key="8", severity=Severity.TICKET)

    assert outbox.told(night) == [("firing", page.reference, (1,))]
    assert outbox.told(datetime(2026, 10, 26, 6, 59, tzinfo=UTC))[-1:] != [("firing", ticket.reference, (2,))]
    assert outbox.told(datetime(2026, 10, 26, 7, 0, tzinfo=UTC)) == [("firing", ticket.reference, (2,))]


def test_the_team_of_a_flow_is_told_by_its_own_policy_and_the_rest_by_that_of_the_environment(outbox: Outbox):
    policy()
    policy("Order team", page_channels=(5,))
    orders, invoices = flow(team="Order team").pk, flow("invoices", team="Invoice team").pk
    mine, others = fired(flow_ids=(orders,)), fired(key="8", flow_ids=(invoices,))
    both, nobodys = fired(key="9", flow_ids=(orders, invoices)), fired(key="10")

    found = sorted(outbox.told(NOON), key=lambda one: (int(one[1][2:]), one[2]))

    assert found == [
        ("firing", mine.reference, (5,)), ("firing", others.reference, (1,)), ("firing", both.reference, (1,)),
        ("firing", both.reference, (5,)), ("firing", nobodys.reference, (1,)),
    ]  # fmt: skip


def test_a_changed_policy_counts_from_the_next_notice_on(outbox: Outbox):
    made = policy(repeat_minutes=0)
    breach = fired()
    outbox.told(NOON)
    assert outbox.told(after(days=30)) == []

    change_policy(made, NewPolicy(page_channels=(3,), steps=(NewStep(after_minutes=5, channels=(4,)),)), by=ROOT)

    assert outbox.told(after(days=31)) == [("escalated", breach.reference, (4,))]


def test_a_policy_whose_notices_cannot_be_written_keeps_no_other_from_being_told(monkeypatch):
    bad, good = policy(), policy("Order team", page_channels=(5,))
    fired(), fired(key="8", flow_ids=(flow(team="Order team").pk,))

    def refuse(notice, channels) -> int:
        if channels == (1,):
            raise RuntimeError("no such channel")
        return len(channels)

    monkeypatch.setattr("alerts.breaches.telling.send", refuse)
    from alerts.breaches.telling import tell_due

    assert tell_due(now=NOON) == 1
    assert Telling.objects.get(policy=good).said == "firing"
    assert Telling.objects.get(policy=bad).said == ""


def test_a_policy_whose_channels_are_off_or_gone_does_not_say_that_they_were_told():
    policy()
    from alerts.breaches.telling import tell_due

    breach = fired()

    tell_due(now=NOON)

    kinds = list(Breach.objects.get(pk=breach.pk).entries.order_by("pk").values_list("kind", flat=True))
    assert kinds == ["fired", "told"]
    told = "policy of everything else: 0 of 1 channel, the rest is off or gone"
    assert BreachEntry.objects.filter(kind="told").get().text == told


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"page_channels": tuple(range(1, 22))}, "at most 20"),
        ({"page_channels": (0,)}, "by its number"),
        ({"steps": (NewStep(after_minutes=5, channels=()),)}, "at least one"),
        ({"steps": (NewStep(after_minutes=5, channels=(1,)), NewStep(after_minutes=5, channels=(1,)))}, "more minutes"),
        ({"steps": (NewStep(after_minutes=0, channels=(1,)),)}, "more minutes"),
        ({"days": (8,)}, "working day"),
        ({"time_zone": "Mars/Olympus"}, "time zone"),
        ({"from_minute": 600, "until_minute": 600}, "ends after"),
        ({"repeat_minutes": 1}, "5 and more"),
        ({"wait_s": 601}, "wait_s"),
    ],
)
def test_a_policy_that_could_not_be_followed_is_refused(changes, words):
    with pytest.raises(Invalid, match=words):
        check_policy(NewPolicy(**changes))


def test_a_policy_names_no_channel_of_another_environment():
    with pytest.raises(Invalid, match="no channel 77 in production"):
        policy(page_channels=(77,))
    with pytest.raises(Invalid, match="no channel 78 in production"):
        change_policy(policy(), NewPolicy(steps=(NewStep(after_minutes=5, channels=(78,)),)), by=ROOT)


def test_a_policy_is_of_one_environment():
    add_policy(environment("staging"), None, NewPolicy(page_channels=(1,)), by=ROOT)
    fired()

    assert not Telling.objects.exists()


def on_search(name: str, team: str) -> Breach:
    """Let an objective fire that is on somebody's saved search, shared with a team where one is named."""
    owner = person(f"maker of {name}", Role.OPERATOR, team=team or "Makers")
    shared = Team.objects.get(name=team) if team else None
    search = SavedSearch.objects.create(
        environment=environment(), owner=owner, team=shared, of="messages", name=name, q="order_no:*"
    )
    one = add_objective(NewObjective(name=name, kind="success", target="0.99"), search=search, by=actor(owner))
    return fired(source="objective", key=str(one.pk), title=name)


def test_an_objective_on_a_saved_search_is_told_by_the_policy_of_its_team_and_by_no_other(outbox: Outbox):
    policy(page_channels=(1,))
    policy("Finance", page_channels=(4,))
    shared, other, own = on_search("Shared", "Finance"), on_search("Without policy", "Sales"), on_search("Own", "")

    assert outbox.told(NOON) == [("firing", shared.reference, (4,))]
    assert {one.breach_id for one in Telling.objects.all()} == {shared.pk}
    assert [why_untold(ROOT, one) for one in (shared, other, own)] == [
        "",
        "nobody: its objective is on a saved search, and the team it is shared with has no policy of its own",
        "nobody: its objective is on a search that its maker shares with no team",
    ]
    policy("Sales", page_channels=(5,))
    assert outbox.told(datetime.now(UTC))[-1:] == [("firing", other.reference, (5,))]


def test_what_is_left_of_a_removed_objective_on_a_search_is_told_to_nobody(outbox: Outbox):
    policy()
    fired(source="objective", key="999", title="Removed and secret")
    fired(source="objective", key="no number")

    assert outbox.told(NOON) == []


def test_a_channel_that_a_policy_was_given_since_is_told_and_one_taken_out_hears_of_the_end_alone(outbox: Outbox):
    made = policy(page_channels=(1,))
    breach = fired()
    assert outbox.told(NOON) == [("firing", breach.reference, (1,))]

    change_policy(made, NewPolicy(page_channels=(3,)), by=ROOT)

    assert outbox.told(after(days=31)) == [("firing", breach.reference, (3,))]
    over(32 * 24 * 60)
    assert outbox.told(after(days=33)) == [("resolved", breach.reference, (1, 3))]


def test_what_fired_while_a_policy_named_no_channel_is_told_to_the_first_one_that_it_gets(outbox: Outbox):
    made = policy(page_channels=(), repeat_minutes=0)
    breach = fired()
    assert outbox.told(NOON) == [("firing", breach.reference, ())]
    assert outbox.told(after(hours=9)) == []

    change_policy(made, NewPolicy(page_channels=(3,), repeat_minutes=0), by=ROOT)

    assert outbox.told(after(days=31)) == [("firing", breach.reference, (3,))]
    assert outbox.told(after(days=300)) == []


def test_those_who_know_hear_that_somebody_has_what_is_left_when_the_rest_is_over(outbox: Outbox):
    policy(repeat_minutes=0)
    orders = flow().pk
    one, two = fired(flow_ids=(orders,)), fired(key="8", flow_ids=(orders,))
    outbox.told(NOON)
    acts.acknowledge(one, by=ROOT)
    assert outbox.told(datetime.now(UTC)) == []

    at = (datetime.now(UTC) - NOON).total_seconds() / 60 + 1
    over(at, key="8", flow_ids=(orders,))

    assert outbox.told(after(minutes=at + 2)) == [("acknowledged", one.reference, (1,))]
    over(at + 5, flow_ids=(orders,))
    assert outbox.told(after(minutes=at + 7)) == [("resolved", one.reference, (1,))]
    assert two.reference != one.reference


def test_the_audit_list_tells_of_promises_on_searches_to_their_team_and_does_not_name_one_s_own():
    shared, own = on_search("Shared deal", "Finance"), on_search("Own deal", "")
    for breach in (shared, own):
        acts.acknowledge(breach, by=ROOT, reason="the deal is off")
        expires = datetime.now(UTC) + timedelta(hours=1)
        silence_breach(breach, expires_at=expires, comment="the deal is off", end_when_resolved=True, by=ROOT)

    told = visible_audit(actor(person("stan", Role.VIEWER)))

    labels = dict(told.values_list("action", "object_label"))
    assert labels["breach.acknowledged"] == f"{own.reference}, of an objective of one’s own"
    assert labels["objective.added"] == "an objective of one’s own"
    assert "deal" not in str(list(told.values_list("object_label", "details", "reason")))
    assert visible_audit(ROOT).filter(action="breach.acknowledged").count() == 2


def test_a_step_that_was_late_keeps_its_distance_to_the_next(outbox: Outbox):
    policy(steps=STEPS, repeat_minutes=0, days=(1, 2, 3, 4, 5), time_zone="UTC")
    friday = datetime(2026, 11, 27, 17, 50, tzinfo=UTC)
    monday = datetime(2026, 11, 30, 8, 0, tzinfo=UTC)
    name = fired(friday, severity=Severity.TICKET).reference
    assert outbox.told(friday) == [("firing", name, (2,))]

    assert outbox.told(monday) == [("escalated", name, (8,))]
    assert outbox.told(monday + timedelta(minutes=29)) == []
    assert outbox.told(monday + timedelta(minutes=30)) == [("escalated", name, (9,))]


def test_what_a_silence_held_back_for_hours_is_escalated_step_by_step_after_it(outbox: Outbox):
    policy(steps=STEPS, repeat_minutes=0)
    breach = fired()
    outbox.told(NOON)
    Breach.objects.filter(pk=breach.pk).update(inhibited_by=breach.pk)
    assert outbox.told(after(hours=1)) == []
    Breach.objects.filter(pk=breach.pk).update(inhibited_by=None)
    Telling.objects.update(due_at=after(hours=4))

    assert outbox.told(after(hours=4)) == [("escalated", breach.reference, (8,))]
    assert outbox.told(after(hours=4, seconds=5)) == []
    assert outbox.told(after(hours=4, minutes=30)) == [("escalated", breach.reference, (9,))]


def test_what_was_told_over_no_channel_is_known_to_be_over_though_there_is_one_by_then(outbox: Outbox):
    made = policy(page_channels=(), repeat_minutes=0)
    breach = fired()
    outbox.told(NOON)
    over(1)
    change_policy(made, NewPolicy(page_channels=(3,)), by=ROOT)

    assert outbox.told(datetime.now(UTC)) == [("resolved", breach.reference, ())]
    assert Telling.objects.get().said == "resolved"


def test_what_was_told_over_no_channel_and_fires_again_waits_for_no_quiet_once_there_is_one(outbox: Outbox):
    made = policy(page_channels=(), quiet_minutes=30)
    breach = fired()
    outbox.told(NOON)
    over(1)
    outbox.told(after(minutes=3))
    change_policy(made, NewPolicy(page_channels=(3,), quiet_minutes=30, wait_s=0), by=ROOT)

    fired(after(minutes=8))

    assert outbox.told(after(minutes=8)) == [("firing", breach.reference, (3,))]
