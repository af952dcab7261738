"""Reports are made once, whatever workers and clocks do, and frozen with their mails."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connections

from alerts.models import Objective, Report, ReportFile, ReportMail, ReportSchedule, Standing, Uncounted
from alerts.reports import making
from alerts.reports.content import from_json
from alerts.reports.present import verdict_chip
from alerts.reports.services import (
    change_schedule,
    revise,
    send_now,
)
from alerts.reports.wishes import NewSchedule
from tests.reports.sending import (
    DUE,
    NOW,
    at,
    audited,
    beat,
    kept_promise,
    member,
    only_report,
    owner,
    scheduled,
    states,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("drawn_once")]
DAY = timedelta(days=1)


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


def test_a_beat_that_comes_after_midnight_makes_the_report_that_was_due_then_and_the_next_one_is_made_in_its_time():
    kept_promise()
    made = scheduled(owner(), hour=23)

    beat(datetime(2026, 11, 27, 0, 30, tzinfo=UTC))  # it was due at 23:00 on the 26th, of the 25th

    assert list(Report.objects.values_list("since", flat=True)) == [datetime(2026, 11, 25, tzinfo=UTC)]
    made.refresh_from_db()
    assert made.next_at == datetime(2026, 11, 27, 23, tzinfo=UTC)
    beat(datetime(2026, 11, 27, 23, 0, 5, tzinfo=UTC))
    assert Report.objects.latest("pk").since == datetime(2026, 11, 26, tzinfo=UTC)


def test_a_report_knows_what_the_ones_before_it_said():
    kept_promise()
    by = owner()
    scheduled(by)
    beat(DUE)
    revise(only_report(), by=by, reason="x", now=DUE)
    beat(DUE + timedelta(minutes=1))

    Objective.objects.update(counted_to=DUE + DAY)
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


def test_what_is_due_when_the_console_is_just_back_waits_until_its_figures_are_counted():
    one = kept_promise()
    scheduled(owner())
    Objective.objects.filter(pk=one.pk).update(counted_to=DUE - timedelta(hours=20))

    with at(DUE):
        assert making.look() == 0
    report = only_report()
    assert (report.state, report.step, report.tries) == (
        "asked",
        "waits until its figures are counted, an hour at most",
        0,
    )
    with at(DUE + timedelta(minutes=1)):
        assert making.look() == 0
    Objective.objects.filter(pk=one.pk).update(counted_to=DUE)
    with at(DUE + timedelta(minutes=3)):
        assert making.look() == 1

    report.refresh_from_db()
    assert (report.state, report.step, report.stands) == ("frozen", "", "missed")


def test_what_waits_for_its_figures_is_made_after_an_hour_whatever_they_say():
    one = kept_promise()
    scheduled(owner())
    Objective.objects.filter(pk=one.pk).update(counted_to=DUE - timedelta(hours=20))

    made = []
    for minutes in range(0, 63, 2):
        with at(DUE + timedelta(minutes=minutes)):
            made += [minutes] * making.look()

    assert made == [60]


@pytest.mark.parametrize("problem", ["its search took longer than 5 s and was given up: narrow it down", ""])
def test_a_search_that_cannot_be_counted_is_not_waited_for(problem: str):
    one, by = kept_promise(), owner()
    Objective.objects.filter(pk=one.pk).update(flow=None, owner=by.user_id, q="order_no:*")
    Standing.objects.filter(objective=one).update(problem=problem)
    Uncounted.objects.create(objective=one, since=[DUE - timedelta(hours=20)], until=[DUE - timedelta(hours=10)])
    scheduled(by)

    with at(DUE):
        assert making.look() == bool(problem)

    assert only_report().state == ("frozen" if problem else "asked")
    assert only_report().stands == ("no_data" if problem else "")
    assert problem or verdict_chip(only_report()) == ("move still", "waits for its figures")
    why = "minutes of the period wait until its search has counted them"
    assert not problem or why in from_json(only_report().content).quality[0]


@pytest.mark.parametrize(
    "problem", ["", "its search finds what an agent brings that is silent: nothing came since 6:00"]
)
def test_a_search_that_no_look_has_come_to_since_the_console_is_back_is_waited_for(problem: str):
    one, by = kept_promise(), owner()
    Objective.objects.filter(pk=one.pk).update(
        flow=None, owner=by.user_id, q="order_no:*", counted_to=DUE - timedelta(hours=20)
    )
    Standing.objects.filter(objective=one).update(problem=problem)
    scheduled(by)

    with at(DUE):
        assert making.look() == 0

    assert only_report().step == "waits until its figures are counted, an hour at most"


def test_what_somebody_asks_for_is_made_at_once():
    one, by = kept_promise(), owner()
    Objective.objects.filter(pk=one.pk).update(counted_to=NOW - timedelta(hours=20))
    send_now(scheduled(by), by=by, now=NOW)

    with at(NOW):
        assert making.look() == 1


def test_what_waits_for_its_figures_is_made_at_once_when_somebody_asks_for_it():
    one, by = kept_promise(), owner()
    Objective.objects.filter(pk=one.pk).update(counted_to=DUE - timedelta(hours=20))
    made = scheduled(by)
    with at(DUE):
        assert making.look() == 0

    send_now(made, by=by, now=DUE + timedelta(seconds=10))
    send_now(made, by=by, now=DUE + timedelta(seconds=11))

    with at(DUE + timedelta(seconds=12)):
        assert making.look() == 1
    assert (only_report().state, only_report().asked_by) == ("frozen", by.name)
    assert len(audited("report.asked")) == 1


def test_what_somebody_asks_for_while_it_is_gathered_is_not_put_off(monkeypatch: pytest.MonkeyPatch):
    one, by = kept_promise(), owner()
    made = scheduled(by)
    Objective.objects.filter(pk=one.pk).update(counted_to=DUE - timedelta(hours=20))
    gathered = making.gather

    def gather(*said: Any, **more: Any) -> Any:
        send_now(made, by=by, now=DUE)
        return gathered(*said, **more)

    monkeypatch.setattr(making, "gather", gather)
    with at(DUE):
        assert making.look() == 1

    assert (only_report().state, only_report().asked_by) == ("frozen", "olga")


def test_what_is_due_stays_due_when_the_hour_is_changed_before_a_beat_comes():
    kept_promise()
    by = owner()
    made = scheduled(by)

    change_schedule(made, NewSchedule(name="Order team", cadence="daily", hour=6), by=by, now=DUE)
    with at(DUE + timedelta(seconds=5)):
        making.look()

    assert list(Report.objects.values_list("since", flat=True)) == [datetime(2026, 11, 25, tzinfo=UTC)]
    made.refresh_from_db()
    assert made.next_at == datetime(2026, 11, 27, 6, tzinfo=UTC)


def test_what_is_due_stays_due_of_its_own_period_when_the_cadence_is_changed_before_a_beat_comes():
    kept_promise()
    by = owner()
    made = scheduled(by, cadence="weekly", weekday=4)

    change_schedule(made, NewSchedule(name="Order team", cadence="monthly", hour=7), by=by, now=DUE)
    with at(DUE + timedelta(seconds=5)):
        making.look()

    assert list(Report.objects.values_list("cadence", "since")) == [("weekly", datetime(2026, 11, 16, tzinfo=UTC))]
    made.refresh_from_db()
    assert made.next_at == datetime(2026, 12, 1, 7, tzinfo=UTC)
