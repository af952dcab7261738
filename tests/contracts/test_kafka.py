"""Taking dead letters from a real Kafka and a real Kafka Connect, and sending them back. More of sending: test_kafka_sending.py."""

from __future__ import annotations

import contextlib
import ctypes
import os
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import confluent_kafka
import pytest
from confluent_kafka.admin import AclOperation

from messages.connectors import get_connector, get_source
from messages.connectors.base import Address, BrokerUnavailable, Outgoing, Published, Received
from messages.connectors.headers import from_dicts
from messages.connectors.hygiene import strip_headers
from messages.connectors.kafka import looking
from messages.connectors.kafka import source as kafka_source
from messages.connectors.kafka.source import KafkaSource
from tests.engines.kafka import PASSWORD, USER, Kafka
from tests.product import wait_until

pytestmark = pytest.mark.engine


@contextlib.contextmanager
def source_of(kafka: Kafka, topic: str, **options: object) -> Iterator[KafkaSource]:
    address = Address(url=f"kafka://{kafka.address}")
    with contextlib.closing(get_source("kafka", address, broker="b", queue=topic, options=options)) as source:
        yield source  # type: ignore[misc]


def take(source: KafkaSource, count: int, *, starting: bool = False) -> list[Received]:
    """Return that many letters, asking on as a harvester does; starting: the broker may be away at first."""
    taken: list[Received] = []

    def enough() -> bool:
        with contextlib.suppress(BrokerUnavailable) if starting else contextlib.nullcontext():
            taken.extend(source.receive(100, 1))
        return len(taken) >= count

    wait_until(enough, seconds=40, what=f"{count} letters", every=0)
    return taken


def unavailable(source: KafkaSource) -> str:
    """Return the words with which the source says that its broker or topic is away."""

    def words() -> str:
        try:
            source.receive(100, 0.5)
        except BrokerUnavailable as error:
            return str(error)
        return ""

    return str(wait_until(words, seconds=40, what="the source to say so", every=0))


def publish(kafka: Kafka, *items: Outgoing, timeout_s: float = 15) -> list[Published]:
    with contextlib.closing(get_connector("kafka", Address(url=f"kafka://{kafka.address}"))) as connector:
        return connector.publish(items, timeout_s=timeout_s)


def item(destination: str, body: bytes = b"x", **properties: object) -> Outgoing:
    return Outgoing(id=str(uuid.uuid4()), destination=destination, body=body, properties=properties)


def bodies(received: Sequence[Received]) -> list[object]:
    return [one.letter["body"] for one in received]


def sent_back(kafka: Kafka, received: Received) -> Published:
    """Replay a letter as the console does."""
    letter: dict[str, Any] = received.letter
    body = letter["body"].encode()
    headers = strip_headers(from_dicts(letter["headers"]))
    [result] = publish(
        kafka,
        Outgoing(
            id="r", destination=letter["origin"], route=letter["route"], body=body, headers=headers, properties=letter["properties"]
        ),
    )  # fmt: skip
    return result


def test_a_letter_that_stays_holds_up_no_other_and_comes_again_with_those_after_it(kafka: Kafka):
    topic = kafka.topic()
    kafka.produce(topic, *[str(n).encode() for n in range(6)])

    with source_of(kafka, topic, consumer="h") as source:
        first = take(source, 6)
        source.acknowledge([one.token for one in first if one.letter["body"] != "3"])
        waiting = source.depth()
    with source_of(kafka, topic, consumer="h") as source:
        again = take(source, 3)
        source.acknowledge([one.token for one in again])
        left = (source.receive(10, 0.5), source.depth())

    assert (bodies(first), bodies(again)) == ([str(n) for n in range(6)], ["3", "4", "5"])
    assert [one.letter["id"] for one in first[3:]] == [one.letter["id"] for one in again]
    assert (waiting, left) == (1, ([], 0))


