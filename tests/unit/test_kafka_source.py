"""What a source of Kafka commits when partitions come and go, and what a failed delivery means: without a broker, step by step."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from confluent_kafka import KafkaError, TopicPartition

from messages.connectors.base import Address
from messages.connectors.kafka.client import Heard, LoginRefused, Unreachable, within
from messages.connectors.kafka.source import KafkaSource
from messages.connectors.kafka.window import outcome

Step = tuple[str, int, int]  # ("record", partition, offset), ("lost", partition, 0) or ("end", 0, 0)


@dataclass
class Told:
    """A record as the library gives it."""

    at: tuple[int, int]

    def error(self) -> None: ...

    def topic(self) -> str:
        return "t"

    def partition(self) -> int:
        return self.at[0]

    def offset(self) -> int:
        return self.at[1]

    def key(self) -> bytes:
        return b""

    value = key

    def timestamp(self) -> tuple[int, int]:
        return 1, 0

    def headers(self) -> None: ...


class Scripted:
    """The library's consumer, as far as a source uses it: it gives what the script says and keeps what is committed."""

    def __init__(self, source: KafkaSource, script: Sequence[Step]) -> None:
        self.source, self.script = source, list(script)
        self.committed: dict[int, int] = {}

    def poll(self, _: float) -> Told | None:
        while self.script:
            what, partition, offset = self.script.pop(0)
            if what == "record":
                return Told((partition, offset))
            if what == "end":
                return None
            self.source._lost(self, [TopicPartition("t", partition)])  # type: ignore[arg-type]
        return None

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> list[TopicPartition]:
        self.committed |= {one.partition: one.offset for one in offsets}
        return offsets

    def close(self) -> None: ...


def run(*script: Step, stays: Sequence[tuple[int, int]] = ()) -> tuple[list[list[object]], dict[int, int]]:
    """Return (tokens of each receipt, partition → committed offset) when all is acknowledged but what stays."""
    source = KafkaSource(Address(url="kafka://a"), broker="b", queue="t", options={})
    consumer = Scripted(source, script)
    source.consumer = consumer  # type: ignore[assignment]
    source.looked_at = float("inf")
    receipts = []
    while consumer.script:
        tokens = [one.token for one in source.receive(10, 0)]
        receipts.append(tokens)
        source.acknowledge([token for token in tokens if token not in stays])
    return receipts, consumer.committed


def records(partition: int, *offsets: int) -> list[Step]:
    return [("record", partition, offset) for offset in offsets]


END: Step = ("end", 0, 0)


def test_all_that_is_acknowledged_is_committed_gaps_of_the_log_too():
    assert run(*records(0, 0, 1, 5), *records(1, 3), END)[1] == {0: 6, 1: 4}


def test_nothing_behind_a_letter_that_stays_is_committed():
    assert run(*records(0, 0, 1, 2), END, *records(0, 3, 4), END, stays=[(0, 1)])[1] == {0: 1}


def test_what_was_just_read_of_a_partition_that_is_lost_is_not_given_out():
    receipts, committed = run(*records(0, 7, 8), *records(1, 3), ("lost", 0, 0), END)

    assert (receipts, committed) == ([[(1, 3)]], {1: 4})


def test_a_letter_that_stayed_is_not_skipped_when_its_partition_goes_and_comes_back_while_reading():
    lost_and_back = [*records(0, 4), ("lost", 0, 0), *records(0, 1, 2, 3, 4), END]

    receipts, committed = run(*records(0, 0, 1, 2, 3), END, *lost_and_back, stays=[(0, 1)])

    assert receipts[1] == [(0, 1), (0, 2), (0, 3), (0, 4)]
    assert committed == {0: 1}


def test_a_consumer_left_behind_while_it_closes_says_nothing_of_the_one_we_have_now():
    source = KafkaSource(Address(url="kafka://a"), broker="b", queue="t", options={})
    old, new = Scripted(source, []), Scripted(source, records(0, 0, 1))
    source.looked_at = float("inf")
    source.consumer, told_by_old = old, source._properties()["error_cb"]  # type: ignore[assignment]
    source.close()
    source.consumer = new  # type: ignore[assignment]

    [first, second] = [one.token for one in source.receive(10, 0)]
    told_by_old(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    source._lost(old, [TopicPartition("t", 0)])  # type: ignore[arg-type]
    source.acknowledge([second])
    committed_beside_the_first = dict(new.committed)
    source.acknowledge([first])

    assert source.receive(10, 0) == []  # and not: no broker answers
    assert (committed_beside_the_first, new.committed) == ({}, {0: 2})


@pytest.mark.parametrize("code", [KafkaError._SSL, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN])
def test_a_certificate_that_nobody_vouches_for_is_a_refusal_whatever_it_is_called(code: int):
    heard = Heard()
    heard(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    heard(KafkaError(code, "broker: SSL handshake failed: certificate verify failed"))

    with pytest.raises(LoginRefused, match="certificate verify failed"):
        heard.check()


MEANINGS = {
    KafkaError.NOT_ENOUGH_REPLICAS: "unavailable",
    KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND: "unknown",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "refused",
    KafkaError.MSG_SIZE_TOO_LARGE: "refused",
    KafkaError._MSG_TIMED_OUT: "unknown",
    KafkaError._PURGE_QUEUE: "unknown",
    KafkaError._TRANSPORT: "unknown",
}


@pytest.mark.parametrize(("code", "result"), MEANINGS.items())
def test_a_failed_delivery_is_what_the_broker_says_or_unknown(code: int, result: str):
    said, words = outcome(KafkaError(code), Heard())

    assert (said, bool(words)) == (result, True)


def test_after_a_broken_line_not_now_is_unknown_for_the_first_try_may_have_been_stored():
    heard = Heard()
    heard(KafkaError(KafkaError._TRANSPORT, "Disconnected"))

    result, words = outcome(KafkaError(KafkaError.NOT_LEADER_FOR_PARTITION), heard)

    assert (result, "Disconnected" in words) == ("unknown", True)


def test_a_library_that_never_answers_is_not_waited_for_for_ever_and_what_it_raises_is_raised():
    never = threading.Event()

    with pytest.raises(Unreachable, match="has not answered"):
        within(0.05, never.wait)
    with pytest.raises(ZeroDivisionError):
        within(5, lambda: 1 // 0)
    assert within(5, lambda: 7) == 7
    never.set()
