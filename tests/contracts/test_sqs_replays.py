"""Replays to SQS and SNS against LocalStack: what goes back goes where it failed, as it was, or is refused in words."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

import pytest

from tests.contracts.sqs_estate import Estate, arn, header, outgoing, replay_of, text
from tests.product import wait_until

pytestmark = pytest.mark.engine


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "bytes": ({"body": b"\x00\xff"}, "not text"),
    "a character that SQS does not take": ({"body": b"a\x0bb"}, r"U\+000B"),
    "nothing": ({"body": b""}, "empty"),
    "too much": ({"body": b"x" * 1_048_570, "headers": (header("abc", "d"),)}, "1,048,580 bytes .* at most 1,048,576"),
    "eleven headers": ({"headers": tuple(header(f"h{n}") for n in range(11))}, "11 headers"),
    "a name that none may have": ({"headers": (header("a b"),)}, "“a b” has a name"),
    "an empty header": ({"headers": (header("a", ""),)}, "“a” is empty"),
    "a function": ({"destination": arn("bill", "lambda")}, "neither a queue nor a topic"),
    "a record": ({"route": {"holds": "a record"}}, "is a record"),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "words"), REFUSED.values(), ids=REFUSED)
def test_what_sqs_cannot_carry_is_refused_in_words_and_the_rest_of_the_batch_goes(
    estate: Estate, changes: dict[str, Any], words: str
):
    queue = estate.queue()

    sent = estate.publish(
        outgoing(queue, b"first"), outgoing(**{"destination": queue} | changes), outgoing(queue, b"last")
    )

    assert [result for result, _ in sent] == ["confirmed", "refused", "confirmed"]
    assert re.search(words, sent[1][1]), sent[1][1]
    assert {one["Body"] for one in estate.receive(queue, 1)} == {"first", "last"}


def test_a_queue_that_takes_less_than_others_refuses_for_itself(estate: Estate):
    queue = estate.queue(MaximumMessageSize="1024")

    sent = estate.publish(outgoing(queue), outgoing(queue, b"x" * 2000), outgoing(queue))

    assert [result for result, _ in sent] == ["confirmed", "refused", "confirmed"]
    assert "1024" in sent[1][1]


def test_a_message_of_ten_attributes_keeps_them_and_says_which_of_ours_found_no_room(estate: Estate):
    queue = estate.queue()
    own = [{"name": f"h{n}", "type": "string", "value": "x"} for n in range(9)]
    letter = {"headers": own, "message_id": "m-1", "route": {}, "properties": {}, "origin": queue, "body": "hello"}

    [(result, detail)] = estate.publish(replay_of(letter))

    [arrived] = estate.receive(queue, 1)
    assert (result, "no room for traceparent, replay-of, replay-attempt, replay-by" in detail) == ("confirmed", True)
    assert set(arrived["MessageAttributes"]) == {*(f"h{n}" for n in range(9)), "replay-id"}
    assert arrived["Attributes"]["AWSTraceHeader"].startswith("Root=1-aaaaaaaa-")  # so the trace goes on all the same


def test_a_hundred_messages_of_a_hundred_kilobytes_go_in_as_many_requests_as_they_need(estate: Estate):
    queue = estate.queue()

    sent = estate.publish(*(outgoing(queue, b"x" * 100_000) for _ in range(25)))

    assert [result for result, _ in sent] == ["confirmed"] * 25


def subscription(estate: Estate, *, raw: str) -> tuple[str, str, str]:
    """Return a topic's ARN, a subscribed queue that is not there any more, and the subscription's dead-letter queue."""
    queue, dlq = estate.queue(), estate.queue("-dlq")
    topic = estate.sns.create_topic(Name=f"t-{uuid.uuid4().hex[:12]}")["TopicArn"]
    attributes = {"RawMessageDelivery": raw, "RedrivePolicy": json.dumps({"deadLetterTargetArn": arn(dlq)})}
    estate.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn(queue), Attributes=attributes)
    estate.sqs.delete_queue(QueueUrl=estate.urls[queue])
    return topic, queue, dlq


def test_what_died_in_a_subscription_goes_to_its_queue_alone_as_sns_would_have_put_it_there(estate: Estate):
    topic, queue, dlq = subscription(estate, raw="false")
    attributes = {"k": text("v"), "b": {"DataType": "Binary", "BinaryValue": b"\0\1"}}
    estate.sns.publish(TopicArn=topic, Message="real body", Subject="order", MessageAttributes=attributes)
    [letter] = estate.harvest(dlq)
    other = estate.queue()
    estate.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn(other))
    gone = estate.publish(replay_of(letter))
    estate.urls[queue] = estate.sqs.create_queue(QueueName=queue)["QueueUrl"]

    replay = replay_of(letter)
    sent = estate.publish(replay)

    [arrived] = estate.receive(queue, 2)
    notification = json.loads(arrived["Body"])
    assert (letter["origin"], letter["body"], letter["properties"]["sns"]["Subject"]) == (
        topic.rpartition(":")[2],
        "real body",
        "order",
    )
    assert (gone[0][0], "is not there" in gone[0][1]) == ("refused", True)
    assert (sent[0][0], "for the one subscription that failed" in sent[0][1]) == ("confirmed", True)
    assert [notification[name] for name in ("Type", "TopicArn", "Subject", "Message")] == [
        "Notification",
        topic,
        "order",
        "real body",
    ]
    assert (
        notification["MessageAttributes"].items()
        >= {"k": {"Type": "String", "Value": "v"}, "b": {"Type": "Binary", "Value": "AAE="}}.items()
    )
    assert arrived["MessageAttributes"]["replay-id"]["StringValue"] == replay.id
    assert estate.receive(other) == []


def test_a_raw_subscription_does_not_tell_so_the_operator_does(estate: Estate):
    topic, queue, dlq = subscription(estate, raw="true")
    estate.sns.publish(TopicArn=topic, Message="real body", MessageAttributes={"k": text("v")})
    with estate.source(dlq, origin=arn(queue)) as source:
        [one] = wait_until(lambda: source.receive(5, 1), seconds=20, what="the letter")
        source.acknowledge([one.token])
    estate.urls[queue] = estate.sqs.create_queue(QueueName=queue)["QueueUrl"]

    sent = estate.publish(replay_of(one.letter))

    [arrived] = estate.receive(queue, 2)
    assert (one.letter["origin"], one.letter["route"], sent[0][0]) == (queue, {"queue": arn(queue)}, "confirmed")
    assert (arrived["Body"], arrived["MessageAttributes"]["k"]["StringValue"]) == ("real body", "v")


def test_a_topic_is_a_destination_that_reaches_every_subscriber(estate: Estate):
    topic = estate.sns.create_topic(Name=f"t-{uuid.uuid4().hex[:12]}")["TopicArn"]
    queues = [estate.queue(), estate.queue()]
    for queue in queues:
        estate.sns.subscribe(
            TopicArn=topic, Protocol="sqs", Endpoint=arn(queue), Attributes={"RawMessageDelivery": "true"}
        )

    sent = estate.publish(
        outgoing(topic, headers=(header("k", "v"),)), outgoing(topic + "-not"), outgoing(topic, b"x" * 300_000)
    )

    assert [result for result, _ in sent] == ["confirmed", "refused", "refused"]
    assert "at most 262,144" in sent[2][1]
    for queue in queues:
        [arrived] = estate.receive(queue, 2)
        assert (arrived["Body"], arrived["MessageAttributes"]["k"]["StringValue"]) == ("hello", "v")


def test_a_subscription_that_is_no_queues_is_refused_with_the_way_that_is_left(estate: Estate):
    topic = estate.sns.create_topic(Name=f"t-{uuid.uuid4().hex[:12]}")["TopicArn"]
    made = estate.sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="a@example.org", ReturnSubscriptionArn=True)

    sent = estate.publish(
        outgoing("t", route={"topic": topic, "subscription": made["SubscriptionArn"]}),
        outgoing("t", route={"topic": topic, "subscription": ""}),
    )

    assert [result for result, _ in sent] == ["refused", "refused"]
    assert all(f"choose {topic} as the destination" in detail for _, detail in sent)
