"""Stopping all replays, and the report of a plan by mail."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import pytest

from console.audit.models import AuditEntry
from console.identity.models import Role, User
from messages.models import OutboxMail, Plan, ReplayStop
from messages.plans.access import visible_plans
from messages.plans.advance import advance_plan
from messages.replay.sending import send_due
from messages.tasks import send_mails, tell_of_plans
from tests.factories import actor
from tests.pages.people import signed_in, text_of
from tests.pages.planning import begin, letters, plan_of

pytestmark = pytest.mark.django_db


# stops ---------------------------------------------------------------------------------------------------------------------


def test_replays_are_stopped_and_let_go_on(line: Any):
    plan = begin(plan_of(letters(2)))
    client = signed_in()
    assert client.post("/plans/stops/", {"flow": "", "reason": ""}).status_code == 422
    assert client.post("/plans/stops/", {"flow": "", "reason": "erp is down"}).status_code == 303
    assert client.post("/plans/stops/", {"flow": "", "reason": "pressed twice"}).status_code == 303

    assert "Replays of everything in production are stopped." in text_of(client.get("/dead-letters/"))
    assert "Erp is down." in text_of(client.get("/plans/"))
    assert "Replays are stopped here." in text_of(client.get(f"/plans/{plan.reference}/"))
    stop = ReplayStop.objects.get()
    assert client.post(f"/plans/stops/{stop.pk}/lift/", {"reason": "it is up"}).status_code == 303

    assert not ReplayStop.objects.exists()
    assert "stopped" not in text_of(client.get("/dead-letters/"))
    assert [one.action for one in AuditEntry.objects.filter(object_kind="replaystop").order_by("id")] == [
        "replays.stopped",
        "replays.let_go",
    ]


def test_one_flow_is_stopped_by_its_operators_alone(line: Any):
    flow = letters(1)[0].flow
    viewer, operator = signed_in("viewer", Role.VIEWER), signed_in("operator", Role.OPERATOR)
    assert viewer.post("/plans/stops/", {"flow": flow.name, "reason": "x"}).status_code == 403
    assert operator.post("/plans/stops/", {"flow": "no such flow", "reason": "x"}).status_code == 404
    operator.post("/plans/stops/", {"flow": flow.name, "reason": "x"})
    stop = ReplayStop.objects.get()
    assert stop.flow == flow
    assert viewer.post(f"/plans/stops/{stop.pk}/lift/", {"reason": "x"}).status_code == 403


# the report ------------------------------------------------------------------------------------------------------------------


def test_the_report_is_mailed_once_to_whoever_asked_for_it(line: Any, settings: Any, mailoutbox: Any):
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    plan = begin(plan_of(letters(2), steps=("100%",), waits_for="confirmed"))
    client = signed_in()
    here = f"/plans/{plan.reference}/"
    assert client.post(f"{here}report/").status_code == 422  # no address
    User.objects.filter(username="root").update(email="root@example.org")
    client.post(f"{here}report/")
    client.post(f"{here}report/")
    assert not OutboxMail.objects.exists()

    send_due(line.pk)
    advance_plan(plan.pk)
    tell_of_plans()
    send_mails()
    client.post(f"{here}report/")
    tell_of_plans()
    send_mails()

    assert [(mail.to, mail.subject) for mail in mailoutbox] == [
        (["root@example.org"], f"[production] {plan.reference} finished: 2 confirmed")
    ]
    assert "2  confirmed by the broker, not proved" in mailoutbox[0].body
    assert unquote(here) in mailoutbox[0].body


def test_who_may_not_see_the_plan_any_more_gets_no_report(line: Any):
    from console.identity.models import Membership

    plan = begin(plan_of(letters(1)))
    client = signed_in("leaver", Role.OPERATOR)
    User.objects.filter(username="leaver").update(email="leaver@example.org")
    client.post(f"/plans/{plan.reference}/report/")
    Membership.objects.filter(user__username="leaver").delete()
    Plan.objects.filter(pk=plan.pk).update(state="finished", finished_at=datetime.now(UTC))

    tell_of_plans()

    assert [(mail.to, mail.state) for mail in OutboxMail.objects.all()] == [("", "given_up")]
    assert not visible_plans(actor(User.objects.get(username="leaver"))).exists()
