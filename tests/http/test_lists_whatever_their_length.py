"""A list asks as much of the database for many rows as for one: what a row names comes with it."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from console.identity.models import Role
from messages.groups.refresh import refresh_groups
from messages.groups.sweep import sweep_groups
from tests.factories import agent_key, api_key, event, person, push
from tests.http.test_access import ask

pytestmark = pytest.mark.django_db


def failed(number: int) -> dict[str, Any]:
    error = {"type": f"Error{chr(65 + number)}", "message": "no", "stack": ""}
    return event(
        destination=f"flow {number}", message_id=f"message {number} of some", operation="process", outcome="error", error=error
    )  # fmt: skip


@pytest.mark.parametrize("path", ["messages", "events", "groups"])
def test_many_rows_take_as_many_queries_as_one(path: str):
    key, counts = api_key(person("op", Role.OPERATOR)), {}
    for numbers in (range(1), range(1, 6)):
        push("/ingest/v1/events", [failed(number) for number in numbers], key=agent_key(f"of {len(numbers)}"))
        sweep_groups()
        refresh_groups()
        ask(path, key)  # what is kept for a while is there
        with CaptureQueriesContext(connection) as captured:
            found = ask(path, key).json()["results"]
        counts[len(found)] = len(captured)

    assert set(counts) == {1, 6}
    assert counts[6] == counts[1]
