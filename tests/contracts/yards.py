"""A yard for each family that is harvested: a real broker as an application, an administrator and a fault see it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import boto3
import pika
import redis

from agents.harvest.config import HarvestConfig, Queue
from agents.harvest.loop import QueueHarvester
from messages.connectors import get_connector, get_source
from messages.connectors.activemq.management import Manager
from messages.connectors.base import Address, Connector, Outgoing, Source
from tests.conftest import need
from tests.contracts.relay import Relay
from tests.contracts.test_harvester import FakeConsole
from tests.engines.kafka import Kafka
from tests.engines.rabbitmq import RabbitMQ
from tests.product import ROOT


class Yard:
    """One broker. A queue of it takes durable messages; kill() and start() keep them."""

    kind = ""
    options: Mapping[str, Any] = {}  # of a queue, for its source
    many = 1000  # messages that make a long queue there
    largest = 30_000_000  # bytes of a body
    misses_queues = True  # a queue that is not there is an error there, and not made by asking

    def __init__(self, address: Address) -> None:
        self.address = address

    def queue(self) -> str:
        """Return the name of a fresh queue of dead letters."""
        raise NotImplementedError

    def left(self, queue: str) -> int:
        """Return how many messages the broker still has, while nobody harvests."""
        raise NotImplementedError

    def waiting(self, queue: str) -> int | None:
        """The same while somebody does; None when that cannot be told without taking from them."""
        return self.left(queue)

    def delete(self, queue: str) -> None:
        raise NotImplementedError

    def make_again(self, queue: str) -> None: ...

    def kill(self) -> None:
        raise NotImplementedError

    def start(self) -> None:
        raise NotImplementedError

    def connector(self, address: Address | None = None) -> contextlib.closing[Connector]:
        return contextlib.closing(get_connector(self.kind, address or self.address))

    def source(self, queue: str) -> contextlib.closing[Source]:
        return contextlib.closing(
            get_source(self.kind, self.address, broker="b", queue=queue, options={"consumer": "h", **self.options})
        )

    def put(self, queue: str, bodies: Sequence[str | bytes]) -> None:
        """Put messages of ids `m-0`, `m-1`, … with these bodies."""
        with self.connector() as connector:
            results = connector.publish([item(n, queue, body) for n, body in enumerate(bodies)], timeout_s=60)
        assert [one for one in results if one.result != "confirmed"] == []

    def harvester(self, console: FakeConsole, queue: str, **changes: Any) -> QueueHarvester:
        """Return the harvester's own thread for this queue; a test starts it."""
        batch = changes.pop("batch", 200)
        made = {"broker": "b", "kind": self.kind, "address": self.address, "name": queue, "options": self.options}
        one = Queue(**(made | changes))
        config = HarvestConfig(
            console=console.url, key="wb_agent_x", name="h", queues=(one,), batch=batch, heartbeat_s=1
        )
        return QueueHarvester(config, one, threading.Event())

    def file(self, folder: Path, console_url: str, queue: str, *, key: str = "wb_agent_x", **root: Any) -> Path:
        """Write harvest.toml for this queue."""
        lines = [f"console = {json.dumps(console_url)}", f'key = "{key}"', 'name = "h"']
        lines += [f"{name} = {json.dumps(value)}" for name, value in root.items()]
        lines += ["[[broker]]", 'name = "b"', f'kind = "{self.kind}"', f"address = {json.dumps(self.address.url)}"]
        if self.address.username:
            lines += [f"username = {json.dumps(self.address.username)}"]
        if self.address.secret:
            lines += [f"secret = {json.dumps(self.address.secret)}"]
        lines += ["[[broker.queue]]", f"name = {json.dumps(queue)}"]
        lines += [f"{name} = {json.dumps(value)}" for name, value in self.options.items()]
        file = folder / "harvest.toml"
        file.write_text("\n".join(lines) + "\n")
        return file


