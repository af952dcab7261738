"""What groups say of messages that are taken in batches, each one event about many of them. On the real PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from messages.groups.refresh import refresh_groups
from messages.groups.sweep import sweep_groups
from messages.models import FailureGroup, Message
from tests.factories import agent_key
from tests.http.test_otlp import export, span

pytestmark = pytest.mark.django_db
TOPIC = {"messaging__system": "kafka", "messaging__destination__name": "orders"}


def send(count: int, *, one_trace: bool = False) -> list[Any]:
    request = ExportTraceServiceRequest()
    sent = [span(request, **TOPIC, messaging__operation__type="send") for _ in range(count)]
    for one in sent:
        one.trace_id = sent[0].trace_id if one_trace else one.trace_id
    assert export(request, agent_key()).status_code == 200
    return sent


def take(sent: Sequence[Any], *, by: str = "analytics", size: int, fails: Sequence[int] = (), at_s: float = 0) -> None:
    """Process what was sent in batches of this size, of which those with these numbers fail."""
    request = ExportTraceServiceRequest()
    for number, begin in enumerate(range(0, len(sent), size)):
        links = [(one.trace_id, one.span_id) for one in sent[begin : begin + size]]
        error = {"error__type": "Timeout"} if number in fails else {}
        taken = span(
            request, service=by, kind=5, links=links, **TOPIC, messaging__operation__type="process", messaging__batch__message_count=len(links), **error
        )  # fmt: skip
        taken.start_time_unix_nano = time.time_ns() + int(at_s * 1e9) + number * 1_000_000
        taken.end_time_unix_nano = taken.start_time_unix_nano + 5_000_000
    assert export(request, agent_key()).status_code == 200


def test_failures_of_batches_are_of_the_system_and_the_destination_at_which_they_failed():
    sent = send(6)

    take(sent[:3], by="analytics2", size=3, fails=[0])
    take(sent[3:], by="archive2", size=3, fails=[0])
    sweep_groups()

    found = sorted(FailureGroup.objects.values_list("step", "destination", "error_type"))
    assert found == [("analytics2", "orders", "Timeout"), ("archive2", "orders", "Timeout")]


def test_failures_of_a_batch_whose_sender_told_nothing_are_of_the_system_at_which_they_failed():
    request = ExportTraceServiceRequest()
    elsewhere = [span(request, **TOPIC, messaging__operation__type="send") for _ in range(3)]

    take(elsewhere, size=3, fails=[0])
    sweep_groups()

    assert Message.objects.count() == 3
    assert FailureGroup.objects.get().step == "analytics"


def test_batches_that_failed_at_the_same_microsecond_are_each_of_their_own_system(monkeypatch: pytest.MonkeyPatch):
    sent, now = send(6), time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now)

    take(sent[:3], by="analytics2", size=3, fails=[0])
    take(sent[3:], by="archive2", size=3, fails=[0])
    sweep_groups()
    refresh_groups()

    assert dict(FailureGroup.objects.values_list("step", "failed")) == {"analytics2": 3, "archive2": 3}
