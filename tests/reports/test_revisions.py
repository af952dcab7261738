"""Previews, reports that somebody asks for, and revisions of what was sent."""

from __future__ import annotations

from datetime import timedelta

import pytest

from alerts.models import Objective, Report, ReportMail
from alerts.objectives.excluding import NewExclusion, add_exclusion
from alerts.reports.access import visible_reports
from alerts.reports.content import from_json
from alerts.reports.errors import ReportState
from alerts.reports.services import (
    ask_preview,
    change_schedule,
    revise,
    send_now,
    try_again,
)
from alerts.reports.wishes import NewSchedule
from console.audit.access import visible_audit
from console.core.errors import Invalid
from console.identity.models import Membership, Role, Team
from messages.models import Flow
from tests.factories import ROOT, actor, environment
from tests.objectives.stored import looked, promised, rolled
from tests.reports.sending import (
    DUE,
    NOW,
    YESTERDAY,
    audited,
    beat,
    kept_promise,
    member,
    only_report,
    owner,
    scheduled,
    states,
)
from tests.services.reconciling import flow

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("drawn_once")]
DAY = timedelta(days=1)


def test_a_preview_is_made_once_sent_to_nobody_and_forgotten_after_a_day():
    kept_promise()
    by = owner()
    made = scheduled(by, receivers=["olga@example.com"])

    asked = [ask_preview(made, by=by, now=NOW).pk, ask_preview(made, by=by, now=NOW).pk]
    beat(NOW)

    assert asked[0] == asked[1]
    assert (only_report().state, only_report().revision, ReportMail.objects.count()) == ("frozen", 0, 0)
    beat(NOW + timedelta(minutes=5))
    assert ask_preview(made, by=by, now=NOW + timedelta(minutes=5)).pk != asked[0]  # a new one replaces it
    assert Report.objects.count() == 1
    beat(NOW + timedelta(days=2))
    assert not Report.objects.filter(revision=0).exists()


def test_sending_now_is_the_report_of_the_last_period_which_its_time_does_not_make_again():
    kept_promise()
    by = owner()
    made = scheduled(by, receivers=["olga@example.com"])

    asked = [send_now(made, by=by, now=NOW).pk, send_now(made, by=by, now=NOW).pk]
    beat(NOW)
    beat(DUE)

    assert asked[0] == asked[1] == only_report().pk
    assert only_report().asked_by == "olga"
    with pytest.raises(ReportState):
        send_now(made, by=by, now=DUE)


def test_a_report_that_failed_is_made_when_somebody_asks_again():
    kept_promise()
    by, admin = owner(), owner("anna", Role.ADMINISTRATOR)
    made = scheduled(by)
    Membership.objects.filter(user_id=by.user_id).update(role=Role.VIEWER)
    beat(DUE)
    Membership.objects.filter(user_id=by.user_id).update(role=Role.OPERATOR)

    try_again(only_report(), by=admin, now=DUE)
    beat(DUE + timedelta(minutes=1))

    made.refresh_from_db()
    assert (only_report().state, made.problem) == ("frozen", "")
    with pytest.raises(ReportState):
        try_again(only_report(), by=admin)


def late_events() -> None:
    rolled(YESTERDAY, failed=8)
    Objective.objects.update(fill_from=YESTERDAY - DAY, filled_since=NOW)  # counted anew, as when a rollup came late
    looked(NOW + timedelta(hours=3))


def test_what_was_sent_stays_and_a_revision_says_what_is_otherwise_and_why():
    kept_promise()
    by = owner()
    scheduled(by, receivers=["olga@example.com"])
    beat(DUE)
    first = only_report()
    late_events()

    revision = revise(first, by=by, reason="the ERP sent its failures late", now=DUE)
    beat(DUE + timedelta(hours=3))

    first.refresh_from_db()
    revision.refresh_from_db()
    assert from_json(first.content).promises[0].lost == 2
    said = from_json(revision.content)
    assert (said.promises[0].lost, said.revision, said.corrects) == (10, 2, "the ERP sent its failures late")
    assert set(states(revision)) == {"olga@example.com"}
    assert [entry.reason for entry in audited("report.revised")] == ["the ERP sent its failures late"]
    with pytest.raises(ReportState):
        revise(first, by=by, reason="again")
    with pytest.raises(Invalid):
        revise(revision, by=by, reason=" ")


def test_a_revision_may_go_to_nobody():
    kept_promise()
    by = owner()
    scheduled(by, receivers=["olga@example.com"])
    beat(DUE)

    revision = revise(only_report(), by=by, reason="for the files", send=False, now=DUE)
    beat(DUE + timedelta(minutes=1))

    assert states(revision) == {}


@pytest.mark.parametrize("cause", ["events", "exclusion"])
def test_the_figures_that_would_differ_now_are_noted(cause: str):
    one = kept_promise()
    scheduled(owner())
    beat(DUE)
    beat(DUE + timedelta(hours=2))
    assert (only_report().differs, only_report().checked_at is not None) == ([], True)
    if cause == "events":
        late_events()
    else:
        said = NewExclusion(
            starts_at=YESTERDAY - timedelta(hours=1), minutes=120, category="maintenance", reason="ERP down"
        )
        add_exclusion(said, objective=one, by=ROOT)

    beat(DUE + timedelta(hours=12))

    whats = [change["what"] for change in only_report().differs]
    assert ("Orders arrive: lost" if cause == "events" else "Excluded: ERP down (Orders arrive)") in whats
    assert from_json(only_report().content).promises[0].lost == 2


