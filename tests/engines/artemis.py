"""A private ActiveMQ Artemis, on a free port, in a temporary folder; the distribution comes from `make engines`."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

from messages.connectors.base import Address
from tests.engines.activemq import make_certificate, wait_for_stomp
from tests.engines.kafka import CACHE
from tests.ports import free_ports

INSTALLED = CACHE / "artemis-2.40.0"
USER, PASSWORD = "waybill", "pass:word"
EVERYTHING = (
    "createNonDurableQueue", "deleteNonDurableQueue", "createDurableQueue", "deleteDurableQueue", "createAddress", "deleteAddress",
    "consume", "browse", "send", "manage",
)  # fmt: skip
CONFIGURATION = """<?xml version='1.0'?>
<configuration xmlns="urn:activemq">
  <core xmlns="urn:activemq:core">
    <persistence-enabled>true</persistence-enabled>
    <max-disk-usage>100</max-disk-usage><!-- from 90 % on, whoever filled the disk, it would hold back every sender -->
    <journal-type>NIO</journal-type>
    <journal-datasync>false</journal-datasync>
    <journal-file-size>10M</journal-file-size>
    <journal-min-files>2</journal-min-files>
    <paging-directory>data/paging</paging-directory>
    <bindings-directory>data/bindings</bindings-directory>
    <journal-directory>data/journal</journal-directory>
    <large-messages-directory>data/large-messages</large-messages-directory>
    <security-invalidation-interval>200</security-invalidation-interval>
    <message-expiry-scan-period>300</message-expiry-scan-period>
    <acceptors>
      <acceptor name="all">tcp://127.0.0.1:{port}?protocols=CORE,AMQP,STOMP,OPENWIRE;useEpoll=true</acceptor>
      <acceptor name="impatient">tcp://127.0.0.1:{impatient}?protocols=AMQP;amqpIdleTimeout=3000</acceptor>
      <acceptor name="tls">tcp://127.0.0.1:{tls}?protocols=AMQP;sslEnabled=true;keyStorePath={folder}/keys;keyStorePassword=changeit</acceptor>
    </acceptors>
    <security-settings>
      <security-setting match="#">{everything}</security-setting>
      <security-setting match="forbidden.#"><permission type="send" roles="nobody"/></security-setting>
    </security-settings>
    <address-settings>
      <address-setting match="#"><expiry-address>ExpiryQueue</expiry-address>
        <max-delivery-attempts>2</max-delivery-attempts></address-setting>
      <address-setting match="t.#"><dead-letter-address>DLQ</dead-letter-address>
        <max-delivery-attempts>1</max-delivery-attempts></address-setting>
      <address-setting match="again.#"><dead-letter-address>again.dlq</dead-letter-address>
        <max-delivery-attempts>2</max-delivery-attempts></address-setting>
      <address-setting match="auto.#"><dead-letter-address>DLA</dead-letter-address><max-delivery-attempts>1</max-delivery-attempts>
        <auto-create-dead-letter-resources>true</auto-create-dead-letter-resources></address-setting>
      <address-setting match="dead.#"><max-delivery-attempts>-1</max-delivery-attempts></address-setting>
      <address-setting match="DLA"><max-delivery-attempts>-1</max-delivery-attempts></address-setting>
      <address-setting match="sealed.#"><auto-create-queues>false</auto-create-queues>
        <auto-create-addresses>false</auto-create-addresses></address-setting>
      <address-setting match="DLQ"><max-delivery-attempts>-1</max-delivery-attempts></address-setting>
    </address-settings>
    <addresses>
      <address name="DLQ"><anycast><queue name="DLQ"/></anycast></address>
      <address name="ExpiryQueue"><anycast><queue name="ExpiryQueue"/></anycast></address>
    </addresses>
  </core>
</configuration>
"""


class Artemis:
    """`with Artemis() as broker:` gives broker.address; kill() and start() again keep its queues.

    Dead letters of `t.…` go to DLQ after one broken connection, those of `auto.…` to a queue of their own, those of `again.…` to
    again.dlq after two, itself included; others are dropped after two. Nobody may send to `forbidden.…`, and no queue `sealed.…` is
    made by using it.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="waybill-artemis-"))
        self.port, tls, impatient = free_ports(3)
        make_certificate(self.folder)
        self.address = Address(url=f"stomp://127.0.0.1:{self.port}", username=USER, secret=PASSWORD)
        self.amqp = Address(url=f"amqp10://127.0.0.1:{self.port}", username=USER, secret=PASSWORD)
        self.impatient = f"amqp10://127.0.0.1:{impatient}"  # hangs up on who is silent for three seconds
        self.secure = Address(
            url=f"amqp10+ssl://127.0.0.1:{tls}",
            username=USER,
            secret=PASSWORD,
            options={"ca": str(self.folder / "certificate.pem")},
        )
        self.home = self.folder / "broker"
        create = [
            str(INSTALLED / "bin" / "artemis"), "create", str(self.home), "--silent", "--user", USER, "--password", PASSWORD,
            "--require-login", "--no-autotune", "--no-web", "--nio", "--no-amqp-acceptor", "--no-stomp-acceptor", "--no-mqtt-acceptor",
            "--no-hornetq-acceptor",
        ]  # fmt: skip
        self.environ = os.environ | {
            "JAVA_ARGS": "-Xms64m -Xmx512m -XX:TieredStopAtLevel=1 -Dlog4j2.disableJmx=true "
            "--add-opens java.base/jdk.internal.misc=ALL-UNNAMED"
        }
        subprocess.run(create, check=True, capture_output=True, env=self.environ)
        everything = "".join(f'<permission type="{right}" roles="amq"/>' for right in EVERYTHING)
        (self.home / "etc" / "broker.xml").write_text(
            CONFIGURATION.format(
                port=self.port, tls=tls, impatient=impatient, folder=self.folder, everything=everything
            )
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "out").open("ab") as out:
            self.process = subprocess.Popen(
                [str(self.home / "bin" / "artemis"), "run"],
                env=self.environ, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip
        wait_for_stomp(self.address, self.process, self.folder / "out")

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def __enter__(self) -> Artemis:
        try:
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
