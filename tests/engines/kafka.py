"""A private one-node Apache Kafka (KRaft), on free ports, in a temporary folder; its jars come from `make engines`."""

from __future__ import annotations

import base64
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from types import TracebackType

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from tests.engines.rabbitmq import _ports

CACHE = Path(os.environ.get("WAYBILL_ENGINES", "~/.cache/waybill-engines")).expanduser()
JARS = CACHE / "kafka-4.1.2" / "lib"


class Kafka:
    """`with Kafka() as broker:` gives broker.address; kill() and start() again keep its topics."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="waybill-kafka-"))
        port, controller = _ports(2)
        self.address = f"127.0.0.1:{port}"
        self.properties = self.folder / "server.properties"
        self.properties.write_text(
            f"process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n"
            f"listeners=PLAINTEXT://{self.address},CONTROLLER://127.0.0.1:{controller}\nadvertised.listeners=PLAINTEXT://{self.address}\n"
            "controller.listener.names=CONTROLLER\nlistener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n"
            f"log.dirs={self.folder / 'logs'}\noffsets.topic.replication.factor=1\noffsets.topic.num.partitions=1\n"
            "transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n"
            "share.coordinator.state.topic.replication.factor=1\nshare.coordinator.state.topic.min.isr=1\n"
            "group.initial.rebalance.delay.ms=0\nauto.create.topics.enable=false\n"
        )
        identity = (
            base64.urlsafe_b64encode(b"tests of Waybill").decode().rstrip("=")
        )  # one that begins with - would be an option
        self._java("kafka.tools.StorageTool", "format", "-t", identity, "-c", str(self.properties)).wait(timeout=60)
        self.process: subprocess.Popen[bytes] | None = None

    def _java(self, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / "out").open("ab") as out:
            return subprocess.Popen(
                ["java", "-Xms128m", "-Xmx384m", "-XX:TieredStopAtLevel=1", "-cp", f"{JARS}/*", *arguments],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip

    def start(self) -> None:
        self.process = self._java("kafka.Kafka", str(self.properties))
        until = time.monotonic() + 90
        while True:
            try:
                AdminClient({"bootstrap.servers": self.address, "log_level": 0}).list_topics(timeout=2)
                return
            except KafkaException as error:
                if time.monotonic() > until or self.process.poll() is not None:
                    raise AssertionError((self.folder / "out").read_text()[-2000:]) from error

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def topic(self, partitions: int = 1) -> str:
        """Return the name of a fresh topic."""
        name = f"waybill-{uuid.uuid4().hex[:10]}"
        client = AdminClient({"bootstrap.servers": self.address})  # its answer dies with it
        client.create_topics([NewTopic(name, partitions, 1)])[name].result(timeout=30)
        return name

    def __enter__(self) -> Kafka:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