def item(number: int, destination: str, body: str | bytes) -> Outgoing:
    data = body.encode() if isinstance(body, str) else body
    return Outgoing(id=f"i-{number}", destination=destination, body=data, properties={"message_id": f"m-{number}"})


class RabbitYard(Yard):
    kind = "rabbitmq"
    many = 10_000

    def __init__(self, broker: RabbitMQ) -> None:
        super().__init__(Address(url=broker.url))
        self.broker = broker

    @contextlib.contextmanager
    def channel(self) -> Iterator[Any]:
        with contextlib.closing(pika.BlockingConnection(pika.URLParameters(self.broker.url))) as connection:
            yield connection.channel()

    def queue(self) -> str:
        name = f"t-{uuid.uuid4()}.dlq"
        self.make_again(name)
        return name

    def make_again(self, queue: str) -> None:
        with self.channel() as channel:
            channel.queue_declare(queue, durable=True)

    def left(self, queue: str) -> int:
        with self.channel() as channel:
            return int(channel.queue_declare(queue, passive=True).method.message_count)

    def delete(self, queue: str) -> None:
        with self.channel() as channel:
            channel.queue_delete(queue)

    def kill(self) -> None:
        self.broker.kill()

    def start(self) -> None:
        self.broker.start()


class KafkaYard(Yard):
    kind = "kafka"

    def __init__(self, broker: Kafka) -> None:
        super().__init__(Address(url=f"kafka://{broker.address}?session.timeout.ms=2000&heartbeat.interval.ms=500"))
        self.broker = broker

    def queue(self) -> str:
        return self.broker.topic(max_message_bytes=40_000_000)

    def make_again(self, queue: str) -> None:
        self.broker.topic(name=queue)

    def left(self, queue: str) -> int:
        with self.source(queue) as source:
            depth = source.depth()
        assert depth is not None
        return depth

    def delete(self, queue: str) -> None:
        self.broker.delete(queue)

    def kill(self) -> None:
        self.broker.kill()

    def start(self) -> None:
        self.broker.start()


class SqsYard(Yard):
    """LocalStack forgets everything when it is killed: what dies here is the way to it."""

    kind = "sqs"
    largest = 250_000  # what every queue takes
    many = 100  # LocalStack takes some 30 ms for each
    options = {"visibility_s": 1}

    def __init__(self, url: str) -> None:
        self.relay = Relay(int(url.rpartition(":")[2]))
        super().__init__(Address(url=f"sqs+{self.relay.url}?region=eu-central-1", username="a", secret="b"))
        login = {"region_name": "eu-central-1", "aws_access_key_id": "a", "aws_secret_access_key": "b"}
        self.client = boto3.client("sqs", endpoint_url=url, **login)

    def queue(self) -> str:
        name = f"t-{uuid.uuid4()}-dlq"
        self.make_again(name)
        return name

    def make_again(self, queue: str) -> None:
        self.client.create_queue(QueueName=queue)

    def left(self, queue: str) -> int:
        with self.source(queue) as source:
            depth = source.depth()
        assert depth is not None
        return depth

    def delete(self, queue: str) -> None:
        self.client.delete_queue(QueueUrl=self.client.get_queue_url(QueueName=queue)["QueueUrl"])

    def kill(self) -> None:
        self.relay.cut()

    def start(self) -> None:
        self.relay.open()

    def close(self) -> None:
        self.relay.cut()
        self.client.close()


class ActiveMQYard(Yard):
    """Classic over STOMP. Nobody deletes a queue there over STOMP: it is made by its first use, and that is what is tested."""

    kind = "activemq"
    misses_queues = False

    def __init__(self, broker: Any) -> None:
        super().__init__(broker.address)
        self.broker = broker

    def queue(self) -> str:
        return f"t.{uuid.uuid4()}"

    def left(self, queue: str) -> int:
        with self.source(queue) as source:
            return len(source.receive(1000, 0.5))

    def waiting(self, queue: str) -> int | None:
        return None

    def delete(self, queue: str) -> None: ...

    def kill(self) -> None:
        self.broker.kill()

    def start(self) -> None:
        self.broker.start()


