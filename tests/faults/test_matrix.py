"""The fault matrix of ingest and replay: every row has a test that names it, and the soak draws from the same faults."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from console.core.config import ROOT

ROWS = {
    1: "kill -9 of a web worker in the middle of a batch",
    2: "kill -9 of the web after COMMIT, before its answer",
    3: "kill -9 of a worker that sends, after the broker took it",
    5: "a worker stopped for longer than its lease",
    7: "a broker that is full, and one that has no such queue or exchange",
    8: "a line to a broker that swallows everything",
    9: "kill -9 of PostgreSQL's postmaster",
    10: "connections cut, PostgreSQL restarted",
    11: "a table locked for longer than lock_timeout",
    12: "Redis emptied, Redis gone",
    13: "the same batch many times at once",
    14: "the same batch id with another body",
    15: "clocks of agents and of the server",
    16: "disk full: data, WAL, temporary files",
    18: "SMTP slow or down",
    19: "a webhook that is slow, fails, redirects, or answers without end",
    20: "one poisonous item in a batch of 500",
    21: "100 MB of body, 100 MB in one field",
    22: "bombs, nested and wrong compression",
    23: "deep JSON, a million keys, a flood of hashes",
    24: "UTF-16, a byte order mark, stray bytes, cut bodies",
    25: "slow clients, a thousand idle connections",
    26: "tomorrow's partition missing",
    27: "two beats, two sweepers",
    28: "a migration under load, and the old code on its tables",
}


def rows_named_by_tests() -> dict[int, list[str]]:
    """Return {row: names of the tests whose docstring begins with it}."""
    named: dict[int, list[str]] = {}
    for file in sorted(Path(__file__).parent.glob("test_*.py")):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                found = re.match(r"Rows? (\d+)", ast.get_docstring(node) or "")
                if found:
                    named.setdefault(int(found[1]), []).append(node.name)
    return named


@pytest.mark.parametrize("row", ROWS)
def test_every_row_of_the_matrix_has_a_test(row: int):
    assert rows_named_by_tests().get(row), f"no test of tests/faults begins its docstring with “Row {row}”: {ROWS[row]}"


def test_no_test_names_a_row_that_the_matrix_does_not_have():
    assert set(rows_named_by_tests()) <= set(ROWS)


def test_the_page_of_operations_tells_the_same_rows():
    page = (ROOT / "docs" / "operations.md").read_text()

    assert [words for words in ROWS.values() if words not in page] == []
