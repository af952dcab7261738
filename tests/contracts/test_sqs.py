"""SQS' dead letters against LocalStack: what dies is a letter once, whatever holds it, and nothing is in neither place."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from messages.connectors.base import Address, BrokerUnavailable, RedriveRefused
from messages.connectors.sqs.hand import Hand
from messages.connectors.sqs.redrive import cancel_redrive, redrive, redrives
from messages.connectors.sqs.source import SQSSource
from tests.contracts.sqs_estate import Estate, arn, replay_of, text, tokens
from tests.ports import free_port
from tests.product import wait_until

pytestmark = pytest.mark.engine


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
    wait_until(lambda: redrives(estate.address, arn(dlq))[0].status == "completed", seconds=20, what="the move")
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
        lambda: redrives(estate.address, arn(dlq))[0].status == "cancelled", seconds=20, what="the end of the move"
    )

    assert (task.status, task.to_move, task.destination, task.handle) == ("running", 5, arn(queue), handle)
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
