"""Rules of operators and the groups that are there: what follows them, what their preview says, what applying them moves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from console.core.errors import Forbidden, Invalid
from console.identity.models import Role, Team
from messages.groups import ruling
from messages.groups.access import visible_group_rules
from messages.groups.queries import runbook_of
from messages.groups.regroup import place_waiting, split_by
from messages.groups.rules import USUAL
from messages.groups.ruling import NewGroupRule, add_rule, change_rule, move_rule, preview_rule, remove_rule
from messages.groups.services import take_apart
from messages.groups.sweep import sweep_groups
from messages.models import DeadLetter, FailureGroup, Flow
from tests.factories import ROOT, actor, agent_key, environment, person, push
from tests.services.grouping import failed_event, merged, push_letters, silent_letter, timeout

pytestmark = pytest.mark.django_db


def test_a_letter_that_says_nothing_stays_with_its_message_when_rules_are_applied_to_what_waits():
    push("/ingest/v1/events", [failed_event(1)], key=agent_key())
    sweep_groups()
    silent = silent_letter()
    (stored,) = push_letters(silent)
    alone = silent_letter("nobody-told-of-this-one")
    (lone,) = push_letters(alone)
    said = NewGroupRule(name="silent", destination="erp.*", words="=")
    seen = preview_rule(environment(), said, by=ROOT)
    add_rule(environment(), said, by=ROOT)

    moved, _ = place_waiting(environment(), by=ROOT, reason="x")

    assert (seen.letters, seen.moved, moved) == (1, 1, 1)
    assert DeadLetter.objects.get(pk=stored.pk).group_id == stored.group_id
    assert DeadLetter.objects.get(pk=lone.pk).group.name == "silent"


def test_a_letter_that_says_nothing_stays_with_its_message_also_where_its_group_follows_a_rule(
    django_capture_on_commit_callbacks: Any,
):
    push("/ingest/v1/events", [failed_event(1)], key=agent_key())
    sweep_groups()
    silent = silent_letter()
    (stored,) = push_letters(silent)
    rule = add_rule(
        environment(),
        NewGroupRule(name="away", error_type="*Timeout", parts=USUAL, failure_class="configuration"),
        by=ROOT,
    )
    push("/ingest/v1/events", [failed_event(2)], key=agent_key())
    with django_capture_on_commit_callbacks(execute=True):
        sweep_groups()
    assert FailureGroup.objects.get().rule_id == rule.pk

    assert place_waiting(environment(), by=ROOT, reason="x") == (0, False)
    assert DeadLetter.objects.get(pk=stored.pk).group_id == stored.group_id


def test_of_two_rules_that_fit_failures_of_one_group_the_first_one_counts_whatever_comes_last(
    django_capture_on_commit_callbacks: Any,
):
    for reason, kind in (("expired", "configuration"), ("rejected", "data")):
        said = NewGroupRule(name=reason, error_type="*Timeout", reason=reason, parts=USUAL, failure_class=kind)
        add_rule(environment(), said, by=ROOT)
    classes = []

    for number, reason in enumerate(("rejected", "expired", "rejected", "expired")):
        with django_capture_on_commit_callbacks(execute=True):
            push_letters(timeout(number, reason_code=reason))
        classes.append(FailureGroup.objects.get().failure_class)
    with django_capture_on_commit_callbacks(execute=True):
        push_letters(timeout(5, reason_code="expired"), timeout(6, reason_code="rejected"))

    assert [*classes, FailureGroup.objects.get().failure_class] == ["data", *["configuration"] * 4]


def test_a_group_keeps_its_name_when_a_failure_writes_a_part_of_it_otherwise(django_capture_on_commit_callbacks: Any):
    add_rule(environment(), NewGroupRule(name="away", error_type="*Timeout", parts=("error_type",)), by=ROOT)
    push_letters(timeout(1))

    with django_capture_on_commit_callbacks(execute=True):
        push_letters(timeout(2, error={"type": "ERPTIMEOUT", "message": "no answer"}))

    assert FailureGroup.objects.get().name == "away: ErpTimeout"


def test_a_preview_of_a_changed_rule_says_what_leaves_it():
    rule = add_rule(environment(), NewGroupRule(name="timeouts", error_type="*Timeout"), by=ROOT)
    (one, _) = push_letters(timeout(1), timeout(2))
    assert one.group.name == "timeouts"

    narrower = NewGroupRule(name="timeouts", error_type="*Timeout", words="order 2 ")
    found = preview_rule(environment(), narrower, by=ROOT, instead_of=rule)

    assert (found.letters, found.moved) == (1, 1)
    assert [(way.before.pk, way.after, way.count) for way in found.ways] == [
        (one.group_id, "erp, ErpTimeout, erp did not answer order … in … s, erp.orders", 1)
    ]


def test_a_rule_that_gives_a_class_and_a_runbook_gives_them_to_groups_that_are_there(
    django_capture_on_commit_callbacks: Any,
):
    (one,) = push_letters(timeout(1))
    assert one.group.failure_class == "transient"
    said = NewGroupRule(
        name="away", error_type="*Timeout", parts=USUAL, failure_class="configuration", runbook_url="https://runbooks/away"
    )  # fmt: skip
    rule = add_rule(environment(), said, by=ROOT)

    with django_capture_on_commit_callbacks(execute=True):
        assert place_waiting(environment(), by=ROOT, reason="x") == (0, False)
    group = FailureGroup.objects.get()
    assert (group.failure_class, runbook_of(group)) == ("configuration", "https://runbooks/away")

    change_rule(rule, replace(said, failure_class="data"), by=ROOT)
    with django_capture_on_commit_callbacks(execute=True):
        push_letters(timeout(2))

    assert (FailureGroup.objects.get().failure_class, FailureGroup.objects.get().name) == ("data", "")


@pytest.mark.parametrize(
    "said",
    [
        NewGroupRule(name="x", step="erp", parts=()),
        NewGroupRule(name="x", step="erp", parts=("error_type",)),
        NewGroupRule(name="x", error_type="*Timeout", parts=("queue",)),
        NewGroupRule(name="x", flow="erp.*", parts=("key.country", "message")),
        NewGroupRule(name="x", words="= erp did not answer order … in … s", parts=("key.order_no",)),
        NewGroupRule(name="x", destination="=", parts=()),
        NewGroupRule(name="x", words="vat", parts=("step", "error_type", "message", "destination")),
        NewGroupRule(name="x", step="e?p", words="answer", parts=("reason", "broker")),
    ],
)
@pytest.mark.parametrize("earlier", [False, True])
def test_the_preview_of_a_rule_is_what_saving_and_applying_it_does(said: NewGroupRule, earlier: bool):
    if earlier:  # the first that fits counts, so that the new one gets what is left
        add_rule(environment(), NewGroupRule(name="first", words="order 1", parts=("queue",)), by=ROOT)
    push_letters(
        *(
            timeout(number, keys={"order_no": str(number), "country": "de" if number % 2 else "at"})
            for number in range(6)
        ),
        *(timeout(number, error={"type": "ValueError", "message": "vat"}, origin="crm") for number in range(6, 9)),
        timeout(9, queue="other.dlq", system="wms"),
    )
    before = dict(DeadLetter.objects.values_list("pk", "group_id"))

    preview = preview_rule(environment(), said, by=ROOT)
    add_rule(environment(), said, by=ROOT)
    place_waiting(environment(), by=ROOT, reason="the rule is new")

    after = dict(DeadLetter.objects.values_list("pk", "group_id"))
    assert preview.moved == sum(before[pk] != after[pk] for pk in before)


@pytest.mark.parametrize(
    "said",
    [
        NewGroupRule(name="bills", flow="FAN-*"),
        NewGroupRule(name="bills", flow="fan-bill", error_type="*Timeout", parts=("queue",)),
        NewGroupRule(name="bills", flow="nosuch.flow"),
    ],
)
def test_a_preview_looks_at_the_flows_that_its_rule_is_for_however_much_comes_of_others(
    said: NewGroupRule, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ruling, "LOOKED_AT", 5)
    push_letters(*(timeout(number, origin="fan-bill", queue=f"q{number}") for number in range(4)))
    push_letters(*(timeout(number) for number in range(7)))
    seen = preview_rule(environment(), said, by=ROOT)
    rule = add_rule(environment(), said, by=ROOT)

    moved, _ = place_waiting(environment(), by=ROOT, reason="the rule is new")

    bills = 0 if said.flow == "nosuch.flow" else 4
    assert (seen.letters, seen.moved, moved, seen.looked_at, seen.capped) == (bills, bills, bills, bills, False)
    elsewhere = preview_rule(environment(), replace(said, flow="erp.orders"), by=ROOT, instead_of=rule)
    assert (elsewhere.looked_at, elsewhere.capped) == (5, True)


def test_a_preview_of_a_changed_rule_looks_at_what_leaves_it_in_flows_that_it_is_no_longer_for(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(ruling, "LOOKED_AT", 5)
    said = NewGroupRule(name="bills", flow="fan-bill")
    rule = add_rule(environment(), said, by=ROOT)
    push_letters(*(timeout(number, origin="fan-bill") for number in range(2)))
    push_letters(*(timeout(number) for number in range(7)))

    seen = preview_rule(environment(), replace(said, flow="nosuch.flow"), by=ROOT, instead_of=rule)
    change_rule(rule, replace(said, flow="nosuch.flow"), by=ROOT)

    assert (seen.letters, seen.moved) == (0, 2)
    assert place_waiting(environment(), by=ROOT, reason="x") == (2, False)


def two_teams() -> Any:
    """Return the operator of the team whose flow is `erp.orders`, while `payroll.secret` is another team's."""
    push_letters(timeout(0), timeout(0, origin="payroll.secret"))
    sam = actor(person("sam", Role.OPERATOR, team="Sales"))
    for flow, team in (("erp.orders", "Sales"), ("payroll.secret", "Payroll")):
        Flow.objects.update_or_create(
            environment=environment(), name=flow, defaults={"team": Team.objects.get_or_create(name=team)[0]}
        )
    DeadLetter.objects.filter(origin="payroll.secret").update(flow=Flow.objects.get(name="payroll.secret"))
    return sam


