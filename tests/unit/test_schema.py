"""The schema of the tests' databases: what was made for all is what each gets, and without it migrations do it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import psycopg
import pytest

from tests.bootstrap import OURS
from tests.schema import restore_schema

pytestmark = pytest.mark.skipif(not os.environ[OURS], reason="the engine is not the tests' own")
DATA, URL = Path(os.environ["WAYBILL_DATA"]), os.environ["DATABASE_URL"].rsplit("/", 1)[0]


@pytest.fixture
def empty():
    with psycopg.connect(f"{URL}/postgres", autocommit=True) as engine:
        engine.execute("CREATE DATABASE empty TEMPLATE template0")
        yield f"{URL}/empty"
        engine.execute("DROP DATABASE empty")


def test_what_was_made_is_restored(empty: str, tmp_path: Path):
    (tmp_path / "schema.sql").write_text("CREATE TABLE made (number int); INSERT INTO made VALUES (4711);")

    assert restore_schema(tmp_path, DATA, empty)

    with psycopg.connect(empty) as database:
        assert database.execute("SELECT number FROM made").fetchall() == [(4711,)]


def test_half_of_it_is_an_error_and_nothing(empty: str, tmp_path: Path):
    (tmp_path / "schema.sql").write_text("CREATE TABLE made (number int); INSERT INTO nowhere VALUES (4711);")

    with pytest.raises(subprocess.CalledProcessError):
        restore_schema(tmp_path, DATA, empty)

    with psycopg.connect(empty) as database:
        assert database.execute("SELECT to_regclass('made')").fetchall() == [(None,)]


def test_where_nobody_made_one_nothing_is_done(empty: str, tmp_path: Path):
    assert not restore_schema(tmp_path, DATA, empty)
