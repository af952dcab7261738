"""What a group's consumers were given too often is a dead letter, without anybody moving it."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from messages.connectors import get_source
from messages.connectors.base import Address, BrokerUnavailable

Stream = tuple[Any, str]


@pytest.fixture
def stream() -> Iterator[Stream]:
    """A client, and a stream of two entries that two groups work on; group `erp` was given the first one five times."""
    client = redis.Redis.from_url(os.environ["REDIS_URL"])
    name = f"orders-{uuid.uuid4()}"
    for group in ("erp", "crm"):
        client.xgroup_create(name, group, id="0", mkstream=True)
    for number in range(2):
        client.xadd(name, {"body": f'{{"n": {number}}}', "message-id": f"m-{number}"})
    [[_, [(first, _), _]]] = given(client, name, "erp")
    for _ in range(4):
        client.xclaim(name, "erp", "worker", 0, [first])
    yield client, name
    client.delete(name)
    client.close()


def given(client: Any, name: str, group: str) -> Any:
    answer = client.xreadgroup(group, "worker", {name: ">"}, count=10)
    return [[key, entries[0] if isinstance(entries[0], list) else entries] for key, entries in dict(answer).items()]


def source(name: str, **options: object) -> Any:
    given_options = {"pending_of": "erp", "idle_s": 0, "consumer": "waybill", **options}
    return contextlib.closing(
        get_source("redis-streams", Address(url=os.environ["REDIS_URL"]), broker="b", queue=name, options=given_options)
    )


def test_only_what_was_given_so_often_is_a_dead_letter_of_that_group(stream: Stream):
    client, name = stream

    with source(name) as opened:
        waiting = opened.depth()
        [one] = opened.receive(10, 0)
        again = opened.receive(10, 0)
        opened.acknowledge([one.token])

    letter = one.letter
    assert (waiting, again) == (1, [])
    assert (letter["message_id"], letter["attempts"], letter["reason_code"]) == ("m-0", 5, "delivery_limit")
    assert (letter["origin"], letter["route"], letter["system"]) == (name, {"stream": name}, "erp")
    assert client.xpending(name, "erp")["pending"] == 1
    assert client.xlen(name) == 2
    assert len(given(client, name, "crm")[0][1]) == 2  # another group loses nothing


def test_it_is_deleted_when_asked_for(stream: Stream):
    client, name = stream

    with source(name, entry="delete") as opened:
        opened.acknowledge([one.token for one in opened.receive(10, 0)])

    assert client.xlen(name) == 1


def test_what_was_taken_and_not_acknowledged_comes_again_as_the_same_letter_and_nobody_else_is_given_it(stream: Stream):
    client, name = stream

    with source(name) as first:
        [before] = first.receive(10, 0)
    owners = {entry["consumer"] for entry in client.xpending_range(name, "erp", "-", "+", 10)}
    with source(name, idle_s=3600) as second:
        [after] = second.receive(10, 0)

    assert owners == {b"waybill", b"worker"}
    assert (before.letter["id"], before.letter["attempts"]) == (after.letter["id"], after.letter["attempts"])


def test_what_a_consumer_may_still_work_on_is_left_to_it(stream: Stream):
    _, name = stream

    with source(name, idle_s=3600) as opened:
        assert (opened.receive(10, 0), opened.depth()) == ([], 0)


def test_a_deleted_entry_is_passed_over(stream: Stream):
    client, name = stream
    client.xtrim(name, maxlen=0)

    with source(name) as opened:
        assert opened.receive(10, 0) == []


def test_a_check_counts_them_and_a_group_that_is_not_there_is_said(stream: Stream):
    _, name = stream

    with source(name) as opened:
        fine = opened.check()[-1]
    with source(name, pending_of="nobody") as opened:
        missing = opened.check()[-1]
        with pytest.raises(BrokerUnavailable, match="nobody"):
            opened.receive(1, 0)

    assert (fine.answer, "has 2 entries pending, 1 of them" in fine.detail) == (True, True)
    assert (missing.answer, "nobody" in missing.detail) == (False, True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"deliveries": 0}, "deliveries"),
        ({"deliveries": "5"}, "deliveries"),
        ({"entry": "burn"}, "burn"),
        ({"idle_s": -1}, "idle_s"),
    ],
)
def test_options_that_are_none_are_said(stream: Stream, options: dict[str, object], words: str):
    with source(stream[1], **options) as opened:
        answer = opened.check()[-1]
        with pytest.raises(BrokerUnavailable, match=words):
            opened.receive(1, 0)

    assert (answer.answer, words in answer.detail) == (False, True)
