"""`make bench-reconcile`: a list of a million keys against a million messages of one flow, beside bare SQL joins in the same run.

The list is read as an upload is, in parts of some 50 KB, and compared as the worker does. The bare join is the same FULL JOIN of list and
messages, counted and written nowhere. Each message has two events of its flow and one of a second flow, which is compared with the same list: all of
its messages are rows of the first. The last line is one JSON object: seconds of each, ratio = receive and compare ÷ the bare join, system_s = compare with
a receiving system named, page_ms the slowest first and deep page of a set.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from console.engines import start_engines

ROOT = Path(__file__).resolve().parent.parent
MESSAGES = """
INSERT INTO messaging_message (first_seen_on, id, environment_id, flow_id, message_id, first_seen_at, last_seen_at, status, event_count, keys)
SELECT %(day)s, gen_random_uuid(), %(environment)s, %(flow)s, 'message-' || n, %(at)s + n * interval '1 ms', %(at)s,
       (ARRAY[1,1,1,1,1,1,1,2,3,0])[1 + n %% 10], 2,
       jsonb_build_object('order_no', 'A-' || n, 'customer_no', 'C-' || n %% 1000)
FROM generate_series(1, %(count)s) n
"""
EVENTS = """
INSERT INTO messaging_event (occurred_at, id, received_at, environment_id, flow_id, system_id, message_uid, message_id, operation, outcome, duration_us, name,
                             keys, attributes)
SELECT %(at)s + o.n * interval '1 s', gen_random_uuid(), %(at)s, m.environment_id, o.flow, %(system)s,
       m.id, m.message_id, o.operation, 0, 1000, 'bench', m.keys,
       '{"messaging.system": "rabbitmq", "server.address": "broker.example"}'
FROM messaging_message m, (VALUES (0, %(flow)s, 2), (1, %(flow)s, 4), (2, %(other)s, 4)) o (n, flow, operation)
"""
BARE = """
SELECT count(*), count(l.key), count(m.key) FROM (SELECT key, count(*) FROM bare_list GROUP BY key) l FULL JOIN (
    SELECT keys ->> 'order_no' AS key, count(*), max(status) FROM messaging_message
    WHERE flow_id = %s AND first_seen_on = %s GROUP BY 1) m ON m.key = l.key
