"""Pages of replay rules, and what a group's page says of them; without JavaScript."""

from __future__ import annotations

import pytest

from console.identity.models import Role, Team
from messages.automatic.running import run_rules
from messages.models import AutomaticRule, FailureGroup, Flow, Plan
from tests.automatic.failing import died, processed, rule_on, run_plan
from tests.factories import memory_connection
from tests.pages.people import signed_in, text_of

pytestmark = pytest.mark.django_db
FORM = {
    "name": "erp is away", "failure_class": "transient", "group": "", "waits": "5, 15", "success_percent": "95", "per_hour": "100",
    "per_day": "500", "rate_per_s": "1000", "stop_failed_percent": "50",
}  # fmt: skip


def test_a_rule_is_written_switched_on_looked_at_and_removed():
    line = memory_connection()
    died(1)
    ada = signed_in("ada", Role.OPERATOR)

    assert "Nothing is replayed by itself" in text_of(ada.get("/replay-rules/"))
    assert 'value="G-7"' in ada.get("/replay-rules/new/?group=G-7").content.decode()
    made = ada.post("/replay-rules/new/", FORM)
    rule = AutomaticRule.objects.get()
    page = f"/replay-rules/{rule.pk}/"
    assert (made.status_code, made["Location"]) == (303, page)
    assert "It is off. It was never switched on." in text_of(ada.get(page))
    assert ada.post(f"{page}on/", {"reason": " "}).status_code == 422
    ada.post(f"{page}on/", {"reason": "nights"})
    run_rules()
    assert "It waits: erp.orders: nothing was processed in the last 15 min." in text_of(ada.get(page))
    assert "nothing was processed" in text_of(ada.get("/replay-rules/"))
    processed(20)
    AutomaticRule.objects.update(next_look_at="2026-01-01T00:00:00Z")
    run_rules()
    plan = run_plan(Plan.objects.get(), line)
    shown = text_of(ada.get(page))
    assert plan.reference in shown
    assert "99 now: 1 of 100 in the last hour, 1 of 500 in the last day" in shown
    ada.post("/replay-rules/off/", {"reason": "drill"})
    assert "It is off. Drill." in text_of(ada.get(page))
    assert ada.post(page, FORM | {"waits": "soon"}).status_code == 422
    assert ada.post(page, FORM | {"waits": "7"}).status_code == 303
    ada.post(f"{page}remove/", {"reason": "over"})
    assert AutomaticRule.objects.count() == 0


@pytest.mark.parametrize(
    "wrong",
    [{"waits": ""}, {"waits": "x"}, {"group": "G-999"}, {"failure_class": ""}, {"per_hour": "0"}, {"rate_per_s": "nan"}, {"name": ""},
     {"name": "<script>alert(1)</script>" * 9}, {"failure_class": "nonsense"}],
)  # fmt: skip
def test_a_form_that_cannot_be_meant_comes_back_with_words(wrong):
    answer = signed_in("ada", Role.OPERATOR).post("/replay-rules/new/", FORM | wrong)

    assert answer.status_code == 422
    assert 'class="error"' in answer.content.decode() or 'role="alert"' in answer.content.decode()
    assert "<script>alert(1)" not in answer.content.decode()


def test_viewers_look_and_strangers_find_nothing():
    died(1)
    rule = rule_on(group=FailureGroup.objects.get())
    page = f"/replay-rules/{rule.pk}/"
    vic = signed_in("vic", Role.VIEWER)

    shown = vic.get(page)
    assert shown.status_code == 200
    assert "You may look." in text_of(shown)
    assert "Switch off" not in text_of(shown)
    assert vic.get("/replay-rules/new/").status_code == 403
    for path in (page, f"{page}on/", f"{page}off/", f"{page}remove/", "/replay-rules/off/"):
        assert vic.post(path, FORM | {"reason": "x"}).status_code == 403, path
    Flow.objects.update(team=Team.objects.create(name="Payroll"))
    assert vic.get(page).status_code == 404
    assert rule.name not in text_of(vic.get("/replay-rules/"))


def test_a_groups_page_says_which_rule_replays_it_and_what_fixed_it_before():
    line = memory_connection()
    died(1)
    processed(20)
    group = FailureGroup.objects.get()
    rule_on(group=group)
    run_rules()
    plan = run_plan(Plan.objects.get(), line)
    died(2)
    ada, page = signed_in("ada", Role.OPERATOR), f"/groups/{group.reference}/"

    shown = text_of(ada.get(page))
    assert "Replayed automatically by erp is away" in shown
    assert "Fixed before plans of this group that worked" in shown
    assert "Replay at 1000/s" in shown
    made = ada.post(f"{page}recipe/", {"like": plan.reference})
    draft = Plan.objects.get(state="draft")
    assert (made["Location"], draft.items_count) == (f"/plans/{draft.reference}/", 2)
    assert ada.post(f"{page}recipe/", {"like": "P-0"}).status_code == 404
    other = FailureGroup.objects.get(
        pk=died(1, error={"type": "Other", "message": "else", "stack": ""})[0].group_id
    ).reference
    refused = ada.post(f"/groups/{other}/recipe/", {"like": plan.reference})
    assert refused.status_code == 422
    assert "was not made from" in text_of(refused)
    vic = signed_in("vic", Role.VIEWER)
    assert "Plan it again" not in text_of(vic.get(page))
    assert vic.post(f"{page}recipe/", {"like": plan.reference}).status_code == 403
