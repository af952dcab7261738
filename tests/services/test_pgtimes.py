"""Times of PostgreSQL are read as Django reads them, and by our loader."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.db import DataError, connection
from django.db.backends.postgresql.psycopg_any import BaseTzLoader
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.pq import Format

from console.core.pgtimes import UtcLoader

TIMESTAMPTZ = 1184


def read(sql: str) -> object:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {sql}")
        return cursor.fetchone()[0]


@pytest.mark.django_db
def test_connections_read_times_so():
    connection.ensure_connection()

    assert connection.connection.adapters.get_loader(TIMESTAMPTZ, Format.TEXT) is UtcLoader
    assert read("timestamptz '2026-11-27 14:19:01.25+01'") == datetime(2026, 11, 27, 13, 19, 1, 250_000, tzinfo=UTC)
    assert read("ARRAY[timestamptz '2026-11-27 13:19+00', NULL]") == [datetime(2026, 11, 27, 13, 19, tzinfo=UTC), None]
    assert read("NULL::timestamptz") is None


@pytest.mark.django_db
@pytest.mark.parametrize("text", ["infinity", "-infinity", "12026-11-27 13:19+00", "0044-03-15 12:00+00 BC"])
def test_a_time_that_python_has_not_is_an_error_as_before(text: str):
    with pytest.raises(DataError):
        read(f"timestamptz '{text}'")


@pytest.mark.django_db
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.just(UTC)))
def test_every_time_comes_back_as_django_reads_it(at: datetime):
    class Djangos(BaseTzLoader):
        timezone = UTC

    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::timestamptz, %s::timestamptz::text", [at, at])
        found, text = cursor.fetchone()

    assert (found, found.tzinfo) == (at, UTC)
    assert UtcLoader(TIMESTAMPTZ).load(text.encode()) == Djangos(TIMESTAMPTZ).load(text.encode())


def test_a_session_that_is_not_in_utc_is_read_as_django_reads_it():
    class Djangos(BaseTzLoader):
        timezone = UTC

    ours, theirs = (one(TIMESTAMPTZ).load(b"2026-11-27 14:19:01+01") for one in (UtcLoader, Djangos))

    assert (ours, ours.tzinfo) == (theirs, UTC)