class ArtemisYard(ActiveMQYard):
    def queue(self) -> str:
        return f"dead.{uuid.uuid4()}"  # broken lines move nothing out of it

    def left(self, queue: str) -> int:
        with contextlib.closing(Manager(self.broker.address)) as manager:
            return int(manager.depth(queue) or 0)

    def waiting(self, queue: str) -> int | None:
        return self.left(queue)

    def delete(self, queue: str) -> None:
        with contextlib.closing(Manager(self.broker.address)) as manager:
            manager.ask("broker", operation="destroyQueue", arguments=(queue, True, False))


class Amqp10Yard(ArtemisYard):
    def __init__(self, broker: Any) -> None:
        super().__init__(broker)
        self.address = broker.amqp


class RedisYard(Yard):
    kind = "redis-streams"
    many = 10_000

    def __init__(self, folder: Path) -> None:
        from console.engines import valkey

        self.folder, self.valkey = folder, valkey
        self.url = valkey.start(folder)
        super().__init__(Address(url=self.url))

    def client(self) -> contextlib.closing[Any]:
        return contextlib.closing(redis.Redis.from_url(self.url))

    def queue(self) -> str:
        return f"t-{uuid.uuid4()}.dlq"

    def left(self, queue: str) -> int:
        with self.client() as client:
            return int(client.xlen(queue))

    def put(self, queue: str, bodies: Sequence[str | bytes]) -> None:
        with self.client() as client:
            pipe = client.pipeline(transaction=False)
            for number, body in enumerate(bodies):
                pipe.xadd(queue, {"body": body, "message-id": f"m-{number}"})
            pipe.execute()

    def delete(self, queue: str) -> None:
        with self.client() as client:
            client.delete(queue)

    def kill(self) -> None:
        from tests.product import wait_until

        os.kill(int((self.folder / "valkey/valkey.pid").read_text()), 9)
        wait_until(lambda: not self.valkey.is_alive(self.folder), seconds=10, what="its end", every=0.01)

    def start(self) -> None:
        self.valkey.start_again(self.folder, self.url)

    def close(self) -> None:
        self.valkey.stop(self.url)


FIXTURES = {
    "rabbitmq": ("rabbitmq_broker", RabbitYard),
    "kafka": ("kafka", KafkaYard),
    "sqs": ("localstack", SqsYard),
    "activemq": ("activemq", ActiveMQYard),
    "artemis": ("artemis", ArtemisYard),
    "artemis-amqp10": ("artemis", Amqp10Yard),
    "redis-streams": ("redis_folder", RedisYard),
}


def made_by(name: str, ask: Any) -> Iterator[Yard]:
    """Make the yard of this name; `ask` is pytest's request."""
    fixture, make = FIXTURES[name]
    if name == "artemis-amqp10":
        need(find_spec("proton") is not None, "python-qpid-proton")
    yard: Any = make(ask.getfixturevalue(fixture))
    yield yard
    if hasattr(yard, "close"):
        yard.close()


@contextlib.contextmanager
def running(harvester: QueueHarvester) -> Iterator[QueueHarvester]:
    harvester.start()
    try:
        yield harvester
    finally:
        harvester.stopping.set()
        harvester.join(timeout=20)
        assert not harvester.is_alive()


@contextlib.contextmanager
def process(config: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run `agents harvest`; it has ended when the block has."""
    command = [sys.executable, "-m", "agents", "harvest", "--config", str(config)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as one:
        try:
            yield one
        except BaseException:
            one.kill()
            raise


def shown(console: FakeConsole) -> list[str]:
    """Return the bodies of what the console shows, sorted: a letter once for each id."""
    return sorted(str(one.get("body", one.get("body_base64"))) for one in console.letters.values())
