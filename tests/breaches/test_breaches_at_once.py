"""Several observers, tellers and operators at once, in threads and in processes: one breach, one notice. With the guards shown at work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection, transaction

from alerts.breaches import acts, services
from alerts.breaches.moves import move
from alerts.breaches.policies import remove_policy
from alerts.breaches.services import observe
from alerts.breaches.silences import silence_breach
from alerts.breaches.telling import tell_due
from alerts.conditions import Severity
from alerts.models import Breach, BreachEntry, Telling
from console.audit.models import AuditEntry
from tests.breaches.breaching import NOON, Outbox, after, condition, fired, flow, policy
from tests.factories import ROOT, environment
from tests.services.test_groups_at_once import at_once, until, waits_for_a_lock

pytestmark = pytest.mark.usefixtures("committed")
KEYS = [str(number) for number in range(20)]


def many(holds: str = "yes") -> list[object]:
    return [condition(holds, key=key, severity=severity) for key in KEYS for severity in Severity]


def test_two_observers_at_once_make_one_breach_of_each_and_it_is_told_once(outbox: Outbox):
    policy()
    said = many()
    at_once(*(partial(observe, said[::step]) for step in (1, -1, 1, -1)))

    at_once(*[tell_due] * 4)

    assert Breach.objects.count() == 40
    assert BreachEntry.objects.filter(kind="fired").count() == 40
    assert len(outbox.sent) == 20  # the tickets are held back by their pages
    assert len({notice.thread for notice, _ in outbox.sent}) == 20
    assert BreachEntry.objects.filter(kind="told").count() == 20


def test_without_the_lock_and_the_constraint_there_would_be_two(monkeypatch: pytest.MonkeyPatch):
    """The negative control: both have looked before either has written."""
    environment()
    meet = threading.Barrier(2)
    opened = services._open

    def open_together(*args) -> None:
        meet.wait(20)
        opened(*args)

    monkeypatch.setattr(services, "_open", open_together)
    monkeypatch.setattr(services, "lock_environment", lambda pk: None)
    said = condition()
    at_once(lambda: observe([said], now=NOON), lambda: observe([said], now=NOON))
    assert Breach.objects.count() == 1, "the constraint stands behind the lock"
    assert BreachEntry.objects.filter(kind="fired").count() == 1, "the move is conditional"

    Breach.objects.all().delete()
    with connection.cursor() as cursor:
        cursor.execute("DROP INDEX breach_open_once")
    try:
        at_once(lambda: observe([said], now=NOON), lambda: observe([said], now=NOON))
        assert Breach.objects.count() == 2
    finally:
        Breach.objects.all().delete()
        constraint = next(one for one in Breach._meta.constraints if one.name == "breach_open_once")
        with connection.schema_editor() as editor:
            editor.add_constraint(Breach, constraint)


def test_of_two_who_acknowledge_one_is_told_that_somebody_was_faster():
    breach = fired(datetime.now(UTC))

    results = at_once(*(lambda: acts.acknowledge(breach, by=ROOT) for _ in range(4)))

    refused = [one for one in results if isinstance(one, acts.BreachState)]
    assert len(refused) == 3
    assert BreachEntry.objects.filter(kind="acknowledged").count() == AuditEntry.objects.count() == 1


def test_looks_tellers_and_people_at_once_never_wait_for_each_other_in_a_circle(outbox: Outbox):
    policy()
    observe(many(), now=NOON)
    until = datetime(2030, 1, 1, tzinfo=UTC)
    rows = list(Breach.objects.order_by("pk"))
    for row in rows:
        row.environment = environment()

    def people() -> None:
        for row in rows[::-3]:
            acts.acknowledge(row, by=ROOT)
            acts.add_note(row, "x", by=ROOT)

    def silences() -> None:
        for row in rows[::7]:
            silence_breach(
                row, expires_at=datetime.now(UTC) + timedelta(hours=1), comment="x", end_when_resolved=True, by=ROOT
            )

    def looks() -> None:
        for minutes in (1, 2, 3, 4):
            observe(many("no")[::-1], now=after(minutes=minutes))
            services.flag_unwatched(now=after(minutes=minutes))

    def tellers() -> None:
        for _ in range(5):
            tell_due(now=until)

    results = at_once(people, silences, looks, tellers, tellers)

    assert [
        one for one in results if one is not None and not isinstance(one, acts.BreachState) and "over" not in str(one)
    ] == []
    tell_due(now=until)
    told = [(notice.thread, notice.happening.value) for notice, _ in outbox.sent]
    assert len(told) == len(set(told))
    assert (
        not Telling.objects.filter(due_at__isnull=False).exists() or Breach.objects.exclude(state="resolved").exists()
    )


OBSERVER = """
import sys
import django; django.setup()
from alerts.breaches.services import observe
from alerts.breaches.telling import tell_due
from alerts.breaches import telling
from alerts.conditions import Condition, Holds, Severity
said = [Condition(environment_id=int(sys.argv[1]), source="ingest", key=str(n), severity=Severity.PAGE, holds=Holds.YES,
        title="t", summary="s", url="/x") for n in range(200)]
telling.send = lambda notice, channels: print(notice.thread, flush=True) or len(channels)
print("ready", flush=True)
sys.stdin.readline()
observe(said)
tell_due()
"""


def environ() -> dict[str, str]:
    base, _, query = os.environ["DATABASE_URL"].partition("?")
    name = str(settings.DATABASES["default"]["NAME"])
    return os.environ | {
        "DATABASE_URL": base.rsplit("/", 1)[0] + "/" + name + (f"?{query}" if query else ""),
        "DJANGO_SETTINGS_MODULE": "console.settings",
    }


def observer() -> subprocess.Popen[str]:
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", OBSERVER, str(environment().pk)]
    return subprocess.Popen(
        command, env=environ(), cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )  # fmt: skip


def test_two_processes_make_one_breach_and_one_notice_and_a_killed_one_loses_nothing(outbox: Outbox):
    policy()
    processes = [observer() for _ in range(3)]
    for one in processes:
        assert one.stdout
        assert one.stdout.readline() == "ready\n"
    for one in processes:
        assert one.stdin
        one.stdin.write("go\n")
        one.stdin.flush()
    processes[0].send_signal(signal.SIGKILL)

    said = [one.communicate(timeout=60)[0].split() for one in processes]

    assert [one.returncode for one in processes[1:]] == [0, 0]
    assert Breach.objects.count() == BreachEntry.objects.filter(kind="fired").count() == 200
    tell_due()
    told = [thread for lines in said[1:] for thread in lines] + [notice.thread for notice, _ in outbox.sent]
    assert len(told) == len(set(told))
    assert Telling.objects.filter(said="firing").count() == 200


def test_who_acknowledges_while_a_policy_is_removed_is_waited_for_and_waits_for_nobody():
    rest, made = policy(), policy("Order team")
    breach = fired(flow_ids=(flow("rest").pk, flow(team="Order team").pk))
    begun = threading.Event()

    def acknowledge_row_by_row() -> None:
        with transaction.atomic():
            move([breach.pk], "acknowledge", now=NOON, by="root")
            Telling.objects.filter(policy=rest).update(due_at=NOON)
            begun.set()
            until(waits_for_a_lock)
            Telling.objects.filter(policy=made).update(due_at=NOON)

    def remove() -> None:
        begun.wait(20)
        remove_policy(made, by=ROOT, reason="others are told now")

    at_once(acknowledge_row_by_row, remove)

    assert Breach.objects.get().state == "acknowledged"
    assert list(Telling.objects.values_list("policy", flat=True)) == [rest.pk]
