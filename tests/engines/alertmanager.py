"""A private Alertmanager from Debian's package, alone, on a free port, in a temporary folder."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.ports import free_port
from tests.product import wait_until

INSTALLED = Path("/usr/bin/prometheus-alertmanager")
CONFIGURATION = """
route: {{receiver: waybill, group_by: ['...'], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}
receivers:
  - name: waybill
{webhook}
"""
WEBHOOK = """    webhook_configs:
      - {{url: '{url}', send_resolved: true, http_config: {{authorization: {{credentials: '{key}'}}}}}}
"""


class Alertmanager:
    """webhook, key: where it tells its alerts to, and by which bearer key; nowhere without."""

    def __init__(self, *, webhook: str = "", key: str = "") -> None:
        self.webhook, self.key = webhook, key

    def __enter__(self) -> Alertmanager:
        self.folder = Path(tempfile.mkdtemp(prefix="waybill-alertmanager-"))
        self.host = f"127.0.0.1:{free_port()}"
        self.url = f"http://{self.host}"
        hook = WEBHOOK.format(url=self.webhook, key=self.key) if self.webhook else ""
        (self.folder / "alertmanager.yml").write_text(CONFIGURATION.format(webhook=hook))
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [
                    INSTALLED, f"--config.file={self.folder}/alertmanager.yml", f"--storage.path={self.folder}/data",
                    f"--web.listen-address={self.host}", "--cluster.listen-address=",
                ],
                stdout=log, stderr=log,
            )  # fmt: skip
        try:
            wait_until(self._is_ready, seconds=30, what="Alertmanager")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def alerts(self) -> list[dict[str, Any]]:
        """Return what fires there."""
        with urllib.request.urlopen(f"{self.url}/api/v2/alerts", timeout=5) as answer:
            found: list[dict[str, Any]] = json.loads(answer.read())
        return found
