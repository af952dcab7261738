"""A worker that is killed before any of its writes: nothing is lost, nothing is made twice, and a mail goes twice under one Message-ID at most."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from alerts.models import Report, ReportMail, ReportSchedule
from alerts.reports import mailing, making
from tests.engines.mailbox import SlowMailbox
from tests.reports.sending import DUE, at, kept_promise, member, owner, parsed, scheduled

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("drawn_once")]


class Killed(BaseException):
    """What no handler catches."""


@contextmanager
def killed_before(number: int) -> Iterator[None]:
    """Die before the write of this number, from 0; what only reads changes nothing."""
    done = 0

    def count(execute: Any, sql: str, values: Any, many: bool, context: Any) -> Any:
        nonlocal done
        done += not sql.startswith("SELECT")
        if done == number + 1 and not sql.startswith("SELECT"):  # what rolls back afterwards is PostgreSQL's own doing
            raise Killed
        return execute(sql, values, many, context)

    with connection.execute_wrapper(count):
        yield


def worked(*, dies_before: int) -> bool:
    """Do what the beats do when a report is due; return whether it was killed."""
    try:
        with at(DUE), killed_before(dies_before):
            making.look()
            mailing.look(begin=mailing.at_once)
    except Killed:
        return True
    return False


def test_whatever_write_a_worker_is_killed_before_there_is_one_report_and_one_mail_in_the_end(mailbox: SlowMailbox):
    kept_promise()
    member("ada")
    by, number, twice = owner(), 0, 0
    while True:
        mailbox.taken.clear()
        scheduled(by, receivers=["ada@example.com"])
        killed = worked(dies_before=number)
        for later in (timedelta(minutes=4), timedelta(minutes=8)):  # the leases have ended
            with at(DUE + later):
                making.look()
                mailing.look(begin=mailing.at_once)

        assert Report.objects.get().state == "frozen", number
        assert ReportMail.objects.get().state == "sent", number
        assert len({parsed(mail)["Message-ID"] for mail in mailbox.taken}) == 1, number
        assert len(mailbox.taken) in (1, 2), number
        twice += len(mailbox.taken) == 2
        ReportSchedule.objects.all().delete()
        if not killed:
            break
        number += 1

    assert number > 15  # so many writes there are
    assert twice == 1  # the one place where nobody can know: between the server's answer and the mark