def test_two_sources_share_a_topic_and_what_one_has_lost_is_harmless_to_acknowledge(kafka: Kafka):
    topic = kafka.topic(partitions=2)
    for number in range(2):
        kafka.produce(topic, *[f"{number}-{n}".encode() for n in range(3)], partition=number)
    seen: list[Received] = []

    with source_of(kafka, topic) as one, source_of(kafka, topic) as two:
        held = take(one, 6)  # and not acknowledged, while another comes and takes a part

        def shared() -> bool:
            one.receive(100, 0.1)
            seen.extend(two.receive(100, 0.1))
            return bool(seen)

        wait_until(shared, seconds=40, what="the second to have a part", every=0)
        one.acknowledge([each.token for each in held])
        two.acknowledge([each.token for each in seen])
    with source_of(kafka, topic) as after:
        left = after.receive(100, 3)

    assert sorted(bodies(held)) == [f"{p}-{n}" for p in range(2) for n in range(3)]
    assert len({one.token[0] for one in seen}) == 1  # type: ignore[index]
    assert [each for each in left if each.token[0] == seen[0].token[0]] == []  # type: ignore[index]


def test_a_look_shows_all_that_is_there_in_turn_and_takes_nothing_from_the_one_at_work(kafka: Kafka):
    topic = kafka.topic(partitions=3)
    for number in (0, 2):
        kafka.produce(topic, *[f"{number}-{n}".encode() for n in range(3)], partition=number)
    with source_of(kafka, topic, consumer="h") as working, source_of(kafka, topic, consumer="h") as looking_on:
        held = take(working, 6)
        pages: list[list[Received]] = []
        after = None
        while page := looking_on.peek(4, after):
            pages.append(page)
            after = page[-1].token
        answers, depths = looking_on.check(), (looking_on.depth(), working.depth())
        working.acknowledge([one.token for one in held])

        assert (working.depth(), looking_on.depth()) == (0, 0)
    assert [bodies(page) for page in pages] == [["0-0", "0-1", "0-2", "2-0"], ["2-1", "2-2"]]
    assert sorted(str(one.letter["id"]) for page in pages for one in page) == sorted(
        str(one.letter["id"]) for one in held
    )
    assert "6 dead letters wait" in answers[-1].detail
    assert depths == (6, 6)


def test_two_of_the_same_name_are_told_so(kafka: Kafka, capfd: pytest.CaptureFixture[str]):
    topic = kafka.topic()
    with source_of(kafka, topic, consumer="h") as one, source_of(kafka, topic, consumer="h") as two:

        def words() -> str:
            try:
                for source in (one, two):
                    source.receive(1, 0.2)
            except BrokerUnavailable as error:
                return str(error)
            return ""

        said = wait_until(words, seconds=30, what="one to be told", every=0)

    assert "another harvester has the name of this one" in said
    assert capfd.readouterr() == ("", "")


def test_who_waits_for_the_console_too_long_is_no_member_any_more_and_harms_nothing(kafka: Kafka):
    topic = kafka.topic()
    kafka.produce(topic, b"a")
    url = f"kafka://{kafka.address}?session.timeout.ms=2000&heartbeat.interval.ms=500&max.poll.interval.ms=2000"
    with contextlib.closing(get_source("kafka", Address(url=url), broker="b", queue=topic, options={})) as source:
        assert isinstance(source, KafkaSource)
        held = take(source, 1)

        wait_until(lambda: not kafka.members(f"waybill.{topic}"), seconds=30, what="the group to give it up")
        source.acknowledge([one.token for one in held])
        words = unavailable(source)
        again = take(source, 1)
        source.acknowledge([one.token for one in again])

        assert source.depth() == 0
    assert "MAX_POLL_EXCEEDED" in words
    assert [one.letter["id"] for one in held] == [one.letter["id"] for one in again]


