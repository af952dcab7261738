"""A private one-node Apache Kafka (KRaft), on free ports, in a temporary folder; its jars come from `make engines`."""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.ports import free_port, free_ports
from tests.product import wait_until

CACHE = Path(os.environ.get("WAYBILL_ENGINES", "~/.cache/waybill-engines")).expanduser()
JARS = CACHE / "kafka-4.1.2-connect" / "lib"
USER, PASSWORD = "waybill", "sesame-opens"


class Kafka:
    """`with Kafka() as broker:` gives broker.address; kill() and start() again keep its topics.

    At `address` everybody may do everything, and a topic that somebody asks for is made, as brokers do by default. At `safe`, over
    TLS (certificate in `authority`), USER logs in with PASSWORD and may do what allow() allows.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="waybill-kafka-"))
        port, controller, safe = free_ports(3)
        self.address, self.safe = f"127.0.0.1:{port}", f"127.0.0.1:{safe}"
        self.authority = self.folder / "certificate.pem"
        self.properties = self.folder / "server.properties"
        self.properties.write_text(
            f"process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n"
            f"listeners=PLAINTEXT://{self.address},SAFE://{self.safe},CONTROLLER://127.0.0.1:{controller}\n"
            f"advertised.listeners=PLAINTEXT://{self.address},SAFE://{self.safe}\ncontroller.listener.names=CONTROLLER\n"
            "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SAFE:SASL_SSL\nsasl.enabled.mechanisms=PLAIN\n"
            "listener.name.safe.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required "
            f'user_{USER}="{PASSWORD}";\nssl.keystore.type=PEM\nssl.keystore.location={certificate_of(self.authority)}\n'
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\nsuper.users=User:ANONYMOUS\n"
            f"log.dirs={self.folder / 'logs'}\noffsets.topic.replication.factor=1\noffsets.topic.num.partitions=1\n"
            "transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n"
            "share.coordinator.state.topic.replication.factor=1\nshare.coordinator.state.topic.min.isr=1\n"
            "broker.session.timeout.ms=3000\nbroker.heartbeat.interval.ms=500\n"
            "group.initial.rebalance.delay.ms=0\ngroup.min.session.timeout.ms=1000\nauto.create.topics.enable=true\n"
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
                self.admin().list_topics(timeout=2)
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

    def pause(self) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGCONT)

    def admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.address, "log_level": 0})

    def topic(self, partitions: int = 1, name: str = "", **settings: object) -> str:
        """Return the name of a fresh topic; of settings, max_message_bytes is max.message.bytes."""
        name = name or f"waybill-{uuid.uuid4().hex[:10]}"
        config = {key.replace("_", "."): str(value) for key, value in settings.items()}
        client = self.admin()  # its answer dies with it
        client.create_topics([NewTopic(name, partitions, 1, config=config)])[name].result(timeout=30)
        wait_until(lambda: self._leads(name, partitions), seconds=30, what=f"topic {name}", every=0.02)
        return name

    def _leads(self, topic: str, partitions: int) -> bool:
        """Whether the broker serves it by now: the controller has made it a moment before."""
        found = self.admin().list_topics(timeout=10).topics.get(topic)
        return found is not None and [one.leader for one in found.partitions.values()] == [1] * partitions

    def topics(self) -> set[str]:
        return set(self.admin().list_topics(timeout=10).topics)

    def members(self, group: str) -> int:
        client = self.admin()
        return len(client.describe_consumer_groups([group])[group].result(timeout=10).members)

    def delete(self, topic: str) -> None:
        client = self.admin()
        client.delete_topics([topic])[topic].result(timeout=30)
        wait_until(lambda: topic not in self.topics(), seconds=30, what=f"{topic} to be gone", every=0.02)

    def produce(self, topic: str, *values: bytes | None, **more: Any) -> None:
        """Produce these values, each with the same key, partition and headers."""
        producer = Producer({"bootstrap.servers": self.address, "log_level": 0, "message.max.bytes": 64 * 1024 * 1024})
        for value in values:
            producer.produce(topic, value=value, **more)
        assert producer.flush(30) == 0

    def records(self, topic: str) -> list[Message]:
        """Return every record of a topic, by partition."""
        reader = Consumer(
            {"bootstrap.servers": self.address, "group.id": "tests", "log_level": 0, "fetch.wait.max.ms": 20}
        )
        found: list[Message] = []
        try:
            for number in sorted(reader.list_topics(topic, timeout=10).topics[topic].partitions):
                place = TopicPartition(topic, number, 0)
                end = reader.get_watermark_offsets(place, timeout=10)[1]
                reader.assign([place])
                taken = 0
                while taken < end:
                    message = reader.poll(10)
                    assert message is not None
                    assert message.error() is None
                    found.append(message)
                    taken = (message.offset() or 0) + 1
        finally:
            reader.close()
        return found

    def allow(self, operation: AclOperation, name: str, kind: ResourceType = ResourceType.TOPIC) -> None:
        """Let USER do something with a topic or group."""
        acl = AclBinding(
            kind, name, ResourcePatternType.LITERAL, f"User:{USER}", "*", operation, AclPermissionType.ALLOW
        )
        client = self.admin()
        client.create_acls([acl])[acl].result(timeout=30)
        wait_until(lambda: self._allowed(operation, name, kind), seconds=30, what=f"{name} to be allowed", every=0.02)

    def _allowed(self, operation: AclOperation, name: str, kind: ResourceType) -> bool:
        """Whether the broker knows it by now."""
        client = self.admin()
        anyone = AclBindingFilter(
            kind, name, ResourcePatternType.LITERAL, f"User:{USER}", "*", operation, AclPermissionType.ALLOW
        )
        return bool(client.describe_acls(anyone).result(timeout=30))

    def forbid(self, operation: AclOperation, name: str, kind: ResourceType = ResourceType.TOPIC) -> None:
        """Take back what allow() gave."""
        acl = AclBindingFilter(
            kind, name, ResourcePatternType.LITERAL, f"User:{USER}", "*", operation, AclPermissionType.ALLOW
        )
        client = self.admin()
        client.delete_acls([acl])[acl].result(timeout=30)

    @contextlib.contextmanager
    def sink(self, topic: str, dead: str) -> Iterator[Path]:
        """Run Kafka Connect: JSON of `topic` goes to the file that is given, what is no JSON to the topic `dead`."""
        home = Path(tempfile.mkdtemp(prefix="connect-", dir=self.folder))
        port = free_port()
        converter = "org.apache.kafka.connect.json.JsonConverter"
        (home / "worker.properties").write_text(
            f"bootstrap.servers={self.address}\nkey.converter=org.apache.kafka.connect.converters.ByteArrayConverter\n"
            f"value.converter={converter}\nvalue.converter.schemas.enable=false\nlisteners=http://127.0.0.1:{port}\n"
            f"offset.storage.file.filename={home / 'offsets'}\noffset.flush.interval.ms=1000\n"
        )
        (home / "sink.properties").write_text(
            "name=to-file\nconnector.class=org.apache.kafka.connect.file.FileStreamSinkConnector\ntasks.max=1\n"
            f"topics={topic}\nfile={home / 'taken'}\nconsumer.override.auto.offset.reset=earliest\n"
            f"errors.tolerance=all\nerrors.deadletterqueue.topic.name={dead}\nerrors.deadletterqueue.topic.replication.factor=1\n"
            "errors.deadletterqueue.context.headers.enable=true\n"
        )
        worker = self._java(
            "org.apache.kafka.connect.cli.ConnectStandalone",
            str(home / "worker.properties"),
            str(home / "sink.properties"),
        )
        try:
            yield home / "taken"
        finally:
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()

    def __enter__(self) -> Kafka:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def certificate_of(file: Path) -> Path:
    """Write a certificate that is its own authority to `file`, and with its key to the file that is returned."""
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")]), datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    both = file.with_name("both.pem")
    both.write_bytes(private + file.read_bytes())
    return both
