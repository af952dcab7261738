"""SQS and SNS against LocalStack: what dies is a letter once, what goes back goes where it failed, and nothing is in neither place."""

from __future__ import annotations

import contextlib
import json
import re
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import boto3
import pytest

from messages.connectors.base import Address, BrokerUnavailable, Header, Outgoing, Received
from messages.connectors.headers import from_dicts
from messages.connectors.hygiene import stamp_headers, strip_headers
from messages.connectors.sqs.connector import SQSConnector
from messages.connectors.sqs.hand import Hand
from messages.connectors.sqs.redrive import RedriveRefused, cancel_redrive, redrive, redrives
from messages.connectors.sqs.source import SQSSource
from tests.product import free_port, wait_until

pytestmark = pytest.mark.engine
REGION = "eu-central-1"
ACCOUNT = "000000000000"


class Estate:
    """An application's own view of the cloud: boto3 as it is, queues and topics of fresh names."""

    def __init__(self, url: str) -> None:
        login = {"region_name": REGION, "aws_access_key_id": "app", "aws_secret_access_key": "app"}
        self.sqs, self.sns = (boto3.client(service, endpoint_url=url, **login) for service in ("sqs", "sns"))
        self.address = Address(url=f"sqs+{url}?region={REGION}", username="waybill", secret="s")
        self.urls: dict[str, str] = {}

    def queue(self, ending: str = "", **attributes: str) -> str:
        """Return the name of a fresh queue; its messages come back at once when they are not deleted."""
        name = f"t-{uuid.uuid4().hex[:12]}{ending}"
        fifo = {"FifoQueue": "true"} if name.endswith(".fifo") else {}
        made = self.sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "0"} | fifo | attributes)
        self.urls[name] = made["QueueUrl"]
        return name

    def pair(self, ending: str = "") -> tuple[str, str]:
        """Return a queue and its dead-letter queue: a message that is received twice and not deleted dies."""
        dlq = self.queue(f"-dlq{ending}")
        return self.queue(
            ending, RedrivePolicy=json.dumps({"deadLetterTargetArn": arn(dlq), "maxReceiveCount": "2"})
        ), dlq

    def send(self, queue: str, body: str = "hello", **more: Any) -> None:
        self.sqs.send_message(QueueUrl=self.urls[queue], MessageBody=body, **more)

    def receive(self, queue: str, wait_s: int = 0) -> list[dict[str, Any]]:
        answer = self.sqs.receive_message(
            QueueUrl=self.urls[queue], MaxNumberOfMessages=10, WaitTimeSeconds=wait_s,
            MessageAttributeNames=["All"], MessageSystemAttributeNames=["All"],
        )  # fmt: skip
        return list(answer.get("Messages", ()))

    def kill(self, queue: str) -> None:
        """Receive until everything is dead."""
        while self.receive(queue):
            pass

    def source(self, queue: str, **options: object) -> contextlib.closing[SQSSource]:
        return contextlib.closing(SQSSource(self.address, broker="aws", queue=queue, options=options))

    def harvest(self, queue: str, *, acknowledge: bool = True) -> list[dict[str, Any]]:
        """Return the letters of a dead-letter queue as soon as there are any."""
        with self.source(queue) as source:
            received = wait_until(lambda: source.receive(100, 1), seconds=20, what="a letter")
            if acknowledge:
                source.acknowledge(tokens(received))
        return [one.letter for one in received]

    def publish(self, *items: Outgoing) -> list[tuple[str, str]]:
        with contextlib.closing(SQSConnector(self.address)) as connector:
            return [(one.result, one.detail) for one in connector.publish(items, timeout_s=20)]


@pytest.fixture
def estate(localstack: str) -> Iterator[Estate]:
    estate = Estate(localstack)
    yield estate
    for client in (estate.sqs, estate.sns):
        client.close()


def arn(name: str, service: str = "sqs") -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{name}"


def tokens(received: Sequence[Received]) -> list[object]:
    return [one.token for one in received]


def text(value: str, kind: str = "String") -> dict[str, str]:
    return {"DataType": kind, "StringValue": value}


def header(name: str, value: object = "x", kind: str = "string") -> Header:
    return Header(name=name, type=kind, value=value)


def outgoing(destination: str, body: bytes = b"hello", **more: Any) -> Outgoing:
    return Outgoing(id=str(uuid.uuid4()), destination=destination, body=body, **more)


