"""Counts that every page shows. Their statement depends on nothing but who asks and where, so it is made once and asked again and again.

Django takes 2 to 5 ms to compose a queryset that asks for rights, PostgreSQL half of one to answer it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.db.models import QuerySet

from console.identity.actor import Actor
from console.identity.models import Environment

MOST_KEPT = 2_000
Rows = Callable[[Actor, Environment], QuerySet[Any, Any]]
Statement = tuple[str, tuple[Any, ...]] | None  # None: nobody's rows, by their rights
UNKNOWN: Statement = ("", ())

_kept: dict[object, Statement] = {}


def count_up_to(most: int, rows: Rows, actor: Actor, environment: Environment) -> int:
    """Return how many rows `rows(actor, environment)` has, at most `most`.

    rows  a queryset that is a function of the actor's rights and the environment alone: it reads rows within its statement only, and the
          time as the database's `Now()`.
    """
    key = (most, rows, actor.rights, environment.pk)
    statement = _kept.get(key, UNKNOWN)
    if statement is UNKNOWN:
        if len(_kept) >= MOST_KEPT:
            _kept.clear()
        statement = _kept[key] = _statement(rows(actor, environment), most)
    if statement is None:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(*statement)
        return int(cursor.fetchone()[0])


def _statement(rows: QuerySet[Any, Any], most: int) -> Statement:
    try:
        sql, values = rows.order_by().values("pk")[:most].query.sql_with_params()
    except EmptyResultSet:
        return None
    return f"SELECT count(*) FROM ({sql}) counted", values  # noqa: S608  composed by Django
