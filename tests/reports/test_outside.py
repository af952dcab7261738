"""Addresses that are no member's: what an owner writes, or picks among older reports, does not go to them without an administrator."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from alerts.models import Report, ReportFile
from alerts.reports import mailing
from alerts.reports.content import from_json
from alerts.reports.services import change_schedule, revise, send_again
from alerts.reports.wishes import NewSchedule
from console.core.errors import Forbidden
from console.identity.actor import Actor
from console.identity.models import Role, User
from tests.pages.people import text_of
from tests.reports.sending import (
    DUE,
    NOW,
    at,
    beat,
    kept_promise,
    member,
    only_report,
    owner,
    receiver,
    scheduled,
    states,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("drawn_once")]
LATER = DUE + timedelta(minutes=1)
REASON = "we lost the spool of Contoso"
PARTNER = "partner@example.org"
SAID: dict[str, Any] = {"name": "Order team", "cadence": "daily", "hour": 7, "receivers": ["olga@example.com", PARTNER]}


@pytest.fixture
def people() -> tuple[Actor, Actor]:
    """Return (the owner, an administrator) of a schedule that the administrator opened to a partner, of which a report was sent."""
    kept_promise()
    by, admin = owner(), owner("anna", Role.ADMINISTRATOR)
    made = scheduled(by, receivers=["olga@example.com"])
    change_schedule(made, NewSchedule(**SAID), by=admin, now=NOW)
    beat(DUE)
    return by, admin


def drawn(report: Report) -> str:
    files = ReportFile.objects.filter(report=report).exclude(mime__in=["image/png", "application/pdf"])
    return "".join(bytes(file.body).decode() for file in files)


def test_an_owner_s_revision_goes_to_members_alone_and_its_reason_stands_in_nothing_that_is_sent(people):
    by, _ = people
    assert set(states(only_report())) == {"olga@example.com", PARTNER}

    revision = revise(only_report(), by=by, reason=REASON, now=DUE)
    beat(LATER)

    revision.refresh_from_db()
    assert set(states(revision)) == {"olga@example.com"}
    assert (revision.corrects, from_json(revision.content).corrects) == (REASON, "")
    assert "Revision 2 of this report" in drawn(revision)
    assert REASON not in drawn(revision)


def test_an_administrator_s_revision_goes_to_everybody_with_its_reason(people):
    revision = revise(only_report(), by=people[1], reason="late events", now=DUE)
    beat(LATER)

    assert set(states(revision)) == {"olga@example.com", PARTNER}
    assert "late events" in drawn(revision)


def test_an_owner_s_revision_says_why_where_all_are_members():
    kept_promise()
    by = owner()
    scheduled(by, receivers=["olga@example.com"])
    beat(DUE)

    revision = revise(only_report(), by=by, reason=REASON, now=DUE)
    beat(LATER)

    assert REASON in drawn(revision)


def test_an_administrator_sends_an_owner_s_revision_on_and_the_owner_does_not(people):
    by, admin = people
    revision = revise(only_report(), by=by, reason=REASON, now=DUE)
    beat(LATER)
    revision.refresh_from_db()

    with pytest.raises(Forbidden):
        send_again(revision, receiver(PARTNER), by=by)
    send_again(revision, receiver(PARTNER), by=admin)

    assert PARTNER in states(revision)


def test_an_owner_sends_no_report_of_before_to_an_address_that_came_later():
    kept_promise()
    by, admin = owner(), owner("anna", Role.ADMINISTRATOR)
    made = scheduled(by, receivers=["olga@example.com"])
    beat(DUE)
    change_schedule(made, NewSchedule(**SAID), by=admin, now=DUE)

    with pytest.raises(Forbidden):
        send_again(only_report(), receiver(PARTNER), by=by)

    assert set(states(only_report())) == {"olga@example.com"}


def test_the_link_of_an_outsider_says_that_it_was_revised_and_a_member_s_says_why(people):
    first = only_report()
    paths = {
        address: re.sub(r"^http://[^/]+", "", mailing.links_of(first, receiver(address), now=DUE)[0])
        for address in (PARTNER, "olga@example.com")
    }
    revise(first, by=people[0], reason=REASON, now=DUE)
    beat(LATER)

    with at(LATER):
        told = {address: text_of(Client().get(path)) for address, path in paths.items()}

    assert all("This report was revised on 26 November 2026." in text for text in told.values())
    assert [REASON in told[address] for address in (PARTNER, "olga@example.com")] == [False, True]


def test_the_owner_s_page_says_so_and_offers_no_button_that_is_refused(people):
    first = only_report()
    client = Client()
    client.force_login(User.objects.get(pk=people[0].user_id))

    page = text_of(client.get(reverse("report", args=[first.pk])))

    assert "Addresses that are no member’s do not get it" in page
    revise(first, by=people[0], reason=REASON, now=DUE)
    beat(LATER)
    assert "by an administrator" in text_of(client.get(reverse("report", args=[only_report(revision=2).pk])))


def test_who_left_gets_nothing_though_somebody_changes_the_schedule_until_an_administrator_puts_the_address_in_anew():
    kept_promise()
    member("ada")
    by, admin = owner(), owner("anna", Role.ADMINISTRATOR)
    made = scheduled(by, receivers=["ada@example.com"])
    User.objects.filter(username="ada").update(is_active=False)
    said = SAID | {"receivers": ["ada@example.com"]}

    for days, who in ((9, admin), (10, by)):
        change_schedule(made, NewSchedule(**said, link_days=days), by=who, now=NOW)
    beat(DUE)

    assert states(only_report()) == {"ada@example.com": "withdrawn"}
    change_schedule(made, NewSchedule(**said | {"receivers": []}), by=admin, now=DUE)
    with pytest.raises(Forbidden):
        change_schedule(made, NewSchedule(**said), by=by, now=DUE)
    change_schedule(made, NewSchedule(**said), by=admin, now=DUE)
    assert receiver("ada@example.com").outside
