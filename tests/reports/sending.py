"""Sentences of the tests of schedules and mails: who owns one, what is due, what a beat does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import time_machine

from alerts.models import Report, ReportMail, ReportReceiver, ReportSchedule
from alerts.reports import mailing, making
from alerts.reports.services import add_schedule
from alerts.reports.wishes import NewSchedule
from console.audit.models import AuditEntry
from console.identity.actor import Actor
from console.identity.models import Role, User
from tests.factories import actor, environment, person
from tests.objectives.stored import looked, promised, rolled
from tests.services.reconciling import flow

NOW = datetime(2026, 11, 26, 6, 30, tzinfo=UTC)  # a Thursday
DUE = datetime(2026, 11, 26, 7, 0, 5, tzinfo=UTC)
YESTERDAY = datetime(2026, 11, 25, 10, tzinfo=UTC)


def member(name: str, role: Role | None = Role.VIEWER, **more: Any) -> User:
    """Return a person with a mail address."""
    user = person(name, role, **more)
    user.email = f"{name}@example.com"
    user.save(update_fields=["email"])
    return user


def kept_promise(good: int = 98, failed: int = 2, **said: Any) -> Any:
    """Return an objective that was counted yesterday."""
    rolled(YESTERDAY, good=good, failed=failed)
    one = promised(of=flow(), now=YESTERDAY - timedelta(days=1), **said)
    with time_machine.travel(NOW, tick=False):
        looked(NOW)
    return one


def scheduled(by: Actor, *, now: datetime = NOW, **said: Any) -> ReportSchedule:
    wish: dict[str, Any] = {"name": "Order team", "cadence": "daily", "hour": 7, "time_zone": "UTC"} | said
    return add_schedule(environment(), NewSchedule(**wish), by=by, now=now)


def owner(name: str = "olga", role: Role = Role.OPERATOR) -> Actor:
    return actor(member(name, role))


def at(moment: datetime) -> Any:
    return time_machine.travel(moment, tick=True)


def beat(moment: datetime) -> tuple[int, int]:
    """Do what the beats do then: make what is due, send what waits; return how many of each."""
    with at(moment):
        return making.look(), mailing.look(begin=mailing.at_once)


def only_report(**fields: Any) -> Report:
    return Report.objects.get(**fields)


def states(report: Report) -> dict[str, str]:
    rows = ReportMail.objects.filter(report=report).values_list("receiver__address", "state")
    return dict(rows)


def receiver(address: str) -> ReportReceiver:
    return ReportReceiver.objects.get(address=address)


def parsed(raw: bytes) -> EmailMessage:
    found = message_from_bytes(raw, policy=policy.default)
    assert isinstance(found, EmailMessage)
    return found


def part_of(mail: EmailMessage, kind: str) -> str:
    part = mail.get_body(preferencelist=(kind,))
    assert part is not None
    return str(part.get_content())


def listed(by: Actor, name: str) -> None:
    """Leave a schedule with a receiver and a report that could not be made: what lists show, without the making."""
    one = scheduled(by, name=name)
    ReportReceiver.objects.create(schedule=one, address=f"{one.pk}@example.com", added_by="x")
    Report.objects.create(
        schedule=one, environment=one.environment, cadence="daily", since=YESTERDAY, until=NOW, time_zone="UTC", asked_at=NOW, state="failed",
    )  # fmt: skip


def audited(action: str) -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(action=action))
