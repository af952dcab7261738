"""The pages of the rules of failure groups: preview, save, order, apply, remove, and what is previewed to whom."""

from __future__ import annotations

import pytest

from console.identity.models import Role, Team
from messages.groups.regroup import take_out
from messages.models import DeadLetter, FailureGroup, Flow, GroupRule
from tests.factories import ROOT, environment
from tests.pages.people import signed_in, text_of
from tests.pages.test_groups import fails, two_groups

pytestmark = pytest.mark.django_db


def test_a_rule_is_previewed_saved_ordered_applied_and_removed():
    two_groups()
    client = signed_in("member", Role.OPERATOR)
    said = {"name": "ERP is away", "step": "erp", "failure_class": "throttled"}

    preview = text_of(client.post("/groups/rules/new/?do=preview", said))
    assert "It fits 4 dead letters; 4 would be in another group." in preview
    assert not GroupRule.objects.exists()
    assert client.post("/groups/rules/new/", said | {"step": ""}).status_code == 422
    assert client.post("/groups/rules/new/", said).status_code == 303
    assert (
        client.post(
            "/groups/rules/new/", said | {"name": "Second", "parts": ["step", "queue"], "keys": "country"}
        ).status_code
        == 303
    )
    rule = GroupRule.objects.get(name="ERP is away")
    assert fails(5).group.name == "ERP is away"
    assert client.post(f"/groups/rules/{rule.pk}/change/", {"do": "down", "reason": "x"}).status_code == 303
    assert [one.name for one in GroupRule.objects.order_by("position")] == ["Second", "ERP is away"]
    assert client.post(f"/groups/rules/{rule.pk}/change/", {"do": "up", "reason": "x"}).status_code == 303
    assert client.post("/groups/rules/apply/", {"reason": ""}).status_code == 422

    assert client.post("/groups/rules/apply/", {"reason": "one trouble"}).status_code == 303

    group = FailureGroup.objects.get(name="ERP is away")
    assert set(DeadLetter.objects.values_list("group_id", flat=True)) == {group.pk}
    assert group.failure_class == "throttled"
    assert client.post(f"/groups/rules/{rule.pk}/change/", {"do": "remove", "reason": "over"}).status_code == 303
    assert FailureGroup.objects.get(pk=group.pk).rule is None


def test_a_rule_moves_past_the_next_one_that_one_sees_whatever_lies_between():
    team = Team.objects.create(name="Stock team")
    hidden = [
        GroupRule(environment=environment(), name=name, step="wms", position=at, teams=[team.pk])
        for name, at in (("x", 2), ("y", 3))
    ]
    client = signed_in("member", Role.OPERATOR)
    for name in ("First", "Last"):
        client.post("/groups/rules/new/", {"name": name, "step": "erp"})
    for one in hidden:
        one.save()
    GroupRule.objects.filter(name="Last").update(position=4)
    first = GroupRule.objects.get(name="First")

    def moved(do: str) -> list[str]:
        assert client.post(f"/groups/rules/{first.pk}/change/", {"do": do, "reason": "x"}).status_code == 303
        return list(GroupRule.objects.order_by("position", "id").values_list("name", flat=True))

    assert [one.name for one, _ in client.get("/groups/rules/").context["lines"]] == ["First", "Last"]
    assert moved("down") == moved("down") == ["x", "y", "Last", "First"]
    assert moved("up") == moved("up") == ["x", "y", "First", "Last"]


def test_a_rule_keeps_what_it_says_in_its_editor():
    client = signed_in()
    client.post("/groups/rules/new/", {"name": "A", "words": "<x>", "parts": ["step", "queue"], "keys": "country"})
    rule = GroupRule.objects.get()

    page = client.get(f"/groups/rules/{rule.pk}/").content.decode()

    assert "&lt;x&gt;" in page
    assert page.count("checked") == 2
    assert rule.parts == ["step", "queue", "key.country"]
    assert client.post(f"/groups/rules/{rule.pk}/", {"name": "B", "words": "y"}).status_code == 303
    assert GroupRule.objects.get().name == "B"


def test_a_preview_leaves_out_what_was_taken_out_by_hand_as_rules_do():
    large, _ = two_groups()
    take_out(large, [DeadLetter.objects.filter(group=large)[0].pk], "The blue one", by=ROOT, reason="x")

    shown = text_of(signed_in().post("/groups/rules/new/?do=preview", {"name": "x", "step": "erp"}))

    assert "It fits 3 dead letters; 3 would be in another group." in shown


def test_a_preview_counts_only_what_its_reader_may_see():
    two_groups()
    Flow.objects.update(team=Team.objects.create(name="ERP team"))

    shown = text_of(
        signed_in("stranger", Role.OPERATOR).post("/groups/rules/new/?do=preview", {"name": "x", "step": "*"})
    )

    assert "It fits 0 dead letters" in shown
