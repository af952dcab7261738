"""What groups say of messages that are taken in batches, each one event about many of them. On the real PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from console.identity.models import Team
from messages.groups.refresh import refresh_groups
from messages.groups.sweep import sweep_groups
from messages.models import FailureGroup, Flow, Message, RollupHour
from tests.factories import agent_key, push
from tests.http.test_otlp import export, span
from tests.services.grouping import failed_event
from tests.services.test_group_spread import through

pytestmark = pytest.mark.django_db
TOPIC = {"messaging__system": "kafka", "messaging__destination__name": "orders"}


def send(count: int, *, one_trace: bool = False) -> list[Any]:
    request = ExportTraceServiceRequest()
    sent = [span(request, **TOPIC, messaging__operation__type="send") for _ in range(count)]
    for one in sent:
        one.trace_id = sent[0].trace_id if one_trace else one.trace_id
    assert export(request, agent_key()).status_code == 200
    return sent


def take(
    sent: Sequence[Any],
    *,
    by: str = "analytics",
    size: int,
    fails: Sequence[int] = (),
    at_s: float = 0,
    source: str = "orders",
) -> None:
    """Process what was sent in batches of this size, of which those with these numbers fail."""
    request, topic = ExportTraceServiceRequest(), TOPIC | {"messaging__destination__name": source}
    for number, begin in enumerate(range(0, len(sent), size)):
        links = [(one.trace_id, one.span_id) for one in sent[begin : begin + size]]
        error = {"error__type": "Timeout"} if number in fails else {}
        taken = span(
            request, service=by, kind=5, links=links, **topic, messaging__operation__type="process", messaging__batch__message_count=len(links), **error
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


def said() -> list[tuple[str, str]]:
    sweep_groups()
    FailureGroup.objects.update(figures_at=None)
    refresh_groups()
    return list(FailureGroup.objects.order_by("step").values_list("spread", "spread_words"))


def test_what_failed_in_a_batch_is_a_share_of_the_messages_of_all_batches_that_came():
    sent = send(300)

    take(sent, size=100, fails=[2])

    ((kind, words),) = said()
    assert kind == "some"
    assert words.startswith("33% of what came to analytics in the last hours failed this way: 100 of 300, 200 passed.")


def test_what_passed_in_batches_is_what_passed_the_system_that_failed():
    sent = send(500)

    take(sent, by="analytics2", size=50, fails=[9])
    take(sent[:250], by="archive2", size=50, fails=[0])

    assert [words.partition(", ")[0] for _, words in said()] == [
        "10% of what came to analytics2 in the last hours failed this way: 50 of 500",
        "20% of what came to archive2 in the last hours failed this way: 50 of 250",
    ]


def test_batches_are_counted_in_the_flows_where_they_fail_unless_readers_of_the_group_may_not_see_these():
    take(send(300), size=100, fails=[2], source="q.orders")

    assert said()[0][1].startswith(
        "33% of what came to analytics in the last hours failed this way: 100 of 300, 200 passed."
    )

    Flow.objects.filter(name="q.orders").update(team=Team.objects.create(name="Others"))
    assert said() == [("", "")]


@pytest.mark.parametrize("one_trace", [False, True])
def test_a_batch_that_failed_and_passed_when_it_was_tried_again_came_once(one_trace: bool):
    sent = send(300, one_trace=one_trace)
    take(sent, size=100, fails=[2], at_s=-5)
    assert said()[0][0] == "some"

    take(sent[200:240], size=20, at_s=-2)

    ((_, words),) = said()
    assert words.startswith(
        "33% of what came to analytics in the last hours failed this way: 100 of 300, 40 of them passed since, 200 passed at once."
    )


def test_of_a_batch_whose_sender_told_nothing_nobody_knows_whether_it_passed_when_it_was_tried_again():
    request = ExportTraceServiceRequest()
    elsewhere = [span(request, **TOPIC, messaging__operation__type="send") for _ in range(300)]
    take(elsewhere, size=100, fails=[2], at_s=-5)
    sweep_groups()

    take(elsewhere[200:240], size=20, at_s=-2)

    ((_, words),) = said()
    assert words.startswith(
        "At least 29% of what came to analytics in the last hours failed this way: 100 of at most 340, at most 240 passed"
    )


def test_a_message_that_fails_again_and_again_in_a_batch_of_its_own_while_batches_pass_is_to_be_looked_at_alone():
    sent = send(301)

    take(sent[:300], size=100)
    for times in range(5):
        take(sent[300:], size=1, fails=[0], at_s=times / 100)

    assert said() == [("poison", "One message failed 5 times, while 300 others passed: look at it alone.")]


def test_of_batches_that_were_counted_before_the_upgrade_nothing_is_said():
    sent = send(300)
    take(sent[:200], size=100)
    RollupHour.objects.update(messages=None, shard=0)
    take(sent[200:], size=100, fails=[0])

    assert said() == [("", "")]


def test_of_what_was_counted_before_the_upgrade_that_was_about_one_message_each_the_same_is_said():
    through(20, fails=False)
    RollupHour.objects.update(messages=None, shard=0)
    push("/ingest/v1/events", [failed_event(number) for number in range(10)], key=agent_key())

    assert said()[0][1].startswith("33% of what came to erp in the last hours failed this way: 10 of 30, 20 passed.")


def test_where_nothing_came_since_the_upgrade_nothing_is_said():
    push("/ingest/v1/events", [failed_event(number) for number in range(10)], key=agent_key())
    through(20, fails=False)
    RollupHour.objects.update(messages=None, shard=0)

    assert said() == [("", "")]
