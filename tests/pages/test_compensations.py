"""Pages of compensations: what would be undone is shown before it is stored, acted on by who may, alive while it moves, and true in every state."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from console.audit.models import AuditEntry
from console.identity.models import Role
from messages.compensation.execute import work_on
from messages.compensation.proposing import propose, target_of_letter
from messages.compensation.services import start
from messages.masking.services import NewRule, add_masking_rule
from messages.models import Compensation, CompensationStep
from tests.compensation.orders import BOOK, failed_order, proposed, refund_of, saved
from tests.compensation.runs import begun, passes, told
from tests.factories import ROOT, environment
from tests.pages.compensating import body_of, of, stuck
from tests.pages.people import signed_in, text_of

pytestmark = pytest.mark.django_db


# one compensation ----------------------------------------------------------------------------------------------------


def test_the_page_says_what_happened_what_undoes_it_and_what_is_proved(line):
    run = proposed("payment", "stock")
    client = signed_in("ops", Role.OPERATOR)
    page = client.get(of(run))
    said = text_of(page)

    assert page.status_code == 200
    assert "Billing refused it for good." in said
    assert "Payment and stock had already happened." in said
    assert "nothing to undo" in said
    assert body_of(page).index("payment taken") < body_of(page).index("stock reserved")
    assert f"#event-{run.steps.get(name='payment').event_id}" in body_of(page)

    start(run, by=ROOT)
    work_on(run.pk)
    refund_of(run.dead_letter)
    Compensation.objects.update(looked_at=None)
    work_on(run.pk)
    ended = client.get(of(run))

    assert "undone, proved by payment" in text_of(ended)
    assert "All of it is undone." in text_of(ended)
    assert f"#event-{run.steps.get(name='payment').proof_event_id}" in body_of(ended)
    assert "hx-trigger" not in body_of(ended).partition('id="compensation-now"')[2].partition(">")[0]
    letter = client.get(f"/dead-letters/{run.dead_letter_id}/")
    assert f"Compensated by {run.reference}" in text_of(letter)
    journey = client.get(f"/j/{run.trace_id.hex}")
    assert f"undone, {run.reference}" in text_of(journey)
    assert "What is undone" in text_of(journey)
    assert "What is undone" in text_of(client.get(f"/messages/{run.message_uid}/"))


def test_buttons_start_take_back_pause_resume_and_stop_and_a_second_press_finds_it_done(line):
    run = proposed("stock")
    client = signed_in("ops", Role.OPERATOR)

    begun = client.post(of(run, "start/"), follow=True)
    assert "Begins in" in text_of(begun)
    assert client.post(of(run, "start/")).status_code == 303
    client.post(of(run, "undo/"))
    run.refresh_from_db()
    assert run.state == "proposed"

    client.post(of(run, "start/"))
    Compensation.objects.update(begins_at=datetime.now(UTC))
    client.post(of(run, "pause/"), {"reason": "wait"})
    assert client.post(of(run, "pause/"), {"reason": "wait"}).status_code == 303
    assert "Paused by ops." in text_of(client.get(of(run)))
    client.post(of(run, "resume/"))
    no_reason = client.post(of(run, "stop/"))
    assert no_reason.status_code == 422
    client.post(of(run, "stop/"), {"reason": "the customer wants it after all"})
    run.refresh_from_db()

    assert (run.state, run.state_by) == ("stopped", "ops")
    assert "what stays: stock reserved" in text_of(client.get(of(run)))
    refused = client.post(of(run, "pause/"))
    assert (refused.status_code, "is stopped" in text_of(refused)) == (422, True)
    assert AuditEntry.objects.filter(action="compensation.paused").count() == 1


def test_a_second_person_approves_the_checksum_that_the_page_shows(line):
    mine, other = signed_in("mine", Role.OPERATOR), signed_in("other", Role.OPERATOR)
    from console.identity.models import User
    from tests.factories import actor

    run = proposed(text="needs_approval: true\n" + BOOK, by=actor(User.objects.get(username="mine")))
    own = mine.get(of(run))
    assert "A second person must approve it." in text_of(own)
    assert of(run, "approve/") not in body_of(own)
    assert of(run, "start/") not in body_of(own)
    assert mine.post(of(run, "approve/"), {"checksum": run.checksum}).status_code == 403

    assert run.checksum in body_of(other.get(of(run)))
    assert other.post(of(run, "approve/"), {"checksum": "0" * 64}).status_code == 422
    other.post(of(run, "approve/"), {"checksum": run.checksum})
    run.refresh_from_db()
    assert (run.state, run.approved_by) == ("approved", "other")
    assert of(run, "start/") in body_of(mine.get(of(run)))
    mine.post(of(run, "refuse/"), {"reason": "not yet"})
    run.refresh_from_db()
    assert run.state == "proposed"


def test_a_failed_step_is_retried_skipped_or_done_by_hand_from_its_row(line):
    run = stuck(line, "payment", "stock")
    client = signed_in("ops", Role.OPERATOR)
    page = client.get(of(run))
    assert "It needs a person." in text_of(page)
    for verb in ("retry", "skip", "mark", "assign"):
        assert of(run, f"steps/1/{verb}/") in body_of(page), verb
    assert of(run, "steps/2/retry/") not in body_of(page)

    assert client.post(of(run, "steps/1/retry/")).status_code == 422
    client.post(of(run, "steps/1/assign/"), {"assignee": "kim", "due": "2026-11-26T22:00"})
    assert client.post(of(run, "steps/1/assign/"), {"assignee": "kim", "due": "soon"}).status_code == 422
    client.post(of(run, "steps/1/retry/"), {"reason": "the queue is there now"})
    assert CompensationStep.objects.get(compensation=run, ordinal=1).state == "waiting"
    work_on(run.pk)
    client.post(of(run, "steps/1/mark/"), {"reason": "released by phone"})
    twice = client.post(of(run, "steps/1/mark/"), {"reason": "released by phone"})

    step = CompensationStep.objects.get(compensation=run, ordinal=1)
    assert (twice.status_code, step.state, step.done_by, step.assignee) == (303, "by_hand", "ops", "kim")
    assert client.post(of(run, "steps/1/skip/"), {"reason": "x"}).status_code == 422
    assert client.post(of(run, "steps/9/skip/"), {"reason": "x"}).status_code == 404
    assert "ops: released by phone" in text_of(client.get(of(run)))


def test_the_part_that_follows_asks_while_it_moves_and_reloads_when_the_state_changes(line):
    run = proposed("stock")
    client = signed_in("ops", Role.OPERATOR)
    htmx = {"HTTP_HX_REQUEST": "true"}

    part = client.get(of(run, "now/?seen=proposed"), **htmx)
    assert body_of(part).lstrip().startswith('<div class="stack" id="compensation-now" data-live')
    assert client.get(of(run, "now/?seen=running"), **htmx)["HX-Refresh"] == "true"
    assert client.get(of(run, "now/")).status_code == 302


def test_what_was_undone_before_and_what_came_late_are_said(line):
    found = failed_order("payment", "stock")
    saved(found.flow)
    refund_of(found)
    run = propose(target_of_letter(found), by=ROOT, reason="x")
    client = signed_in("ops", Role.OPERATOR)
    assert "already undone: see the event" in text_of(client.get(of(run)))

    late = [{"step": "mail", "title": "confirmation mailed", "event": str(run.steps.get().event_id), "at": "2026-11-26T10:44:00Z", "answer": ""}]  # fmt: skip
    Compensation.objects.filter(pk=run.pk).update(late=late)
    page = text_of(client.get(of(run)))
    assert "A new event arrived while this waits: confirmation mailed" in page
    assert run.reference in text_of(client.get("/compensations/"))
    Compensation.objects.filter(pk=run.pk).update(
        late=[late[0] | {"answer": "leave", "by": "ada", "reason": "a mail harms nobody"}]
    )
    assert "Came meanwhile confirmation mailed: left as it is by ada: a mail harms nobody" in text_of(
        client.get(of(run))
    )
    assert run.reference not in text_of(client.get("/compensations/"))


def with_late_stock() -> Compensation:
    """A compensation that waits for its refund's proof, while stock tells of a reservation that nobody knew."""
    run = begun("payment")
    work_on(run.pk)
    told(run, "stock", "reservations", message_id=f"late-{run.pk}")
    passes(run, 60)
    work_on(run.pk)
    return run


