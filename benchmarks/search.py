"""`make bench-search`: what each list and page asks of ten million messages, beside bare SQL for the same rows in the same run.

A month of messages with their events, failures, dead letters and counts is made by set-based SQL in an embedded PostgreSQL. Each case is then
asked with other values each time, in turn as bare SQL (by hand, one cursor, rows fetched), as the service that the page and REST share, and as the
whole page through Django's test client (session, rights, template), by a member of a team that sees three quarters of the flows.

ratio = time in the database of all statements of the service ÷ time of the bare SQL, both at p50. The page's p95 is the whole page's.
The last line is one JSON object: worst_ratio, worst_p95_ms and by_query.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.managing import manage
from benchmarks.stored import DAYS, Stored, fill
from console.engines import start_engines

WARM, SAMPLES = 3, 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One question: `value` draws what is asked for; `bare` are (SQL, parameters) for the same answer."""

    name: str
    value: Callable[[], Any]
    bare: Callable[[Any], list[tuple[str, list[Any]]]]
    service: Callable[[Any], object]
    page: Callable[[Any], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Times of one case in ms, sorted. cpu: of this process, which makes the page; PostgreSQL's is no part of it."""

    bare: list[float]
    ours: list[float]
    page: list[float]
    cpu: list[float]

    @property
    def ratio(self) -> float:
        return at(self.ours, 50) / at(self.bare, 50)


def at(times: list[float], percent: int) -> float:
    return times[min(len(times) - 1, len(times) * percent // 100)]


def measured(case: Case, client: Any, samples: int) -> Figures:
    """Ask in turn, so that noise of the machine meets all three, and in another order each time: the first one warms the cache."""
    times: dict[str, list[float]] = {"bare": [], "ours": [], "page": [], "cpu": []}
    for number in range(WARM + samples):
        value = case.value()
        asked = {
            "bare": lambda value=value: _bare_ms(case.bare(value)),
            "ours": lambda value=value: _database_ms(lambda: case.service(value)),
            "page": lambda value=value: _page_ms(client, case.page(value)),
        }
        for name in random.sample(list(asked), k=len(asked)):
            before = time.process_time()
            ms = asked[name]()
            if number >= WARM:
                times[name].append(ms)
                if name == "page":
                    times["cpu"].append((time.process_time() - before) * 1000)
    return Figures(**{name: sorted(found) for name, found in times.items()})


def _bare_ms(statements: list[tuple[str, list[Any]]]) -> float:
    from django.db import connection

    total = 0.0
    with connection.cursor() as cursor:
        for sql, values in statements:
            started = time.perf_counter()
            cursor.execute(sql, values)
            cursor.fetchall()
            total += time.perf_counter() - started
    return total * 1000


def _database_ms(service: Callable[[], object]) -> float:
    with timed_statements() as times:
        service()
    return sum(times) * 1000


def _page_ms(client: Any, path: str) -> float:
    started = time.perf_counter()
    answer = client.get(path)
    took = time.perf_counter() - started
    if answer.status_code != 200:
        raise SystemExit(f"{path} answered {answer.status_code}")
    return took * 1000


@contextlib.contextmanager
def timed_statements() -> Iterator[list[float]]:
    """Yield a list that grows by the seconds of each statement; psycopg has all rows when one returns."""
    from django.db import connection

    times: list[float] = []

    def timed(execute: Any, sql: Any, values: Any, many: Any, context: Any) -> Any:
        started = time.perf_counter()
        try:
            return execute(sql, values, many, context)
        finally:
            times.append(time.perf_counter() - started)

    with connection.execute_wrapper(timed):
        yield times


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--messages", type=int, default=10_000_000)
    ask.add_argument("--samples", type=int, default=SAMPLES)
    ask.add_argument("--data", type=Path, help="a folder to keep: filled in the first run, only read in later ones")
    given = ask.parse_args()
    data = given.data or Path(tempfile.mkdtemp(prefix="waybill-bench-"))
    data.mkdir(exist_ok=True)
    data.chmod(0o711)
    engines = None
    try:
        engines = start_engines(data)
        os.environ |= {
            "WAYBILL_DATA": str(data), "WAYBILL_ADMIN_PASSWORD": "bench-Secret-12", "WAYBILL_LOG_LEVEL": "WARNING", "WAYBILL_DISK_RESERVE_PERCENT": "1",
            "DATABASE_URL": engines.database_url or "", "REDIS_URL": engines.redis_url or "", "DJANGO_SETTINGS_MODULE": "console.settings",
        }  # fmt: skip
        manage(dict(os.environ), "prepare")
        import django

        django.setup()
        _measure(_stored(engines.database_url or "", data, given.messages), given.samples)
    finally:
        if engines is not None:
            engines.stop()
        if given.data is None:
            shutil.rmtree(data, ignore_errors=True)


def _stored(database_url: str, data: Path, messages: int) -> Stored:
    """Return what is in the database; fill it when it was not kept from an earlier run."""
    kept = data / "stored.json"
    if kept.exists():
        return msgspec.json.decode(kept.read_bytes(), type=Stored)
    from console.identity.keys import create_agent_key
    from console.identity.models import Environment
    from messages.groups.refresh import refresh_groups
    from messages.groups.sweep import sweep_groups
    from messages.ingest.partitions import ensure_partitions

    environment = Environment.objects.get(slug="production")
    agent, _ = create_agent_key("bench", environment, by="bench")
    ensure_partitions({(datetime.now(UTC) - timedelta(days=day)).date() for day in range(-1, DAYS + 2)})
    stored = fill(database_url, messages, environment=environment.pk, agent=agent.pk)
    while sweep_groups():
        pass
    refresh_groups()
    _note_errors()
    kept.write_bytes(msgspec.json.encode(stored))
    return stored


def _note_errors() -> None:
    """What a worker does from two days after an installation on."""
    from messages.ingest.error_texts import reach_back
    from messages.models import ErrorTextsSince

    today = datetime.now(UTC).date()
    ErrorTextsSince.objects.create(pk=1, begun_on=today - timedelta(days=2), since=today + timedelta(days=1))
    started = time.perf_counter()
    print(f"  the errors of {reach_back()} days are noted after {time.perf_counter() - started:.1f} s", file=sys.stderr)


def _measure(stored: Stored, samples: int) -> None:
    from benchmarks.search_cases import cases_of, viewer
    from console.core.garbage import collect_less_often

    user, client = viewer(stored)
    collect_less_often()  # as a web process does
    results = {case.name: measured(case, client, samples) for case in cases_of(stored, user, random.Random(7))}
    print(f"{stored.messages:,} messages, {samples} samples each, ms")
    print(f"{'':34}{'bare SQL':>16}{'service':>16}{'ratio':>8}{'page':>16}{'its CPU':>8}")
    print(f"{'':34}{'p50':>8}{'p95':>8}{'p50':>8}{'p95':>8}{'':8}{'p50':>8}{'p95':>8}{'p50':>8}")
    for name, one in results.items():
        columns = "".join(f"{at(times, percent):8.1f}" for times in (one.bare, one.ours) for percent in (50, 95))
        print(f"{name:34}{columns}{one.ratio:8.2f}{at(one.page, 50):8.1f}{at(one.page, 95):8.1f}{at(one.cpu, 50):8.1f}")
    figures = {
        "worst_ratio": round(max(one.ratio for one in results.values()), 2),
        "worst_p95_ms": round(max(at(one.page, 95) for one in results.values()), 1),
        "by_query": {
            name: {
                "bare_p50_ms": round(at(one.bare, 50), 2),
                "bare_p95_ms": round(at(one.bare, 95), 2),
                "service_p50_ms": round(at(one.ours, 50), 2),
                "service_p95_ms": round(at(one.ours, 95), 2),
                "ratio": round(one.ratio, 2),
                "page_p50_ms": round(at(one.page, 50), 1),
                "page_p95_ms": round(at(one.page, 95), 1),
                "page_cpu_p50_ms": round(at(one.cpu, 50), 1),
            }
            for name, one in results.items()
        },
    }  # fmt: skip
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
