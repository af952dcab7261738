"""Reports are gathered with their owner's rights of that moment; who makes, changes and is told by schedules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction

from alerts.models import Objective, Report, ReportMail, ReportSchedule
from alerts.reports.content import from_json
from alerts.reports.errors import ScheduleExists
from alerts.reports.services import (
    ask_preview,
    change_schedule,
    remove_schedule,
    send_now,
)
from alerts.reports.wishes import NewSchedule
from console.core.errors import Forbidden, Invalid, NotFound
from console.identity.models import Membership, Role, Team, User
from messages.models import Flow
from tests.factories import ROOT, actor
from tests.objectives.stored import looked, promised, rolled
from tests.reports.sending import (
    DUE,
    NOW,
    YESTERDAY,
    at,
    audited,
    beat,
    kept_promise,
    member,
    only_report,
    owner,
    scheduled,
)
from tests.services.reconciling import flow

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("drawn_once")]
DAY = timedelta(days=1)


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


def test_one_that_is_switched_off_while_it_is_due_asks_for_nothing():
    by = owner()
    made = scheduled(by)

    change_schedule(made, NewSchedule(name="Order team", cadence="daily", hour=8, enabled=False), by=by, now=DUE)
    beat(DUE + timedelta(hours=2))

    assert not Report.objects.exists()


def test_a_change_leaves_due_what_is_due_and_asks_for_it_before_it_says_another_time():
    by = owner()
    made = scheduled(by)
    said = {"name": "Order team", "cadence": "daily", "time_zone": "UTC"}

    change_schedule(made, NewSchedule(**said, hour=7, language="de-DE"), by=by, now=DUE)  # before the beat came by
    made.refresh_from_db()
    assert made.next_at == datetime(2026, 11, 26, 7, tzinfo=UTC)
    assert not Report.objects.exists()
    change_schedule(made, NewSchedule(**said, hour=8), by=by, now=DUE)
    made.refresh_from_db()
    assert made.next_at == datetime(2026, 11, 26, 8, tzinfo=UTC)
    beat(DUE + timedelta(hours=1, seconds=5))
    assert list(Report.objects.values_list("since", flat=True)) == [datetime(2026, 11, 25, tzinfo=UTC)], (
        "once, not at both times"
    )
