"""Reports go when they are older than their environment keeps them, and links with them."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.test import Client

from alerts import tasks
from alerts.models import Report, ReportFile, ReportMail, ReportReceiver, ReportSchedule
from alerts.reports import mailing
from alerts.reports.expiring import expire
from messages.models import LegalHold, RetentionPolicy
from messages.retention.policies import policy_of
from tests.factories import environment
from tests.reports.sending import DUE, at, beat, kept_promise, member, only_report, owner, receiver, scheduled
from tests.services.reconciling import flow

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("drawn_once")]
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


@pytest.fixture
def sent() -> Report:
    kept_promise()
    member("ada")
    scheduled(owner(), receivers=["ada@example.com"], link_days=365)
    beat(DUE)
    ReportMail.objects.update(state="sent", next_at=None, finished_at=DUE)
    return only_report()


def keeps(days: int) -> None:
    told = {
        name: getattr(policy_of(environment()), name)
        for name in ("payload_days", "metadata_days", "rollup_days", "letter_days")
    }
    RetentionPolicy.objects.create(
        environment=environment(), **told, settled_reject_days=14, waiting_reject_days=90, report_days=days, changed_at=DUE - DAY,
        changed_by="anna",
    )  # fmt: skip


def test_a_report_goes_after_400_days_unless_its_environment_says_otherwise(sent: Report):
    assert expire(now=DUE + 400 * DAY) == 0

    assert expire(now=DUE + 400 * DAY + 2 * HOUR) == 1

    assert [model.objects.count() for model in (Report, ReportFile, ReportMail)] == [0, 0, 0]
    assert [model.objects.count() for model in (ReportSchedule, ReportReceiver)] == [1, 1]


def test_its_links_go_with_it(sent: Report):
    opens, stops = (
        re.sub(r"^http://[^/]+", "", one) for one in mailing.links_of(sent, receiver("ada@example.com"), now=DUE)
    )
    keeps(10)

    with at(DUE + 10 * DAY):
        assert Client().get(opens).status_code == 200
    expire(now=DUE + 11 * DAY)

    with at(DUE + 11 * DAY):
        assert Client().get(opens).status_code == 404
        assert Client().get(stops).status_code == 200  # who gets mail can stop it all the same


@pytest.mark.parametrize("held", ["environment", "flow", "another flow"])
def test_a_legal_hold_keeps_what_tells_of_the_flow(sent: Report, held: str):
    told = {"environment": None, "flow": flow(), "another flow": flow("invoices")}
    LegalHold.objects.create(environment=environment(), flow=told[held], reason="a lawsuit", placed_by="anna")

    assert expire(now=DUE + 500 * DAY) == (1 if held == "another flow" else 0)


def test_what_is_made_or_sent_at_this_moment_stays(sent: Report):
    ReportMail.objects.update(state="queued", next_at=DUE, finished_at=None)
    assert expire(now=DUE + 500 * DAY) == 0
    ReportMail.objects.update(state="sent", next_at=None, finished_at=DUE)
    Report.objects.update(state="making", next_at=DUE, content=None, frozen_at=None)
    assert expire(now=DUE + 500 * DAY) == 0
    Report.objects.update(state="failed", next_at=None)
    assert expire(now=DUE + 500 * DAY) == 1


def test_a_policy_that_was_changed_a_moment_ago_is_not_acted_on_yet(sent: Report):
    keeps(10)
    RetentionPolicy.objects.update(changed_at=DUE + 20 * DAY)

    assert expire(now=DUE + 20 * DAY + timedelta(seconds=30)) == 0
    assert expire(now=DUE + 20 * DAY + timedelta(minutes=2)) == 1


def test_the_hourly_task_does_it(sent: Report):
    with at(DUE + 401 * DAY):
        tasks.expire()

    assert not Report.objects.exists()
