"""The names that attributes have and had: old ones become present ones, and producer and consumer meet under one destination."""

from __future__ import annotations

from typing import Any

import pytest

from messages.ingest import semconv


@pytest.mark.parametrize("old", sorted(semconv.RENAMED))
def test_an_old_name_becomes_the_present_one_and_never_hides_it(old: str):
    present = semconv.RENAMED[old]
    alone: dict[str, Any] = {old: "a"}
    both: dict[str, Any] = {old: "a", present: "b", "mine": 1}

    semconv.rename(alone)
    semconv.rename(both)

    assert alone == {present: "a"}
    assert both == {present: "b", "mine": 1}


def test_a_kafka_partition_is_text_as_the_present_name_has_it():
    attributes: dict[str, Any] = {"messaging.kafka.destination.partition": 7}

    semconv.rename(attributes)

    assert attributes == {"messaging.destination.partition.id": "7"}


@pytest.mark.parametrize(
    ("attributes", "destination"),
    [
        ({}, None),
        ({"messaging.destination.name": ""}, None),
        ({"messaging.destination.name": "orders"}, "orders"),
        ({"messaging.destination.name": "ex:key:queue", "messaging.system": "rabbitmq"}, "ex:key"),
        ({"messaging.destination.name": "a:b:c", "messaging.system": "kafka"}, "a:b:c"),
        ({"messaging.destination.name": "orders,order.created", "messaging.system": "rabbitmq"}, "orders"),
        ({"messaging.destination.name": ",erp.orders", "messaging.system": "rabbitmq"}, ",erp.orders"),
        ({"messaging.destination.name": "amq.gen-1", "messaging.destination.temporary": True}, "amq.gen-1"),
        (
            {"messaging.destination.name": "amq.gen-1", "messaging.destination.anonymous": True, "messaging.destination.template": "replies"},
            "replies",
        ),
        ({"messaging.destination.name": "orders-7", "messaging.destination.template": "orders-{n}"}, "orders-7"),
        ({"aws.sqs.queue.url": "https://sqs.example/000000000000/orders-dlq/"}, "orders-dlq"),
        ({"aws.sqs.queue.url": "/"}, None),
        ({"messaging.destination.name": 42}, "42"),
    ],
)  # fmt: skip
def test_where_a_message_goes(attributes: dict[str, Any], destination: str | None):
    assert semconv.destination_of(attributes) == destination


@pytest.mark.parametrize(
    ("attributes", "kind", "operation"),
    [
        ({"messaging.operation.type": "settle", "messaging.operation.name": "process"}, 5, semconv.SETTLE),
        ({"messaging.operation.type": "unheard of", "messaging.operation.name": "PUBLISH"}, 3, semconv.SEND),
        ({"messaging.operation.type": None}, 4, semconv.SEND),
        ({}, 5, semconv.PROCESS),
        ({}, 3, semconv.OTHER),
    ],
)
def test_what_a_span_did(attributes: dict[str, Any], kind: int, operation: int):
    assert semconv.operation_of(attributes, kind, "orders") == operation


@pytest.mark.parametrize(
    ("name", "kind", "operation"),
    [
        (
            "orders receive",
            5,
            semconv.RECEIVE,
        ),  # kafka-python says it nowhere else, and ends before the consumer begins
        ("receive orders", 5, semconv.RECEIVE),
        ("orders send", 4, semconv.SEND),
        ("run/orders.book", 5, semconv.PROCESS),
        ("receive", 5, semconv.PROCESS),
        ("orders receive", 1, semconv.OTHER),
    ],
)
def test_a_verb_in_the_spans_name_says_what_it_did_when_no_attribute_does(name: str, kind: int, operation: int):
    assert semconv.operation_of({}, kind, "orders", name=name) == operation


@pytest.mark.parametrize(
    ("scope", "operation"),
    [
        ("opentelemetry.instrumentation.aio_pika", semconv.PROCESS),
        ("io.opentelemetry.kafka-clients-2.6", semconv.RECEIVE),
    ],
)
def test_an_instrumentation_that_calls_the_callback_inside_receive_has_processed_the_message(
    scope: str, operation: int
):
    assert semconv.operation_of({"messaging.operation.type": "receive"}, 5, "orders", scope=scope) == operation


def test_a_span_without_destination_does_nothing_to_messages_by_its_kind_alone():
    assert semconv.operation_of({}, 5, None) == semconv.OTHER


def test_a_cloudevents_id_names_the_message_when_nothing_else_does():
    assert semconv.message_id_of({"cloudevents.event_id": "e-1"}) == "e-1"
    assert semconv.message_id_of({"cloudevents.event_id": "e-1", "messaging.message.id": "m-1"}) == "m-1"


@pytest.mark.parametrize(
    ("name", "given_back"),
    [
        ("ServiceBusReceiver.Abandon", True), ("ServiceBus.dead_letter", True), ("nack erp.orders", True), ("erp.orders reject", True),
        ("settle erp.orders", False), ("erp.reject ack", False), ("ServiceBusReceiver.Complete", False), ("", False),
    ],
)  # fmt: skip
def test_the_name_of_a_settlement_says_that_its_message_was_given_back(name: str, given_back: bool):
    assert semconv.gives_back({}, "erp.orders", name) is given_back
    assert semconv.gives_back({"messaging.operation.name": "ack"}, "dead_letter", "settle dead_letter") is False
