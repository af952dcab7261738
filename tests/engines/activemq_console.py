"""A private ActiveMQ Classic with its web console, in which Jolokia answers; the distribution comes from `make engines`."""

from __future__ import annotations

import shutil
import subprocess
import time
import urllib.error
import urllib.request

from tests.engines.activemq import OPENED, PASSWORD, USER, ActiveMQ, wait_for_stomp
from tests.engines.kafka import CACHE
from tests.ports import free_port

INSTALLED = CACHE / "activemq-5.18.3"


class ActiveMQWithConsole(ActiveMQ):
    """As ActiveMQ, and `management` is where its web console answers, with the same login."""

    def __init__(self) -> None:
        super().__init__()
        port = free_port()
        self.management = f"http://127.0.0.1:{port}"
        conf = self.folder / "conf"
        conf.mkdir()
        shutil.copy(INSTALLED / "conf" / "jolokia-access.xml", conf)
        jetty = (INSTALLED / "conf" / "jetty.xml").read_text().replace('value="8161"', f'value="{port}"')
        for name, place in {"conf": conf, "home": INSTALLED}.items():
            jetty = jetty.replace(f"${{activemq.{name}}}", str(place))
        (conf / "jetty.xml").write_text(jetty)
        (conf / "jetty-realm.properties").write_text(f"{USER}: {PASSWORD}, admin\n")
        broker = self.folder / "activemq.xml"
        broker.write_text(
            broker.read_text()
            .replace('useJmx="false"', 'useJmx="true"')
            .replace(
                "<persistenceAdapter>",
                '<managementContext><managementContext createConnector="false"/></managementContext><persistenceAdapter>',
            )
            .replace(
                '<authorizationEntry queue="t.&gt;"',
                '<authorizationEntry queue="Consumer.&gt;" read="all" write="all" admin="all"/><authorizationEntry queue="t.&gt;"',
            )
            .replace("</broker>", f'</broker><import resource="file:{conf}/jetty.xml"/>')
        )

    def start(self) -> None:
        libraries = ":".join(f"{INSTALLED}/{folder}/*" for folder in ("lib", "lib/optional", "lib/web"))
        places = {"home": INSTALLED, "base": self.folder, "conf": self.folder / "conf", "data": self.folder / "data"}
        with (self.folder / "out").open("ab") as out:
            self.process = subprocess.Popen(
                [
                    "java", "-Xms64m", "-Xmx256m", "-XX:TieredStopAtLevel=1", *OPENED,
                    *(f"-Dactivemq.{name}={place}" for name, place in places.items()),
                    f"-Djolokia.conf=file:{self.folder}/conf/jolokia-access.xml",
                    "-cp", libraries, "org.apache.activemq.console.Main", "start", f"xbean:file:{self.folder}/activemq.xml",
                ],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, cwd=self.folder,
            )  # fmt: skip
        wait_for_stomp(self.address, self.process, self.folder / "out")
        until = time.monotonic() + 60
        while not self._answers():
            if time.monotonic() > until or self.process.poll() is not None:
                raise AssertionError((self.folder / "out").read_text()[-2000:])
            time.sleep(0.2)

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"{self.management}/api/jolokia/", timeout=5).close()
        except urllib.error.HTTPError as error:
            return error.code in (401, 403)
        except OSError:
            return False
        return True