def test_what_came_late_is_added_or_left_by_a_press(line):
    left, added, client = with_late_stock(), with_late_stock(), signed_in("ops", Role.OPERATOR)
    page = text_of(client.get(of(left)))
    assert "It is not among what is undone" in page
    assert "Add it as a step" in page
    assert client.post(f"{of(left)}late/0/leave/", {"reason": ""}).status_code == 422
    assert client.post(f"{of(left)}late/7/leave/", {"reason": "x"}).status_code == 422

    client.post(f"{of(left)}late/0/leave/", {"reason": "the customer keeps it"})
    assert "left as it is by ops: the customer keeps it" in text_of(client.get(of(left)))
    client.post(f"{of(added)}late/0/add/", {"reason": "it must go back too"})
    assert added.steps.filter(name="stock").count() == 1
    assert signed_in("vic", Role.VIEWER).post(f"{of(added)}late/0/add/", {"reason": "x"}).status_code == 403


# what it sends -------------------------------------------------------------------------------------------------------


def test_what_a_step_sends_is_for_those_who_may_read_payloads_and_audited_once(line):
    run = proposed("payment")
    reader_, viewer = signed_in("ops", Role.OPERATOR), signed_in("vic", Role.VIEWER)

    blind = viewer.get(of(run))
    assert "1284.50" not in body_of(blind)
    assert "refund amount" in text_of(blind)
    assert "only those who may read payloads" in text_of(blind)
    assert not AuditEntry.objects.filter(action="payload.read", object_kind="compensation").exists()

    for _ in range(2):
        told = reader_.get(of(run))
    assert "refund 1284.50" in text_of(told)
    assert "1284.50" in body_of(told).partition('class="sends"')[2]
    assert AuditEntry.objects.filter(action="payload.read", object_id=str(run.pk)).count() == 1


