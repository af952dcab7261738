"""What is made of the facts of queues and topics of AWS: the sentences, without a broker."""

from __future__ import annotations

import json
from typing import Any

import pytest

from messages.connectors.base import Outgoing
from messages.connectors.sqs.topology import (
    Subscriber,
    circle_of,
    dead_letter_queues,
    policy_of,
    queue_hints,
    topic_hints,
)

ARN = "arn:aws:sqs:eu-central-1:000000000000:"


def policy(target: str, count: object = 3) -> str:
    return json.dumps({"deadLetterTargetArn": ARN + target, "maxReceiveCount": count})


def item(**properties: Any) -> Outgoing:
    return Outgoing(id="1", destination="orders", body=b"x", properties=properties)


@pytest.mark.parametrize(
    ("name", "attributes", "said"),
    [
        ("orders", {"RedrivePolicy": policy("orders-dlq")}, ["puts it back into orders-dlq after 3 receipts"]),
        ("orders", {"RedrivePolicy": policy("orders-dlq", "1")}, ["after one receipt"]),
        (ARN + "orders", {"RedrivePolicy": policy("other")}, ["not into orders-dlq where this one died"]),
        ("orders", {}, ["queue orders has no dead-letter queue"]),
        ("orders", {"RedrivePolicy": "{not json"}, ["queue orders has no dead-letter queue"]),
        ("orders", {"RedrivePolicy": "[]"}, ["queue orders has no dead-letter queue"]),
        ("orders", {"RedrivePolicy": policy("orders-dlq"), "MessageRetentionPeriod": "60"}, ["back", "keeps a message for 1 min"]),
        ("orders", {"RedrivePolicy": policy("orders-dlq"), "MessageRetentionPeriod": "345600", "DelaySeconds": "0"}, ["back"]),
        ("orders", {"RedrivePolicy": policy("orders-dlq"), "DelaySeconds": "900"}, ["back", "only after 15 min"]),
        ("orders", {"RedrivePolicy": policy("orders-dlq"), "ApproximateNumberOfMessages": "7"}, ["back"]),
        (
            "orders",
            {"RedrivePolicy": policy("orders-dlq"), "ApproximateNumberOfMessages": "7", "ApproximateNumberOfMessagesNotVisible": "0"},
            ["back", "about 7 wait in queue orders and no consumer has one in hand"],
        ),
        ("orders.fifo", {"RedrivePolicy": policy("orders-dlq")}, ["back", "swallows a deduplication id"]),
    ],
)  # fmt: skip
def test_a_queue_is_minded_in_words(name: str, attributes: dict[str, str], said: list[str]):
    found = queue_hints(item(), name, attributes, died_in=ARN + "orders-dlq")

    assert len(found) == len(said)
    assert all(part in sentence for part, sentence in zip(said, found, strict=True))


def test_policies_that_lead_back_are_a_circle_and_those_that_end_are_none():
    assert circle_of("a", {"a": "b", "b": "c", "c": "a"}) == ["a", "b", "c", "a"]
    assert circle_of("a", {"a": "b"}) == []
    assert circle_of("a", {"a": "b", "b": "b"}) == []
    assert queue_hints(item(), "a", {}, died_in="b", circle=["a", "b", "a"])[0].startswith(
        "dead letters go in a circle: a → b → a."
    )


def test_a_policy_that_cannot_be_read_is_none():
    assert policy_of({"RedrivePolicy": policy("q", 5)}) == ("q", 5)
    assert [policy_of({"RedrivePolicy": text}) for text in ("", "null", "7", '"x"', "[]", "{}")] == [None] * 6


def test_a_topic_counts_those_who_get_it():
    one = Subscriber(protocol="sqs", endpoint=ARN + "a")
    two = Subscriber(protocol="lambda", endpoint=ARN + "b", filtered=True)

    assert topic_hints("t", [], all_seen=True) == [
        "nobody has subscribed to topic t: SNS takes the message and drops it"
    ]
    assert topic_hints("t", [one], all_seen=True) == ["topic t sends it on to 1 subscriber (sqs a)"]
    assert (
        "more than 2 subscribers (sqs a, lambda b, 1 of them by a filter"
        in topic_hints("t", [one, two], all_seen=False)[0]
    )
    assert len(topic_hints("t.fifo", [one, two], all_seen=True)) == 2


def test_dead_letter_queues_are_those_of_policies_first_each_once_and_never_the_queue_itself():
    found = dead_letter_queues(
        {
            "orders": {"RedrivePolicy": policy("grave")},
            "bills": {"RedrivePolicy": policy("grave")},
            "self": {"RedrivePolicy": policy("self")},
            "grave": {"ApproximateNumberOfMessages": "4"},
            "x-dlq": {"ApproximateNumberOfMessages": "odd"},
        },
        [("https://crm.example/in", {"RedrivePolicy": policy("sns-grave")}), ("x", {})],
        ["orders", "x-dlq", "y-dlq"],
    )

    assert [(one.queue, one.waiting) for one in found] == [
        ("grave", 4),
        ("sns-grave", None),
        ("x-dlq", None),
        ("y-dlq", None),
    ]
    assert [one.sure for one in found] == [True, True, False, False]
    assert found[0].why == "orders sends its dead letters there, after 3 receipts"