def test_a_broker_that_dies_is_said_by_all_and_gives_the_letters_again_when_it_is_back(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(looking, "ANSWER_S", 1.0)
    topic = kafka.topic()
    kafka.produce(topic, b"a", b"b")
    address = Address(url=f"kafka://{kafka.address}?session.timeout.ms=2000&heartbeat.interval.ms=500")
    with contextlib.closing(get_source("kafka", address, broker="b", queue=topic, options={"consumer": "h"})) as source:
        assert isinstance(source, KafkaSource)
        held = take(source, 2)

        kafka.kill()
        try:
            with pytest.raises(BrokerUnavailable):
                source.acknowledge([one.token for one in held])
            words, depth = unavailable(source), source.depth()
            [result] = publish(kafka, item(topic), timeout_s=3)
        finally:
            kafka.start()
        again = take(source, 2, starting=True)
        source.acknowledge([one.token for one in again])

        assert source.depth() == 0
    assert ("Connection refused" in words or "no broker answers" in words, depth) == (True, None)
    assert result.result == "unavailable"
    assert [one.letter["id"] for one in held] == [one.letter["id"] for one in again]


def test_a_topic_that_is_not_there_or_was_deleted_is_said_and_nobody_makes_it(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(kafka_source, "LOOK_EVERY_S", 0)
    missing, deleted = f"missing-{uuid.uuid4()}", kafka.topic()
    with source_of(kafka, missing) as source:
        words, depth, answers = unavailable(source), source.depth(), source.check()
    with source_of(kafka, deleted) as source:
        kafka.produce(deleted, b"a")
        take(source, 1)
        kafka.delete(deleted)
        gone = unavailable(source)
    results = publish(kafka, item(missing), item(deleted), item("no topic has such a name!"), item(""))

    assert (words, depth, gone) == (f"there is no topic {missing}", None, f"there is no topic {deleted}")
    assert (answers[-1].question, answers[-1].answer) == ("queue exists", False)
    assert [one.result for one in results] == ["refused"] * 4
    assert all("there is no topic" in one.detail for one in results[:2])
    assert all("is no name of a topic" in one.detail for one in results[2:])
    assert not {missing, deleted} & kafka.topics()


def test_of_a_topic_that_was_deleted_and_made_again_unnoticed_every_record_is_taken(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(kafka_source, "LOOK_EVERY_S", 0.5)
    topic = kafka.topic()
    kafka.produce(topic, *[f"old {n}".encode() for n in range(4)])
    seen: list[object] = []

    with source_of(kafka, topic, consumer="h") as source:
        source.acknowledge([one.token for one in take(source, 4)])
        kafka.delete(topic)
        kafka.topic(name=topic)
        kafka.produce(topic, *[f"new {n}".encode() for n in range(9)])

        def all_of_them() -> bool:
            with contextlib.suppress(BrokerUnavailable):  # as the harvester does, it goes on
                received = source.receive(10, 0.5)
                source.acknowledge([one.token for one in received])
                seen.extend(bodies(received))
            return len(set(seen)) >= 9

        wait_until(all_of_them, seconds=30, what="every record", every=0)

    assert set(seen) == {f"new {n}" for n in range(9)}


def test_a_letter_goes_back_as_it_was_tombstones_and_bytes_too(kafka: Kafka):
    origin, dead = kafka.topic(partitions=3), kafka.topic()
    told = [("kafka_dlt-original-topic", origin.encode()), ("kafka_dlt-original-partition", (2).to_bytes(4, "big"))]
    own = [("a", b"1"), ("a", b"\xff\x00"), ("none", None)]
    kafka.produce(dead, None, b"", b"{}", key=b"\x00\xffkey", headers=[*own, *told])

    with source_of(kafka, dead) as source:
        results = [sent_back(kafka, one) for one in take(source, 3)]

    records = kafka.records(origin)
    assert [one.result for one in results] == ["confirmed"] * 3
    assert [one.broker_id for one in results] == [f"{origin}[2]@{n}" for n in range(3)]
    assert [(one.value(), one.key(), one.partition(), one.headers()) for one in records] == [
        (value, b"\x00\xffkey", 2, own) for value in (None, b"", b"{}")
    ]


def safely(kafka: Kafka, secret: str = PASSWORD, **options: object) -> Address:
    return Address(
        url=f"kafka+ssl://{kafka.safe}", username=USER, secret=secret, options={"ssl.ca.location": str(kafka.authority)} | options
    )  # fmt: skip


def test_a_group_that_the_login_may_not_be_in_is_named_and_so_is_a_topic_it_may_not_see(kafka: Kafka):
    readable, hidden = kafka.topic(), kafka.topic()
    kafka.allow(AclOperation.READ, readable)

    for topic, words in ((readable, f"as group waybill.{readable}"), (hidden, "TOPIC_AUTHORIZATION_FAILED")):
        with contextlib.closing(get_source("kafka", safely(kafka), broker="b", queue=topic, options={})) as source:
            last = source.check()[-1]

            assert (last.question, last.answer, words in last.detail) == ("may read", False, True)
            assert "AUTHORIZATION_FAILED" in unavailable(source)  # type: ignore[arg-type]


def test_no_more_is_in_hand_than_some_megabytes_and_a_body_of_30_is_taken_and_sent(kafka: Kafka):
    topic = kafka.topic(max_message_bytes=40_000_000)
    body = os.urandom(10_000_000) * 3
    kafka.produce(topic, *[os.urandom(1_000_000) for _ in range(20)], body)

    sizes: list[list[int]] = []

    def all_taken() -> bool:
        batch = source.receive(1000, 1)
        sizes.append([len(str(one.letter["body_base64"])) * 3 // 4 for one in batch])
        return sum(map(sum, sizes)) >= 50_000_000

    with source_of(kafka, topic) as source:
        wait_until(all_taken, seconds=40, what="50 MB", every=0)
    [result] = publish(kafka, item(topic, body))

    assert all(sum(batch[:-1]) <= looking.MOST_BYTES for batch in sizes)
    assert result.result == "confirmed"


def produce_poison(kafka: Kafka, topic: str, times: int = 1) -> None:
    """Produce records with a header's name that is no UTF-8, as only C's own interface can."""
    [library] = (Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs").glob("librdkafka*")
    c = ctypes.CDLL(str(library))
    c.rd_kafka_conf_new.restype = c.rd_kafka_new.restype = ctypes.c_void_p
    said, properties = ctypes.create_string_buffer(512), ctypes.c_void_p(c.rd_kafka_conf_new())
    c.rd_kafka_conf_set(properties, b"bootstrap.servers", kafka.address.encode(), said, ctypes.c_size_t(512))
    producer = ctypes.c_void_p(c.rd_kafka_new(0, properties, said, ctypes.c_size_t(512)))
    of_topic, of_value, of_flags, of_header, end, copy = 1, 4, 7, 9, 0, 2
    for _ in range(times):
        c.rd_kafka_producev(
            producer, of_topic, ctypes.c_char_p(topic.encode()), of_flags, copy, of_value, ctypes.c_char_p(b"poison"), ctypes.c_size_t(6),
            of_header, ctypes.c_char_p(b"bad\xff\xfename"), ctypes.c_char_p(b"v"), ctypes.c_ssize_t(1), end,
        )  # fmt: skip
    assert c.rd_kafka_flush(producer, 10_000) == 0
    c.rd_kafka_destroy(producer)


def test_a_header_that_no_library_can_read_holds_up_nothing(kafka: Kafka):
    topic = kafka.topic()
    kafka.produce(topic, b"before")
    produce_poison(kafka, topic)
    kafka.produce(topic, b"after")

    with source_of(kafka, topic) as source:
        received = take(source, 3)

    assert bodies(received) == ["before", "poison", "after"]
    assert "its headers cannot be read" in str(received[1].letter["reason"])


def test_headers_that_no_library_can_read_are_so_every_time_however_often_they_come(kafka: Kafka):
    """After some calls the interpreter specialises the library's, and no longer sees its exception."""
    topic = kafka.topic()
    produce_poison(kafka, topic, times=200)

    with source_of(kafka, topic) as source:
        received = take(source, 200)

    assert {"its headers cannot be read" in str(one.letter["reason"]) for one in received} == {True}


def test_a_record_that_connects_sink_cannot_read_is_a_letter_and_goes_back(kafka: Kafka):
    topic = kafka.topic(partitions=2)
    dead = f"{topic}.DLQ"
    kafka.produce(topic, b"{not json", key=b"\x00k", partition=1, headers=[("tenant", b"\xff\x00")])

    with kafka.sink(topic, dead):
        wait_until(lambda: dead in kafka.topics(), seconds=60, what="Connect to give it up")
        with source_of(kafka, dead) as source:
            [received] = take(source, 1)
    result = sent_back(kafka, received)

    letter: dict[str, Any] = received.letter
    assert (letter["reason"], letter["reason_code"], letter["system"]) == ("VALUE_CONVERTER", "deserialization", "to-file")  # fmt: skip
    assert letter["error"]["root_type"] == "com.fasterxml.jackson.core.JsonParseException"
    assert letter["route"] == {"topic": topic, "partition": "1"}
    assert (letter["properties"]["original_offset"], "failed_at" in letter) == (0, False)
    assert result.result == "confirmed"
    first, second = kafka.records(topic)
    assert (second.value(), second.key(), second.partition(), second.headers()) == (b"{not json", b"\x00k", 1, [("tenant", b"\xff\x00")])  # fmt: skip
    assert first.headers() == second.headers()
