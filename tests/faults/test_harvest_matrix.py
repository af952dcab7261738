"""The fault matrix of harvesting and of replays: every row has its tests, on every family, and the page tells the same rows."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from console.core.config import ROOT
from messages.connectors import families
from tests.contracts.yards import FIXTURES

FAULTS, AWAY = "contracts/test_harvest_faults.py", "contracts/test_console_away.py"
MODES = "contracts/test_harvester_modes.py"
# Row → its tests: (file, name). Those of FAULTS run once for every family.
ROWS = {
    "kill -9 of the harvester after the console stored a batch, and before": [
        (FAULTS, "test_killed_after_the_console_stored_a_batch_and_killed_before_nothing_is_lost_or_shown_twice"),
        (MODES, "test_killed_before_and_after_the_console_stored_a_batch_nothing_is_lost_or_left"),
    ],
    "the broker killed while harvesting and while replaying": [
        (FAULTS, "test_a_broker_that_is_killed_while_harvesting_and_while_replaying_loses_nothing_and_confirms_nothing_falsely"),
    ],
    "credentials revoked, and given back": [
        (FAULTS, "test_credentials_that_are_revoked_are_said_to_harvester_and_replay_and_both_go_on_when_they_are_back"),
    ],
    "the queue deleted, and made again": [
        (FAULTS, "test_a_queue_that_is_deleted_is_said_and_harvested_again_once_it_is_there_again"),
        (FAULTS, "test_a_replay_to_a_queue_that_was_deleted_is_refused_in_words_or_makes_it_again_and_is_there"),
        ("contracts/test_kafka.py", "test_of_a_topic_that_was_deleted_and_made_again_unnoticed_every_record_is_taken"),
    ],
    "a body of 30 MB": [
        (FAULTS, "test_a_body_of_30_mb_is_shown_or_stays_with_a_reason_and_holds_up_no_other"),
        ("unit/test_harvest_console.py", "test_who_refuses_a_body_before_it_was_sent_and_hangs_up_is_heard"),
    ],
    "thousands of messages with one poisonous header": [
        (FAULTS, "test_among_thousands_one_with_poisonous_headers_costs_at_most_itself"),
    ],
    "the console answering 503 for ten minutes": [
        (AWAY, "test_for_ten_minutes_it_is_asked_again_with_bounds_and_has_everything_soon_after"),
        (AWAY, "test_the_line_is_kept_for_longer_than_the_brokers_patience_and_each_letter_comes_once"),
    ],
    "the spool full, its disk full, a kill beside it": [
        (MODES, "test_what_has_no_room_in_the_spool_stays_on_the_broker"),
        (MODES, "test_a_spool_that_cannot_be_written_leaves_the_letters_on_the_broker"),
    ],
    "SIGTERM at any moment": [
        (MODES, "test_sigterm_while_the_console_is_away_ends_it_at_once_with_everything_on_the_broker"),
    ],
}  # fmt: skip
# From end to end, with a kill -9 of the harvester in the middle.
LOOPS = {
    "rabbitmq": "http/test_rabbitmq_loop.py", "kafka": "http/test_kafka_loop.py", "sqs": "http/test_sqs_loop.py",
    "activemq": "http/test_activemq_loop.py", "artemis": "http/test_more_loops.py", "redis-streams": "http/test_more_loops.py",
}  # fmt: skip
TESTS = ROOT / "tests"


def named_in(file: Path) -> dict[str, list[str]]:
    """Return {name of a test: names of its arguments}."""
    return {
        node.name: [one.arg for one in node.args.args]
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


@pytest.mark.parametrize("row", ROWS)
def test_every_row_has_its_tests(row: str):
    missing = [f"{file}::{name}" for file, name in ROWS[row] if name not in named_in(TESTS / file)]

    assert missing == [], f"{row}: these tests are not there any more"


def test_the_suite_of_faults_runs_on_every_family_that_is_harvested():
    text = (TESTS / FAULTS).read_text()

    assert "params=FIXTURES" in text
    assert {make.kind for _, make in FIXTURES.values()} == {family.kind for family in families() if family.source}
    assert [name for name, given in named_in(TESTS / FAULTS).items() if "yard" not in given] == []


def test_every_test_of_the_suite_is_in_a_row():
    named = {name for tests in ROWS.values() for file, name in tests if file == FAULTS}

    assert named == set(named_in(TESTS / FAULTS))


@pytest.mark.parametrize("family", FIXTURES)
def test_every_family_is_tested_from_end_to_end_with_a_kill(family: str):
    text = (TESTS / LOOPS[family.removesuffix("-amqp10")]).read_text()

    assert re.search(r"\.kill\(\)|SIGKILL", text)
    assert "the proof" in text


def test_the_page_tells_the_same_rows():
    page = (ROOT / "docs" / "agents.md").read_text()

    assert [row for row in ROWS if row not in page] == []
