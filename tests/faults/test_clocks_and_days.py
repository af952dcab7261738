"""Clocks that are wrong, a day without its partition, tasks that run twice."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
import time_machine
from django.db import connection
from django.test import Client
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from messages import tasks
from messages.ingest import writer
from messages.ingest.exceptions import LOCK as EXCEPTIONS_LOCK
from messages.ingest.exceptions import attach_exceptions
from messages.ingest.partitions import LOCK as PARTITIONS_LOCK
from messages.ingest.partitions import TABLES, existing_days, partition_name
from messages.models import Event, LedgerEntry
from tests.conftest import forget_everything
from tests.factories import agent_key, event, push
from tests.faults.checker import Agent, Fleet, check_recount, just_now
from tests.faults.conftest import web_beside
from tests.http.test_back_pressure import _dsn
from tests.pages.people import signed_in, text_of
from tests.product import Product, wait_until
from tests.services.test_writer import at_once

pytestmark = [pytest.mark.fault, pytest.mark.timeout(240)]
EVENTS = "/ingest/v1/events"


def ten_years_off(agent: Agent) -> datetime:
    return just_now(agent) + timedelta(days=3652 if agent.name.endswith("0") else -3652)


def test_agents_whose_clocks_are_ten_years_off_lose_nothing_and_are_flagged(running: Product):
    """Row 15: clocks ten years ahead and ten years behind: each event stored once, clamped, with the time that its sender said."""
    fleet = Fleet(running, clock=ten_years_off)

    with fleet.sending():
        fleet.wait_for_acknowledged(6)

    fleet.check()
    with psycopg.connect(running.engines()["database_url"]) as database:
        rows = database.execute(
            "SELECT message_id LIKE '%%-0-%%', extract(year FROM clamped_from) - extract(year FROM now()), count(*) FROM messaging_event "
            "WHERE message_id LIKE %s GROUP BY 1, 2",
            [f"{fleet.mark}-%"],
        ).fetchall()
    assert {(ahead, round(years)) for ahead, years, _ in rows} == {(True, 10), (False, -10)}


def test_when_the_servers_own_clock_jumps_an_hour_nothing_is_lost_or_doubled(running: Product, tmp_path: Path):
    """Row 15: the clock of the web processes (not of PostgreSQL, nor of agents) jumps an hour ahead, back, and an hour behind."""
    clock = tmp_path / "clock"
    clock.write_text("0")
    with web_beside(running, config="tests/faults/jumping_clock.py", TESTS_CLOCK_FILE=str(clock)) as (base, _):
        fleet = Fleet(running, base=base, batch=20)

        with fleet.sending():
            for hours in (1, 0, -1, 0):
                clock.write_text(str(hours))
                wait_until(
                    lambda hours=hours: abs(ahead_of(fleet) - hours) < 0.1, seconds=60, what=f"a clock {hours} h ahead"
                )
                fleet.wait_for_acknowledged(2)

    fleet.check()
    with psycopg.connect(running.engines()["database_url"]) as database:
        row = database.execute(
            "SELECT count(*) FILTER (WHERE clamped_from IS NOT NULL), count(*) FROM messaging_event WHERE message_id LIKE %s",
            [f"{fleet.mark}-%"],
        ).fetchone()
    assert row
    assert 0 < row[0] < row[1]  # what came while the server was an hour behind lay in its future


def ahead_of(fleet: Fleet) -> float:
    """Return how many hours the clock of whoever stored the newest row of this fleet is ahead of PostgreSQL's."""
    with psycopg.connect(fleet.product.engines()["database_url"]) as database:
        row = database.execute(
            "SELECT extract(epoch FROM received_at - clock_timestamp()) / 3600 FROM messaging_event WHERE message_id LIKE %s "
            "ORDER BY ctid DESC LIMIT 1",
            [f"{fleet.mark}-%"],
        ).fetchone()
    return float(row[0]) if row else 99.0


@contextmanager
def elsewhere(statement: str, *parameters: object) -> Iterator[None]:
    """Hold what a statement takes, in a transaction of another connection, as long as the block lasts."""
    with psycopg.connect(_dsn()) as other, other.transaction():
        other.execute(statement, parameters)  # type: ignore[arg-type]
        yield


