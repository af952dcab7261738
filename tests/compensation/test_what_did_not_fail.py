"""What was delivered is not offered, tried or started, on the page and over REST, by one or by a plan; what is on its way is said to be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from console.identity.models import Role
from messages.compensation.failing import DidNotFail
from messages.compensation.proposing import propose, target_of_letter, target_of_message
from messages.compensation.services import start
from messages.models import Compensation, Connection, DeadLetter, Message, PlanItem
from messages.plans.advance import advance_plan
from messages.plans.services import start_plan
from tests.compensation.orders import failed_order, proposed, saved
from tests.compensation.runs import now_of
from tests.factories import ROOT, agent_key, event, memory_connection, push
from tests.http.test_rest_administration import Caller
from tests.pages.compensating import body_of
from tests.pages.people import signed_in, text_of
from tests.plans.test_plans_that_compensate import plan_of

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def line(db: None) -> Connection:
    return memory_connection()


def says(
    system: str, message_id: str, *, trace: str, outcome: str = "ok", ago_s: int = 0, operation: str = "process"
) -> None:
    at = datetime.now(UTC) - timedelta(seconds=ago_s)
    told = event(system=system, operation=operation, outcome=outcome, message_id=message_id, trace_id=trace,
                 occurred_at=at.isoformat(), destination="orders")  # fmt: skip
    assert push("/ingest/v1/events", {"events": [told]}, key=agent_key("estate")).json()["rejected"] == []


def message_without_letter(**events: str) -> Message:
    """A message whose payment was taken, without a dead letter; events: what each system told of it then, in this order."""
    letter = failed_order("payment")
    saved(letter.flow)
    uid, name, trace = letter.message_uid, letter.message_id, letter.trace_id.hex
    DeadLetter.objects.all().delete()
    Message.objects.filter(id=uid).update(status=0, decided_at=None, failed_at=None)
    for at, (system, outcome) in enumerate(events.items()):
        says(system, name, trace=trace, outcome=outcome, ago_s=100 - at)
    return Message.objects.select_related("flow__environment", "flow__team", "environment").get(id=uid)


def refusals(body: dict[str, Any], address: str, page: str) -> None:
    """Nobody is offered it, and nobody gets it by its address or over REST."""
    call, client = Caller("ada", Role.OPERATOR), signed_in("otto", Role.OPERATOR)
    assert "compensations/new" not in body_of(client.get(page))
    shown = client.get(address)
    assert "It cannot be compensated" in text_of(shown)
    assert "Propose" not in text_of(shown)
    assert client.post(address, {"reason": "x", "on_failure": "stop", "token": "a"}).status_code == 422
    for more in ({"dry_run": True}, {"reason": "x"}):
        answer = call("post", "compensations", body | more)
        assert (answer.status_code, answer.json()["code"]) == (409, "message_did_not_fail")
    assert Compensation.objects.count() == 0


def test_a_message_that_was_delivered_is_not_offered():
    message = message_without_letter(billing="error", stock="ok") and message_without_letter(billing="ok")
    refusals({"message": str(message.id)}, f"/compensations/new/?message={message.id}", f"/messages/{message.id}/")


def test_a_message_that_one_system_failed_is_whatever_another_told_last():
    message = message_without_letter(billing="error", crm="ok")
    assert message.get_status_display() == "failed"
    assert "compensations/new" in body_of(signed_in("ops", Role.OPERATOR).get(f"/messages/{message.id}/"))
    assert propose(target_of_message(message), by=ROOT, reason="billing refused it").state == "proposed"


def test_a_system_that_failed_and_gave_it_back_has_failed():
    message = message_without_letter(billing="error")
    says("billing", message.message_id, trace=message.trace_id.hex, outcome="unset", operation="settle", ago_s=50)
    says("crm", message.message_id, trace=message.trace_id.hex)
    message = Message.objects.select_related("flow__environment", "flow__team", "environment").get(id=message.id)
    assert message.get_status_display() == "failed"
    assert propose(target_of_message(message), by=ROOT, reason="billing refused it").state == "proposed"


def test_a_system_that_failed_and_processed_it_then_did_not_fail():
    message = message_without_letter(billing="error")
    says("billing", message.message_id, trace=message.trace_id.hex)
    message = Message.objects.select_related("flow__environment", "flow__team", "environment").get(id=message.id)
    with pytest.raises(DidNotFail, match="it was delivered"):
        propose(target_of_message(message), by=ROOT, reason="x")


def test_of_a_message_on_its_way_the_page_says_that_nobody_has_told_of_a_failure():
    message = message_without_letter()
    shown = signed_in("ops", Role.OPERATOR).get(f"/compensations/new/?message={message.id}")
    assert "Nobody has told that it failed." in text_of(shown)
    assert "payment taken" in text_of(shown)


def test_a_dead_letter_that_the_system_which_failed_has_processed_since_is_not_compensated():
    letter = failed_order("payment", "stock")
    saved(letter.flow)
    says("crm", letter.message_id, trace=letter.trace_id.hex, ago_s=-1)
    assert "compensations/new" in body_of(signed_in("ops", Role.OPERATOR).get(f"/dead-letters/{letter.pk}/"))
    says("billing", letter.message_id, trace=letter.trace_id.hex, ago_s=-1)
    refusals({"letter": str(letter.pk)}, f"/compensations/new/?letter={letter.pk}", f"/dead-letters/{letter.pk}/")
    with pytest.raises(DidNotFail, match="billing has processed it since"):
        propose(target_of_letter(letter), by=ROOT, reason="x")


def test_it_is_looked_at_once_more_at_the_start():
    run = proposed("stock")
    says("billing", run.dead_letter.message_id, trace=run.trace_id.hex, ago_s=-1)
    with pytest.raises(DidNotFail):
        start(now_of(run), by=ROOT)
    assert (now_of(run).state, now_of(run).dead_letter.state) == ("proposed", "open")


def test_a_plan_leaves_out_what_was_processed_since():
    letters = [failed_order("stock"), failed_order("stock")]
    saved(letters[0].flow)
    plan = plan_of(letters, steps=("100%",))
    says("billing", letters[0].message_id, trace=letters[0].trace_id.hex, ago_s=-1)
    start_plan(plan, by=ROOT)
    advance_plan(plan.pk)
    why = dict(PlanItem.objects.filter(plan=plan).values_list("dead_letter_id", "left_out"))
    assert why == {letters[0].pk: "processed", letters[1].pk: ""}
