"""How a plan is executed can be changed until it is started, by its operators; a second person sees what is executed."""

from __future__ import annotations

import math
from typing import Any

import pytest
from django.test import Client

from console.audit.models import AuditEntry
from console.core.errors import Forbidden, Invalid
from console.identity.models import Role
from messages.models import Plan
from messages.plans.approvals import OwnPlan
from messages.plans.services import Options, PlanState, approve_plan, request_approval, start_plan
from messages.plans.tuning import change_options
from tests.factories import ROOT, actor, person
from tests.http.test_rest_administration import Caller
from tests.plans.test_plans import letters, plan_of, run

pytestmark = pytest.mark.django_db
USUAL = Options(waits_for="confirmed")
FORM = {"rate": "", "waves": "2, 100%", "waits_for": "confirmed", "wave_wait": "60", "failed": "7.5", "latency": ""}


def now_of(plan: Plan) -> Plan:
    return Plan.objects.get(pk=plan.pk)


def test_a_draft_is_sent_as_it_was_changed_to(line):
    plan = plan_of(letters(4), USUAL)
    assert plan.wave_ends == [1, 4]
    checksum = plan.checksum

    change_options(plan, {"rate_per_s": None, "steps": ("3",), "stop_failed_percent": 50.0}, by=ROOT)

    now = now_of(plan)
    assert (now.rate_per_s, now.steps, now.wave_ends, now.stop_failed_percent) == (None, ["3", "100%"], [3, 4], 50.0)
    assert (now.waits_for, now.wave_wait_s, now.checksum) == ("confirmed", 600, checksum)  # the rest stays
    entry = AuditEntry.objects.get(action="plan.options_changed")
    assert entry.details["changed"] == {"rate_per_s": None, "steps": ["3", "100%"], "stop_failed_percent": 50.0}
    start_plan(now, by=ROOT)
    run(now, line)
    assert now_of(plan).state == "finished"


def test_an_approval_of_another_rate_is_void_and_who_changed_it_is_an_author(line):
    ada, bob, carol = (actor(person(name, Role.OPERATOR)) for name in ("ada", "bob", "carol"))
    plan = request_approval(plan_of(letters(2), USUAL, by=ada), by=ada)
    plan = approve_plan(plan, by=bob, checksum=plan.checksum)

    change_options(plan, {"rate_per_s": 500.0}, by=bob)

    now = now_of(plan)
    assert (now.state, now.approved_by, now.approved_at) == ("draft", "", None)
    now = request_approval(now, by=ada)
    with pytest.raises(OwnPlan):
        approve_plan(now, by=bob, checksum=now.checksum)
    assert approve_plan(now, by=carol, checksum=now.checksum).state == "approved"


def test_what_changes_nothing_voids_nothing(line):
    plan = request_approval(plan_of(letters(2), USUAL), by=ROOT)
    change_options(plan, {"rate_per_s": 10.0, "steps": ("1", "5%", "25%")}, by=ROOT)
    assert now_of(plan).state == "awaiting_approval"
    assert not AuditEntry.objects.filter(action="plan.options_changed").exists()


def test_a_plan_that_was_started_is_not_changed(line):
    plan = start_plan(plan_of(letters(2), USUAL), by=ROOT, undo_s=60)
    with pytest.raises(PlanState):
        change_options(plan, {"rate_per_s": 1.0}, by=ROOT)


def test_only_operators_of_all_its_flows_change_it(line):
    plan = plan_of(letters(2), USUAL)
    with pytest.raises(Forbidden):
        change_options(plan, {"rate_per_s": 1.0}, by=actor(person("vic", Role.VIEWER)))


@pytest.mark.parametrize(
    "changes",
    [
        {"rate_per_s": math.nan}, {"rate_per_s": math.inf}, {"rate_per_s": 0.0}, {"steps": ("150%",)}, {"wave_wait_s": 1},
        {"stop_failed_percent": math.nan}, {"stop_latency_times": -1.0}, {"concurrency": 0}, {"destination": "elsewhere"},
        {"expiry": "keep"}, {"state": "running"},
    ],
)  # fmt: skip
def test_what_cannot_be_meant_or_changes_what_is_sent_is_refused(line, changes: dict[str, Any]):
    plan = plan_of(letters(1), USUAL)
    with pytest.raises(Invalid):
        change_options(plan, changes, by=ROOT)
    assert now_of(plan).rate_per_s == 10.0


def test_the_form_on_the_drafts_page(line):
    plan, ada, vic = plan_of(letters(4), USUAL), person("ada", Role.OPERATOR), person("vic", Role.VIEWER)
    address, browser = f"/plans/{plan.reference}/how/", Client()
    browser.force_login(vic)
    assert address not in browser.get(f"/plans/{plan.reference}/").content.decode()
    assert browser.post(address, FORM).status_code == 403

    browser.force_login(ada)
    assert f'action="{address}"' in browser.get(f"/plans/{plan.reference}/").content.decode()
    refused = browser.post(address, FORM | {"rate": "-1", "failed": "7"})
    assert (refused.status_code, 'value="-1"' in refused.content.decode()) == (422, True)
    assert browser.post(address, FORM | {"wave_wait": "soon"}).status_code == 422
    assert browser.post(address, FORM).status_code == 303

    now = now_of(plan)
    assert (now.rate_per_s, now.wave_ends, now.wave_wait_s, now.stop_failed_percent, now.stop_latency_times) == (None, [2, 4], 60, 7.5, None)  # fmt: skip
    start_plan(now, by=ROOT)
    assert address not in browser.get(f"/plans/{plan.reference}/").content.decode()
    assert browser.post(address, FORM | {"rate": "3"}).status_code == 422


def test_rest_changes_what_is_named_and_refuses_the_rest(line):
    plan, ada = plan_of(letters(4), USUAL), Caller("ada", Role.OPERATOR)
    answer = ada("patch", f"plans/{plan.reference}", {"rate_per_s": None, "waves": ["50%"]})
    assert (answer.status_code, answer.json()["options"]["rate_per_s"], answer.json()["options"]["waves"]) == (200, None, ["50%", "100%"])  # fmt: skip
    for body in ({"destination": "x"}, {"rate_per_s": "fast"}, {"waves": ["0"]}, [], {"state": "running"}):
        assert ada("patch", f"plans/{plan.reference}", body).status_code == 400, body
    assert Caller("vic", Role.VIEWER)("patch", f"plans/{plan.reference}", {"rate_per_s": 1}).status_code == 403
    assert now_of(plan).rate_per_s is None
