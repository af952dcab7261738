"""`make bench-objectives`: 1,000 objectives with 30 days of minutes, counted and assessed as the worker does every 15 s; then with ten times the messages.

700 promise success, 200 latency, 100 that every message is processed in 15 min; each of a flow of its own. The counters hold 43 million minutes.
Beside them 50 on saved searches, each of eleven flows or so; before each look 15,000 messages come, as in 15 s of 1,000 a second, and 20 of the week.
The last line is one JSON object: assess_1000_s, the median of counting what came to flows and assessing all of them; growth_ratio, the same with ten
times the stored messages and events ÷ with one; both without counting searches: searches_s and searches_growth_ratio are of that, in CPU time of this
process and PostgreSQL; trigger_us, what the triggers that note touched minutes add to an event, in CPU time of PostgreSQL.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from console.engines import start_engines

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 9
MINUTES = """
INSERT INTO alerts_objectiveminutes (objective_id, hour, good, late, lost)
SELECT o.id, h.hour, array_fill(20 + (o.id %% 17)::int, ARRAY[60]), array_fill(0, ARRAY[60]),
       array_fill(0, ARRAY[59]) || ARRAY[(o.id + extract(hour FROM h.hour)::int) %% 2]::int[]
FROM alerts_objective o, generate_series(%s::timestamptz, %s::timestamptz, interval '1 hour') AS h(hour)
"""
HOURS = """
INSERT INTO alerts_objectivesum (objective_id, span, at, good, late, lost, slices, slices_good, kept_good, kept_late, kept_lost, kept_slices, kept_slices_good)
SELECT objective_id, 1, hour, 60 * good[1], 0, lost[60], 0, 0, 60 * good[1], 0, lost[60], 0, 0 FROM alerts_objectiveminutes
"""
DAYS = """
INSERT INTO alerts_objectivesum (objective_id, span, at, good, late, lost, slices, slices_good, kept_good, kept_late, kept_lost, kept_slices, kept_slices_good)
SELECT objective_id, 24, date_trunc('day', at, 'UTC'), sum(good), 0, sum(lost), 0, 0, sum(kept_good), 0, sum(kept_lost), 0, 0
FROM alerts_objectivesum WHERE span = 1 GROUP BY 1, 3
"""
ROLLUPS = """
INSERT INTO messaging_rollup_minute (minute, environment_id, flow_id, operation, outcome, bucket, shard, count, duration_us)
SELECT m, f.environment_id, f.id, o.operation, 1, 5, 0, 5 * %s, 0
FROM messaging_flow f, generate_series(%s::timestamptz, %s::timestamptz, interval '1 minute') m, (VALUES (2), (4)) o(operation)
WHERE f.name LIKE 'bench-%%'
"""
MESSAGES = """
INSERT INTO messaging_message (first_seen_on, id, environment_id, flow_id, message_id, first_seen_at, started_at, last_seen_at, decided_at, status,
                               event_count, keys)
SELECT at::date, gen_random_uuid(), f.environment_id, f.id, 'message-' || n, at, at, at + interval '2 s', at + interval '2 s', 1, 2, '{{}}'
FROM generate_series(1, %s) AS g(n) CROSS JOIN LATERAL (SELECT %s - n * interval '{step} ms' AS at) t
JOIN messaging_flow f ON f.id = %s + n %% %s
"""


COMES = """
INSERT INTO messaging_message (first_seen_on, id, environment_id, flow_id, message_id, first_seen_at, started_at, last_seen_at, decided_at, status,
                               event_count, keys)
SELECT (at AT TIME ZONE 'UTC')::date, gen_random_uuid(), f.environment_id, f.id, 'comes-' || n, at, at, at + interval '2 s', at + interval '2 s', 1, 2, '{}'
FROM generate_series(1, 15020) AS g(n)
CROSS JOIN LATERAL (SELECT %s - CASE WHEN n > 15000 THEN (n - 15000) * interval '7 hours' ELSE n * interval '1 ms' END AS at) t
JOIN messaging_flow f ON f.id = %s + n %% %s
"""


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--objectives", type=int, default=1_000)
    ask.add_argument(
        "--messages", type=int, default=100_000, help="stored in the first run; ten times as many in the second"
    )
    ask.add_argument("--searches", type=int, default=50, help="objectives on saved searches beside them")
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
        _measure(given.objectives, given.searches, given.messages)
    finally:
        if engines is not None:
            engines.stop()
        shutil.rmtree(data, ignore_errors=True)


def _measure(objectives: int, searches: int, messages: int) -> None:
    from benchmarks.touches import trigger_us
    from console.core.garbage import collect_less_often
    from console.identity.models import Environment

    collect_less_often()  # as a worker does
    now = datetime.now(UTC)
    _promise(Environment.objects.get(slug="production"), objectives, searches, now)
    minutes, size = _fill_minutes(now.replace(minute=0, second=0, microsecond=0))
    print(f"{objectives:,} objectives and {searches:,} on searches, {minutes:,} minutes in {size}")
    whole: dict[int, float] = {}
    searched: dict[int, float] = {}
    for times in (1, 10):
        _fill_messages(objectives, messages, times, now)
        whole[times], searched[times] = _rounds(objectives, messages * times)
    without, noted = trigger_us()
    print(f"messages of an event: {without:.2f} µs of CPU in PostgreSQL, {noted:.2f} where touched minutes are noted")
    figures = {
        "assess_1000_s": round(whole[1] * 1_000 / objectives, 3),
        "growth_ratio": round(whole[10] / whole[1], 2),
        "searches_s": round(searched[1], 3),
        "searches_growth_ratio": round(searched[10] / searched[1], 2) if searched[1] else None,
        "trigger_us": round(noted - without, 2),
    }
    print(json.dumps(figures))


def _fill_minutes(hour: datetime) -> tuple[int, str]:
    """Store 30 days of counted minutes for every objective; return how many, and their size in words."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        cursor.execute(MINUTES, [hour - timedelta(days=30), hour])
        cursor.execute(HOURS)
        cursor.execute(DAYS)
        cursor.execute("VACUUM ANALYZE alerts_objectiveminutes")
        cursor.execute("VACUUM ANALYZE alerts_objectivesum")
        cursor.execute(
            "SELECT count(*) * 60, pg_size_pretty(pg_total_relation_size('alerts_objectiveminutes')) FROM alerts_objectiveminutes"
        )
        minutes, size = cursor.fetchone()
    return minutes, size


