"""Journeys of what exporters really send: a batch that was received from three traces is one hop of each message."""

from __future__ import annotations

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from console.identity.models import Role
from tests.factories import agent_key, api_key, person
from tests.http.test_access import ask
from tests.http.test_otlp import export, span
from tests.pages.people import signed_in, text_of

pytestmark = pytest.mark.django_db
QUEUE = {"messaging__system": "kafka", "messaging__destination__name": "orders"}


def batch_of_three(*, one_trace: bool = False) -> str:
    """Three orders are sent, in traces of their own or in one, and processed as one batch 40 ms later; returns the first trace."""
    request = ExportTraceServiceRequest()
    sent = [span(request, **QUEUE, messaging__operation__type="send", order_no=str(number)) for number in range(3)]
    for one in sent:
        one.trace_id = sent[0].trace_id if one_trace else one.trace_id
    done = span(
        request, service="erp", kind=5, links=[(one.trace_id, one.span_id) for one in sent], **QUEUE, messaging__operation__type="process",
        messaging__batch__message_count=3,
    )  # fmt: skip
    done.trace_id = sent[0].trace_id if one_trace else done.trace_id
    begun = sent[0].start_time_unix_nano
    for one in sent:
        one.start_time_unix_nano, one.end_time_unix_nano = begun, begun + 5_000_000
    done.start_time_unix_nano, done.end_time_unix_nano = begun + 45_000_000, begun + 60_000_000
    assert export(request, agent_key()).status_code == 200
    return sent[0].trace_id.hex()


def test_a_batch_is_a_hop_of_each_message_that_it_links_to():
    trace = batch_of_three()

    found = ask(f"journeys/{trace}", api_key(person("vera", Role.VIEWER))).json()

    (hop,) = found["hops"]
    assert (hop["sender"], hop["receiver"], hop["messages"], hop["batches"]) == ("shop", "erp", 3, 3)
    assert (hop["queue"]["longest_us"], hop["processing"]["longest_us"]) == (40_000, 15_000)
    assert [(step["system"], step["tie"]) for step in found["steps"]].count(("shop", "link")) == 2
    assert "3 in batches" in text_of(signed_in("victor", Role.VIEWER).get(f"/j/{trace}"))


def test_a_batch_in_the_trace_of_its_messages_is_a_hop_of_each_of_them_too():
    trace = batch_of_three(one_trace=True)

    found = ask(f"journeys/{trace}", api_key(person("vera", Role.VIEWER))).json()

    (hop,) = found["hops"]
    assert (hop["sender"], hop["receiver"], hop["messages"], hop["batches"]) == ("shop", "erp", 3, 3)
    assert {step["tie"] for step in found["steps"]} == {"trace"}


def test_a_batch_send_is_the_sending_of_each_message_whose_creating_it_links_to():
    request = ExportTraceServiceRequest()
    made = [span(request, service="shop", kind=4, **QUEUE, messaging__operation__type="create") for _ in range(3)]
    sent = span(
        request, service="shop", kind=3, links=[(one.trace_id, one.span_id) for one in made], **QUEUE, messaging__operation__type="send",
        messaging__batch__message_count=3,
    )  # fmt: skip
    taken = [
        span(request, service="erp", kind=5, links=[(one.trace_id, one.span_id)], **QUEUE, messaging__operation__type="process")
        for one in made
    ]  # fmt: skip
    begun = made[0].start_time_unix_nano
    for at, one in enumerate([*made, sent, *taken]):
        one.trace_id = made[0].trace_id
        one.start_time_unix_nano, one.end_time_unix_nano = begun + at * 10_000_000, begun + at * 10_000_000 + 5_000_000
    for one in [sent, *taken]:
        for link in one.links:
            link.trace_id = made[0].trace_id
    assert export(request, agent_key()).status_code == 200

    found = ask(f"journeys/{made[0].trace_id.hex()}", api_key(person("vera", Role.VIEWER))).json()

    (hop,) = found["hops"]
    assert (hop["sender"], hop["receiver"], hop["messages"]) == ("shop", "erp", 3)
    assert (hop["queue"]["median_us"], hop["queue"]["longest_us"]) == (15_000, 25_000)
