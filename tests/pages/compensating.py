"""Sentences of the tests of compensations' pages."""

from __future__ import annotations

from typing import Any

from messages.compensation.execute import work_on
from messages.compensation.services import start
from messages.models import Compensation, Connection
from tests.compensation.orders import BOOK, proposed
from tests.factories import ROOT

TASK = BOOK.replace(
    '      message: {destination: releases}\n      connection: redis\n      body: "release {order}"\n',
    "      manual: {instructions: 'release {order} in the stock system', assignee: stock desk, due_minutes: 30}\n",
)


def of(run: Compensation, path: str = "") -> str:
    return f"/compensations/{run.reference}/{path}"


def stuck(line: Connection, *happened: str, **options: Any) -> Compensation:
    """A compensation whose release the broker refuses."""
    Connection.objects.filter(pk=line.pk).update(options={"refuse": "releases"})
    run = proposed(*happened, **options)
    start(run, by=ROOT)
    work_on(run.pk)
    run.refresh_from_db()
    return run


def body_of(response: Any) -> str:
    return response.content.decode()
