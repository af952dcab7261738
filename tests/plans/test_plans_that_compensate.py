"""A plan that compensates: the same frozen set, waves, rate, pause and stop; each item is a compensation of its own."""

from __future__ import annotations

from datetime import UTC, datetime
from threading import Barrier, Thread

import pytest
from django.db import connection as database
from django.urls import reverse

from console.core.errors import Invalid
from console.identity.models import Membership, Role, Team
from messages.catalog.connections import withdraw_connection
from messages.compensation.books import save_book
from messages.compensation.execute import work_on
from messages.compensation.proposing import propose, target_of_letter
from messages.compensation.services import skip_step
from messages.models import Compensation, CompensationStep, DeadLetter, Flow, Plan, PlanItem, Replay
from messages.plans.advance import advance_plan
from messages.plans.items import find_items
from messages.plans.queries import counts_of, total_of
from messages.plans.selection import Selection
from messages.plans.services import (
    ApprovalNeeded,
    Options,
    approve_plan,
    create_plan,
    end_plan,
    pause_plan,
    request_approval,
    resume_plan,
    start_plan,
)
from tests.compensation.orders import BOOK, book, failed_order, saved
from tests.factories import ROOT, actor, agent_key, api_key, environment, letter, person, push

pytestmark = pytest.mark.django_db
STOCK = BOOK[: BOOK.index("  - name: payment")] + BOOK[BOOK.index("  - name: stock") : BOOK.index("  - name: mail")]
ALL = ("100%",)


def orders(count, text=STOCK, happened=("stock",)):
    """So many orders that billing refused, and the book that undoes what had happened; without a proof, so an answer is enough."""
    key = agent_key("estate")
    found = [failed_order(*happened, key=key) for _ in range(count)]
    saved(found[0].flow, text)
    return found


def plan_of(chosen, by=ROOT, **options):
    return create_plan(
        Selection(source=Plan.Source.TICKED, ids=[one.pk for one in chosen]),
        environment=environment(),
        by=by,
        reason="billing refuses them for good",
        options=Options(**{"does": "compensate", "rate_per_s": None, **options}),
    )


def begin(plan):
    start_plan(plan, by=ROOT)
    turn(plan)


def turn(plan):
    advance_plan(plan.pk)
    plan.refresh_from_db()
    assert total_of(counts_of(plan)).total() == plan.items_count


def works(plan):
    for pk in runs(plan).values_list("pk", flat=True):
        work_on(pk)


def runs(plan):
    return Compensation.objects.filter(plan=plan).order_by("pk")


def run(plan, turns=12):
    for _ in range(turns):
        works(plan)
        turn(plan)
        if plan.state != "running":
            return


def total(plan):
    return dict(total_of(counts_of(plan)))


def failing(plan):
    """A step of the oldest compensation failed for good."""
    first = runs(plan)[0]
    CompensationStep.objects.filter(compensation=first, ordinal=1).update(state="failed", detail="no such order")
    work_on(first.pk)


def test_a_frozen_set_is_undone_wave_by_wave(line):
    chosen = orders(4)
    plan = plan_of(chosen, steps=("1", "100%"))
    assert (plan.items_count, plan.wave_ends, plan.order_key, plan.waits_for) == (4, [1, 4], "", "processed")
    late = failed_order("stock")

    begin(plan)
    assert (runs(plan).count(), total(plan)) == (1, {"sending": 1, "waiting": 3})
    turn(plan)
    assert runs(plan).count() == 1  # the wave waits for it
    run(plan)

    assert (plan.state, total(plan)) == ("finished", {"processed": 4})
    frozen = set(PlanItem.objects.filter(plan=plan).values_list("dead_letter_id", "replay_id"))
    assert {(one.dead_letter_id, one.uid) for one in runs(plan)} == frozen
    assert {(one.state, one.resolution) for one in DeadLetter.objects.exclude(pk=late.pk)} == {
        ("closed", "compensated")
    }
    assert [item.compensation for item in find_items(ROOT, plan).rows] == [
        runs(plan).get(uid=item.replay).reference for item in find_items(ROOT, plan).rows
    ]
    assert Replay.objects.count() == 0


def test_what_cannot_be_undone_is_left_out_with_its_reason(line):
    gone, taken, never, fine = orders(4)
    push("/ingest/v1/dead-letters", [letter()], key=agent_key("harvester"))
    bookless = DeadLetter.objects.latest("id")
    DeadLetter.objects.filter(pk=gone.pk).update(state="closed", resolution="discarded", closed_at=datetime.now(UTC))
    never = failed_order("mailer")
    plan = plan_of([gone, taken, never, fine, bookless], steps=ALL)
    assert plan.figures["left_out"] == {"closed": 1, "no_book": 1}
    propose(target_of_letter(taken), by=ROOT, reason="by hand")

    begin(plan)
    run(plan)

    assert (plan.state, total(plan)) == ("finished", {"left_out": 2, "processed": 1})
    why = dict(PlanItem.objects.filter(plan=plan, ordinal__lte=3).values_list("dead_letter_id", "left_out"))
    assert why == {taken.pk: "being_undone", never.pk: "nothing_to_undo", fine.pk: ""}
    detail = PlanItem.objects.get(plan=plan, dead_letter=never).detail
    assert detail == "no step of its book has completed"
    assert runs(plan).count() == 1  # nothing is left of those that were refused


