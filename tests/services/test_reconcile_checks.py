"""Scheduled checks: due at a time of day, decided once, told once, with their owner's rights of that moment."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.urls import reverse

from alerts.breaches import watching
from alerts.models import Breach
from console.audit.models import AuditEntry
from console.core.errors import Conflict, Forbidden, Invalid
from console.identity.models import Membership, Role, User
from messages.models import MessageStatus, OutboxMail, Reconciliation, ReconciliationCheck
from messages.reconcile.calendar import due_after, due_before, period_begins
from messages.reconcile.check_services import NewCheck, add_check, change_check, receive_list_of_check, remove_check
from messages.reconcile.checking import claim, look_at, run_checks, settle
from messages.reconcile.evaluating import delete_rows, reconcile
from tests.factories import ROOT, actor, person
from tests.services.reconciling import flow, message, operator

pytestmark = pytest.mark.django_db


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("at", "minute", "days", "zone", "due"),
    [
        ("2026-11-26T12:00", 390, range(1, 8), "UTC", "2026-11-27T06:30"),
        ("2026-11-26T06:00", 390, range(1, 8), "UTC", "2026-11-26T06:30"),
        ("2026-11-27T12:00", 390, range(1, 6), "Europe/Berlin", "2026-11-30T05:30"),
        ("2026-11-26T12:00", 390, [7], "UTC", "2026-11-29T06:30"),
        ("2026-03-28T12:00", 150, range(1, 8), "Europe/Berlin", "2026-03-29T01:30"),  # 02:30 does not exist on that day
    ],
)
def test_when_a_check_is_due(at: str, minute: int, days: Any, zone: str, due: str):
    assert due_after(utc(at), minute=minute, days=days, time_zone=zone) == utc(due)


def check(**said: Any) -> ReconciliationCheck:
    """A check that is due in two hours, of an operator with a mail address."""
    by = operator()
    User.objects.filter(username="ada").update(email="ada@example.com")
    at = datetime.now(UTC) + timedelta(hours=2)
    wanted = {"name": "every order", "key_name": "order_no", "minute": at.hour * 60 + at.minute, "hours": 24} | said
    return add_check(flow(), NewCheck(**wanted), by=by)


def on_due(one: ReconciliationCheck, *, minutes: float = 1.0, work: bool = True) -> int:
    """Look, and compare, at the time that the check is due and so many minutes later; return how many were decided."""
    one.refresh_from_db()
    with time_machine.travel(one.due_at + timedelta(minutes=minutes), tick=True):
        decided = run_checks()
        if work:
            reconcile()
            with time_machine.travel(datetime.now(UTC) + timedelta(seconds=30), tick=True):
                decided += run_checks()
    one.refresh_from_db()
    return decided


def subjects() -> list[str]:
    return list(OutboxMail.objects.order_by("id").values_list("subject", flat=True))


def test_a_raised_check_is_a_breach_of_its_flow_until_it_is_calm():
    one = check()
    on_due(one)

    watching.look()

    breach = Breach.objects.get(source="check")
    assert (breach.key, breach.state, breach.severity, breach.flow_ids) == (
        str(one.pk),
        "firing",
        "ticket",
        [one.flow_id],
    )
    assert (breach.title, breach.labels) == ("Check “every order”", {"check": "every order", "flow": "orders"})
    assert breach.summary == f"{one.problem}."
    assert breach.summary.startswith("no list had come by ")
    assert breach.url == reverse("reconciliation-check", args=[one.pk])
    ReconciliationCheck.objects.update(state="calm", problem="")
    for minutes in (1, 20):
        watching.look(now=datetime.now(UTC) + timedelta(minutes=minutes))
    breach.refresh_from_db()
    assert breach.state == "resolved"


def test_a_check_that_has_stopped_is_a_breach_until_it_is_removed():
    one = check()
    User.objects.filter(pk=one.owner_id).update(is_active=False)
    on_due(one)
    watching.look()
    breach = Breach.objects.get(source="check")

    remove_check(one, by=ROOT)
    for minutes in (1, 20):
        watching.look(now=datetime.now(UTC) + timedelta(minutes=minutes))

    assert (breach.state, breach.summary) == ("firing", "It has stopped: its owner's account is switched off.")
    breach.refresh_from_db()
    assert breach.state == "resolved"


def test_a_check_that_is_changed_while_it_is_raised_stays_so_until_it_was_compared():
    one = check()
    on_due(one)
    watching.look()
    said = NewCheck(name="every order of ours", key_name="order_no", minute=one.minute, hours=24)

    with time_machine.travel(one.due_at - timedelta(hours=23), tick=True):
        changed = change_check(one, said, by=operator())
    watching.look()

    assert (changed.state, changed.problem[:16]) == ("raised", "no list had come")
    assert Breach.objects.get().state == "firing"
    message("1", at=changed.due_at - timedelta(hours=3))
    with time_machine.travel(changed.due_at - timedelta(hours=1), tick=True):
        receive_list_of_check(changed, [b"1\n"], by=operator())
    on_due(changed)
    assert (changed.state, subjects()[-1].endswith("every key of the list was processed")) == ("calm", True)


@pytest.mark.parametrize("minute", [150, 390])
@pytest.mark.parametrize("day", ["2026-10-24", "2026-10-25", "2026-10-26", "2026-03-28", "2026-03-29", "2026-03-30"])
def test_the_period_of_a_day_begins_where_the_one_before_ended_when_clocks_change(day: str, minute: int):
    said: dict[str, Any] = {"minute": minute, "days": range(1, 8), "time_zone": "Europe/Berlin"}
    due = due_after(utc(f"{day}T00:00"), **said)

    assert period_begins(due, hours=24, minute=minute, time_zone="Europe/Berlin") == due_before(due, **said)
    assert period_begins(due, hours=6, minute=minute, time_zone="Europe/Berlin") == due - timedelta(hours=6)


def test_keys_that_nobody_processed_yet_are_no_proof_and_raise_it():
    one = check()
    message("1")
    message("2", MessageStatus.MOVING)
    receive_list_of_check(one, [b"1\n2\n"], by=operator())

    assert on_due(one) == 1

    assert (one.state, one.problem) == ("raised", "1 still on the way")


def test_failed_and_missing_keys_raise_it_and_the_next_good_day_is_told_once():
    one = check()
    receive_list_of_check(one, [b"1\n2\na,b\n"], by=operator())

    assert on_due(one) == 1
    assert one.state == "raised"
    assert one.problem == "2 of 2 keys never seen, 1 line of the list cannot be read"
    mail = OutboxMail.objects.get()
    assert f"/reconciliations/{Reconciliation.objects.get().pk}/?environment=production" in mail.body
    assert mail.to == "ada@example.com"

    with time_machine.travel(one.due_at - timedelta(hours=1), tick=True):
        message("3", at=datetime.now(UTC) - timedelta(hours=1))
        receive_list_of_check(one, [b"3\n"], by=operator())
    assert on_due(one) == 1
    assert (one.state, len(subjects())) == ("calm", 2)
    assert subjects()[1].endswith("every key of the list was processed")


def test_a_comparison_has_two_hours_from_when_the_check_waits_for_it_also_after_a_worker_was_away():
    one = check()
    message("1")
    receive_list_of_check(one, [b"1\n"], by=operator())
    reconcile()
    back = one.due_at + timedelta(hours=3)

    with time_machine.travel(back, tick=True):
        run_checks()
    for minutes in (0.3, 119):
        with time_machine.travel(back + timedelta(minutes=minutes), tick=True):
            assert run_checks() == 0
    one.refresh_from_db()
    assert (one.state, subjects()) == ("new", [])

    with time_machine.travel(back + timedelta(minutes=121), tick=True):
        assert run_checks() == 1
    one.refresh_from_db()
    assert (one.state, one.problem) == ("raised", "the comparison did not end in two hours")


def test_a_check_of_before_that_was_told_nothing_of_what_it_decided_last_goes_on():
    one = check(hours=48)
    message("1")
    receive_list_of_check(one, [b"1\n"], by=operator())
    on_due(one)
    ReconciliationCheck.objects.update(decided_due_at=None)

    assert on_due(one) == 1

    assert one.problem.startswith("no list had come by ")


def test_a_worker_that_dies_while_it_looks_loses_nothing_and_one_that_is_late_tells_nothing():
    one = check()
    now = one.due_at + timedelta(minutes=1)
    dead = claim(now)
    assert dead is not None
    assert claim(now) is None

    assert on_due(one, minutes=3) == 1

    assert settle(dead, look_at(dead, now), now) is False
    assert OutboxMail.objects.count() == 1


def test_two_beats_at_once_decide_once(committed: None):
    one = check()
    barrier = threading.Barrier(3)
    at = one.due_at + timedelta(minutes=1)

    def work() -> None:
        try:
            barrier.wait()
            run_checks(now=at)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert OutboxMail.objects.count() == 1
    one.refresh_from_db()
    assert (one.state, one.attempt) == ("raised", 1)


def test_an_owner_whose_rights_are_gone_is_told_that_it_stopped_and_nothing_else():
    one = check()
    receive_list_of_check(one, [b"1\n"], by=operator())
    Membership.objects.all().delete()

    assert (on_due(one), on_due(one)) == (1, 0)

    mail = OutboxMail.objects.get()
    assert mail.subject == "[production] every order: this check has stopped"
    assert "reconciliations/" not in mail.body
    assert (one.state, one.next_look_at) == ("stopped", None)
    assert AuditEntry.objects.filter(action="reconciliation_check.stopped").count() == 1


def test_a_check_is_changed_and_removed_by_operators_and_its_lists_stay():
    one, mate, viewer = check(), person("mate", Role.OPERATOR), person("viewer", Role.VIEWER, team="Others")
    received = receive_list_of_check(one, [b"1\n"], by=operator())
    said = NewCheck(name="orders of the night", key_name="order_no", minute=60, time_zone="Europe/Berlin")

    with pytest.raises(Forbidden):
        change_check(one, said, by=actor(viewer))
    changed = change_check(one, said, by=actor(mate))
    with pytest.raises(Conflict):
        add_check(flow(), said, by=actor(mate))
    remove_check(changed, by=actor(mate), reason="not needed")

    assert (changed.name, changed.owner) == ("orders of the night", mate)
    received.refresh_from_db()
    assert received.of_check is None
    delete_rows(received.pk)


@pytest.mark.parametrize(
    "said",
    [
        {"name": " "},
        {"key_name": ""},
        {"minute": 1440},
        {"days": []},
        {"days": [8]},
        {"time_zone": "Mars"},
        {"hours": 0},
        {"hours": 800},
    ],
)
def test_a_check_that_cannot_be_is_refused(said: dict[str, Any]):
    with pytest.raises(Invalid):
        check(**said)


def test_a_check_belongs_to_a_person():
    with pytest.raises(Forbidden):
        add_check(flow(), NewCheck(name="x", key_name="order_no", minute=0), by=ROOT)