@pytest.mark.parametrize("pattern", ["payroll.secret", "*"])
def test_a_rule_acts_on_flows_of_the_teams_that_its_author_operates_alone(pattern: str):
    sam = two_teams()
    said = NewGroupRule(name="n", flow=pattern)

    add_rule(environment(), said, by=sam)
    before = set(FailureGroup.objects.values_list("pk", flat=True))
    theirs = push_letters(*(letter_of("payroll.secret", number) for number in range(3)))
    push_letters(*(letter_of("erp.orders", number) for number in range(3)))

    assert {one.flow.name for one in theirs} == {"payroll.secret"}
    assert len({one.group_id for one in theirs}) == 3
    made = FailureGroup.objects.exclude(pk__in=before).filter(name="n")
    assert {one.flow.name for one in made} == ({"erp.orders"} if pattern == "*" else set())


def letter_of(flow: str, number: int) -> dict[str, Any]:
    words = ("too large", "too small", "not there")[number]
    return timeout(number, origin=flow, error={"type": f"Error{words[-1]}", "message": words})


@pytest.mark.parametrize("name", ["payroll.secret", "nosuch.flow"])
def test_a_rule_that_names_a_hidden_flow_is_answered_like_one_that_names_none(name: str):
    sam = two_teams()

    rule = add_rule(environment(), NewGroupRule(name="n", flow=name), by=sam)

    assert list(visible_group_rules(sam)) == [rule]
    seen = preview_rule(environment(), NewGroupRule(name="m", flow=name), by=sam)
    assert (seen.letters, seen.messages, seen.moved) == (0, 0, 0)
    remove_rule(rule, by=sam, reason="wrong")
    assert not visible_group_rules(actor(person("eve", Role.OPERATOR, team="Payroll"))).exists()