def replay_of(letter: dict[str, Any], **changes: Any) -> Outgoing:
    """Return what the console sends for a letter that goes back to its origin."""
    replay_id = str(uuid.uuid4())
    headers = stamp_headers(
        strip_headers(from_dicts(letter["headers"])), replay_id=replay_id, replay_of=letter["message_id"], attempt=1, by="ann",
        traceparent=f"00-{'a' * 32}-{'b' * 16}-01",
    )  # fmt: skip
    kept = {"route": letter["route"], "headers": headers, "properties": letter["properties"]}
    return Outgoing(id=replay_id, destination=letter["origin"], body=letter["body"].encode(), **kept | changes)


OWN = {
    "a": text("x"),
    "n": text("7", "Number.zip"),
    "p": text("1.50", "Number"),
    "b": {"DataType": "Binary.png", "BinaryValue": b"\0\xff"},
}


def test_a_message_that_died_goes_back_as_it_was_and_its_next_death_is_another(estate: Estate):
    queue, dlq = estate.pair()
    estate.send(queue, MessageAttributes=OWN)
    estate.kill(queue)
    [before], [letter] = estate.harvest(dlq, acknowledge=False), estate.harvest(dlq)

    replay = replay_of(letter)
    sent = estate.publish(replay)
    [again] = estate.receive(queue, 2)
    estate.kill(queue)
    [next_death] = estate.harvest(dlq)

    assert before["id"] == letter["id"]
    assert (before["origin"], before["reason_code"], before["attempts"], before["body"]) == (
        queue,
        "delivery_limit",
        2,
        "hello",
    )
    assert sent == [("confirmed", f"queue {queue} took it")]
    assert {name: again["MessageAttributes"][name] for name in OWN} == OWN
    assert again["Attributes"]["AWSTraceHeader"] == f"Root=1-{'a' * 8}-{'a' * 24};Parent={'b' * 16};Sampled=1"
    assert (next_death["replay_id"], next_death["trace_id"]) == (replay.id, "a" * 32)
    assert next_death["id"] != letter["id"]


def test_a_redriven_message_that_dies_again_is_another_letter(estate: Estate):
    queue, dlq = estate.pair()
    estate.send(queue)
    estate.kill(queue)
    first = estate.harvest(dlq, acknowledge=False)

    assert redrive(estate.address, arn(dlq))
    wait_until(lambda: redrives(estate.address, arn(dlq))[0].status == "COMPLETED", seconds=20, what="the move")
    moved = redrives(estate.address, arn(dlq))[0].moved
    estate.kill(queue)
    second = estate.harvest(dlq)

    assert moved == 1
    assert first[0]["message_id"] == second[0]["message_id"]  # LocalStack keeps it, AWS gives a new one
    assert first[0]["id"] != second[0]["id"]


def test_a_running_move_is_watched_and_stopped_and_a_refused_one_says_why(estate: Estate):
    queue, dlq = estate.pair()
    for _ in range(5):
        estate.send(dlq)

    handle = redrive(estate.address, arn(dlq), destination_arn=arn(queue), per_second=1)
    [task] = redrives(estate.address, arn(dlq))
    with pytest.raises(RedriveRefused, match="already a task running"):
        redrive(estate.address, arn(dlq))
    moved = cancel_redrive(estate.address, arn(dlq), handle)
    wait_until(
        lambda: redrives(estate.address, arn(dlq))[0].status == "CANCELLED", seconds=20, what="the end of the move"
    )

    assert (task.status, task.to_move, task.destination_arn, task.handle) == ("RUNNING", 5, arn(queue), handle)
    assert moved < 5
    with pytest.raises(RedriveRefused, match="Dead Letter Queue"):
        redrive(estate.address, arn(queue))
    with pytest.raises(RedriveRefused, match="is not there"):
        redrive(estate.address, arn("nowhere"))
    with pytest.raises(BrokerUnavailable):
        redrive(Address(url=f"sqs+http://127.0.0.1:{free_port()}", username="a", secret="b"), arn(dlq))


