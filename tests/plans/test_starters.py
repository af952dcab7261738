"""A plan that was started for later begins only while whoever started it may still start it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from console.audit.models import AuditEntry
from console.identity.actor import actor_of
from console.identity.keys import create_api_key, revoke_key
from console.identity.models import Key, Membership, Role, User
from messages.automatic.running import run_rules
from messages.models import AutomaticRule, Flow, Plan, Replay
from messages.plans.advance import advance_plans
from messages.plans.services import Options, approve_plan, request_approval, start_plan
from tests.automatic.failing import died, processed, rule_on
from tests.factories import ROOT, actor, person
from tests.http.test_rest_administration import Caller
from tests.plans.test_plans import FAST, letters, plan_of

pytestmark = pytest.mark.django_db


def is_due(plan: Plan) -> None:
    """Let the time come at which it begins."""
    now = datetime.now(UTC)
    Plan.objects.filter(pk=plan.pk).update(begins_at=now - timedelta(seconds=1))
    advance_plans()
    plan.refresh_from_db()


def later() -> datetime:
    return datetime.now(UTC) + timedelta(hours=2)


def leaves_the_team(user: User) -> None:
    Membership.objects.filter(user=user).delete()


def looks_only(user: User) -> None:
    Membership.objects.filter(user=user).update(role=Role.VIEWER)


def is_switched_off(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def is_deleted(user: User) -> None:
    user.delete()


@pytest.mark.parametrize(
    ("lose", "words"),
    [
        (leaves_the_team, "not an operator of every flow"),
        (looks_only, "not an operator of every flow"),
        (is_switched_off, "account is switched off"),
        (is_deleted, "account is gone"),
    ],
)
def test_a_plan_whose_starter_lost_the_right_since_does_not_begin_and_says_why(line, lose, words):
    plan, ada = plan_of(letters(2)), person("ada", Role.OPERATOR)
    start_plan(plan, by=actor(ada), at=later())

    lose(ada)
    is_due(plan)

    assert (plan.state, plan.begins_at, plan.state_by) == ("draft", None, "system")
    assert plan.why.startswith("it did not begin: ada started it")
    assert words in plan.why
    assert not Replay.objects.exists()
    entry = AuditEntry.objects.filter(action="plan.start_undone").latest("id")
    assert (entry.actor, entry.reason) == ("system", plan.why)
    start_plan(plan, by=ROOT)  # another may
    advance_plans()
    plan.refresh_from_db()
    assert plan.state == "running"


def test_who_still_has_the_right_begins_whatever_they_are_called_now(line):
    plan, ada = plan_of(letters(2)), person("ada", Role.OPERATOR)
    start_plan(plan, by=actor(ada), at=later())
    User.objects.filter(pk=ada.pk).update(username="ada.lovelace")
    is_due(plan)
    assert plan.state == "running"


def test_a_flow_that_went_to_another_team_takes_the_right_along(line):
    plan, ada = plan_of(letters(2)), person("ada", Role.OPERATOR)
    bob = person("bob", Role.OPERATOR, team="Other team")
    start_plan(plan, by=actor(ada), at=later())
    Flow.objects.update(team=bob.memberships.get().team)
    is_due(plan)
    assert plan.state == "draft"


def test_an_approval_stays_when_a_start_is_taken_back(line):
    plan, ada, bob = plan_of(letters(2)), person("ada", Role.OPERATOR), person("bob", Role.OPERATOR)
    request_approval(plan, by=ROOT)
    approve_plan(plan, by=actor(bob), checksum=plan.checksum)
    start_plan(plan, by=actor(ada), at=later())
    leaves_the_team(ada)
    is_due(plan)
    assert (plan.state, plan.approved_by) == ("approved", "bob")


def test_what_has_expired_meanwhile_expires_with_the_reason(line):
    plan, ada = plan_of(letters(2)), person("ada", Role.OPERATOR)
    start_plan(plan, by=actor(ada), at=later())
    leaves_the_team(ada)
    Plan.objects.update(expires_at=datetime.now(UTC) - timedelta(minutes=1))
    is_due(plan)
    assert (plan.state, plan.why) == (
        "expired",
        "it did not begin: ada started it, and is not an operator of every flow in it any more",
    )


@pytest.mark.parametrize("loses", [True, False])
def test_a_key_that_was_revoked_since_begins_nothing(line, loses):
    plan, ada = plan_of(letters(2)), person("ada", Role.OPERATOR)
    key, _ = create_api_key("nights", ada, by="tests")
    start_plan(plan, by=actor_of(ada, via="api", key_id=key.pk), at=later())
    if loses:
        revoke_key(key)
    is_due(plan)
    assert plan.state == ("draft" if loses else "running")
    assert ("with a key that was revoked" in plan.why) == loses


def test_rest_says_with_which_key_a_plan_was_started(line):
    plan, ada = plan_of(letters(1)), Caller("ada", Role.OPERATOR)
    answer = ada("post", f"plans/{plan.reference}/start", {"at": later().isoformat()})
    assert answer.status_code == 202, answer.content
    plan.refresh_from_db()
    assert (plan.started_by_user_id, plan.started_by_key_id) == (User.objects.get(username="ada").pk, Key.objects.get(name="tests").pk)  # fmt: skip


def test_a_rules_plan_whose_author_lost_the_right_is_given_up_and_the_rule_goes_off(line):
    died(2)
    processed(20)
    night = person("night-shift", Role.OPERATOR)
    rule = rule_on(night)
    run_rules()
    plan = Plan.objects.get()
    assert plan.state == "scheduled"

    leaves_the_team(night)
    is_due(plan)
    assert plan.state == "cancelled"
    assert "night-shift started it" in plan.why
    assert not Replay.objects.exists()
    AutomaticRule.objects.update(next_look_at=datetime.now(UTC))
    run_rules()
    rule.refresh_from_db()
    assert not rule.is_on


def test_what_a_command_started_needs_no_person(line):
    plan = plan_of(letters(1), Options(rate_per_s=FAST.rate_per_s))
    start_plan(plan, by=ROOT, at=later())
    is_due(plan)
    assert plan.state == "running"
