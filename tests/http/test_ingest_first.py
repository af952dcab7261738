"""What agents push is answered before pages are thought of, and its errors still become answers in the caller's own format."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import DataError, OperationalError
from google.rpc.status_pb2 import Status

from messages.ingest import api
from tests.factories import agent_key, event, push

pytestmark = pytest.mark.django_db


def raising(error: Exception) -> Any:
    def decode(*_: object) -> None:
        raise error

    return decode


def test_a_value_that_only_the_database_refuses_is_400_and_no_error_of_ours(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(api, "decode", raising(DataError("numeric field overflow")))

    native = push("/ingest/v1/events", [event()], key=agent_key())
    otlp = push("/v1/traces", b"x", key=agent_key("otlp"), content_type="application/x-protobuf")

    assert (native.status_code, native.json()["status"]) == (400, 400)
    assert (otlp.status_code, Status.FromString(otlp.content).code) == (400, 3)


def test_a_database_that_is_away_is_503_with_retry_after(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(api, "decode", raising(OperationalError("gone")))

    answer = push("/ingest/v1/events", [event()], key=agent_key())

    assert (answer.status_code, answer.json()["code"], answer["Retry-After"]) == (503, "unavailable", "2")


def test_the_answer_has_its_length_and_sets_no_cookie():
    answer = push("/ingest/v1/events", [event()], key=agent_key())

    assert answer["Content-Length"] == str(len(answer.content))
    assert not answer.cookies
    assert answer["X-Content-Type-Options"] == "nosniff"
