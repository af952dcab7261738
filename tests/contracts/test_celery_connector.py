"""Tasks over Redis and RabbitMQ: what arrives is what Celery itself would have sent, and what is no task is refused."""

from __future__ import annotations

import contextlib
import os
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import kombu
import pytest
import redis
from celery import Celery
from kombu.utils import json

from agents.sdk.celery_tasks import body_of_task, letter_of
from messages.connectors import get_connector
from messages.connectors.base import Address, BrokerUnavailable, CanHint, Header, Outgoing
from messages.connectors.celery.connector import url_of, worker_hints
from messages.connectors.celery.task import as_message
from tests.ports import free_port
from tests.product import wait_until

ARGS: list[Any] = ["4711", 1.5, None, {"deep": ["ä", date(2026, 11, 25)]}]
KWARGS = {"amount": Decimal("12.50"), "at": datetime(2026, 11, 25, tzinfo=UTC), "ref": uuid.UUID(int=7)}


@pytest.fixture(params=["redis", "amqp"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "amqp":
        yield request.getfixturevalue("rabbitmq")
        return
    address = os.environ["REDIS_URL"].rpartition("/")[0] + "/9"
    yield address
    with redis.Redis.from_url(address) as client:
        client.flushdb()


@pytest.fixture
def queue(url: str) -> Iterator[str]:
    name = f"t-{uuid.uuid4()}"
    with kombu.Connection(url) as connection:
        bound = kombu.Queue(name, kombu.Exchange(name), routing_key=name)(connection)
        bound.declare()
        yield name
        bound.delete()


def task(queue: str, **changes: Any) -> Outgoing:
    body = body_of_task("erp.book", ARGS, KWARGS).encode()
    headers = (Header(name="replay-id", type="string", value="r-1"), Header(name="task", type="string", value="other"))
    return Outgoing(**{"id": str(uuid.uuid4()), "destination": queue, "body": body, "headers": headers} | changes)


def arrived(url: str, queue: str) -> list[Any]:
    with kombu.Connection(url) as connection:
        waiting = kombu.Queue(queue, no_declare=True)(connection.channel())
        found = []
        while (message := waiting.get(no_ack=True)) is not None:
            found.append(message)
        return found


def test_a_task_is_confirmed_and_arrives_as_celery_itself_would_have_sent_it(url: str, queue: str):
    sent = task(queue)

    with contextlib.closing(get_connector("celery", Address(url=url))) as connector:
        [result] = connector.publish([sent], timeout_s=5)

    [message] = arrived(url, queue)
    args, kwargs, _ = json.loads(message.body)
    theirs = Celery(set_as_current=False).amqp.as_task_v2(sent.id, "erp.book", args=tuple(ARGS), kwargs=KWARGS)
    assert result.result == "confirmed"
    assert (args, kwargs) == (ARGS, KWARGS)
    assert {name: message.headers[name] for name in theirs.headers if name not in ("origin", "argsrepr")} == {
        name: value for name, value in theirs.headers.items() if name not in ("origin", "argsrepr")
    }
    assert message.headers["replay-id"] == "r-1"
    assert message.properties["correlation_id"] == theirs.properties["correlation_id"] == sent.id
    assert (message.content_type, message.content_encoding) == ("application/json", "utf-8")


def test_headers_and_body_have_every_part_of_celerys_own():
    theirs = Celery(set_as_current=False).amqp.as_task_v2("i", "n", args=(1,), kwargs={})

    body, headers = as_message("i", "n", [1], {})

    assert headers.keys() == theirs.headers.keys()
    assert json.loads(body) == [[1], {}, theirs.body[2]]


NO_TASKS = {
    "not JSON": b"\x00",
    "another JSON": b'{"a":1}',
    "no list": b'{"task": "t", "args": "(1,)", "kwargs": {}}',
    "deep": b"[" * 100_000,
    "an unknown type": b'{"task": "t", "args": [{"__type__": "nobody", "__value__": 1}], "kwargs": {}}',
}


def test_what_is_no_task_is_refused_in_words_and_the_rest_goes_on(url: str, queue: str):
    items = [task(queue, body=body) for name, body in NO_TASKS.items() if name != "an unknown type"]

    with contextlib.closing(get_connector("celery", Address(url=url))) as connector:
        results = connector.publish([*items, task(queue)], timeout_s=5)

    assert [r.result for r in results] == ["refused"] * len(items) + ["confirmed"]
    assert all("not a task" in r.detail for r in results[:-1])


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_nobody_there_is_unavailable_not_unknown(scheme: str):
    with contextlib.closing(get_connector("celery", Address(url=f"{scheme}://127.0.0.1:{free_port()}"))) as connector:
        [result] = connector.publish([task("anywhere")], timeout_s=2)
        checks = connector.check("anywhere")

    assert result.result == "unavailable"
    assert (checks[0].question, checks[0].answer) == ("reached", False)


def test_a_wrong_login_is_refused(url: str, queue: str):
    address = Address(url=url, username="nobody", secret="wrong/secret")

    with contextlib.closing(get_connector("celery", address)) as connector:
        [result] = connector.publish([task(queue)], timeout_s=2)

    assert (result.result, "login" in result.detail) == ("refused", True)


def test_a_check_answers_in_words(url: str, queue: str):
    with contextlib.closing(get_connector("celery", Address(url=url))) as connector:
        connector.publish([task(queue)], timeout_s=5)
        checks = connector.check(queue)

    assert all(check.answer is not False and check.detail for check in checks)


@pytest.mark.parametrize(
    ("address", "url"),
    [
        (Address(url="redis://h:1/2"), "redis://h:1/2"),
        (Address(url="redis://h:1/2", secret="a/b"), "redis://:a%2Fb@h:1/2"),
        (
            Address(url="rediss://u:old@h:1/2?ssl_cert_reqs=required", username="u", secret="new"),
            "rediss://u:new@h:1/2?ssl_cert_reqs=required",
        ),
    ],
)
def test_the_address_as_kombu_takes_it(address: Address, url: str):
    assert url_of(address) == url


# What a worker reports.


class Odd:
    def __repr__(self) -> str:
        return "<odd>"


def failing(**request: Any) -> Any:
    app = Celery(set_as_current=False)
    app.conf.task_queues = [kombu.Queue("erp-queue", routing_key="erp.key")]
    return SimpleNamespace(name="erp.book", app=app, request=SimpleNamespace(**request))


def test_a_letter_says_the_queue_the_attempts_and_the_arguments():
    task = failing(
        id="t", retries=2, root_id="r", headers={"replay-id": "x"}, delivery_info={"exchange": "", "routing_key": "erp.key"}
    )  # fmt: skip

    letter = letter_of(task, "t", (1,), {"a": 2}, default_queue="celery")

    assert (letter["queue"], letter["attempts"], letter["correlation_id"], letter["replay_id"]) == (
        "erp-queue",
        3,
        "r",
        "x",
    )
    assert json.loads(letter["body"]) == {"task": "erp.book", "args": [1], "kwargs": {"a": 2}}


def test_a_worker_that_died_under_its_task_knows_the_arguments_alone():
    letter = letter_of(failing(id=None), "t", (1,), {}, default_queue="celery")

    assert (letter["queue"], letter["message_id"], "attempts" in letter) == ("celery", "t", False)


def test_arguments_that_json_cannot_say_are_shown_and_cannot_be_sent_again():
    body = body_of_task("erp.book", (Odd(),), {})

    with contextlib.closing(get_connector("celery", Address(url="redis://127.0.0.1:1"))) as connector:
        [result] = connector.publish([task("q", body=body.encode())], timeout_s=1)

    assert "<odd>" in body
    assert (result.result, "cannot be sent again" in result.detail) == ("refused", True)


@pytest.mark.engine
def test_hints_say_whether_a_worker_listens(url: str, queue: str):
    def hints(item: Outgoing) -> list[str]:
        with contextlib.closing(get_connector("celery", Address(url=url))) as connector:
            assert isinstance(connector, CanHint)
            return connector.hints(item, died_in="", timeout_s=2)

    nobody = hints(task(queue))
    broken = hints(task(queue, body=b"no task"))

    words = "has no consumer now" if url.startswith("amqp") else "no worker waits for tasks on this Redis"
    assert len(nobody) == 1
    assert words in nobody[0]
    assert broken[0].startswith("it would be refused, it is not a task")


def test_redis_tells_of_workers_by_who_waits():
    waits, other, works = {"cmd": "brpop", "db": "0"}, {"cmd": "brpop", "db": "3"}, {"cmd": "get", "db": "0"}

    assert worker_hints("q", 0, [waits, works], db=0) == []
    assert "maybe none of them reads this queue" in worker_hints("q", 2, [waits], db=0)[0]
    assert "no worker waits" in worker_hints("q", 0, [other, works, {}], db=0)[0]


@pytest.mark.engine
def test_a_client_that_waits_in_brpop_is_seen_and_nobody_there_is_said():
    address = os.environ["REDIS_URL"].rpartition("/")[0] + "/9"
    name = f"t-{uuid.uuid4()}"
    waiting = threading.Thread(target=_wait_for_a_task, args=(address, name))
    waiting.start()
    try:
        with contextlib.closing(get_connector("celery", Address(url=address))) as connector:
            assert isinstance(connector, CanHint)
            wait_until(lambda: not connector.hints(task(name), died_in="", timeout_s=2), seconds=10, what="the worker")
    finally:
        with redis.Redis.from_url(address) as client:
            client.lpush(name, "done")
        waiting.join(timeout=30)
    with contextlib.closing(get_connector("celery", Address(url=f"redis://127.0.0.1:{free_port()}/0"))) as away:
        assert isinstance(away, CanHint)
        with pytest.raises(BrokerUnavailable):
            away.hints(task("q"), died_in="", timeout_s=2)


def _wait_for_a_task(address: str, name: str) -> None:
    with redis.Redis.from_url(address) as client:
        client.brpop([name], timeout=20)
