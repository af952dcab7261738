"""Reports are made once, with their owner's rights of that moment, frozen with their mails, and compared with what is so later."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connections, transaction

from alerts.models import Objective, Report, ReportFile, ReportMail, ReportSchedule
from alerts.objectives.excluding import NewExclusion, add_exclusion
from alerts.reports import making
from alerts.reports.content import from_json
from alerts.reports.errors import ReportState, ScheduleExists
from alerts.reports.services import (
    ask_preview,
    change_schedule,
    remove_schedule,
    revise,
    send_now,
    try_again,
)
from alerts.reports.wishes import NewSchedule
from console.audit.models import AuditEntry
from console.core.errors import Forbidden, Invalid, NotFound
from console.identity.models import Membership, Role, Team, User
from messages.models import Flow
from tests.factories import ROOT, actor, environment
from tests.objectives.stored import looked, promised, rolled
from tests.reports.sending import (
    DUE,
    NOW,
    YESTERDAY,
    at,
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


def audited(action: str) -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(action=action))


def test_when_its_time_has_come_the_last_day_is_gathered_and_frozen_with_a_mail_for_each_receiver():
    one, by = kept_promise(), owner()
    member("ada"), member("bob")
    made = scheduled(by, receivers=["ada@example.com", "bob@example.com"])

    with at(DUE):
        assert making.look() == 1

    report = only_report()
    assert (report.since, report.until) == (datetime(2026, 11, 25, tzinfo=UTC), datetime(2026, 11, 26, tzinfo=UTC))
    assert (report.state, report.revision, report.asked_by, report.problem) == ("frozen", 1, "", "")
    said = from_json(report.content)
    assert [(promise.objective, promise.good, promise.lost) for promise in said.promises] == [(one.pk, 98, 2)]
    assert report.stands == said.promises[0].stands
    assert report.flow_ids == [one.flow_id]
    assert states(report) == {"ada@example.com": "queued", "bob@example.com": "queued"}
    assert {"html", "text", "page", "attachment"} <= set(ReportFile.objects.values_list("role", flat=True))
    made.refresh_from_db()
    assert made.next_at == datetime(2026, 11, 27, 7, tzinfo=UTC)


def test_before_its_time_nothing_is_made_and_the_same_day_is_made_once():
    kept_promise()
    scheduled(owner())

    with at(DUE - timedelta(minutes=1)):
        assert making.look() == 0
    with at(DUE):
        assert [making.look(), making.look()] == [1, 0]

    assert Report.objects.count() == 1


def test_a_console_that_was_away_for_days_makes_the_last_one_alone():
    kept_promise()
    scheduled(owner())

    with at(DUE + 3 * DAY):
        making.look()

    assert list(Report.objects.values_list("since", flat=True)) == [datetime(2026, 11, 28, tzinfo=UTC)]


def test_a_report_knows_what_the_ones_before_it_said():
    kept_promise()
    by = owner()
    scheduled(by)
    beat(DUE)
    revise(only_report(), by=by, reason="x", now=DUE)
    beat(DUE + timedelta(minutes=1))

    beat(DUE + DAY)

    latest = Report.objects.latest("since")
    assert from_json(latest.content).promises[0].known == 1  # of the day before its newest revision, once


def test_a_day_of_twenty_five_hours_is_reported_whole():
    by = owner()
    scheduled(by, time_zone="Europe/Berlin", now=datetime(2026, 10, 25, 12, tzinfo=UTC))

    with at(datetime(2026, 10, 26, 6, 0, 1, tzinfo=UTC)):
        making.look()

    report = only_report()
    assert report.until - report.since == timedelta(hours=25)
    assert report.since == datetime(2026, 10, 24, 22, tzinfo=UTC)


@pytest.mark.usefixtures("committed")
@pytest.mark.django_db(transaction=True)
def test_two_beats_at_once_make_one():
    kept_promise()
    member("ada")
    scheduled(owner(), receivers=["ada@example.com"])

    def look(_: int) -> int:
        try:
            return making.look()
        finally:
            connections.close_all()

    with at(DUE), ThreadPoolExecutor(4) as pool:
        made = list(pool.map(look, range(4)))

    assert sum(made) == 1
    assert (Report.objects.count(), ReportMail.objects.count()) == (1, 1)


def test_without_the_constraint_s_guard_two_beats_would_ask_twice():
    """The negative control: the row that the second beat would insert is refused by the database, not by luck."""
    made = scheduled(owner())
    with at(DUE):
        making.open_due(DUE)
    ReportSchedule.objects.update(next_at=DUE)  # as the second beat still sees it

    with at(DUE):
        making.open_due(DUE)

    assert Report.objects.filter(schedule=made).count() == 1


def test_a_worker_that_dies_while_it_makes_a_report_leaves_it_to_the_next():
    kept_promise()
    member("ada")
    scheduled(owner(), receivers=["ada@example.com"])
    with at(DUE):
        making.open_due(DUE)
        dead = making.claim(DUE)
    assert dead is not None

    with at(DUE + making.LEASE - timedelta(seconds=1)):
        assert making.look() == 0
    with at(DUE + making.LEASE + timedelta(seconds=1)):
        assert making.look() == 1

    late = making.make(dead)  # it was not dead after all
    assert late is False
    assert (only_report().attempt, ReportMail.objects.count()) == (2, 1)


def test_what_workers_die_of_is_given_up_in_words_and_said_on_the_schedule():
    made = scheduled(owner())
    with at(DUE):
        making.open_due(DUE)
    for number in range(making.MOST_TRIES):
        assert making.claim(DUE + number * (making.LEASE + timedelta(seconds=1))) is not None

    with at(DUE + DAY):
        Report.objects.filter(state="asked").delete()
        assert making.claim(DUE + timedelta(hours=1)) is None

    report = only_report()
    made.refresh_from_db()
    assert (report.state, report.problem) == ("failed", "3 workers ended while they made it")
    assert made.problem == report.problem


def test_what_goes_wrong_is_tried_again_and_then_kept_in_words(monkeypatch: pytest.MonkeyPatch):
    made = scheduled(owner())
    monkeypatch.setattr(making, "render", lambda *_, **__: 1 / 0)

    with at(DUE):
        making.look()
    assert (only_report().state, only_report().problem) == ("asked", "it could not be made (ZeroDivisionError)")
    for minutes in (2, 10):
        with at(DUE + timedelta(minutes=minutes)):
            making.look()

    made.refresh_from_db()
    assert only_report().state == "failed"
    assert made.problem == "it could not be made (ZeroDivisionError); 3 tries"
    assert [entry.actor for entry in audited("report.not_made")] == ["system"]


# rights --------------------------------------------------------------------------------------------------------------
def test_who_lost_the_rights_gets_no_report_and_the_schedule_says_why():
    by = owner()
    made = scheduled(by)
    Membership.objects.filter(user_id=by.user_id).delete()

    beat(DUE)

    made.refresh_from_db()
    assert only_report().state == "failed"
    assert made.problem == "its owner olga is no operator of production any more"
    assert made.next_at == datetime(2026, 11, 27, 7, tzinfo=UTC)


def test_an_account_that_is_switched_off_sends_nothing():
    by = owner()
    made = scheduled(by)
    made.owner.is_active = False
    made.owner.save(update_fields=["is_active"])

    beat(DUE)

    made.refresh_from_db()
    assert made.problem == "the account of its owner olga is switched off"


def test_a_chosen_flow_that_the_owner_does_not_see_any_more_ends_it():
    by = owner()
    theirs = flow("invoices", team=Team.objects.get(name="Order team"))
    made = scheduled(by, flow_ids=[theirs.pk])
    Flow.objects.filter(pk=theirs.pk).update(team=Team.objects.create(name="Finance"))

    beat(DUE)

    made.refresh_from_db()
    assert made.problem == "its owner olga does not see 1 of its flows and objectives any more"
    assert ReportMail.objects.count() == 0


def test_everything_is_what_the_owner_sees_and_no_more():
    mine = kept_promise()
    theirs = flow("payroll", team=Team.objects.create(name="Finance"))
    rolled(YESTERDAY, good=5, of=theirs)
    promised("Payroll", of=theirs, now=YESTERDAY)
    with at(NOW):
        looked(NOW)
    scheduled(owner())

    beat(DUE)

    assert [one.objective for one in from_json(only_report().content).promises] == [mine.pk]


def test_an_objective_that_was_removed_is_left_out_of_a_report_about_others():
    one, other = kept_promise(), promised("Other", now=YESTERDAY)
    scheduled(owner(), objective_ids=[one.pk, other.pk])
    Objective.objects.filter(pk=other.pk).delete()

    beat(DUE)

    assert [promise.objective for promise in from_json(only_report().content).promises] == [one.pk]


def test_nobody_makes_a_schedule_about_what_they_do_not_see():
    theirs = flow("payroll", team=Team.objects.create(name="Finance"))

    with pytest.raises(NotFound):
        scheduled(owner(), flow_ids=[theirs.pk])
    with pytest.raises(NotFound):
        scheduled(owner("omar"), objective_ids=[4711])


def test_viewers_strangers_and_commands_make_none():
    for who in (owner("vera", Role.VIEWER), actor(member("stan", None)), ROOT):
        with pytest.raises(Forbidden):
            scheduled(who)


def test_addresses_of_nobody_are_for_administrators_who_alone_change_what_is_told_to_them():
    by, admin = owner(), owner("anna", Role.ADMINISTRATOR)
    with pytest.raises(Forbidden):
        scheduled(by, receivers=["partner@example.org"])
    made = scheduled(by, receivers=["olga@example.com"])
    said = {"name": "Order team", "cadence": "daily", "hour": 8}

    change_schedule(made, NewSchedule(**said, receivers=["partner@example.org"]), by=admin)

    for receivers in (["partner@example.org"], []):  # not even to take it away and put something else there
        with pytest.raises(Forbidden):
            change_schedule(made, NewSchedule(**said, receivers=receivers), by=by)
    assert made.receivers.get(removed_at=None).outside


def test_an_administrator_who_sees_less_has_it_tell_nobody_new_and_nothing_more():
    by, admin = owner(), owner("anna", Role.ADMINISTRATOR)
    Membership.objects.filter(user_id=by.user_id).update(team=Team.objects.create(name="Finance"))
    by = actor(User.objects.get(pk=by.user_id))
    theirs, everybodys = flow("payroll", team=Team.objects.get(name="Finance")), flow("orders")
    everything = scheduled(by, receivers=["olga@example.com"])
    some = scheduled(by, name="Some", receivers=["olga@example.com"], flow_ids=[everybodys.pk])
    said = {"cadence": "daily", "receivers": ["olga@example.com", "anna@example.com"]}

    with pytest.raises(Forbidden):
        change_schedule(everything, NewSchedule(name="Order team", **said), by=admin)
    with pytest.raises(Forbidden):  # from one flow to everything that its owner sees
        change_schedule(some, NewSchedule(name="Some", **said), by=admin)
    change_schedule(some, NewSchedule(name="Some", flow_ids=[everybodys.pk], **said), by=admin)
    change_schedule(everything, NewSchedule(name="Order team", **said | {"receivers": []}), by=admin)

    assert theirs.pk
    assert some.receivers.filter(removed_at=None).count() == 2
    assert everything.receivers.filter(removed_at=None).count() == 0


def test_only_its_owner_and_administrators_change_remove_and_send_it():
    made, other, admin = scheduled(owner()), owner("omar"), owner("anna", Role.ADMINISTRATOR)

    for act in (
        lambda: change_schedule(made, NewSchedule(name="x", cadence="daily"), by=other),
        lambda: remove_schedule(made, by=other, reason="x"),
        lambda: send_now(made, by=other),
        lambda: ask_preview(made, by=other),
    ):
        with pytest.raises(Forbidden):
            act()
    with pytest.raises(Invalid):
        remove_schedule(made, by=admin, reason=" ")
    remove_schedule(made, by=admin, reason="nobody reads it")
    assert not ReportSchedule.objects.exists()
    assert [entry.reason for entry in audited("report_schedule.removed")] == ["nobody reads it"]


def test_a_name_is_there_once():
    by = owner()
    scheduled(by)

    with pytest.raises(ScheduleExists), transaction.atomic():
        scheduled(by)


def test_one_that_is_off_is_not_due_and_on_again_begins_with_the_next():
    by = owner()
    made = scheduled(by, enabled=False)
    assert made.next_at is None

    beat(DUE)
    change_schedule(made, NewSchedule(name="Order team", cadence="daily", hour=7), by=by, now=DUE)

    made.refresh_from_db()
    assert Report.objects.count() == 0
    assert made.next_at == datetime(2026, 11, 27, 7, tzinfo=UTC)


def test_a_change_leaves_due_what_is_due_unless_it_says_another_time():
    by = owner()
    made = scheduled(by)
    said = {"name": "Order team", "cadence": "daily", "time_zone": "UTC"}

    change_schedule(made, NewSchedule(**said, hour=7, language="de-DE"), by=by, now=DUE)  # before the beat came by
    made.refresh_from_db()
    assert made.next_at == datetime(2026, 11, 26, 7, tzinfo=UTC)
    change_schedule(made, NewSchedule(**said, hour=8), by=by, now=DUE)
    made.refresh_from_db()
    assert made.next_at == datetime(2026, 11, 26, 8, tzinfo=UTC)


# previews and asking --------------------------------------------------------------------------------------------------
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


# revisions -----------------------------------------------------------------------------------------------------------
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
    assert ("Orders arrive: lost" if cause == "events" else "Excluded: ERP down") in whats
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


def test_a_worker_that_was_given_up_freezes_nothing_that_another_makes():
    kept_promise()
    scheduled(owner())
    with at(DUE):
        assert making.open_due(DUE)
        first = making.claim(DUE)
        second = making.claim(DUE + making.LEASE + timedelta(seconds=1))
        assert first is not None
        assert second is not None

        assert not making.make(first)
        assert Report.objects.get().state == "making"
        assert making.make(second)

    assert ReportFile.objects.filter(role="html").count() == 1


def test_one_that_could_not_be_made_before_its_time_is_made_when_its_time_has_come():
    kept_promise()
    by = owner()
    made = scheduled(by)
    asked = send_now(made, by=by, now=NOW)
    Report.objects.filter(pk=asked.pk).update(state="failed", next_at=None, tries=3, problem="the database was away")

    with at(DUE):
        assert making.look() == 1

    asked.refresh_from_db()
    assert (asked.state, asked.problem, asked.tries) == ("frozen", "", 1)
