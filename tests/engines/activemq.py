"""A private ActiveMQ Classic from Debian's package, on free ports, in a temporary folder. It speaks STOMP, with TLS too, and OpenWire."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

from messages.connectors.activemq.client import Line, LineBroke, LoginRefused
from messages.connectors.base import Address
from tests.ports import free_ports

INSTALLED = Path("/usr/share/activemq/lib")
USER, PASSWORD = "waybill", "pass:word"
CONFIGURATION = """
<beans xmlns="http://www.springframework.org/schema/beans" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
  xsi:schemaLocation="http://www.springframework.org/schema/beans http://www.springframework.org/schema/beans/spring-beans-2.0.xsd
  http://activemq.apache.org/schema/core http://activemq.apache.org/schema/core/activemq-core.xsd">
  <broker xmlns="http://activemq.apache.org/schema/core" brokerName="waybill" useJmx="false" dataDirectory="{folder}/data">
    <destinationPolicy><policyMap><policyEntries>
      <policyEntry queue="own.&gt;"><deadLetterStrategy>
        <individualDeadLetterStrategy queuePrefix="DLQ." useQueueForQueueMessages="true"/></deadLetterStrategy></policyEntry>
      <policyEntry queue="&gt;" expireMessagesPeriod="300"/>
    </policyEntries></policyMap></destinationPolicy>
    <persistenceAdapter><kahaDB directory="{folder}/data/kahadb" enableJournalDiskSyncs="false"/></persistenceAdapter>
    <plugins>
      <simpleAuthenticationPlugin><users>
        <authenticationUser username="{user}" password="{password}" groups="all"/></users></simpleAuthenticationPlugin>
      <authorizationPlugin><map><authorizationMap><authorizationEntries>
        <authorizationEntry queue="t.&gt;" read="all" write="all" admin="all"/>
        <authorizationEntry queue="own.&gt;" read="all" write="all" admin="all"/>
        <authorizationEntry queue="DLQ.&gt;" read="all" write="all" admin="all"/>
        <authorizationEntry queue="ActiveMQ.DLQ" read="all" write="all" admin="all"/>
        <authorizationEntry queue="forbidden.&gt;" read="nobody" write="nobody" admin="nobody"/>
        <authorizationEntry topic="&gt;" read="all" write="all" admin="all"/>
      </authorizationEntries></authorizationMap></map></authorizationPlugin>
    </plugins>
    <sslContext><sslContext keyStore="file:{folder}/keys" keyStorePassword="changeit"/></sslContext>
    <transportConnectors>
      <transportConnector name="stomp" uri="stomp://127.0.0.1:{stomp}"/>
      <transportConnector name="stomp+ssl" uri="stomp+ssl://127.0.0.1:{tls}"/>
      <transportConnector name="openwire" uri="tcp://127.0.0.1:{openwire}"/>
    </transportConnectors>
  </broker>
</beans>
"""
# The newer Java is, the more of these its Spring needs.
OPENED = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in ("java.lang", "java.util", "java.net")]


class ActiveMQ:
    """`with ActiveMQ() as broker:` gives broker.address; kill() and start() again keep its queues.

    Dead letters of queues `t.…` go to ActiveMQ.DLQ, those of `own.…` to `DLQ.own.…`; nobody may use `forbidden.…`.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="waybill-activemq-"))
        stomp, tls, self.openwire = free_ports(3)
        self.address = Address(url=f"stomp://127.0.0.1:{stomp}", username=USER, secret=PASSWORD)
        self.certificate = self.folder / "certificate.pem"
        self.secure = Address(
            url=f"stomp+ssl://127.0.0.1:{tls}", username=USER, secret=PASSWORD, options={"ca": str(self.certificate)}
        )
        make_certificate(self.folder)
        (self.folder / "activemq.xml").write_text(
            CONFIGURATION.format(
                folder=self.folder, user=USER, password=PASSWORD, stomp=stomp, tls=tls, openwire=self.openwire
            )
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, login_refused_too: bool = False) -> None:
        """Return when it answers; that may be by refusing us when its users were changed."""
        libraries = f"{INSTALLED}/*:{INSTALLED}/optional/*"
        with (self.folder / "out").open("ab") as out:
            self.process = subprocess.Popen(
                [
                    "java", "-Xms64m", "-Xmx512m", "-XX:TieredStopAtLevel=1", *OPENED, "-Dactivemq.home=/usr/share/activemq",
                    f"-Dactivemq.base={self.folder}", "-cp", libraries, "org.apache.activemq.console.Main", "start",
                    f"xbean:file:{self.folder}/activemq.xml",
                ],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip
        wait_for_stomp(self.address, self.process, self.folder / "out", login_refused_too=login_refused_too)

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def __enter__(self) -> ActiveMQ:
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


def wait_for_stomp(
    address: Address, process: subprocess.Popen[bytes], out: Path, *, login_refused_too: bool = False
) -> None:
    until = time.monotonic() + 90
    while True:
        try:
            Line(address, timeout_s=5).close()
            return
        except LineBroke as error:
            if login_refused_too and isinstance(error, LoginRefused):
                return
            if time.monotonic() > until or process.poll() is not None:
                raise AssertionError(out.read_text()[-2000:]) from error
            time.sleep(0.2)


def make_certificate(folder: Path) -> None:
    """Put a key for 127.0.0.1 into `keys` (password changeit), and its certificate, which nobody vouches for, beside it."""
    keys = ["-keystore", str(folder / "keys"), "-storepass", "changeit", "-alias", "broker"]
    make = ["keytool", "-genkeypair", "-keyalg", "EC", "-dname", "CN=127.0.0.1", "-ext", "san=ip:127.0.0.1", *keys]
    show = ["keytool", "-exportcert", "-rfc", "-file", str(folder / "certificate.pem"), *keys]
    for command in (make, show):
        subprocess.run(command, check=True, capture_output=True)
