"""Questions to a management address: an endpoint that answers oddly, slowly or from a forbidden place ends in words."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from messages.connectors.base import BrokerUnavailable
from messages.connectors.lookup import ask


@contextmanager
def answering(parts: list[bytes], *, status: int = 200, pause_s: float = 0.0) -> Iterator[str]:
    """Give the address of a server that answers every GET with these parts, pausing before each."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.end_headers()
            try:
                for part in parts:
                    time.sleep(pause_s)
                    self.wfile.write(part)
            except OSError:  # the other side has had enough
                pass

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def asked(base: str, timeout_s: float = 5) -> tuple[int, Any]:
    return ask(base, "/api/queues", username="u", secret="s3cret", port=15672, timeout_s=timeout_s)


def test_what_it_answers_is_read_and_a_redirect_is_not_followed():
    with answering([b'[{"name": "a"}]']) as base:
        assert asked(base) == (200, [{"name": "a"}])
    with answering([], status=302) as base:
        assert asked(base) == (302, None)


def test_an_answer_nested_without_end_is_none():
    with answering([b"[" * 200_000]) as base, pytest.raises(BrokerUnavailable, match="nested deeper"):
        asked(base)


def test_an_endpoint_that_trickles_is_left_when_the_time_is_over():
    with (
        answering([b"["] * 8, pause_s=0.15) as base,
        pytest.raises(BrokerUnavailable, match=r"it took too long|timed out"),
    ):
        asked(base, timeout_s=0.5)


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "[::ffff:169.254.169.254]", "[fe80::1]", "0.0.0.0", "[fd00:ec2::254]"]
)
def test_no_request_goes_to_a_cloud_s_metadata_however_it_is_written(host: str):
    with pytest.raises(BrokerUnavailable, match="where no request may go"):
        asked(f"http://{host}:80", timeout_s=0.2)
