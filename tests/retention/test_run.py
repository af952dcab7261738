"""A run of retention: what goes, what stays because of a hold or an open letter, keys, and what happens beside ingest."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import DataError, IntegrityError

from console.audit.models import AuditEntry
from messages.dead_letters.services import discard_dead_letter, restore_dead_letter
from messages.ingest import writer
from messages.ingest.partitions import partition_name
from messages.models import (
    Connection,
    DataKey,
    DeadLetter,
    Event,
    IngestReject,
    Message,
    Payload,
    Plan,
    PlanItem,
    Replay,
    RetentionPolicy,
    RetentionRun,
)
from messages.payloads.queries import stored_content
from messages.payloads.seal import PayloadUnreadable, seal
from messages.payloads.services import data_key_for
from messages.plans import services
from messages.plans.services import end_plan, start_plan
from messages.replay.sending import send_due
from messages.replay.services import request_replay
from messages.retention import run
from messages.retention.rules import Policy
from messages.retention.run import run_daily, run_retention
from tests.factories import ROOT, agent_key, environment, event, letter, memory_connection, push, stored_letter
from tests.plans.test_plans import plan_of
from tests.retention.stored import EVENTS, TODAY, in_days, partitions, rows_left, store

pytestmark = pytest.mark.django_db
EVERYTHING = {"payload": 1, "event": 1, "message": 1, "trace_link": 1, "rollup_minute": 1, "rollup_hour": 1}


def policy(slug: str = "production", **days: int) -> None:
    defaults = asdict(Policy())
    RetentionPolicy.objects.update_or_create(
        environment=environment(slug),
        defaults=defaults | days | {"changed_at": datetime.now(UTC) - timedelta(hours=1), "changed_by": "tests"},
    )


def done(record: RetentionRun, table: str) -> list[tuple[str, int]]:
    return [(one["way"], one["rows"]) for one in record.details["done"] if one["table"] == table]


def body_of(owner: Any) -> bytes:
    content = stored_content(owner.environment_id, owner.id, owner.payload_on)
    assert content is not None
    return content.body


def test_payloads_go_before_metadata_and_metadata_before_rollups():
    store()
    seen = [rows_left()]

    for day in (14, 15, 30, 31, 400, 401):
        run_retention(now=in_days(day))
        seen.append(rows_left())

    no_payload = {table: 1 for table in EVERYTHING if table != "payload"}
    rollups = {"rollup_minute": 1, "rollup_hour": 1}
    assert seen == [EVERYTHING, EVERYTHING, no_payload, no_payload, rollups, rollups, {}]


def test_a_whole_day_is_dropped_and_its_partition_is_gone():
    store()

    record = run_retention(now=in_days(15))

    assert partition_name("messaging_payload", TODAY) not in partitions()
    assert partition_name("messaging_event", TODAY) in partitions("messaging_event")
    assert {way for way, _ in done(record, "messaging_payload")} == {"dropped"}
    assert (record.state, record.details["left"]) == ("finished", [])
    assert AuditEntry.objects.get(action="retention.ran").details["bytes"] > 0


def test_where_only_one_environment_lets_go_the_rows_of_the_other_stay(monkeypatch: pytest.MonkeyPatch):
    policy("staging", payload_days=30)
    store(), store(slug="staging")

    record = run_retention(now=in_days(20))

    assert done(record, "messaging_payload")[-1] == ("deleted", 1)  # one row: not worth a new table
    assert ("payload" in rows_left(environment()), rows_left(environment("staging"))) == (False, EVERYTHING)


def test_few_rows_that_stay_are_written_anew_and_read_as_before(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(run, "FEW", 0)
    policy("staging", metadata_days=100, payload_days=100)
    store(), store()
    kept = store(slug="staging")

    record = run_retention(now=in_days(40))

    assert done(record, "messaging_event") == [("written anew", 2)]
    assert rows_left(environment()) == {"rollup_minute": 1, "rollup_hour": 1}
    assert rows_left(environment("staging")) == EVERYTHING
    assert body_of(kept) == b'{"order_no": "4711"}'
    with_indexes = store(slug="staging")  # the new table takes rows and keeps its key
    assert push(EVENTS, [event(id="once")], key=agent_key()).json()["accepted"] == 1
    assert Event.objects.filter(id=with_indexes.id).count() == 1


def test_many_rows_that_stay_are_left_where_they_are_and_the_others_deleted_in_chunks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(run, "FEW", 0)
    monkeypatch.setattr(run, "WRITTEN_ANEW", 0)
    monkeypatch.setattr(run, "CHUNK_PAGES", 1)
    policy("staging", payload_days=30)
    for _ in range(30):
        store()
    store(slug="staging")

    record = run_retention(now=in_days(20))

    assert done(record, "messaging_payload")[-1] == ("deleted", 30)
    assert rows_left(environment("staging")) == EVERYTHING


def test_the_days_key_is_destroyed_with_the_payloads_and_another_days_is_not():
    gone = store()
    keys = DataKey.objects.get(environment=environment(), kept=False)
    other = DataKey.objects.create(environment=environment(), day=TODAY + timedelta(days=3), wrapped=b"x" * 40)

    run_retention(now=in_days(15))

    assert not DataKey.objects.filter(pk=keys.pk).exists()
    assert DataKey.objects.filter(pk=other.pk).exists()
    assert stored_content(gone.environment_id, gone.id, gone.payload_on) is None


def test_a_payload_whose_rows_could_not_go_yet_is_shredded_already(monkeypatch: pytest.MonkeyPatch):
    shredded = store()
    monkeypatch.setattr(run.Run, "_part", lambda self, part: None)

    run_retention(now=in_days(15))

    with pytest.raises(PayloadUnreadable, match="was destroyed"):
        body_of(shredded)


def test_an_open_letter_keeps_its_payload_however_old_it_gets_and_its_replay_still_works():
    memory_connection()
    store()
    waiting = stored_letter()

    for day in (15, 31, 401, 1200):
        run_retention(now=in_days(day))

    assert rows_left() == {"payload": 1}
    assert body_of(waiting).startswith(b'{"order_no"')
    assert list(DataKey.objects.values_list("kept", flat=True)) == [True]
    replay = request_replay(waiting, by=ROOT, reason="the ERP answers again")
    send_due(replay.connection_id)
    replay.refresh_from_db()
    assert replay.state == "confirmed"


def test_letters_of_old_days_keep_the_payload_that_was_sealed_under_the_days_one_key():
    """As stored before dead letters had a key of their own."""
    waiting = stored_letter()
    content = stored_content(waiting.environment_id, waiting.id, waiting.payload_on)
    assert content
    key_id, key = data_key_for(waiting.environment_id, TODAY)
    sealed = seal(key, content, environment_id=waiting.environment_id, row_id=waiting.id.bytes)
    Payload.objects.filter(id=waiting.id).update(sealed=sealed, data_key_id=key_id, flow=None)

    run_retention(now=in_days(50))

    assert body_of(waiting) == content.body
    assert DataKey.objects.filter(pk=key_id).exists()


def test_a_closed_letter_goes_with_replays_and_payload_when_its_days_after_closing_are_over():
    memory_connection()
    closed, waiting = stored_letter(), stored_letter()
    Replay.objects.create(
        dead_letter=closed, environment=closed.environment, connection=Connection.objects.get(), destination="erp.orders",
        state="refused", requested_by="operator", reason="a try", span_id="0" * 16,
    )  # fmt: skip
    discard_dead_letter(closed, by=ROOT, reason="a test order")

    run_retention(now=in_days(29))
    both = DeadLetter.objects.count()
    record = run_retention(now=in_days(32))

    assert (both, Replay.objects.count()) == (2, 0)
    assert list(DeadLetter.objects.values_list("id", flat=True)) == [waiting.id]
    assert rows_left() == {"payload": 1}
    assert body_of(waiting)
    assert done(record, "messaging_deadletter") == [("deleted", 1)]


def test_letters_of_an_ended_plan_go_with_it_and_those_of_a_running_one_stay():
    memory_connection()
    in_ended, in_running = stored_letter(), stored_letter(queue="other")
    ended, running = (plan_of([one]) for one in (in_ended, in_running))
    end_plan(ended, by=ROOT)
    start_plan(running, by=ROOT, at=datetime.now(UTC) + timedelta(hours=1))
    closed = datetime.now(UTC)
    DeadLetter.objects.update(state="closed", resolution="discarded", closed_at=closed)

    run_retention(now=in_days(32))

    assert [one.pk for one in DeadLetter.objects.all()] == [in_running.pk]
    assert [one.pk for one in Plan.objects.all()] == [running.pk]
    assert PlanItem.objects.count() == 1


def test_a_plan_frozen_while_retention_deletes_its_letters_is_made_without_them(monkeypatch: pytest.MonkeyPatch):
    memory_connection()
    going, staying = stored_letter(), stored_letter(queue="other")
    freeze, asked = services.freeze_items, []

    def meanwhile(plan: Plan, letters: Any, **by: Any) -> None:
        if not asked:
            asked.append(plan)
            raise IntegrityError("the foreign key of an item: its letter was deleted meanwhile")
        freeze(plan, letters.exclude(pk=going.pk), **by)

    monkeypatch.setattr(services, "freeze_items", meanwhile)

    plan = plan_of([going, staying])

    assert [one.dead_letter_id for one in plan.items.all()] == [staying.pk]


def test_a_restored_letter_is_open_again_and_stays():
    found = stored_letter()
    discard_dead_letter(found, by=ROOT, reason="by mistake")
    run_retention(now=in_days(20))
    restore_dead_letter(found, by=ROOT, reason="it was not")

    run_retention(now=in_days(100))

    assert body_of(found)


def test_a_letter_stays_while_a_later_death_points_to_it():
    first = stored_letter()
    later = stored_letter()
    DeadLetter.objects.filter(pk=later.pk).update(previous=first)
    discard_dead_letter(first, by=ROOT, reason="replaced")

    run_retention(now=in_days(100))
    assert DeadLetter.objects.count() == 2

    discard_dead_letter(later, by=ROOT, reason="done")
    run_retention(now=in_days(100))
    assert DeadLetter.objects.count() == 0


def test_refused_items_go_by_whether_somebody_settled_them_and_their_key_goes_with_the_last():
    key = agent_key()
    push(EVENTS, [event(operation="nonsense"), event(operation="nonsense")], key=key)
    settled, _ = IngestReject.objects.all()
    in_the_afternoon = in_days(0) + timedelta(hours=1)  # runs are at noon, whenever this test is
    IngestReject.objects.filter(pk=settled.pk).update(
        settled_at=in_the_afternoon, settled_by="r", settled_how="dismissed"
    )
    left = []

    for day in (14, 15, 89, 91):
        run_retention(now=in_days(day))
        left.append((IngestReject.objects.count(), DataKey.objects.count()))

    assert left == [(2, 1), (1, 1), (1, 1), (0, 0)]


def test_an_event_as_late_as_ingest_takes_it_is_stored_in_a_day_that_stays():
    policy(metadata_days=2, payload_days=1)
    late = (datetime.now(UTC) - timedelta(days=5)).isoformat()
    push(EVENTS, [event(occurred_at=late)], key=agent_key())

    run_retention()

    stored = Event.objects.get()
    assert stored.clamped_from is not None
    assert datetime.now(UTC) - stored.occurred_at < timedelta(days=2, minutes=1)


def test_a_late_event_makes_no_partition_of_payloads_for_a_day_that_let_them_go():
    day = TODAY - timedelta(days=20)

    writer.ensure_days({day})
    push(EVENTS, [event(occurred_at=(datetime.now(UTC) - timedelta(days=20)).isoformat())], key=agent_key())

    assert partition_name("messaging_payload", day) not in partitions()
    assert partition_name("messaging_event", day) in partitions("messaging_event")


def test_the_message_of_a_very_old_letter_lies_in_a_day_that_stays():
    old = (datetime.now(UTC) - timedelta(days=300)).isoformat()
    push("/ingest/v1/dead-letters", [letter(failed_at=old, first_failed_at=old)], key=agent_key())

    run_retention()

    assert Message.objects.count() == 1
    assert DeadLetter.objects.get().failed_at < datetime.now(UTC) - timedelta(days=299)


def test_a_policy_changed_this_minute_is_acted_on_by_the_next_run():
    store()
    policy(payload_days=1, metadata_days=2)
    RetentionPolicy.objects.update(changed_at=in_days(5) - timedelta(seconds=30))

    run_retention(now=in_days(5))
    before = rows_left()
    run_retention(now=in_days(5) + timedelta(minutes=2))

    assert (before, "event" in rows_left()) == (EVERYTHING, False)


def test_the_daily_task_runs_once_a_day_and_goes_on_when_it_was_cut(monkeypatch: pytest.MonkeyPatch):
    first, again = run_daily(), run_daily()
    RetentionRun.objects.update(started_at=datetime.now(UTC) - timedelta(days=1))
    monkeypatch.setattr(run, "BUDGET_S", -1.0)
    store()
    cut, after_cut = run_daily(), run_daily()

    assert first
    assert again is None
    assert cut
    assert after_cut
    assert (first.state, cut.state) == ("finished", "unfinished")


def test_an_unexpected_error_is_kept_and_raised(monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object) -> None:
        raise DataError("no such thing")

    monkeypatch.setattr(run.Run, "_part", broken)
    with pytest.raises(DataError):
        run_retention(now=in_days(15))

    record = RetentionRun.objects.get()
    assert (record.state, record.details["error"]) == ("failed", "DataError: no such thing")