def test_a_rule_for_every_flow_is_changed_by_who_operates_all_or_the_one_that_it_names():
    sam = two_teams()
    of_all = add_rule(environment(), NewGroupRule(name="all", flow="*"), by=ROOT)
    own = add_rule(environment(), NewGroupRule(name="own", flow="erp.orders"), by=ROOT)

    for refused in (
        lambda: change_rule(of_all, NewGroupRule(name="x", flow="*"), by=sam),
        lambda: remove_rule(of_all, by=sam, reason="x"),
        lambda: move_rule(of_all, to=2, by=sam, reason="x"),
        lambda: preview_rule(environment(), NewGroupRule(name="x", flow="*"), by=sam, instead_of=of_all),
    ):
        with pytest.raises(Forbidden):
            refused()
    changed = change_rule(own, NewGroupRule(name="own", flow="*"), by=sam)
    assert changed.teams == [Team.objects.get(name="Sales").pk]
    move_rule(changed, to=1, by=sam, reason="first")


def test_a_group_that_speaks_for_others_is_not_split_by_a_part_but_each_of_them_is():
    for kind in ("E1", "E2"):
        push_letters(
            *(timeout(0, error={"type": kind, "message": "boom"}, keys={"country": one}) for one in ("DE", "AT"))
        )
    first, second = FailureGroup.objects.order_by("pk")
    whole = merged(first, [second])

    with pytest.raises(Invalid, match=f"{second.reference} is merged into {first.reference}"):
        split_by(whole, "key.country", by=ROOT, reason="two countries")

    assert {one.group_id for one in DeadLetter.objects.all()} == {first.pk, second.pk}
    second.refresh_from_db()
    take_apart(second, by=ROOT, reason="two causes")
    for one in FailureGroup.objects.order_by("pk"):
        split_by(one, "key.country", by=ROOT, reason="two countries")
    assert len({one.group_id for one in DeadLetter.objects.all()} - {first.pk, second.pk}) == 4
