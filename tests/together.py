"""In which order `make test` hands files to its workers, and which files stay together in one.

What starts a whole product is shared by the files that one worker runs: apart, each of them would start it again. What takes long
goes first, so that no worker has a long file left when the other has nothing; a file is long by the record of CI, see `--durations`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from xdist.scheduler import LoadFileScheduling

RUNNING, LOOPS, DEMO = "tests/faults with one product", "tests/http with one product", "the demo"
# fixture → the files that ask for it; tests/unit/test_together.py keeps the list true
TOGETHER: dict[str, tuple[str, ...]] = {
    RUNNING: (
        "tests/faults/test_plans_survive.py",
        "tests/faults/test_plans_and_brokers.py",
        "tests/faults/test_clients.py",
        "tests/faults/test_processes_die.py",
        "tests/faults/test_clocks_and_days.py",
        "tests/faults/test_compensations_survive.py",
        "tests/faults/test_plans_that_compensate_survive.py",
    ),
    LOOPS: (
        "tests/http/test_alert_loop.py",
        "tests/http/test_two_way_loop.py",
        "tests/http/test_two_way_undoing.py",
        "tests/http/test_more_loops.py",
        "tests/http/test_rabbitmq_loop.py",
        "tests/http/test_sqs_loop.py",
        "tests/http/test_kafka_loop.py",
        "tests/http/test_activemq_loop.py",
        "tests/http/test_http_loop.py",
        "tests/http/test_celery_loop.py",
    ),
    DEMO: (
        "tests/test_demo_estate.py",
        "tests/http/test_rest_loop.py",
        "tests/browser/test_walk.py",
        "tests/browser/test_compensating.py",
    ),
}
FIXTURES = {"running": RUNNING, "shared": LOOPS, "demo": DEMO}
FIRST = (
    RUNNING,
    LOOPS,
    DEMO,
    "tests/contracts/test_harvest_faults.py",
    "tests/test_runner.py",
    "tests/pages/test_in_a_browser.py",
    "tests/faults/test_worker_killed_while_sending.py",
    "tests/faults/test_kill_everything.py",
    "tests/faults/test_kafka_consumer_killed.py",
    "tests/faults/test_search_back_end_dies.py",
    "tests/faults/test_disk_full.py",
    "tests/test_saved_and_reconciled.py",
    "tests/pages/test_plans_in_a_browser.py",
    "tests/contracts/test_kafka.py",
    "tests/http/test_kafka_ingest.py",
    "tests/contracts/test_search_rebuild.py",
    "tests/contracts/test_rabbitmq_window.py",
    "tests/faults/test_notices_survive.py",
    "tests/pages/test_compensations_in_a_browser.py",
    "tests/pages/test_saved_in_a_browser.py",
    "tests/pages/test_groups_in_a_browser.py",
    "tests/pages/test_hostile_texts.py",
    "tests/contracts/test_console_away.py",
    "tests/breaches/test_in_a_browser.py",
    "tests/automatic/test_in_a_browser.py",
    "tests/delivery/test_in_a_browser.py",
    "tests/objectives/test_searches_as_counted_anew.py",
    "tests/retention/test_beside_ingest.py",
)
_UNITS = {file: unit for unit, files in TOGETHER.items() for file in files}


def unit_of(nodeid: str) -> str:
    """Return what is handed to a worker as a whole: the group of a test's file, or its file."""
    file = nodeid.split("::", 1)[0]
    return _UNITS.get(file, file)


def in_order(nodeids: Iterable[str]) -> list[str]:
    """Return the units of these tests in the order in which they are handed out: long ones, then those of many tests."""
    counts = Counter(unit_of(nodeid) for nodeid in nodeids)

    def key(unit: str) -> tuple[int, int, str]:
        if unit in FIRST:
            return 0, FIRST.index(unit), ""
        return 1, -counts[unit], unit

    return sorted(counts, key=key)


class Together(LoadFileScheduling):
    """xdist's own scheduler by file, with these units; it hands out in the order that workers collected."""

    def __init__(self, config: Any, log: Any = None) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)