@pytest.fixture
def without_tomorrow(committed: None) -> Iterator[date]:
    """Nobody made tomorrow's partitions."""
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"DROP TABLE IF EXISTS {partition_name(table, tomorrow)}")
    yield tomorrow
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {', '.join(TABLES)}")
    tasks.create_partitions()


def test_a_day_whose_partition_nobody_made_is_taken_in_said_and_put_in_order(without_tomorrow: date):
    """Row 26: it is tomorrow, its partition cannot be made: DEFAULT takes the rows, the page and a metric say so, the task puts it right."""
    key, morning = agent_key(), datetime(*without_tomorrow.timetuple()[:3], 0, 10, tzinfo=UTC)
    with time_machine.travel(morning, tick=True), elsewhere("SELECT pg_advisory_xact_lock(%s)", PARTITIONS_LOCK):
        forget_everything()
        items = [event() for _ in range(20)]  # of a minute ago: of tomorrow

        first, again = push(EVENTS, items, key=key).json(), push(EVENTS, [*items, event()], key=key).json()

        assert (first["accepted"], again["accepted"], again["duplicates"]) == (20, 1, 20)
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM messaging_event_default")
            assert cursor.fetchone() == (21,)
            check_recount(cursor.connection)
        page = text_of(signed_in(superuser=True).get("/ingest/"))
        assert "messaging_event: 21" in page
        metrics = Client().get("/metrics").content.decode()
        assert 'waybill_ingest_rows_in_default{table="messaging_event"} 21.0' in metrics

    with time_machine.travel(morning, tick=True):
        tasks.create_partitions()

        assert without_tomorrow in existing_days()
        assert push(EVENTS, items, key=agent_key("another")).json()["duplicates"] == 20
    assert Event.objects.count() == 21
    assert 'rows_in_default{table="messaging_event"} 0.0' in Client().get("/metrics").content.decode()


def test_two_makers_of_partitions_at_once_make_each_once(without_tomorrow: date):
    """Row 27: beat ran twice, or two workers took the same task."""
    made = at_once([tasks.create_partitions for _ in range(4)])

    assert made == [None] * 4  # nobody failed
    assert without_tomorrow in existing_days()


def test_two_sweeps_at_once_attach_each_exception_once(committed: None):
    """Row 27: of two sweeps one works and the other leaves, so that no exception is settled twice."""
    key, request = agent_key(), ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    for number in range(50):
        record = records.add(time_unix_nano=ago(30), trace_id=trace(number), span_id=span(number))
        record.attributes.add(key="exception.type").value.string_value = "Timeout"
    push("/v1/logs", request.SerializeToString(), key=key, content_type="application/x-protobuf")
    push("/v1/traces", spans_for(50), key=key, content_type="application/x-protobuf")

    with elsewhere("SELECT pg_advisory_xact_lock(%s)", EXCEPTIONS_LOCK):
        assert attach_exceptions(60) == 0  # another is at it
    settled = at_once([lambda: attach_exceptions(60) for _ in range(4)])

    assert sorted(settled) == [0, 0, 0, 50]  # type: ignore[type-var]
    assert Counter(Event.objects.values_list("error_type", flat=True)) == {"Timeout": 50}


def ago(seconds: int) -> int:
    return int((datetime.now(UTC) - timedelta(seconds=seconds)).timestamp() * 1e9)


def trace(number: int) -> bytes:
    return (number + 1).to_bytes(16, "big")


def span(number: int) -> bytes:
    return (number + 1).to_bytes(8, "big")


def spans_for(count: int) -> bytes:
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    for number in range(count):
        spans.add(trace_id=trace(number), span_id=span(number), start_time_unix_nano=ago(40)).status.code = 2
    return request.SerializeToString()


def test_two_sweeps_at_once_forget_each_old_answer_once(committed: None):
    """Row 27: the ledger is emptied by two at once; between them they count each answer once, and the young stay."""
    key = agent_key()
    for _ in range(40):
        push(EVENTS, [event()], key=key)
    LedgerEntry.objects.filter(pk__in=LedgerEntry.objects.values_list("pk", flat=True)[:30]).update(
        created_at=datetime.now(UTC) - timedelta(days=8)
    )
    start = threading.Barrier(3)

    def expire() -> int:
        start.wait()
        return writer.expire_ledger()

    assert sum(at_once([expire] * 3)) == 30  # type: ignore[arg-type]
    assert LedgerEntry.objects.count() == 10
