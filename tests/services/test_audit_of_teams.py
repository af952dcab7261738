"""The audit list tells nobody the name of another team's flow."""

from __future__ import annotations

import pytest

from console.audit.access import visible_audit
from console.identity.models import Role, Team
from messages.catalog.services import add_flow_rule, move_rule, remove_rule
from messages.groups import ruling
from messages.groups.ruling import NewGroupRule
from messages.models import Flow
from tests.factories import ROOT, actor, environment, person

pytestmark = pytest.mark.django_db


def test_a_rule_that_gives_destinations_to_another_team_s_flow_is_not_in_the_list():
    team = Team.objects.create(name="Payroll")
    flow = Flow.objects.create(environment=environment(), name="payroll.secret", team=team)
    add_flow_rule(environment(), pattern="bills.*", flow_name="bills", by=ROOT)
    rule = add_flow_rule(environment(), pattern="salary.*", flow_name=flow.name, by=ROOT)
    move_rule(rule, up=True, by=ROOT)
    remove_rule(rule, by=ROOT)

    seen = visible_audit(actor(person("sam", Role.VIEWER, team="Sales")))
    assert [one.object_label for one in seen if one.action.startswith("flow_rule.")] == ["bills.* → bills"]
    theirs = visible_audit(actor(person("eve", Role.VIEWER, team="Payroll")))
    assert len([one for one in theirs if one.action.startswith("flow_rule.")]) == 4


def test_a_grouping_rule_of_another_teams_flow_is_not_in_the_list():
    team = Team.objects.create(name="Payroll")
    Flow.objects.create(environment=environment(), name="payroll.secret", team=team)
    eve = actor(person("eve", Role.OPERATOR, team="Payroll"))
    rule = ruling.add_rule(environment(), NewGroupRule(name="Salaries", flow="payroll.secret", words="salary"), by=eve)
    ruling.remove_rule(rule, by=eve, reason="not needed")

    seen, theirs = (
        [one.action for one in visible_audit(who) if one.action.startswith("group_rule.")]
        for who in (actor(person("sam", Role.VIEWER, team="Sales")), eve)
    )

    assert (seen, sorted(theirs)) == ([], ["group_rule.added", "group_rule.removed"])
