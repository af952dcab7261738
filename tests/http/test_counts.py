"""What an answer counts is what was sent: stored, there already, refused; at every endpoint, in one body and over several."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from messages.ingest.cloudevents import BATCHED
from messages.models import Change, DeadLetter, Event, IngestReject, LedgerEntry
from tests.factories import agent_key, event, letter, push

pytestmark = pytest.mark.django_db


def of_traces(good: int, bad: int, first: int) -> tuple[str, Any, str]:
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    for number in range(first, first + good):
        spans.add(trace_id=b"t" * 16, span_id=(number + 1).to_bytes(8, "big"), start_time_unix_nano=1, name="n")
    spans.extend(list(spans))
    for _ in range(bad):
        spans.add(trace_id=b"short", name="n")
    return "/v1/traces", request.SerializeToString(), "application/x-protobuf"


def in_json(path: str, kind: str, make: Callable[[int], dict[str, Any]], wrong: dict[str, Any]) -> Callable[..., Any]:
    def of(good: int, bad: int, first: int) -> tuple[str, Any, str]:
        items = [make(number) for number in range(first, first + good)]
        return path, [*items, *[wrong] * bad, *items], kind

    return of


JSON = "application/json"
CLOUD = {"specversion": "1.0", "source": "/shop", "type": "orders", "data": {"a": 1}}
SENT: dict[str, Callable[[int, int, int], tuple[str, Any, str]]] = {
    "traces": of_traces,
    "events": in_json(
        "/ingest/v1/events",
        JSON,
        lambda n: event(id=f"e{n}", occurred_at="2020-01-01T12:00:00Z"),
        event(operation="nonsense"),
    ),
    "dead letters": in_json("/ingest/v1/dead-letters", JSON, lambda n: letter(id=f"d{n}"), letter(reason_code="bad")),
    "cloudevents": in_json("/ingest/v1/cloudevents", BATCHED, lambda n: CLOUD | {"id": str(n)}, {**CLOUD, "id": ""}),
    "changes": in_json(
        "/ingest/v1/changes", JSON, lambda n: {"id": str(n), "kind": "deployment", "title": f"t{n}"}, {"kind": "bad"}
    ),
}


@pytest.mark.parametrize("what", SENT)
def test_what_is_counted_is_what_was_sent(what: str):
    key = agent_key()

    for good, bad, first in ((3, 2, 0), (4, 1, 1)):  # the second body has two that the first had
        path, body, kind = SENT[what](good, bad, first)
        assert push(path, body, key=key, content_type=kind).status_code == 200

    answers = [entry.answer for entry in LedgerEntry.objects.order_by("id")]
    counted = [(one["accepted"], one["duplicates"], len(one["rejected"])) for one in answers]
    assert counted == [(3, 3, 2), (2, 6, 1)]
    assert Event.objects.count() + DeadLetter.objects.count() + Change.objects.count() == 5
    assert IngestReject.objects.count() == 3


def test_one_bad_cloud_event_of_a_batch_is_refused_alone_by_its_place():
    bad = [
        CLOUD | {"id": "1", "specversion": "0.3"},
        CLOUD | {"id": "1", "data_base64": "*"},
        7,
        None,
        CLOUD | {"id": "1", "time": "soon"},
    ]
    batch = [CLOUD | {"id": "a"}, *bad, CLOUD | {"id": "b"}]

    answer = push("/ingest/v1/cloudevents", batch, key=agent_key(), content_type=BATCHED).json()

    assert (answer["accepted"], [one["index"] for one in answer["rejected"]]) == (2, [1, 2, 3, 4, 5])
    assert {event.message_id for event in Event.objects.all()} == {"a", "b"}
    assert IngestReject.objects.count() == len(bad)
    assert "specversion" in json.dumps(answer["rejected"][0])
