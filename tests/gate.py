"""A way to the console that a test can hold up, request by request: the answer of a held one waits until it is let go."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

Holds = Callable[[str, Any], bool]  # path, answer


class Gate:
    """Passes POSTs on to a console. hold(path, answer): whether this answer waits for `go`; `held` says that one does."""

    def __init__(self, base: str) -> None:
        gate = self
        self.hold: Holds = lambda path, answer: False
        self.before: Callable[[str], bool] = lambda path: (
            False
        )  # whether this request waits before the console hears of it
        self.lost = False
        self.held, self.go = threading.Event(), threading.Event()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if gate.before(self.path) and not gate.wait():
                    self.close_connection = True
                    return
                host = urlsplit(base)
                kept = {
                    name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")
                }
                with contextlib.closing(
                    http.client.HTTPConnection(host.hostname or "", host.port, timeout=60)
                ) as console:
                    console.request("POST", self.path, body, kept)
                    answer = console.getresponse()
                    data = answer.read()
                if gate.hold(self.path, json.loads(data or b"null")):
                    gate.wait()
                with contextlib.suppress(OSError):
                    self.send_response(answer.status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)

            def log_message(self, *arguments: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *arguments: None  # type: ignore[method-assign]  # an agent was killed
        self.base = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait(self) -> bool:
        """Wait until it is let go; whether it goes on, and is not lost."""
        go = self.go  # before whoever waits for `held` opens, and puts another in its place
        self.held.set()
        go.wait(60)
        return not self.lost

    def open(self, *, lost: bool = False) -> None:
        """Let go whatever is held, and hold nothing more. lost: the console never hears of a request that was held before it."""
        self.lost = lost
        self.hold, self.before = lambda path, answer: False, lambda path: False
        self.go.set()
        self.held.clear()
        self.go = threading.Event()

    def close(self) -> None:
        self.go.set()
        self.server.shutdown()
        self.server.server_close()
