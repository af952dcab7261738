"""A server that answers as Elasticsearch does where a real one cannot be brought to: busy for some items, or refusing all."""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any


class StubElastic:
    """`with StubElastic(status_of) as stub:` answers bulk requests; status_of says what becomes of each item.

    A search finds nothing.   certificate: a PEM file with its key, to speak TLS.   asked: paths.   logins: what came as Authorization.
    """

    def __init__(
        self,
        status_of: Callable[[dict[str, Any]], int] = lambda item: 201,
        status: int = 200,
        certificate: Path | None = None,
    ) -> None:
        self.asked: list[str] = []
        self.logins: list[str | None] = []
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                stub.asked.append(self.path)
                stub.logins.append(self.headers["Authorization"])
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                answer: dict[str, Any] = {"error": {"type": "stub"}, "status": status}
                if status == 200:
                    metas = [json.loads(line) for line in body.splitlines() if '"version_type"' in line]
                    items = [{"index": {"status": status_of(next(iter(meta.values())))}} for meta in metas]
                    answer = {"errors": True, "took": 1, "items": items, "timed_out": False, "hits": {"hits": []}}
                    answer["_shards"] = {"total": 1000}
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("X-Elastic-Product", "Elasticsearch")
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_PUT = do_POST

            def handle(self) -> None:
                with contextlib.suppress(OSError):  # a client that does not trust the certificate hangs up
                    super().handle()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"http{'s' if certificate else ''}://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> StubElastic:
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@contextlib.contextmanager
def pointed_at(url: str, settings: Any) -> Iterator[None]:
    """Have the console of this process ask another address for a while."""
    from messages.search.elastic.client import client

    before = settings.ELASTICSEARCH_URLS
    settings.ELASTICSEARCH_URLS = (url,)
    client.cache_clear()
    try:
        yield
    finally:
        client().close()
        settings.ELASTICSEARCH_URLS = before
        client.cache_clear()