def test_a_fifo_message_keeps_its_group_and_one_replay_arrives_once(estate: Estate):
    queue, dlq = estate.pair(".fifo")
    estate.send(queue, MessageGroupId="customer-7", MessageDeduplicationId="d-1")
    estate.kill(queue)
    [letter] = estate.harvest(dlq)

    replay = replay_of(letter)
    sent = estate.publish(replay, replay)  # as after a crash between sending and marking
    arrived = estate.receive(queue, 1)
    estate.kill(queue)
    [next_death] = estate.harvest(dlq)

    assert letter["origin"] == queue
    assert letter["properties"]["MessageGroupId"] == "customer-7"
    assert [result for result, _ in sent] == ["confirmed"] * 2
    assert [one["Attributes"]["MessageGroupId"] for one in arrived] == ["customer-7"]
    assert next_death["id"] != letter["id"]


def test_more_than_ten_are_received_at_once_and_the_queue_is_empty_after_the_acknowledgement(estate: Estate):
    dlq = estate.queue("-dlq")
    for number in range(25):
        estate.send(dlq, str(number))

    with estate.source(dlq) as source:
        received = source.receive(23, 1)
        source.acknowledge(tokens(received))
        left = source.depth()

    assert (len({one.letter["id"] for one in received}), left) == (23, 2)


def test_what_is_in_hand_is_invisible_for_longer_than_its_time_out_and_given_back_when_we_stop(estate: Estate):
    dlq = estate.queue("-dlq")
    estate.send(dlq)

    with estate.source(dlq, visibility_s=1) as source:
        [first] = source.receive(5, 1)
        meanwhile = estate.receive(dlq, wait_s=3)
    [again] = estate.harvest(dlq)

    assert meanwhile == []
    assert again["id"] == first.letter["id"]


def test_without_us_it_comes_again_after_its_time_out(estate: Estate):
    dlq = estate.queue("-dlq")
    estate.send(dlq)
    source = SQSSource(estate.address, broker="aws", queue=dlq, options={"visibility_s": 1})
    [first] = source.receive(5, 1)

    source.hand.close()  # as kill -9 ends its thread
    [again] = estate.harvest(dlq)

    assert again["id"] == first.letter["id"]
    source.cloud.close()


def test_a_hand_goes_on_extending_after_a_failure_and_forgets_what_cannot_be_held():
    calls: list[list[str]] = []

    def extend(receipts: Sequence[str]) -> list[str]:
        calls.append(list(receipts))
        if len(calls) == 1:
            raise ValueError("the line broke")
        return ["gone"] if len(calls) == 2 else []

    hand = Hand(extend, every_s=0.01)
    hand.take(["kept", "gone"])
    wait_until(lambda: len(calls) >= 4, seconds=10, what="extensions", every=0.01)

    assert hand.close() == ["kept"]
    assert (calls[1], calls[3]) == (["kept", "gone"], ["kept"])


def test_a_receipt_that_is_none_any_more_is_in_nobodys_hand(estate: Estate):
    dlq = estate.queue("-dlq")
    estate.send(dlq)

    with estate.source(dlq) as source:
        [kept] = [str(token) for token in tokens(source.receive(2, 1))]

        assert source._extend([kept, "none"]) == ["none"]


def test_letters_that_cannot_be_deleted_are_said_and_the_others_are_gone(estate: Estate):
    dlq = estate.queue("-dlq")
    estate.send(dlq)

    with estate.source(dlq) as source:
        received = source.receive(5, 1)
        with pytest.raises(BrokerUnavailable, match=r"1 of 2 letters could not be deleted .*ReceiptHandleIsInvalid"):
            source.acknowledge([*tokens(received), "no receipt"])
        left = source.depth()

    assert left == 0


def test_a_deleted_queue_is_said_in_words(estate: Estate):
    dlq = estate.queue("-dlq")
    estate.send(dlq)

    with estate.source(dlq) as source:
        before = source.check()
        [one] = source.receive(1, 1)
        estate.sqs.delete_queue(QueueUrl=estate.urls[dlq])
        with pytest.raises(BrokerUnavailable, match=f"queue {dlq} is not there"):
            source.receive(1, 0)
    with estate.source(dlq) as source:
        after = source.check()

    assert [(one.question, one.answer) for one in before] == [
        ("reached", True), ("authenticated", True), ("queue exists", True), ("may read", True),
    ]  # fmt: skip
    assert one.letter["properties"]["ApproximateReceiveCount"] == "1"  # the check received nothing
    assert [(one.question, one.answer) for one in after][-1] == ("queue exists", False)


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