"""


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--keys", type=int, default=1_000_000)
    given = ask.parse_args()
    data = Path(tempfile.mkdtemp(prefix="waybill-bench-"))
    data.chmod(0o711)
    engines = None
    try:
        engines = start_engines(data)
        os.environ |= {
            "WAYBILL_DATA": str(data), "WAYBILL_ADMIN_PASSWORD": "bench-Secret-12", "WAYBILL_LOG_LEVEL": "WARNING",
            "DATABASE_URL": engines.database_url or "", "REDIS_URL": engines.redis_url or "", "DJANGO_SETTINGS_MODULE": "console.settings",
        }  # fmt: skip
        subprocess.run([sys.executable, "manage.py", "prepare"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        import django

        django.setup()
        _measure(given.keys)
    finally:
        if engines is not None:
            engines.stop()
        shutil.rmtree(data, ignore_errors=True)


def parts(keys: int) -> Iterator[bytes]:
    """A list whose keys half of the messages have: the other half of the list never came, every tenth key stands there twice."""
    for first in range(0, keys, 5_000):
        numbers = range(first, min(first + 5_000, keys))
        yield b"".join([b"A-%d\n" % (keys // 2 + number - (number % 10 == 9)) for number in numbers])


def _fill(environment: int, flow: int, other: int, system: int, at: datetime, keys: int) -> float:
    """Store messages, their events and the bare list; return how long the bare join took."""
    from django.db import connection

    where: dict[str, Any] = {
        "day": at.date(),
        "at": at,
        "environment": environment,
        "flow": flow,
        "other": other,
        "system": system,
        "count": keys,
    }
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        cursor.execute(MESSAGES, where)
        cursor.execute(EVENTS, where)
        cursor.execute("ANALYZE messaging_message")
        cursor.execute("ANALYZE messaging_event")
        cursor.execute("CREATE TABLE bare_list (key text)")
        cursor.execute(
            "INSERT INTO bare_list SELECT 'A-' || n FROM generate_series(%s, %s) n", [keys // 2, keys * 3 // 2]
        )
        cursor.execute("SET work_mem = '64MB'")
        started = time.perf_counter()
        cursor.execute(BARE, [flow, at.date()])
        return time.perf_counter() - started


def _compare(one: Any) -> float:
    from messages.reconcile.evaluating import reconcile

    started = time.perf_counter()
    while one.state in ("queued", "running"):
        reconcile()
        one.refresh_from_db()
    return time.perf_counter() - started


def _measure(keys: int) -> None:
    from console.identity.actor import COMMAND
    from console.identity.models import Environment
    from messages.models import Flow, System
    from messages.reconcile.services import NewReconciliation, begin_reconciliation, receive_list

    environment = Environment.objects.get(slug="production")
    flow, other = (Flow.objects.create(environment=environment, name=name) for name in ("bench", "bench.in"))
    at = datetime.now(UTC) - timedelta(hours=1)
    system = System.objects.create(environment=environment, name="bench")
    bare_s = _fill(environment.pk, flow.pk, other.pk, system.pk, at, keys)
    said = NewReconciliation(name="bench", key_name="order_no", since=at, until=at + timedelta(days=1))
    one = begin_reconciliation(flow, said, by=COMMAND)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    one = receive_list(one, parts(keys), by=COMMAND)
    received_s = time.perf_counter() - started
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    compared_s = _compare(one)
    shared = receive_list(begin_reconciliation(other, said, by=COMMAND), parts(keys), by=COMMAND)
    shared_s = _compare(shared)
    named = replace(said, system=system.name)
    of_system = receive_list(begin_reconciliation(flow, named, by=COMMAND), parts(keys), by=COMMAND)
    system_s = _compare(of_system)
    page_ms = _slowest_page(one)
    print(f"{one.state}: {one.lines:,} lines, {one.listed:,} keys, {one.messages:,} messages")
    print(
        f"  arrived {one.arrived:,}, never seen {one.never:,}, not on the list {one.unlisted:,}, failed {one.failed:,}"
    )
    print(f"bare join      {bare_s:6.1f} s")
    print(f"receive list   {received_s:6.1f} s   memory +{grown_mb:.0f} MB")
    print(f"compare        {compared_s:6.1f} s")
    print(
        f"of a flow whose messages are rows of another: {shared.arrived:,} arrived, {shared.messages:,} messages, {shared.state}"
    )
    print(f"compare        {shared_s:6.1f} s")
    print(f"of a named system: {of_system.arrived:,} arrived, {of_system.failed:,} failed, {of_system.state}")
    print(f"compare        {system_s:6.1f} s")
    print(f"page of a set  {page_ms:6.1f} ms at worst")
    figures = {
        "bare_s": bare_s,
        "received_s": received_s,
        "compared_s": compared_s,
        "shared_s": shared_s,
        "system_s": system_s,
        "ratio": (received_s + compared_s) / bare_s,
        "page_ms": page_ms,
    }
    print(json.dumps({name: round(value, 2) for name, value in figures.items()}))


def _slowest_page(one: Any) -> float:
    """Return ms of the slowest of the first three pages of each set."""
    from messages.reconcile.queries import find_keys
    from messages.reconcile.sets import SETS

    slowest_ms = 0.0
    for key_set in SETS.values():
        cursor_text = None
        for _ in range(3):
            started = time.perf_counter()
            page = find_keys(one, key_set, cursor=cursor_text)
            slowest_ms = max(slowest_ms, (time.perf_counter() - started) * 1000)
            cursor_text = page.next
            if cursor_text is None:
                break
    return slowest_ms


if __name__ == "__main__":
    main()
