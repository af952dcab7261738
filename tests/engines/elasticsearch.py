"""A private Elasticsearch of one node, on free ports, in a temporary folder; its jars come from `make engines`.

Its own server and HTTP transport, without the modules that are not published: see docker/engines/Elastic.java.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from elastic_transport import ApiError, TransportError
from elasticsearch import Elasticsearch as Client

from tests.ports import free_ports

CACHE = Path(os.environ.get("WAYBILL_ENGINES", "~/.cache/waybill-engines")).expanduser()
INSTALLED = CACHE / "elasticsearch-8.19.0"


@contextlib.contextmanager
def configured(engine: Elasticsearch, settings: Any) -> Iterator[None]:
    """Configure the console of this process with an engine, under a prefix of its own; its indices go at the end."""
    from messages.search import backends
    from messages.search.elastic.client import client

    settings.ELASTICSEARCH_URLS, settings.ELASTICSEARCH_PREFIX = (engine.url,), engine.prefix()
    settings.SEARCH_BACKEND = "elasticsearch"
    client.cache_clear()
    backends._made.cache_clear()
    yield
    client().close()
    client.cache_clear()
    backends._made.cache_clear()
    engine.forget(settings.ELASTICSEARCH_PREFIX)


class Elasticsearch:
    """`with Elasticsearch() as engine:` gives engine.url; kill() and start() again keep its indices."""

    installed = INSTALLED
    more: Sequence[str] = ()  # a folder of configuration, and settings NAME=VALUE

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="waybill-elastic-"))
        self.port, self.transport = free_ports(2)
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def client(self) -> Client:
        return Client(self.url, request_timeout=30, max_retries=0)

    @staticmethod
    def prefix() -> str:
        """Return a prefix of index names that no other test has."""
        return f"waybill-{uuid.uuid4().hex[:8]}"

    def forget(self, prefix: str) -> None:
        """Delete what has names with this prefix, when it is running."""
        if self.process is None:
            return
        with self.client() as client:
            names = list(client.indices.get(index=f"{prefix}-*", allow_no_indices=True))
            if names:
                client.indices.delete(index=names)
            client.options(ignore_status=404).indices.delete_index_template(name=prefix)

    def start(self) -> None:
        with (self.folder / "out").open("ab") as out:
            self.process = subprocess.Popen(
                ["java", "-Xms256m", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-cp", f"{INSTALLED}/lib/*:{self.installed}", "Elastic",
                 str(self.installed / "home"), str(self.folder), str(self.port), str(self.transport), *self.more],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip
        until = time.monotonic() + 90
        with self.client() as client:
            while True:
                try:
                    client.cluster.health(wait_for_status="yellow", timeout="5s")
                    return
                except (TransportError, ApiError) as error:
                    if time.monotonic() > until or self.process.poll() is not None:
                        raise AssertionError((self.folder / "out").read_text()[-2000:]) from error
                    time.sleep(0.1)

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def pause(self) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGCONT)

    def __enter__(self) -> Elasticsearch:
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