def _fill_messages(objectives: int, messages: int, times: int, now: datetime) -> None:
    """Store so many times as many messages and rollups as in the first run, in place of those that are there."""
    from django.db import connection

    step_ms = 30 * 86_400_000 // (messages * times)
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE messaging_message")
        cursor.execute("SELECT min(flow_id) FROM alerts_objective")
        cursor.execute(MESSAGES.format(step=step_ms), [messages * times, now, cursor.fetchone()[0], objectives])
        cursor.execute("TRUNCATE messaging_rollup_minute")
        cursor.execute(ROLLUPS, [times, now - timedelta(hours=27), now])
        cursor.execute("DELETE FROM messaging_touchedminutes")  # as if all of it had been counted
        cursor.execute("VACUUM ANALYZE messaging_message")
        cursor.execute("VACUUM ANALYZE messaging_rollup_minute")
        cursor.execute("CHECKPOINT")  # else what was filled is written out while looks are measured


def _come(objectives: int, at: datetime) -> None:
    """Store what comes between two looks: most of it of now, a little of the last week."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT min(flow_id) FROM alerts_objective")
        cursor.execute(COMES, [at, cursor.fetchone()[0], objectives])


def _rounds(objectives: int, messages: int) -> tuple[float, float]:
    """Count and assess ROUNDS times and print it; return the sum of the middle ones, and the CPU of counting searches, in seconds."""
    from alerts.objectives import assess
    from alerts.objectives.counting import count_flows
    from alerts.objectives.searches import TURN, count_searches

    counted, assessed, searched = [], [], []
    cpu_s = _cpu_s()
    for turn in range(ROUNDS):
        at = datetime.now(UTC) + turn * TURN
        started = time.perf_counter()
        count_flows(at)
        counted.append(time.perf_counter() - started)
        started = time.perf_counter()
        assess.assess(at)
        assessed.append(time.perf_counter() - started)
    used = (_cpu_s() - cpu_s) / ROUNDS
    for turn in range(-1, ROUNDS):  # the first look begins what it has never seen, and is left out
        at = datetime.now(UTC) + (ROUNDS + turn) * TURN
        _come(objectives, at)
        cpu_s = _cpu_s()
        count_searches(at, look_s=600)
        if turn >= 0:
            searched.append(_cpu_s() - cpu_s)
    middle = (statistics.median(counted), statistics.median(assessed))
    print(
        f"{messages:>10,} messages: flows counted in {middle[0]:.2f} s (worst {max(counted):.2f}), "
        f"all assessed in {middle[1]:.2f} s (worst {max(assessed):.2f}), {used:.2f} s of CPU a look; "
        f"searches counted in {statistics.median(searched):.2f} s of CPU a look"
    )
    return sum(middle), statistics.median(searched)


def _cpu_s() -> float:
    """Return what this process and its session in PostgreSQL have used: what a busy machine cannot lengthen."""
    from benchmarks.touches import cpu_s

    return time.process_time() + cpu_s()


def _promise(environment: object, objectives: int, searches: int, now: datetime) -> None:
    """Make the flows and promises, their history counted: as they are after the first minute."""
    from alerts.models import Objective
    from alerts.objectives.services import add_objective
    from alerts.objectives.wishes import NewObjective
    from console.identity.actor import COMMAND, actor_of
    from console.identity.models import User
    from messages.models import Flow, SavedSearch

    flows = Flow.objects.bulk_create(
        [Flow(environment=environment, name=f"bench-{number}") for number in range(objectives)]  # type: ignore[misc]
    )
    kinds = (
        [{"kind": "success"}] * 7
        + [{"kind": "latency", "limit_ms": 64}] * 2
        + [{"kind": "freshness", "limit_minutes": 15}]
    )
    for number, flow in enumerate(flows):
        said = NewObjective(name=f"promise {number}", target="0.995", **kinds[number % 10])  # type: ignore[arg-type]
        add_objective(said, flow=flow, by=COMMAND, now=now)
    owner = User.objects.get(username="admin")
    for number in range(searches):
        said = NewObjective(name=f"search {number}", target="0.995", **kinds[-1 - number % 10])  # type: ignore[arg-type]
        search = SavedSearch.objects.create(
            environment=environment,
            owner=owner,
            of="messages",
            name=said.name,
            q=f"flow:bench-{10 + number}*",  # type: ignore[misc]
        )
        add_objective(said, search=search, by=actor_of(owner, via="web"), now=now)
    Objective.objects.update(filled_since=now - timedelta(days=31), fill_from=now - timedelta(days=31))


if __name__ == "__main__":
    main()