def test_a_revision_ends_the_looking_at_the_one_before():
    kept_promise()
    by = owner()
    scheduled(by)
    beat(DUE)
    first = only_report()

    revise(first, by=by, reason="x", now=DUE)
    beat(DUE + timedelta(minutes=1))

    first.refresh_from_db()
    assert first.check_at is None
    assert only_report(revision=2).check_at is not None
    assert environment().pk == first.environment_id


def test_a_revision_is_about_what_the_first_report_was_about_when_it_was_frozen():
    one = kept_promise()
    other, by = flow("invoices"), owner()
    made = scheduled(by, flow_ids=[one.flow_id], language="de-DE", receivers=["olga@example.com"])
    beat(DUE)
    said = NewSchedule(name="Invoices", cadence="daily", hour=7, language="fr-FR", flow_ids=[other.pk], receivers=["olga@example.com"])  # fmt: skip
    change_schedule(made, said, by=by, now=DUE)
    promised("Made since", of=flow(), now=YESTERDAY - DAY)

    revision = revise(only_report(), by=by, reason="late events", now=DUE)
    beat(DUE + timedelta(minutes=1))

    revision.refresh_from_db()
    content = from_json(revision.content)
    assert [promise.objective for promise in content.promises] == [one.pk]
    assert content.audience == from_json(only_report(revision=1).content).audience
    assert (content.audience.language, revision.flow_ids) == ("de-DE", [one.flow_id])


def test_a_report_of_everything_is_revised_without_what_was_promised_since_and_is_not_said_to_differ_for_it():
    one = kept_promise()
    by = owner()
    scheduled(by)
    beat(DUE)
    promised("Made since", of=flow("invoices"), now=YESTERDAY - DAY)

    beat(DUE + timedelta(hours=2))
    revision = revise(only_report(), by=by, reason="late events", now=DUE)
    beat(DUE + timedelta(hours=3))

    revision.refresh_from_db()
    assert only_report(revision=1).differs == []
    assert [promise.objective for promise in from_json(revision.content).promises] == [one.pk]


def test_a_revision_is_not_made_when_its_owner_does_not_see_any_more_what_the_first_one_was_about():
    one, by = kept_promise(), owner()
    made = scheduled(by, flow_ids=[one.flow_id])
    beat(DUE)
    change_schedule(made, NewSchedule(name="Order team", cadence="daily", flow_ids=[flow("invoices").pk]), by=by, now=DUE)  # fmt: skip
    Flow.objects.filter(pk=one.flow_id).update(team=Team.objects.create(name="Finance"))

    revision = revise(only_report(), by=by, reason="late events", now=DUE)
    beat(DUE + timedelta(minutes=1))

    revision.refresh_from_db()
    assert (revision.state, revision.problem) == (
        "failed",
        "its owner olga does not see 1 of its flows and objectives any more",
    )


def test_why_a_report_about_a_search_is_revised_stands_in_the_report_alone():
    kept_promise()
    by = owner("olga", Role.ADMINISTRATOR)
    scheduled(by)
    beat(DUE)
    Report.objects.update(search_ids=[4711])

    revision = revise(only_report(), by=by, reason="Contoso lost the spool", now=DUE)

    assert [entry.reason for entry in audited("report.revised")] == [""]
    assert revision.corrects == "Contoso lost the spool"


def test_why_a_report_of_several_teams_is_revised_stands_in_the_report_alone():
    one, by = kept_promise(), owner("olga", Role.ADMINISTRATOR)
    public = flow("invoices")
    Flow.objects.filter(pk=one.flow_id).update(team=Team.objects.get(name="Order team"))
    scheduled(by, flow_ids=[one.flow_id, public.pk])
    beat(DUE)
    report = only_report()
    stranger = actor(member("stan", team="Finance"))

    revise(report, by=by, reason="Contoso lost the spool", now=DUE)

    assert not visible_audit(stranger).filter(reason__contains="Contoso").exists()


def test_why_a_report_is_revised_is_not_told_who_may_not_see_the_report_while_the_revision_is_made_or_was_not():
    one, by = kept_promise(), owner()
    Flow.objects.filter(pk=one.flow_id).update(team=Team.objects.get(name="Order team"))
    scheduled(by, flow_ids=[one.flow_id])
    beat(DUE)
    stranger = actor(member("stan", team="Finance"))
    assert list(visible_reports(stranger)) == []

    made = revise(only_report(), by=by, reason="Contoso lost the spool", now=DUE)

    assert list(visible_reports(stranger)) == []
    assert not visible_audit(stranger).filter(action="report.revised").exists()
    assert visible_audit(by).filter(action="report.revised").exists()
    assert made in visible_reports(by)
