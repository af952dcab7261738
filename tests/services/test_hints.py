"""What to mind before a replay: asked of the broker when the form opens, within two seconds, and the page never waits for it."""

from __future__ import annotations

import contextlib
import os
import threading
import uuid
from typing import Any

import pika
import pytest
import redis

from console.identity.models import Role
from messages.connectors import get_connector
from messages.connectors.base import Address, Outgoing
from messages.connectors.redis_streams.topology import Group, group_of, stream_hints
from messages.replay import hints
from tests.factories import agent_key, memory_connection, push, stored_letter
from tests.pages.people import signed_in, text_of
from tests.ports import free_port


def asked(kind: str, url: str, destination: str, **more: Any) -> list[str]:
    item = Outgoing(id="1", destination=destination, body=b"", **more)
    with contextlib.closing(get_connector(kind, Address(url=url))) as connector:
        return connector.hints(item, died_in=f"{destination}.dlq", timeout_s=2)  # type: ignore[attr-defined, no-any-return]


def test_redis_says_whether_anybody_reads_the_stream():
    url, stream = os.environ["REDIS_URL"], f"t-{uuid.uuid4()}"
    with redis.Redis.from_url(url) as client:
        missing = asked("redis-streams", url, stream)
        client.xadd(stream, {"a": "1"})
        unread = asked("redis-streams", url, stream)
        client.xgroup_create(stream, "erp", "0")
        idle = asked("redis-streams", url, stream)
        client.xreadgroup("erp", "one", {stream: ">"})
        read = asked("redis-streams", url, stream)
        client.xgroup_create(stream, "crm", "0")
        client.pexpire(stream, 90_000)
        several = asked("redis-streams", url, stream)
        client.delete(stream)

    assert missing == [f"stream {stream} is not there: this message makes it, and nobody reads it yet"]
    assert unread == [f"no consumer group reads stream {stream}"]
    assert idle == [f"stream {stream} has the groups erp, and none has a consumer"]
    assert read == []
    assert several[0].startswith(f"stream {stream} itself expires in ")
    assert several[1:] == [
        f"2 consumer groups read stream {stream} (crm, erp): each gets it, also those that did well with it before"
    ]


def test_a_group_whose_consumers_have_not_asked_for_long_is_said():
    def said(*groups: Group) -> list[str]:
        return stream_hints("s", groups, expires_in_s=None)

    gone, here, none = Group(name="a", idle_s=7300.0), Group(name="b", idle_s=4.0), Group(name="c", idle_s=None)

    assert said(gone) == ["nobody has asked for entries of stream s for long: a for 121 min. Are its consumers there?"]
    assert said(here) == []
    assert len(said(gone, here)) == 1
    assert said(none) == ["stream s has the groups c, and none has a consumer"]
    assert group_of({"name": b"\xff"}, [{"idle": 2000}, {"idle": 9}, {}]).idle_s == 0.009
    assert group_of({}, [{"idle": "x"}]).idle_s == 0.0


@pytest.mark.engine
def test_rabbitmq_says_whether_anybody_consumes_the_queue_and_when_the_message_expires(rabbitmq: str):
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(rabbitmq))) as connection:
        channel = connection.channel()
        queue = channel.queue_declare(f"t-{uuid.uuid4()}", exclusive=False).method.queue
        unread = asked("rabbitmq", rabbitmq, queue, properties={"expiration": "5000"})
        channel.basic_consume(queue, lambda *_: None)
        read = asked("rabbitmq", rabbitmq, queue)
        missing = asked("rabbitmq", rabbitmq, "nowhere")
        channel.queue_delete(queue)

    assert unread == [
        "it carries its own time to live: it expires 5 s after it is sent if nobody takes it",
        f"queue {queue} has no consumer now: the message waits there",
    ]
    assert read == []
    assert missing == ["there is no queue nowhere: RabbitMQ would return the message"]


@pytest.mark.django_db
def test_the_form_of_a_letter_asks_when_it_is_opened_and_without_scripts_by_a_link():
    memory_connection(hint="nobody consumes it")
    found = stored_letter()
    client = signed_in(role=Role.OPERATOR)

    page = client.get(f"/dead-letters/{found.pk}/").content.decode()
    part = client.get(f"/dead-letters/{found.pk}/hints/", HTTP_HX_REQUEST="true").content.decode()
    whole = client.get(f"/dead-letters/{found.pk}/hints/")
    rest = client.get(f"/api/v1/dead-letters/{found.pk}/hints").json()

    assert f'hx-get="/dead-letters/{found.pk}/hints/" hx-trigger="toggle from:closest details once"' in page
    assert part.strip().startswith('<div class="stack tight" id="hints"')
    assert "Erp.orders: nobody consumes it." in text_of(whole)
    assert rest == {"results": ["erp.orders: nobody consumes it"]}


@pytest.mark.django_db
def test_a_letter_of_a_mirrored_queue_leaves_its_original_there():
    memory_connection()
    found = stored_letter()
    queue = {"broker": found.broker, "queue": found.queue, "mode": "mirror"}
    push("/ingest/v1/heartbeat", {"queues": [queue]}, key=agent_key("harvester"))

    [said] = signed_in().get(f"/api/v1/dead-letters/{found.pk}/hints").json()["results"]

    assert said.startswith("the original stays in erp.orders.dlq, which is mirrored")


@pytest.mark.django_db
def test_nothing_to_mind_is_said_and_who_may_not_replay_does_not_ask():
    memory_connection()
    found = stored_letter()

    assert "knows of nothing to mind" in text_of(signed_in().get(f"/dead-letters/{found.pk}/hints/"))
    viewer = signed_in("viewer", Role.VIEWER)
    assert viewer.get(f"/api/v1/dead-letters/{found.pk}/hints").status_code == 403


@pytest.mark.django_db
def test_a_broker_that_is_slow_gets_no_more_time_and_one_that_hangs_gathers_no_threads(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hints, "WAIT_S", 0.05)
    monkeypatch.setattr(hints, "_room", threading.BoundedSemaphore(1))
    memory_connection(hint="late", slow_s=0.4)
    found, client = stored_letter(), signed_in()

    first = client.get(f"/api/v1/dead-letters/{found.pk}/hints").json()["results"]
    second = client.get(f"/api/v1/dead-letters/{found.pk}/hints").json()["results"]
    for thread in threading.enumerate():
        if thread.name == "hints":
            thread.join(timeout=5)

    assert first == ["the broker was asked what to mind and has not answered within 0.05 s"]
    assert second == ["not asked: the brokers that were asked before have not answered yet"]


@pytest.mark.django_db
@pytest.mark.parametrize(("kind", "scheme"), [("redis-streams", "redis"), ("rabbitmq", "amqp")])
def test_a_broker_that_is_away_is_said(kind: str, scheme: str):
    connection = memory_connection()
    type(connection).objects.update(kind=kind, address=f"{scheme}://127.0.0.1:{free_port()}")
    found = stored_letter()

    [said] = signed_in().get(f"/api/v1/dead-letters/{found.pk}/hints").json()["results"]

    assert said.startswith("the broker does not answer now: ")
