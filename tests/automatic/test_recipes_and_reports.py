"""What fixed a group before, what waits too long for a proof, and the report of a plan."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.core import mail
from django.test import Client

from console.audit.models import AuditEntry
from console.celery import app
from console.core.errors import Forbidden, Invalid, NotFound
from console.identity.addresses import set_address
from console.identity.models import Membership, Role, Team, User
from messages import tasks
from messages.connectors import memory
from messages.models import DeadLetter, FailureGroup, Flow, OutboxMail, Plan, Replay
from messages.plans.access import get_visible_plan
from messages.plans.editing import set_destination, set_edits
from messages.plans.edits import parse_edits
from messages.plans.overdue import overdue_by_environment, overdue_of, tell_overdue
from messages.plans.recipes import copy_edits, plan_like, recipes_of
from messages.plans.report import mail_reports, report_of
from messages.plans.sealed import opened_edits
from messages.plans.selection import Selection
from messages.plans.sent_edits import sending_runner
from messages.plans.services import Options, create_plan, end_plan, start_plan
from messages.replay.sending import send_due
from messages.replay.services import request_replay
from messages.saved.outbox import queue_mail, send_mails
from tests.automatic.failing import died, fails_again, processed, rule_on, run_plan
from tests.factories import ROOT, actor, environment, memory_connection, person

pytestmark = pytest.mark.django_db
FAST = Options(rate_per_s=None, steps=("100%",), waits_for="processed")


@pytest.fixture
def line():
    return memory_connection()


@pytest.fixture
def ada():
    user = person("ada", Role.OPERATOR)
    user.email = "ada@example.org"
    user.save()
    return actor(user)


def group_of(letter):
    return FailureGroup.objects.get(pk=letter.group_id)


def draft_of(letter, by, options=FAST):
    return create_plan(
        Selection(source=Plan.Source.GROUP, group=group_of(letter)),
        environment=environment(),
        by=by,
        reason="erp is back",
        options=options,
    )


def plan_of(letter, by, options=FAST):
    return start_plan(draft_of(letter, by, options), by=by)


def edited(by, line, options=FAST):
    """Return a plan that sent its message with an edit."""
    steps = parse_edits(json.dumps([{"kind": "jq", "program": '.vat = "mended"'}]).encode())
    return run_plan(start_plan(set_edits(draft_of(died(1)[0], by, options), steps, by=by), by=by), line)


def fixed(by, line, options=FAST, *, proved=True):
    return run_plan(plan_of(died(1)[0], by, options), line, proved=proved)


def test_what_fixed_a_group_is_told_by_what_was_done_the_most_frequent_first(line, ada):
    fixed(ada, line)
    slow = Options(rate_per_s=50_000, steps=("100%",), destination="erp.orders.v2")
    for _ in range(2):
        last = fixed(ada, line, slow)
    failed = plan_of(died(1)[0], ada, Options(rate_per_s=None, expiry="keep", steps=("100%",), stop_failed_percent=100))
    run_plan(failed, line, proved=False, turns=3)
    fails_again(failed)
    run_plan(failed, line, proved=False, turns=3)
    Plan.objects.filter(pk=failed.pk).update(state="finished")

    found = recipes_of(ada, FailureGroup.objects.get())

    assert [(one.times, one.items, one.words) for one in found] == [
        (2, 2, "replay at 50000/s to erp.orders.v2"), (1, 1, "replay as fast as the broker takes them"),
    ]  # fmt: skip
    assert found[0].like == last


def test_a_recipe_is_a_draft_with_the_same_options_and_edits_of_what_waits_now(line, ada):
    old = edited(ada, line, Options(rate_per_s=50_000, steps=("2", "100%"), destination="erp.orders.v2", expiry="drop"))
    died(3)
    group = FailureGroup.objects.get()

    made = plan_like(group, old, by=ada)

    made.refresh_from_db()
    same = ("destination", "expiry", "rate_per_s", "steps", "edits_sha256", "waits_for", "concurrency", "order_key")
    assert [getattr(made, name) for name in same] == [getattr(old, name) for name in same]
    assert (made.state, made.items_count, opened_edits(made)) == ("draft", 3, opened_edits(old))
    assert (
        made.reason
        == f"as {old.reference} did: the edits of {old.reference}, replay at 50000/s to erp.orders.v2, expiry: drop"
    )
    start_plan(made, by=ada)  # its checksum is of the edits too
    assert Replay.objects.count() == 1
    run_plan(made, line)
    assert [json.loads(sent.body)["vat"] for sent in memory.QUEUES[line.address]["erp.orders.v2"]] == ["mended"] * 4
    sending_runner().close()


def test_a_recipes_edits_are_copied_for_those_alone_who_may_read_payloads(line, ada):
    old = edited(ada, line)
    new = draft_of(died(1)[0], ada)

    with pytest.raises(Forbidden, match="payloads"):
        copy_edits(old, new, by=actor(person("vic", Role.VIEWER)))

    new.refresh_from_db()
    assert (bytes(new.edits), new.edits_sha256) == (b"", "")
    sending_runner().close()


def test_a_recipe_with_edits_is_offered_to_those_alone_who_may_use_it(line, ada):
    edited(ada, line)
    fixed(ada, line)
    died(1)
    group, flow = FailureGroup.objects.get(), Flow.objects.get()
    reader = person("vic", Role.VIEWER)
    assert {one.why_not for one in recipes_of(ada, group)} == {""}
    assert {one.why_not for one in recipes_of(actor(reader), group)} == {"only operators of its flow make plans of it"}

    # Its plan is of a second flow too, in which ada may look and no more.
    other = Flow.objects.create(environment=environment(), name="salaries", team=Team.objects.create(name="Staff"))
    Membership.objects.create(user_id=ada.user_id, team=other.team, environment=environment(), role=Role.VIEWER)
    Plan.objects.exclude(edits_sha256="").update(flow_ids=[flow.pk, other.pk])
    who = User.objects.get(pk=ada.user_id)
    whys = {bool(one.like.edits_sha256): one.why_not for one in recipes_of(actor(who), group)}
    assert whys[False] == ""
    assert whys[True].startswith(
        "its edits may hold values of payloads, and you may not read those of every flow in P-"
    )
    browser = Client()
    browser.force_login(who)
    shown = browser.get(f"/groups/{group.reference}/").content.decode()
    assert shown.count("Plan it again") == 1
    assert "Its edits may hold values of payloads" in shown
    sending_runner().close()


def test_a_recipe_goes_over_the_same_connection(line, ada):
    other = memory_connection("spare")
    old = draft_of(died(1)[0], ada, FAST)
    old = run_plan(start_plan(set_destination(old, "erp.spare", other.pk, by=ada), by=ada), line, proved=False, turns=1)
    died(2)

    made = plan_like(FailureGroup.objects.get(), old, by=ada)

    assert (made.connection, made.destination, made.items_count) == (other, "erp.spare", 2)
    start_plan(made, by=ada)


def test_recipes_follow_merged_groups_and_are_for_who_sees_and_operates_them(line, ada):
    old = fixed(ada, line)
    other = died(1, error={"type": "Other", "message": "else", "stack": ""})[0]
    group, target = FailureGroup.objects.exclude(pk=other.group_id).get(), group_of(other)
    with pytest.raises(Invalid):
        plan_like(target, old, by=ada)
    FailureGroup.objects.filter(pk=group.pk).update(merged_into=target)

    assert [one.like for one in recipes_of(ada, target)] == [old]
    with pytest.raises(Forbidden):
        plan_like(target, old, by=actor(person("vic", Role.VIEWER)))
    Flow.objects.update(team=Team.objects.create(name="Payroll"))
    assert recipes_of(ada, target) == []
    with pytest.raises(NotFound):
        get_visible_plan(ada, old.reference)


def later(minutes=13):
    return datetime.now(UTC) + timedelta(minutes=minutes)


def test_items_without_a_proof_for_twelve_minutes_are_overdue_and_the_author_is_told_once(line, ada):
    died(2)
    plan = run_plan(plan_of(DeadLetter.objects.first(), ada), line, proved=False, turns=3)

    assert overdue_of(plan, now=later(11)).count == 0
    assert overdue_of(plan, now=later()).count == 2
    assert overdue_by_environment(now=later()) == {"production": 2}
    assert (tell_overdue(now=later(11)), tell_overdue(now=later()), tell_overdue(now=later(99))) == (0, 1, 0)
    letter = OutboxMail.objects.get()
    assert (letter.to, letter.subject) == (
        "ada@example.org", f"[production] {plan.reference}: 2 sent, not confirmed as processed for 12 min",
    )  # fmt: skip
    assert f"/plans/{plan.reference}/" in letter.body
    assert AuditEntry.objects.get(action="plan.overdue").details["items"] == 2


def test_nothing_is_overdue_where_receivers_never_report(line, ada):
    died(1)
    options = Options(rate_per_s=None, steps=("100%",), waits_for="confirmed")
    plan = run_plan(plan_of(DeadLetter.objects.first(), ada, options), line, proved=False)
    assert (plan.state, overdue_of(plan, now=later()).count, tell_overdue(now=later())) == ("finished", 0, 0)
    assert overdue_by_environment(now=later()) == {"production": 0}


def test_a_single_replay_is_overdue_in_a_flow_whose_receivers_report(line, ada):
    request_replay(died(1)[0], by=ada, reason="x")
    send_due(line.pk)
    assert overdue_by_environment(now=later()) == {"production": 0}
    processed(1)
    assert overdue_by_environment(now=later()) == {"production": 1}


def test_the_report_adds_up_and_says_what_failed_by_which_error(line, ada):
    letters = died(4)
    DeadLetter.objects.filter(pk=letters[0].pk).update(content_masked=True, masked={"1": 1})
    plan = plan_of(
        letters[0], ada, Options(rate_per_s=None, steps=("100%",), stop_failed_percent=10, waits_for="processed")
    )
    run_plan(plan, line, proved=False, turns=3)
    fails_again(plan)
    run_plan(plan, line, proved=False, turns=2)

    report = report_of(plan)

    assert plan.state == "aborted"
    assert (report.selected, report.items) == (4, 3)
    assert [(one.name, one.items) for one in report.left_out] == [("masked", 1)]
    assert [(one.name, one.items) for one in report.outcomes] == [("failed_again", 3)]
    assert report.errors == [("ErpTimeout", 3)]
    assert report.selected == report.items + sum(one.items for one in report.left_out)
    assert report.items == sum(one.items for one in report.outcomes)
    assert report.duration_s is not None


def test_a_report_is_mailed_each_time_a_plan_ends_or_stops_itself_to_who_may_see_it(line, ada):
    died(3)
    plan = plan_of(DeadLetter.objects.first(), ada, Options(rate_per_s=None, steps=("100%",), waits_for="processed"))
    run_plan(plan, line, proved=False, turns=3)
    fails_again(plan)
    run_plan(plan, line, proved=False, turns=2)
    assert mail_reports() == 0, "it does not say so"
    Plan.objects.filter(pk=plan.pk).update(mail_to_author=True)

    assert (mail_reports(), mail_reports()) == (1, 0)
    letter = OutboxMail.objects.get()
    assert (letter.to, letter.subject) == ("ada@example.org", f"[production] {plan.reference} aborted: 3 failed again")
    assert "3 of 3 failed again: more than 5 %" in letter.body
    assert "&" not in letter.body
    assert f'<a href="http://127.0.0.1:8000/plans/{plan.reference}/?environment=production">' in letter.html
    Flow.objects.update(team=Team.objects.create(name="Payroll"))
    end_plan(plan, by=ROOT, reason="enough")
    assert mail_reports() == 1
    assert OutboxMail.objects.order_by("-pk").first().to == "", "who may not see it any more is told nothing"


def test_who_loses_the_right_between_the_writing_and_the_sending_gets_no_mail(line, ada):
    plan = plan_of(died(1)[0], ada)
    Plan.objects.filter(pk=plan.pk).update(mail_to_author=True)
    run_plan(plan, line)
    assert mail_reports() == 1
    queue_mail("something:5", "else", to="ada@example.org", subject="of something else", body="x")

    Membership.objects.filter(user_id=ada.user_id).delete()
    tasks.send_mails()

    assert [one.subject for one in mail.outbox] == ["of something else"]
    kept = OutboxMail.objects.get(about=f"plan:{plan.pk}")
    assert (kept.state, kept.answer) == ("given_up", "its receiver may not see the plan any more")


def test_a_report_goes_nowhere_when_its_address_was_taken_from_its_receiver_meanwhile(line, ada):
    plan = plan_of(died(1)[0], ada)
    Plan.objects.filter(pk=plan.pk).update(mail_to_author=True)
    run_plan(plan, line)
    assert mail_reports() == 1

    set_address(ada.user_id, "", by=ROOT)
    tasks.send_mails()

    assert mail.outbox == []
    kept = OutboxMail.objects.get(about=f"plan:{plan.pk}")
    assert (kept.state, kept.answer) == ("given_up", "nobody has this mail address any more")


def test_hostile_words_in_a_report_are_text(line, ada):
    died(1)
    plan = run_plan(plan_of(DeadLetter.objects.first(), ada), line)
    Plan.objects.filter(pk=plan.pk).update(
        mail_to_author=True, reason="<script>alert(1)</script>\r\nBcc: x@example.org"
    )
    mail_reports()
    letter = OutboxMail.objects.get()
    assert "<script>" not in letter.html
    assert "\n" not in letter.subject
    assert "<script>alert(1)</script>" in letter.body


def test_a_mail_with_html_goes_in_both_forms(settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    queue_mail("plan:1", "plan:1:x", to="ada@example.org", subject="s", body="text", html="<p>html</p>")

    assert send_mails() == 1
    sent = mail.outbox[-1]
    assert (sent.body, [tuple(one) for one in sent.alternatives]) == ("text", [("<p>html</p>", "text/html")])


def test_the_beats_tasks_act_for_rules_and_tell_of_their_plans(line):
    died(1)
    processed(20)
    rule = rule_on()
    tasks.replay_automatically()
    plan = run_plan(Plan.objects.get(), line)
    tasks.tell_of_plans()

    assert (plan.state, plan.automatic) == ("finished", rule)
    letter = OutboxMail.objects.get()
    assert letter.subject == f"[production] {plan.reference} finished: 1 processed"
    assert "automatic: erp is away" in letter.body
    assert {"replay-automatically", "tell-of-plans"} <= set(app.conf.beat_schedule)
