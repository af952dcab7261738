"""The dry run says what a run then does, and changes nothing; without a run for two days somebody is told."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
import time_machine
from django.core.management import call_command
from django.db import connection
from django.test import Client

from messages import tasks
from messages.dead_letters.services import discard_dead_letter
from messages.ingest.partitions import partition_name
from messages.models import DataKey, IngestReject, RetentionRun
from messages.retention import run
from messages.retention.plan import plan_retention
from messages.retention.policies import alarm
from messages.retention.rules import Policy
from messages.retention.run import run_daily, run_retention
from messages.retention.services import place_hold
from tests.conftest import forget_everything
from tests.factories import ROOT, agent_key, environment, event, push, stored_letter
from tests.pages.people import signed_in, text_of
from tests.retention.stored import EVENTS, flow_of, in_days, rows_left, store
from tests.retention.test_run import policy

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_dead_rows")]


def lines(plan: Any) -> set[tuple[str, str, str, int]]:
    return {(one.environment, one.table.removeprefix("messaging_"), one.way, one.rows) for one in plan.lines}


def test_it_says_what_goes_how_and_why_the_rest_stays(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(run, "FEW", 0)
    monkeypatch.setattr("messages.retention.plan.FEW", 0)
    store("orders"), store("invoices"), store("invoices")
    stored_letter()
    policy("staging", payload_days=20)
    store(slug="staging")
    place_hold(environment(), flow_of("orders"), by=ROOT, reason="case 7")
    before = rows_left(), DataKey.objects.count()

    plan = plan_retention(now=in_days(16))

    assert lines(plan) == {("production", "payload", "write anew", 2)}
    assert (plan.exact, plan.deleted_rows, plan.keys) == (False, 0, 0)
    assert {(kept.environment, kept.because) for kept in plan.kept} == {
        ("production", "a legal hold on orders"),
        ("production", "dead letters that are open, or not closed long enough"),
    }
    assert (rows_left(), DataKey.objects.count()) == before


def test_of_whole_days_it_knows_the_bytes_exactly_and_a_run_frees_as_many():
    store(), store()
    stored = environment()
    discard_dead_letter(stored_letter(origin="orders"), by=ROOT, reason="done")
    push(EVENTS, [event(operation="nonsense")], key=agent_key())

    plan = plan_retention(now=in_days(100))
    record = run_retention(now=in_days(100))

    assert lines(plan) == {
        (stored.slug, "event", "drop", 2),
        (stored.slug, "message", "drop", 3),
        (stored.slug, "message_text", "drop", 2),
        (stored.slug, "trace_link", "drop", 2),
        (stored.slug, "deadletter", "delete", 1),
        (stored.slug, "ingestreject", "delete", 1),
        (stored.slug, "payload", "drop", 3),  # that of the letter among them: the letter goes first
    } | empty(plan)
    dropped = [one for one in record.details["done"] if one["way"] == "dropped" and one["table"] == "messaging_event"]
    planned = [one for one in plan.lines if one.table == "messaging_event"]
    assert sum(one["bytes"] for one in dropped) == sum(one.bytes for one in planned)
    assert sum(one["rows"] for one in dropped) == 2


def empty(plan: Any) -> set[tuple[str, str, str, int]]:
    """Partitions made ahead are empty, and go as well when the time comes."""
    return {line for line in lines(plan) if line[0] == "(empty)"}


def test_other_policies_may_be_tried_on_paper():
    store()
    shorter = Policy(payload_days=1, metadata_days=2, rollup_days=7)

    untouched = plan_retention(now=in_days(8))
    assert lines(untouched) == empty(untouched)
    tried = plan_retention(now=in_days(8), instead={environment().pk: shorter}, count=False)

    tables = {line[1] for line in lines(tried) if line[0] == "production"}
    assert tables == {"payload", "event", "message", "trace_link", "rollup_minute", "rollup_hour"}
    assert "event" in rows_left()


def test_large_partitions_are_sampled_and_said_to_be_estimates():
    one, other = environment(), environment("staging")
    with connection.cursor() as cursor:
        # 40 pages: of many more, how many are sampled is a matter of luck (of 75 a sixth more or less, one time in three)
        for pk, rows in ((one.pk, 2000), (other.pk, 1000)):
            cursor.execute(
                "INSERT INTO messaging_trace_link SELECT %s, %s, gen_random_uuid(), lpad(n::text, 16, '0'), gen_random_uuid(), "
                "'x' FROM generate_series(1, %s) n ORDER BY random()",
                [in_days(0), pk, rows],
            )

    found = {one.environment: one for one in plan_retention(now=in_days(100), count=False).lines if one.table == "messaging_trace_link"}  # fmt: skip

    assert (found["production"].rows_exact, found["production"].way) == (False, "drop")
    assert found["production"].rows == pytest.approx(2000, rel=0.4)
    assert found["production"].rows + found["staging"].rows == pytest.approx(3000, rel=0.4)
    size = found["production"].bytes + found["staging"].bytes
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_total_relation_size(%s)", [partition_name("messaging_trace_link", in_days(0).date())])
        assert size == pytest.approx(cursor.fetchone()[0], abs=2)  # together it is exact


def test_the_command_says_it_in_words_and_in_json_and_does_it_without_dry_run():
    store()
    RetentionRun.objects.all().delete()
    out, as_json, done = StringIO(), StringIO(), StringIO()

    with time_machine.travel(in_days(40)):
        call_command("retention", "--dry-run", stdout=out)
        call_command("retention", "--dry-run", "--json", stdout=as_json)
        assert not RetentionRun.objects.exists()
        call_command("retention", "--json", stdout=done)

    text = out.getvalue()
    assert re.search(r"^production +payloads +messaging_payload +1 row +\d+ KB  dropped  \d{4}-", text, re.M), text
    assert re.search(r"It frees [\d.]+ [KM]B of disk and destroys 1 data key", text), text
    plan = json.loads(as_json.getvalue())
    assert plan["freed_bytes_exact"] is True
    assert plan["freed_bytes"] > 0
    assert json.loads(done.getvalue())["state"] == "finished"
    assert "event" not in rows_left()


def test_when_nothing_is_old_the_command_says_so():
    out = StringIO()
    store()

    call_command("retention", "--dry-run", stdout=out)

    assert out.getvalue().startswith("Nothing goes")


def test_days_pass_and_the_daily_task_lets_each_go_in_its_turn():
    """Time travel: forty days of traffic, one task a day, and the disk keeps what the policy says and no more."""
    policy(payload_days=3, metadata_days=5, rollup_days=7)
    start = in_days(0)
    kept: list[tuple[int, int]] = []
    for day in range(12):
        with time_machine.travel(start + timedelta(days=day), tick=True):
            forget_everything()
            tasks.create_partitions()
            push(
                EVENTS,
                [event(id=f"of day {day}", payload={"content_type": "text/plain", "body": "x"})],
                key=agent_key(),
            )
            run_daily()
            left = rows_left()
            kept.append((left["payload"], left["event"]))

    assert kept[-1] == (4, 6)  # so many full days, and the one that runs
    assert kept == [(min(day + 1, 4), min(day + 1, 6)) for day in range(12)]


def test_without_a_finished_run_for_two_days_or_after_a_failed_one_ingest_and_metrics_say_so():
    store()
    client = signed_in(superuser=True)
    run_retention()
    calm = text_of(client.get("/ingest/"))

    RetentionRun.objects.update(started_at=datetime.now(UTC) - timedelta(days=3))
    late = text_of(client.get("/ingest/"))
    metrics = Client().get("/metrics").content.decode()
    RetentionRun.objects.create(started_at=datetime.now(UTC), state="failed", details={"error": "no disk"})
    failed = text_of(client.get("/ingest/"))

    assert "Retention" not in calm
    assert "No run has finished for 3 days" in late
    assert "The last run failed: no disk" in failed
    age = re.search(r"^waybill_retention_last_run_seconds (\S+)$", metrics, re.M)
    assert age
    assert float(age[1]) == pytest.approx(3 * 86400, abs=60)
    assert 'waybill_retention_oldest_day_seconds{table="messaging_event"}' in metrics
    assert 'waybill_stored_bytes{environment="production",kind="payloads"}' in metrics


def test_a_console_that_never_ran_it_says_so_after_two_days_and_not_before():
    new = environment()

    assert alarm(new, now=datetime.now(UTC)) == ""
    assert "does beat run?" in alarm(new, now=datetime.now(UTC) + timedelta(days=3))


def test_what_a_locked_day_was_left_for_is_named(monkeypatch: pytest.MonkeyPatch):
    new = environment()
    RetentionRun.objects.create(
        started_at=datetime.now(UTC), state="unfinished",
        details={"left": [{"table": "messaging_event", "day": "2026-11-01", "because": "a lock was not to be had in time"}]},
    )  # fmt: skip

    assert "left messaging_event because a lock was not to be had" in alarm(
        new, now=datetime.now(UTC) + timedelta(days=3)
    )


def test_refused_items_of_an_environment_on_hold_stay():
    push(EVENTS, [event(operation="nonsense")], key=agent_key())
    place_hold(environment(), None, by=ROOT, reason="case")

    run_retention(now=in_days(900))

    assert IngestReject.objects.count() == 1
