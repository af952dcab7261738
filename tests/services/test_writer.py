"""The writer: both of its paths give the same rows, concurrent copies are stored once, rollups are a recount."""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from django.db import connection, connections, transaction

from messages.ingest import writer
from messages.ingest.cloudevents import BATCHED
from messages.ingest.model import Batch, NewEvent
from messages.ingest.partitions import TABLES, ensure_partitions, existing_days
from messages.ingest.writer import write_batch
from messages.models import Event, LedgerEntry, Message, RollupHour, RollupMinute, TraceLink
from messages.payloads.queries import stored_content
from tests.factories import agent, agent_key, event, push

EVENTS = "/ingest/v1/events"


def random_events(seed: int) -> list[dict[str, object]]:
    chance, now = random.Random(seed), datetime.now(UTC)
    made = []
    for number in range(60):
        failed = chance.random() < 0.3
        at = now - timedelta(seconds=chance.choice([1, 70, 4000, 90_000, 400_000]), microseconds=number)
        made.append(
            event(
                id=f"e-{chance.randrange(50)}",
                occurred_at=at.isoformat(),
                system=chance.choice(["shop", "erp"]),
                operation=chance.choice(["send", "receive", "process", "other"]),
                outcome="error" if failed else "ok",
                error={"type": "T", "message": "m"} if failed else None,
                message_id=chance.choice(["", "short", "message-long-enough-1"]),
                destination=chance.choice(["", "a", "b"]),
                keys={"order_no": chance.randrange(3)},
                duration_ms=chance.random() * 1000,
                trace_id="ab" * 16,
                span_id=f"{number:016x}",
                links=[{"trace_id": "cd" * 16, "span_id": "ef" * 8}],
            )
        )
    return made


def rows() -> dict[str, list[tuple[object, ...]]]:
    return {
        "events": sorted(Event.objects.values_list("id", "occurred_at", "operation", "outcome", "message_uid", "destination", "error_type")),
        "messages": sorted(Message.objects.values_list("id", "first_seen_on", "status", "event_count", "failed_at", "decided_at", "first_seen_at")),
        "links": sorted(TraceLink.objects.values_list("trace_id", "span_id", "linked_trace_id")),
        "minutes": sorted(RollupMinute.objects.values_list("minute", "flow__name", "operation", "outcome", "bucket", "count", "duration_us", "messages")),
        "hours": sorted(RollupHour.objects.values_list("hour", "flow__name", "system__name", "destination", "operation", "outcome", "count", "messages")),
    }  # fmt: skip


@pytest.mark.django_db
@pytest.mark.parametrize("seed", range(6))
def test_both_paths_of_the_writer_give_the_same_rows(seed: int, monkeypatch: pytest.MonkeyPatch):
    key, items = agent_key(), random_events(seed)
    with transaction.atomic():
        fast = push(EVENTS, items, key=key).json()
        by_fast = rows()
        transaction.set_rollback(True)
    monkeypatch.setattr(writer, "_copy_events", writer._merge_events)

    careful = push(EVENTS, items, key=key).json()

    assert careful == fast
    assert rows() == by_fast
    assert fast["accepted"] + fast["duplicates"] == 60


def test_what_a_rolled_back_transaction_made_is_not_remembered(committed):
    key, item = agent_key(), event(payload={"body": "kept"})
    with transaction.atomic():
        push(EVENTS, [item], key=key)
        transaction.set_rollback(True)

    push(EVENTS, [item], key=key)

    [stored] = Event.objects.select_related("flow", "system")
    assert (stored.flow.name, stored.system.name) == ("orders", "shop")
    assert stored_content(stored.environment_id, stored.id, stored.payload_on).body == b"kept"


@pytest.mark.django_db
@pytest.mark.parametrize("seed", range(3))
def test_rollups_are_a_recount_of_the_events_however_they_came(seed: int):
    key, items = agent_key(), random_events(seed)
    for start in range(0, 60, 15):
        push(EVENTS, items[start : start + 20], key=key)  # overlapping batches

    counted = Counter(
        (e.occurred_at.replace(second=0, microsecond=0), e.flow_id, e.operation, e.outcome) for e in Event.objects.all()
    )
    rolled: Counter[tuple[object, ...]] = Counter()
    for r in RollupMinute.objects.all():
        rolled[(r.minute, r.flow_id, r.operation, r.outcome)] += r.count
    assert rolled == counted
    assert sum(RollupHour.objects.values_list("count", flat=True)) == sum(counted.values())
    assert (
        sum(Message.objects.values_list("event_count", flat=True))
        == Event.objects.filter(message_uid__isnull=False).count()
    )


