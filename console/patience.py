"""The web worker: a slow client waits in the event loop, never in one of the few threads.

gunicorn's gthread gives every new connection a thread at once, which waits up to 5 s for its first byte, and without any limit for
the rest: nine idle connections, or nine that send a header byte by byte, kept everybody else out. Here the event loop collects
a request's head and the first 16 KiB of its body; a thread reads the rest only as long as it comes at a reasonable pace.
"""

from __future__ import annotations

import errno
import re
import selectors
import socket
import time
from collections import deque
from functools import partial
from typing import Any

from gunicorn import http
from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers.gthread import TConn, ThreadWorker

START_WITHIN_S = 10.0
START_BYTES = 16 * 1024  # of a body are waited for without a thread; a head may have twice as much
GRACE_S, SLOWEST_BYTES_PER_S = 10.0, 50_000  # a body may take so long, and a second more for each 50 KB that came
ANSWER_WITHIN_S = 30.0
LINGER_S = 2.0
END = b"\r\n\r\n"
LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,12})", re.I)
CHUNKED = re.compile(rb"\r\ntransfer-encoding:[^\r]*chunked", re.I)
EXPECTS = re.compile(rb"\r\nexpect:", re.I)  # the client sends no body before it was asked for it


def has_started(data: bytes) -> bool:
    """Whether a thread can work on this beginning of a request: its head is complete, and all of its body or 16 KiB of it are here."""
    end = data.find(END)
    if end < 0:
        return len(data) >= 2 * START_BYTES
    head, body = data[:end], len(data) - end - len(END)
    if body >= START_BYTES or EXPECTS.search(head):
        return True
    if CHUNKED.search(head):
        return data.endswith(b"0\r\n\r\n")
    length = LENGTH.search(head)
    return length is None or body >= int(length[1])


class PacedUnreader(SocketUnreader):  # type: ignore[misc]  # gunicorn has no types
    """Reads a request's body; raises TimeoutError when its sender is slower than SLOWEST_BYTES_PER_S after the grace."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.begin()

    def begin(self, grace_s: float = GRACE_S) -> None:
        self.until, self.received = time.monotonic() + grace_s, 0

    def chunk(self, size_hint: int | None = None) -> bytes:
        left = self.until + self.received / SLOWEST_BYTES_PER_S - time.monotonic()
        if left <= 0:
            raise TimeoutError("the request came too slowly")
        self.sock.settimeout(left)
        try:
            data: bytes = super().chunk(size_hint)
        finally:
            self.sock.settimeout(ANSWER_WITHIN_S)
        self.received += len(data)
        return data


class PatientWorker(ThreadWorker):  # type: ignore[misc]
    """gthread whose event loop waits for requests to begin and for the ends of closed connections."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lingering: deque[tuple[float, socket.socket]] = deque()

    def accept(self, listener: socket.socket) -> None:
        try:
            client, address = listener.accept()
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.ECONNABORTED, errno.EMFILE, errno.ENFILE):
                raise
            return
        self.nr_conns += 1
        conn = TConn(self.cfg, client, address, listener.getsockname())
        conn.parser = http.get_parser(self.cfg, client, address)
        conn.parser.unreader = PacedUnreader(client)
        self.wait_for_start(conn, b"")

    def wait_for_start(self, conn: TConn, here: bytes) -> None:
        """Collect the beginning of a request without a thread; `here` is what of it is here already."""
        conn.here = here
        if here and has_started(here):
            self.start(conn)
            return
        conn.sock.setblocking(False)
        conn.timeout = time.monotonic() + START_WITHIN_S
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def on_pending_socket_readable(self, conn: TConn, client: socket.socket) -> None:
        try:
            data = client.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        conn.here += data
        if data and not has_started(conn.here):
            return
        self.poller.unregister(client)
        self.pending_conns.remove(conn)
        if data or conn.here:  # cut or half closed: the parser says so
            self.start(conn)
        else:
            self.nr_conns -= 1
            conn.close()

    def start(self, conn: TConn) -> None:
        conn.parser.unreader.unread(conn.here)
        conn.parser.unreader.begin()
        conn.here, conn.data_ready = b"", True
        self.enqueue_req(conn)

    def on_client_socket_readable(self, conn: TConn, client: socket.socket) -> None:
        self.poller.unregister(client)
        self.keepalived_conns.remove(conn)
        self.wait_for_start(conn, b"")

    def _keepalive_after(self, conn: TConn, keepalive: bool) -> bool:
        """Reuse the connection only if what the application left of the body is here already: no thread waits for the rest."""
        conn.parser.unreader.begin(grace_s=0.1)
        return bool(super()._keepalive_after(conn, keepalive))

    def _cap_keepalive(self, deadline: float) -> None:
        super()._cap_keepalive(deadline)
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, deadline)

    def finish_request(self, conn: TConn, future: Any) -> None:
        """Keep the connection for its next request, whose beginning may be here already, or close it."""
        if future.cancelled() or future.exception() or not future.result():
            self.nr_conns -= 1
            self.linger(conn.sock)
        elif ahead := conn.parser.unreader.take_buffered():
            self.wait_for_start(conn, ahead)
        else:
            super().finish_request(conn, future)

    def linger(self, sock: socket.socket) -> None:
        """Say that this was all, and give the client time to read it: closing at once with unread bytes would reset it away."""
        try:
            sock.shutdown(socket.SHUT_WR)
            sock.setblocking(False)
            self.poller.register(sock, selectors.EVENT_READ, self.on_lingering_readable)
        except (OSError, ValueError, KeyError):
            sock.close()
            return
        self.lingering.append((time.monotonic() + LINGER_S, sock))

    def on_lingering_readable(self, sock: socket.socket) -> None:
        try:
            if sock.recv(65536):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self.poller.unregister(sock)
        sock.close()

    def murder_pending(self) -> None:
        super().murder_pending()
        now = time.monotonic()
        while self.lingering and self.lingering[0][0] < now:
            _, sock = self.lingering.popleft()
            if sock.fileno() >= 0:
                self.poller.unregister(sock)
                sock.close()