def test_it_stops_itself_when_they_stick_and_goes_on_when_resumed(line):
    plan = plan_of(orders(3), steps=("1", "100%"))
    begin(plan)
    failing(plan)
    turn(plan)
    assert (plan.state, plan.why) == ("aborted", "1 of 1 failed again: more than 5 %")
    assert total(plan) == {"failed_again": 1, "waiting": 2}

    resume_plan(plan, by=ROOT, reason="that one is ours")
    run(plan)
    assert total(plan) == {"failed_again": 1, "processed": 2}


def test_undone_in_part_is_not_undone(line):
    plan = plan_of(orders(1), steps=ALL, stop_failed_percent=100)
    begin(plan)
    failing(plan)
    skip_step(CompensationStep.objects.get(compensation=runs(plan)[0]), by=ROOT, reason="sold out anyway")
    run(plan)
    assert (runs(plan)[0].state, total(plan)) == ("partially_compensated", {"refused": 1})


def test_nothing_begins_while_it_is_paused(line):
    plan = plan_of(orders(3), steps=ALL)
    begin(plan)
    pause_plan(plan, by=ROOT)
    works(plan)
    turn(plan)
    assert total(plan) == {"sending": 3}
    assert not CompensationStep.objects.exclude(state="waiting").exists()
    resume_plan(plan, by=ROOT)
    run(plan)
    assert (plan.state, total(plan)) == ("finished", {"processed": 3})


def test_a_stopped_plan_stops_what_has_undone_nothing_yet(line):
    chosen = orders(3, text=BOOK, happened=("payment", "stock"))
    plan = plan_of(chosen, steps=("2", "100%"))
    begin(plan)
    begun = runs(plan)[0]
    work_on(begun.pk)
    end_plan(plan, by=ROOT, reason="wrong set")
    works(plan)
    plan.refresh_from_db()
    assert (plan.state, total(plan)) == ("stopped", {"sending": 1, "withdrawn": 1, "waiting": 1})
    begun.refresh_from_db()
    assert begun.state == "running"  # half undone is worse than either
    stopped = runs(plan).get(state="stopped")
    assert (stopped.dead_letter.state, stopped.state_by) == ("open", "system")
    assert advance_plan(plan.pk) == 0


def test_the_rate_bounds_how_many_begin(line):
    plan = plan_of(orders(5), steps=ALL, rate_per_s=2)
    begin(plan)
    assert (runs(plan).count(), total(plan)) == (1, {"sending": 1, "waiting": 4})


def test_a_book_that_was_changed_since_undoes_nothing(line):
    chosen = orders(1)
    plan = plan_of(chosen, steps=ALL)
    save_book(chosen[0].flow, book(), by=ROOT, reason="another", base=1)
    begin(plan)
    assert PlanItem.objects.get(plan=plan).left_out == "book_changed"
    assert (runs(plan).count(), DeadLetter.objects.get().state) == (0, "open")


def test_a_flow_that_asks_for_a_second_person_since_undoes_nothing_of_a_plan_without_one(line):
    chosen = orders(2)
    plan = plan_of(chosen, steps=("1", "100%"))
    begin(plan)
    Flow.objects.filter(pk=chosen[0].flow_id).update(approve_above=0)
    run(plan)
    second = PlanItem.objects.get(plan=plan, ordinal=2)
    assert (second.left_out, "asks for a second person" in second.detail) == ("needs_second", True)
    assert (runs(plan).count(), second.dead_letter.state, total(plan)) == (1, "open", {"processed": 1, "left_out": 1})


def test_what_cannot_be_sent_as_it_stands_is_left_out_with_the_words_of_the_refusal(line):
    plan = plan_of(orders(1), steps=ALL)
    withdraw_connection(line, by=ROOT)
    begin(plan)
    item = PlanItem.objects.get(plan=plan)
    assert (item.left_out, "the connection redis is not approved" in item.detail) == ("not_proposed", True)
    assert (runs(plan).count(), DeadLetter.objects.get().state) == (0, "open")


def test_who_approves_the_plan_approves_each_of_it(line):
    plan = plan_of(orders(2, text="needs_approval: true\n" + STOCK.lstrip()), steps=ALL)
    with pytest.raises(ApprovalNeeded):
        start_plan(plan, by=ROOT)
    request_approval(plan, by=ROOT)
    approve_plan(plan, by=actor(person("erp-owner", Role.OPERATOR)), checksum=plan.checksum)
    begin(plan)
    assert {(one.state, one.approved_by, one.approved_checksum == one.checksum) for one in runs(plan)} == {
        ("running", "erp-owner", True)
    }


def test_who_does_not_operate_the_flow_undoes_nothing_of_it(line):
    chosen = orders(1)
    flow = chosen[0].flow
    flow.team = Team.objects.create(name="Billing")
    flow.save()
    looks = person("erp-owner", Role.OPERATOR)
    Membership.objects.create(user=looks, team=flow.team, environment=environment(), role=Role.VIEWER)
    plan = plan_of(chosen, by=actor(looks))
    assert (plan.items_count, plan.figures["left_out"]) == (0, {"not_yours": 1})


