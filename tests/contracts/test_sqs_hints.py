"""What a real SQS and SNS make an operator mind before a replay, and the dead-letter queues that are found there: LocalStack."""

from __future__ import annotations

import contextlib
import json
import uuid
from typing import Any

import pytest

from messages.connectors.base import Address, BrokerUnavailable, CanDiscover, CanHint
from messages.connectors.sqs.connector import SQSConnector
from tests.contracts.sqs_estate import Estate, arn, outgoing
from tests.ports import free_port

pytestmark = pytest.mark.engine


def hints(estate: Estate, destination: str, *, died_in: str = "nowhere-dlq", **more: Any) -> list[str]:
    with contextlib.closing(SQSConnector(estate.address)) as connector:
        assert isinstance(connector, CanHint)
        return connector.hints(outgoing(destination, **more), died_in=died_in, timeout_s=20)


def topic(estate: Estate, *queues: str, **attributes: str) -> str:
    made = str(estate.sns.create_topic(Name=f"t-{uuid.uuid4().hex[:8]}")["TopicArn"])
    for queue in queues:
        estate.sns.subscribe(TopicArn=made, Protocol="sqs", Endpoint=arn(queue), Attributes=attributes)
    return made


def test_sqs_says_where_it_goes_if_it_fails_again_and_that_nobody_may_be_there(estate: Estate):
    queue, dlq = estate.pair()
    alone = estate.queue(MessageRetentionPeriod="600", DelaySeconds="30")
    estate.send(queue)

    back = hints(estate, queue, died_in=dlq)
    elsewhere = hints(estate, arn(queue), died_in="other-dlq")
    short = hints(estate, alone)
    missing = hints(estate, "no-such-queue")

    assert back[0] == f"if it fails again SQS puts it back into {dlq} after 2 receipts, where it is a new letter"
    assert back[1].startswith(f"about 1 wait in queue {queue} and no consumer has one in hand")
    assert elsewhere[0].endswith(f"not into other-dlq where this one died: is {dlq} harvested too?")
    assert short == [
        f"queue {alone} has no dead-letter queue: if it fails again it is tried until its retention ends, then it is gone",
        f"queue {alone} keeps a message for 10 min only: what nobody has taken by then is gone",
        f"queue {alone} shows a message to its consumers only after 30 s",
    ]
    assert len(missing) == 1
    assert "is not there" in missing[0]


def test_sqs_says_that_redrive_policies_go_in_a_circle(estate: Estate):
    queue, dlq = estate.pair()
    policy = json.dumps({"deadLetterTargetArn": arn(queue), "maxReceiveCount": "1"})
    estate.sqs.set_queue_attributes(QueueUrl=estate.urls[dlq], Attributes={"RedrivePolicy": policy})

    assert hints(estate, queue, died_in=dlq)[0].startswith(f"dead letters go in a circle: {queue} → {dlq} → {queue}.")


def test_a_fifo_queue_has_a_window_and_a_group_that_waits(estate: Estate):
    queue, dlq = estate.pair(".fifo")
    estate.send(queue, MessageGroupId="4711", MessageDeduplicationId="1")
    quiet = hints(estate, queue, died_in=dlq, properties={"MessageGroupId": "4711"})
    estate.sqs.receive_message(QueueUrl=estate.urls[queue], VisibilityTimeout=60)
    busy = hints(estate, queue, died_in=dlq, properties={"MessageGroupId": "4711"})

    assert "swallows a deduplication id that it has seen within 5 min" in quiet[1]
    assert quiet[2].startswith("it goes behind what group 4711 got meanwhile: its old place")
    assert busy[2].endswith("waits while another of that group is in a consumer's hand (1 of the queue are now)")


def test_a_topic_says_who_gets_it_and_a_letter_of_a_subscription_is_about_its_queue(estate: Estate):
    one, two = estate.queue(), estate.queue()
    fan = topic(estate, one)
    estate.sns.subscribe(
        TopicArn=fan, Protocol="sqs", Endpoint=arn(two), Attributes={"FilterPolicy": json.dumps({"country": ["de"]})}
    )
    subscription = estate.sns.list_subscriptions_by_topic(TopicArn=fan)["Subscriptions"][0]["SubscriptionArn"]

    everybody = hints(estate, fan)
    only = hints(estate, fan, route={"subscription": subscription, "topic": fan})
    nobody = hints(estate, topic(estate))

    assert everybody[0].startswith(f"topic {fan.rpartition(':')[2]} sends it on to 2 subscribers (sqs ")
    assert everybody[0].endswith(", 1 of them by a filter policy): all get it, also those that did well with it before")
    assert one in everybody[0]
    assert two in everybody[0]
    assert only[0].startswith(f"queue {one} has no dead-letter queue")
    assert nobody[0].startswith("nobody has subscribed")


def test_dead_letter_queues_are_found_by_policies_of_queues_and_subscriptions_then_by_name(estate: Estate):
    queue, dlq = estate.pair()
    named = estate.queue("-dlq")
    buried = estate.queue("-x")
    receiver = estate.queue()
    topic(estate, receiver, RedrivePolicy=json.dumps({"deadLetterTargetArn": arn(buried)}))
    estate.send(named)

    with contextlib.closing(SQSConnector(estate.address)) as connector:
        assert isinstance(connector, CanDiscover)
        found = {one.queue: one for one in connector.discover(timeout_s=20)}
    nobody = SQSConnector(Address(url=f"sqs+http://127.0.0.1:{free_port()}", username="a", secret="b"))
    with contextlib.closing(nobody), pytest.raises(BrokerUnavailable):
        nobody.discover(timeout_s=5)

    assert found[dlq].why == f"{queue} sends its dead letters there, after 2 receipts"
    assert found[buried].why == f"the SNS subscription of {receiver} sends its dead letters there"
    assert (found[named].why, found[named].waiting) == (
        "its name ends with “dlq”; no redrive policy that was seen leads there",
        1,
    )
    assert {queue, receiver} & set(found) == set()
    assert [found[one].sure for one in (dlq, buried, named)] == [True, True, False]


def test_nobody_there_is_said(estate: Estate):
    nobody = SQSConnector(Address(url=f"sqs+http://127.0.0.1:{free_port()}", username="a", secret="b"))

    with contextlib.closing(nobody), pytest.raises(BrokerUnavailable):
        nobody.hints(outgoing("orders"), died_in="orders-dlq", timeout_s=2)
