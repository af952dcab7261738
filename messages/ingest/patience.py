"""One batch, one transaction, begun again when others are in its way, and without the items that the database cannot hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import psycopg
from django.db import DataError, IntegrityError, OperationalError, transaction

from console.core.errors import Unavailable
from messages.ingest.model import Refused

TRIES = 4
# The same transaction may succeed when it is begun again: another one was there first, or both waited for each other.
IN_THE_WAY = (
    psycopg.errors.UniqueViolation,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
)
Row = TypeVar("Row")
A = TypeVar("A")


def write_patiently(
    rows: Sequence[Row],
    refused: Sequence[Refused],
    write: Callable[[Sequence[Row], Sequence[Refused], int], A],
    *,
    probe: Callable[[Sequence[Row]], object],
    refusal: Callable[[Row], Refused],
) -> A:
    """Return what `write(rows, refused, attempt)` answers; raises Unavailable when it stays too busy.

    probe  writes rows and nothing else: run inside transactions that are always undone, it finds the rows that cannot be stored.
    """
    rows, refused = list(rows), list(refused)
    for attempt in range(TRIES):
        try:
            return write(rows, refused, attempt)
        except (IntegrityError, OperationalError) as error:
            if not isinstance(error.__cause__, IN_THE_WAY):
                raise
        except DataError:
            poisoned = {id(row) for row in _poisoned(rows, probe)}
            refused += [refusal(row) for row in rows if id(row) in poisoned]
            rows = [row for row in rows if id(row) not in poisoned]
    raise Unavailable("the database was too busy to take this batch; send it again")


def not_storable(index: int, raw: bytes) -> Refused:
    return Refused(index=index, code="not_storable", detail="the database cannot hold this item", raw=raw)


def _poisoned(rows: Sequence[Row], probe: Callable[[Sequence[Row]], object]) -> list[Row]:
    """Return the rows that the database refuses, found by halving."""
    try:
        with transaction.atomic():
            probe(rows)
            transaction.set_rollback(True)
    except DataError:
        if len(rows) == 1:
            return list(rows)
        middle = len(rows) // 2
        return _poisoned(rows[:middle], probe) + _poisoned(rows[middle:], probe)
    return []