@pytest.mark.parametrize(
    "options", [{"destination": "x"}, {"expiry": "keep"}, {"order_key": "order_no"}, {"does": "x"}]
)
def test_what_means_nothing_to_it_is_refused(line, options):
    with pytest.raises(Invalid):
        plan_of(orders(1), **options)


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_begin_each_once(line):
    plan = plan_of(orders(6), steps=ALL)
    start_plan(plan, by=ROOT)
    gate = Barrier(3)

    def worker():
        gate.wait()
        for _ in range(4):
            advance_plan(plan.pk)
        database.close()

    workers = [Thread(target=worker) for _ in range(3)]
    for one in workers:
        one.start()
    for one in workers:
        one.join()
    assert (runs(plan).count(), total(plan)) == (6, {"sending": 6})


def test_pages_say_what_is_undone(client, line):
    chosen = orders(3)
    client.force_login(person("erp-owner", Role.OPERATOR))
    asked = "/plans/new/?of=undo&" + "&".join(f"id={one.pk}" for one in chosen)
    page = client.get(asked)
    html = page.content.decode()
    assert page.status_code == 200, html
    assert "Plan a compensation of 3 dead letters" in html
    assert "waits_for" not in html
    sent = {
        "reason": "billing refuses them",
        "rate": "",
        "waves": "1, 100%",
        "wave_wait": "600",
        "failed": "5",
        "token": "t" * 12,
    }
    answer = client.post(asked, sent)
    assert answer.status_code in (302, 303), answer.content.decode()
    plan = Plan.objects.get()
    assert (plan.does, plan.items_count) == ("compensate", 3)
    draft = client.get(f"/plans/{plan.reference}/").content.decode()
    assert "Compensate 3 orders" in draft
    assert "by the compensation books of their flows" in draft
    begin(plan)
    failing(plan)
    turn(plan)
    shown = client.get(f"/plans/{plan.reference}/").content.decode()
    assert f'href="/compensations/{runs(plan)[0].reference}/"' in shown
    assert "stuck" in shown
    assert client.get(f"/plans/{plan.reference}/csv").status_code == 200
    assert client.get(f"/plans/{plan.reference}/chart/", HTTP_HX_REQUEST="true").status_code == 200


def test_what_a_plan_left_out_is_compensated_from_its_page(client, line):
    chosen = orders(2)
    flow = chosen[0].flow
    flow.replay_allowed = False
    flow.save()
    plan = plan_of(chosen, does="replay")
    assert plan.figures["left_out"] == {"flow_forbids": 2}
    client.force_login(person("erp-owner", Role.OPERATOR))
    html = client.get(f"/plans/{plan.reference}/").content.decode()
    address = f"/plans/new/?of=left_out&amp;plan={plan.reference}&amp;does=compensate"
    assert address in html
    answer = client.get(address.replace("&amp;", "&")).content.decode()
    assert "Plan a compensation of 2 dead letters" in answer
    assert f"Those that {plan.reference} left out" in answer


def test_a_group_offers_it_where_its_flow_has_a_book(client, line):
    chosen = orders(2)
    group = chosen[0].group
    client.force_login(person("erp-owner", Role.OPERATOR))
    html = client.get(reverse("group", args=[group.reference])).content.decode()
    assert f"/plans/new/?of=group&amp;group={group.reference}&amp;does=compensate" in html
    assert "Plan a compensation of the" in html, html[html.find("What waits") - 200 :][:900]


def test_over_rest(client, line):
    chosen = orders(2)
    headers = {"HTTP_AUTHORIZATION": f"Bearer {api_key(person('erp-owner', Role.OPERATOR))}"}
    said = {
        "environment": "production",
        "ids": [str(one.pk) for one in chosen],
        "does": "compensate",
        "reason": "refused",
        "dry_run": True,
    }
    tried = client.post("/api/v1/plans", said, content_type="application/json", **headers)
    assert (tried.status_code, tried.json()["does"]) == (200, "compensate"), tried.content
    assert tried.json()["sentence"] == "dry run, nothing is kept: 2 would be undone, 0 left out"
    said |= {"dry_run": False, "options": {"waves": ["100%"], "rate_per_s": None}}
    made = client.post("/api/v1/plans", said, content_type="application/json", **headers)
    assert made.status_code == 201, made.content
    plan = Plan.objects.get()
    begin(plan)
    items = client.get(f"/api/v1/plans/{plan.reference}/items", **headers).json()["results"]
    assert {one["compensation"] for one in items} == {one.reference for one in runs(plan)}
    assert {one["outcome"] for one in items} == {"sending"}
    told = client.get(f"/api/v1/plans/{plan.reference}", **headers).json()
    assert told["sentence"] == f"{plan.reference} is running: of 2 messages 2 being undone"
    no = client.post("/api/v1/plans", said | {"does": "undo"}, content_type="application/json", **headers)
    assert no.status_code == 400