def at_once(jobs: list[object]) -> list[object]:
    results: list[object] = [None] * len(jobs)
    start = threading.Barrier(len(jobs))

    def run(index: int) -> None:
        start.wait()
        try:
            results[index] = jobs[index]()  # type: ignore[operator]
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_the_same_batch_ten_times_at_once_is_stored_once_and_answered_alike(committed: None):
    key, items = agent_key(), random_events(7)

    answers = at_once([lambda: push(EVENTS, items, key=key).json() for _ in range(10)])

    assert all(answer == answers[0] for answer in answers)
    assert Event.objects.count() == answers[0]["accepted"]
    assert LedgerEntry.objects.count() == 1


def test_different_batches_with_the_same_events_at_once_store_each_event_once(committed: None):
    key, items = agent_key(), [event(message_id=f"message-{n:020d}") for n in range(50)]

    answers = at_once(
        [lambda n=n: push(EVENTS, {"batch_id": f"b{n}", "events": items}, key=key).json() for n in range(6)]
    )

    assert sum(answer["accepted"] for answer in answers) == 50
    assert sum(answer["duplicates"] for answer in answers) == 250
    assert (Event.objects.count(), Message.objects.count()) == (50, 50)
    assert sum(RollupMinute.objects.values_list("count", flat=True)) == 50
    assert set(Message.objects.values_list("event_count", flat=True)) == {1}


def test_a_message_whose_events_come_on_both_sides_of_midnight_at_once_has_one_row(committed: None):
    key, now = agent_key(), datetime.now(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    sides = [
        event(message_id="message-around-midnight", occurred_at=(midnight + timedelta(seconds=s)).isoformat())
        for s in (-2, -1, 1, 2)
    ]

    at_once([lambda item=item: push(EVENTS, [item], key=key) for item in sides])

    assert list(Message.objects.values_list("event_count", flat=True)) == [4]


def test_two_makers_of_partitions_at_once_make_each_once(committed: None):
    day = datetime.now(UTC).date() - timedelta(days=200)

    made = at_once([lambda: ensure_partitions([day]) for _ in range(4)])

    assert made == [{day}] * 4
    assert day in existing_days()
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"DROP TABLE IF EXISTS {table}_{day:%Y%m%d}")


@pytest.mark.django_db
def test_a_day_without_a_partition_falls_into_the_default_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(writer, "ensure_partitions", lambda days: set())
    old = datetime.now(UTC) - timedelta(days=20)

    answer = push(EVENTS, [event(occurred_at=old.isoformat())], key=agent_key())

    assert answer.json()["accepted"] == 1
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM messaging_event_default")
        assert cursor.fetchone() == (1,)


@pytest.mark.django_db
def test_an_ndjson_line_that_the_database_refuses_is_found_among_its_neighbours(monkeypatch: pytest.MonkeyPatch):
    """Cleaning lets nothing of the kind through today; if a new poison does, one item is refused, not its batch."""
    from messages.ingest import clean

    monkeypatch.setattr(clean, "text", lambda value, most: value)
    items = [event(), event(name="a\x00b"), event()]

    answer = push(EVENTS, json.dumps(items).encode(), key=agent_key()).json()

    assert (answer["accepted"], [r["index"] for r in answer["rejected"]]) == (2, [1])


def test_copies_of_an_event_without_time_that_come_at_once_are_stored_once(committed: None):
    key = agent_key()
    told = {
        "specversion": "1.0",
        "id": "order-4711-created",
        "source": "https://shop.example/orders",
        "type": "created",
    }

    def copy(number: int) -> object:
        others = [told | {"id": f"other-{number}"}, told]
        return push("/ingest/v1/cloudevents", others, key=key, content_type=BATCHED).json()

    answers = at_once([partial(copy, number) for number in range(8)])

    assert sum(answer["accepted"] for answer in answers) == 9  # type: ignore[index]
    assert sum(answer["duplicates"] for answer in answers) == 7  # type: ignore[index]
    assert Event.objects.filter(message_id="order-4711-created").count() == 1


@pytest.mark.parametrize("optimistic", [True, False], ids=["COPY", "staged"])
def test_an_event_that_is_no_json_while_copy_runs_is_refused_alone(committed: None, optimistic: bool):
    now, sender = datetime.now(UTC), agent()
    events = [
        NewEvent(
            index=index, id=bytes([index] * 16), occurred_at=now, system="shop", operation=2, outcome=1, raw=b"{}",
            attributes={"a": object()} if index == 2 else {},
        )
        for index in range(5)
    ]  # fmt: skip
    if not optimistic:
        write_batch(sender, Batch(endpoint="events", batch_id="0", body_sha256=b"0", events=events[:1], refused=[]))

    answer = write_batch(sender, Batch(endpoint="events", batch_id="1", body_sha256=b"1", events=events, refused=[]))

    assert (answer.accepted + answer.duplicates, [one["index"] for one in answer.rejected]) == (4, [2])
    assert answer.rejected[0]["code"] == "not_storable"
    assert Event.objects.count() == 4
