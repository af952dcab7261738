"""One suite for every connector and source: what is published arrives whole, what is refused says why, what is acknowledged is gone."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import pika
import pytest
import redis

from messages.connectors import UnknownFamily, get_connector, get_source
from messages.connectors.base import Address, Header, Outgoing
from messages.connectors.http.targets import path_below
from tests.conftest import MEMORY
from tests.contracts.benches import BENCHES, ENGINES, Bench, http_bench
from tests.ports import free_port


@pytest.fixture(params=[*BENCHES, *ENGINES])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    if request.param in BENCHES:
        yield from BENCHES[request.param]()
    else:
        fixture, make = ENGINES[request.param]
        yield from make(request.getfixturevalue(fixture))


def outgoing(destination: str, **changes: Any) -> Outgoing:
    headers = (Header(name="message-id", type="string", value="m-1"), Header(name="mine", type="string", value="yes"))
    return Outgoing(
        **{
            "id": str(uuid.uuid4()),
            "destination": destination,
            "body": b'{"a":1}',
            "headers": headers,
            "content_type": "application/json",
        }
        | changes
    )


def test_a_published_message_is_confirmed_and_arrives_whole(bench: Bench):
    with contextlib.closing(get_connector(bench.kind, bench.address, {"memory": MEMORY})) as connector:
        results = connector.publish([outgoing(bench.good), outgoing(bench.good, body=bench.other)], timeout_s=5)

    assert [(r.result, bool(r.detail)) for r in results] == [("confirmed", True)] * 2
    arrived = bench.received()
    assert [body for body, _ in arrived] == [b'{"a":1}', bench.other]
    assert all(headers["mine"] == "yes" for _, headers in arrived)


def test_what_the_other_side_will_not_take_is_refused_in_words_and_the_rest_goes_on(bench: Bench):
    with contextlib.closing(get_connector(bench.kind, bench.address, {"memory": MEMORY})) as connector:
        results = connector.publish([outgoing(bench.refused or ""), outgoing(bench.good)], timeout_s=5)

    assert [r.result for r in results] == ["refused", "confirmed"]
    assert results[0].detail


def test_a_check_answers_in_words(bench: Bench):
    with contextlib.closing(get_connector(bench.kind, bench.address, {"memory": MEMORY})) as connector:
        checks = connector.check(bench.good if bench.kind in {"rabbitmq", "sqs", "kafka"} else None)

    assert checks[0].question == "reached"
    assert all(check.answer is not False and check.detail for check in checks)


@pytest.mark.parametrize(
    ("kind", "scheme"),
    [
        ("redis-streams", "redis"),
        ("rabbitmq", "amqp"),
        ("activemq", "stomp"),
        ("activemq", "amqp10"),
        ("http", "http"),
        ("kafka", "kafka"),
    ],
)
def test_nobody_there_is_unavailable_not_unknown(kind: str, scheme: str):
    with contextlib.closing(get_connector(kind, Address(url=f"{scheme}://127.0.0.1:{free_port()}"))) as connector:
        [result] = connector.publish([outgoing("anywhere")], timeout_s=2)
        checks = connector.check(None)

    assert result.result == "unavailable"
    assert (checks[0].question, checks[0].answer) == ("reached", False)


def test_http_tells_busy_from_refused_and_follows_no_redirect():
    for bench in http_bench():
        with contextlib.closing(get_connector("http", bench.address)) as connector:
            results = connector.publish(
                [outgoing("busy"), outgoing("moved"), outgoing("../../open"), outgoing("http://169.254.169.254/")],
                timeout_s=5,
            )

        assert [r.result for r in results] == ["unavailable", "refused", "confirmed", "confirmed"]
        assert len(bench.received()) == 2  # both stayed below the approved address


def test_http_never_goes_to_link_local_addresses():
    with contextlib.closing(get_connector("http", Address(url="http://169.254.169.254/latest"))) as connector:
        [result] = connector.publish([outgoing("")], timeout_s=1)

    assert (result.result, "no request may go" in result.detail) == ("refused", True)


def test_http_without_an_answer_is_unknown():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with contextlib.closing(
            get_connector("http", Address(url=f"http://127.0.0.1:{silent.getsockname()[1]}"))
        ) as connector:
            [result] = connector.publish([outgoing("x")], timeout_s=0.3)

    assert result.result == "unknown"


@pytest.mark.parametrize("elsewhere", ["%2e%2e/open", "..%2f..%2fopen", "%2E./a%5c..%5copen", "open/%2e%2e/%2e%2e/x"])
def test_http_stays_below_the_approved_path_however_the_way_up_is_written(elsewhere: str):
    path = path_below("/base", elsewhere)

    assert path.startswith("/base")
    assert not {"..", "."} & set(unquote(path).replace("\\", "/").split("/"))


def test_http_leaves_out_what_no_http_header_can_say_and_sends_the_rest():
    odd = [
        ("a\r\nb", "1"),
        ("", "2"),
        ("a b", "3"),
        ("a:b", "4"),
        ("fine", "5\r\nX: y"),
        ("content-type", "x/y"),
        ("ok", "6"),
    ]
    headers = tuple(Header(name=name, type="string", value=value) for name, value in odd)
    for bench in http_bench():
        with contextlib.closing(get_connector("http", bench.address)) as connector:
            results = connector.publish(
                [outgoing("open", headers=headers), outgoing("open", content_type="a/b\r\nX: y")], timeout_s=5
            )

        assert [r.result for r in results] == ["confirmed"] * 2
        [(_, first), (_, second)] = bench.received()
        assert (first["ok"], first["content-type"], "x" in first, "fine" in first) == (
            "6",
            "application/json",
            False,
            False,
        )
        assert second["content-type"] == "application/octet-stream"


def test_http_tries_every_address_of_a_name(monkeypatch: pytest.MonkeyPatch):
    for bench in http_bench():
        port = int(bench.address.url.rpartition(":")[2].split("/")[0])
        found = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, at))
            for host, at in (("127.0.0.2", free_port()), ("127.0.0.1", port))
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)  # noqa: B023  a resolver with two answers
        with contextlib.closing(get_connector("http", bench.address)) as connector:
            [result] = connector.publish([outgoing("open")], timeout_s=5)

        assert result.result == "confirmed"


UNSENDABLE: dict[str, dict[str, Any]] = {
    "a number beyond 63 bits": {"headers": (Header(name="n", type="int", value=2**63),)},
    "a long name of a header": {"headers": (Header(name="n" * 300, type="int", value=1),)},
    "a priority that is none": {"properties": {"priority": "high"}},
    "a long message id": {"properties": {"message_id": "m" * 300}},
    "a long key": {"destination": "ü" * 200},
}


@pytest.mark.parametrize("changes", UNSENDABLE.values(), ids=UNSENDABLE)
def test_what_amqp_cannot_carry_is_refused_not_unknown(rabbitmq: str, changes: dict[str, Any]):
    with contextlib.closing(get_connector("rabbitmq", Address(url=rabbitmq))) as connector:
        [result] = connector.publish([outgoing(**({"destination": "q"} | changes))], timeout_s=5)

    assert (result.result, "AMQP cannot carry it" in result.detail) == ("refused", True)


def test_an_unknown_kind_is_named():
    with pytest.raises(UnknownFamily, match="telex"):
        get_connector("telex", Address(url="x"))


def test_a_redis_stream_gives_letters_until_acknowledged_and_again_after_a_crash():
    client = redis.Redis.from_url(os.environ["REDIS_URL"])
    queue = f"t-{uuid.uuid4()}.dlq"
    for number in range(3):
        client.xadd(
            queue,
            {
                "body": json.dumps({"n": number}),
                "message-id": f"m-{number}",
                "error-stack": "Caused by: java.net.Timeout: x",
                "attempts": "3",
            },
        )
    address = Address(url=os.environ["REDIS_URL"])
    options = {"system": "erp"}

    first = get_source("redis-streams", address, broker="b", queue=queue, options=options)
    before = first.receive(2, 0.1)
    first.close()  # dies without acknowledging
    with contextlib.closing(get_source("redis-streams", address, broker="b", queue=queue, options=options)) as second:
        again = second.receive(2, 0.1)
        rest = second.receive(5, 0.1) + second.receive(5, 0.1)
        second.acknowledge([r.token for r in again + rest])
        empty = second.receive(5, 0.1)

    assert [r.letter["id"] for r in before] == [r.letter["id"] for r in again]
    assert [r.letter["message_id"] for r in again + rest] == ["m-0", "m-1", "m-2"]
    assert (again[0].letter["origin"], again[0].letter["attempts"]) == (queue.removesuffix(".dlq"), 3)
    assert again[0].letter["error"]["root_type"] == "java.net.Timeout"
    assert (empty, client.xlen(queue)) == ([], 0)
    client.delete(queue)
    client.close()


def test_a_rejected_rabbitmq_message_is_a_letter_with_its_origin_and_the_same_id_after_a_crash(rabbitmq: str):
    name = f"t-{uuid.uuid4()}"
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(rabbitmq))) as connection:
        channel = connection.channel()
        channel.queue_declare(f"{name}.dlq")
        channel.queue_declare(
            name, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": f"{name}.dlq"}
        )
        for number in range(2):
            properties = pika.BasicProperties(
                headers={"n": number, "blob": b"\x00\xff"}, message_id=f"m-{number}", content_type="text/plain"
            )
            channel.basic_publish("", name, b"same body", properties)
        for _ in range(2):
            while (got := channel.basic_get(name))[0] is None:
                pass
            channel.basic_reject(got[0].delivery_tag, requeue=False)

    def harvest(acknowledge: bool) -> list[dict[str, Any]]:
        found: list[Any] = []
        with contextlib.closing(
            get_source("rabbitmq", Address(url=rabbitmq), broker="b", queue=f"{name}.dlq", options={"system": "erp"})
        ) as source:
            while len(found) < 2:
                found += source.receive(10, 1)
            if acknowledge:
                source.acknowledge([r.token for r in found])
        return sorted((r.letter for r in found), key=lambda letter: str(letter["message_id"]))

    before, after = harvest(acknowledge=False), harvest(acknowledge=True)

    assert [letter["id"] for letter in before] == [letter["id"] for letter in after]
    assert len({str(letter["id"]) for letter in after}) == 2
    assert (after[0]["origin"], after[0]["route"], after[0]["reason"]) == (
        name,
        {"exchange": "", "routing_key": name},
        "rejected",
    )
    assert {"name": "blob", "type": "bytes", "value": "AP8="} in after[0]["headers"]