@pytest.mark.parametrize("expression", ["$.amount", "$..amount", "$.*", "$[?@.amount=='1']"])
def test_a_masking_rule_that_came_later_masks_the_value_wherever_it_was_filled_in(line, expression):
    run = proposed("payment")
    add_masking_rule(environment(), NewRule(kind="json_path", expression=expression), by=ROOT)
    from messages.ingest import catalog

    catalog._rules.clear()
    page = signed_in("ops", Role.OPERATOR).get(of(run))
    shown = body_of(page)
    if "?" in expression:  # of the body itself it masks what fulfils its condition, here as at its event
        shown = re.sub(r'<tr class="told">.*?</tr>', "", shown, flags=re.S)

    assert "1284.50" not in shown
    assert "refund •••" in text_of(page)
    assert "values are masked here" in text_of(page)


def test_a_pattern_masks_the_texts_of_what_is_sent(line):
    run = proposed("payment")
    add_masking_rule(environment(), NewRule(kind="regex", expression=r"pay-\d+"), by=ROOT)
    from messages.ingest import catalog

    catalog._rules.clear()
    assert '"pay-' not in text_of(signed_in("ops", Role.OPERATOR).get(of(run))).replace("&quot;", '"')


# proposing -----------------------------------------------------------------------------------------------------------


def test_what_would_be_undone_is_shown_before_it_is_stored_and_proposed_once(line):
    found = failed_order("payment", "stock", "mailer")
    saved(found.flow)
    client = signed_in("ops", Role.OPERATOR)
    assert f"/compensations/new/?letter={found.pk}" in body_of(client.get(f"/dead-letters/{found.pk}/"))
    page = client.get(f"/compensations/new/?letter={found.pk}")

    said = text_of(page)
    assert Compensation.objects.count() == 0
    assert "refund 1284.50" in said
    assert "a mail cannot be called back" in said
    assert "Not all of it can be undone." in said
    form = {"reason": "billing refused it", "ticket": "INC-1", "on_failure": "continue", "token": "one"}
    assert client.post(page.request["PATH_INFO"] + f"?letter={found.pk}", form | {"reason": ""}).status_code == 422
    made = client.post(f"/compensations/new/?letter={found.pk}", form)
    again = client.post(f"/compensations/new/?letter={found.pk}", form)

    run = Compensation.objects.get()
    assert made["Location"] == again["Location"] == of(run)
    assert (run.reason, run.ticket, run.on_failure, run.created_by) == (
        "billing refused it",
        "INC-1",
        "continue",
        "ops",
    )
    other = client.post(f"/compensations/new/?letter={found.pk}", form | {"token": "two"})
    assert (other.status_code, "is open already" in text_of(other)) == (422, True)
    assert "It is open already" in text_of(client.get(f"/compensations/new/?message={run.message_uid}"))
    assert "compensations/new" not in body_of(client.get(f"/dead-letters/{found.pk}/"))


def test_without_a_book_there_is_no_button_and_the_page_says_what_a_book_is(line):
    found = failed_order("payment")
    client = signed_in("ops", Role.OPERATOR)

    assert "compensations/new" not in body_of(client.get(f"/dead-letters/{found.pk}/"))
    page = client.get(f"/compensations/new/?letter={found.pk}")
    assert "has no compensation book" in text_of(page)
    saved(found.flow, BOOK.replace("system: payment, destination: payments", "system: nobody"))
    assert "Nothing to undo" in text_of(client.get(f"/compensations/new/?letter={found.pk}"))
    assert client.get("/compensations/new/").status_code == 400
    assert client.get("/compensations/new/?letter=x").status_code == 400
