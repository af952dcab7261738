"""One STOMP 1.2 connection to ActiveMQ Classic or Artemis: frames go out, and come in when they are asked for.

stomp.py reads on a thread of its own and hands every frame on at once. Here they wait in order, and the thread waits too while
too many bytes lie there: then the broker feels it by TCP.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import socket
import ssl
import struct
import threading
import time
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import stomp
from stomp.exception import StompException
from stomp.protocol import Protocol12
from stomp.utils import Frame

from messages.connectors.activemq.names import escaped
from messages.connectors.base import Address, Check

logging.getLogger("stomp.py").setLevel(logging.CRITICAL)  # it writes whole frames, with their bodies, at DEBUG

PORTS = {"stomp": 61613, "stomp+ssl": 61614}
MOST_BYTES = 32 * 1024 * 1024  # waiting to be asked for
SEND_S = 30  # for the broker to take a frame off our hands
BEAT_MS = 20_000  # what we send; that the broker is dead we learn from TCP, since a reader that waits on purpose would miss its beats


class LineBroke(Exception):
    """The connection is gone, or the broker ended it with an ERROR frame; its words."""


class Unreachable(LineBroke):
    """Nobody answers there: nothing was sent."""


class LoginRefused(LineBroke):
    """The broker answers, and does not take these credentials."""


class Line:
    """A connection that is logged in; not shared between threads. Raises Unreachable or LoginRefused.

    artemis  whether the broker is Artemis; else it is taken for Classic.
    """

    def __init__(self, address: Address, *, timeout_s: float) -> None:
        self.inbox = _Inbox()
        self.connection = _connected(address, self.inbox, timeout_s)
        try:
            self._log_in(address, timeout_s)
        except BaseException:
            self.close()
            raise

    def _log_in(self, address: Address, timeout_s: float) -> None:
        if set("\r\n\0") & set(address.username + address.secret):
            raise LoginRefused("a user name or password with a line break cannot be sent by STOMP")
        login = {"username": address.username, "passcode": address.secret} if address.username else {}
        try:
            Protocol12.connect(self.connection, **login)
            frame = self.next(timeout_s)
        except BrokerError as error:
            raise LoginRefused(str(error)) from error
        except LineBroke as error:
            raise Unreachable(str(error)) from error
        except OSError as error:
            raise Unreachable(f"the line broke: {says(error)}") from error
        if frame is None or frame.cmd != "CONNECTED":
            raise Unreachable(f"no word of STOMP within {timeout_s:.0f} s")
        self.server = str(frame.headers.get("server", ""))
        self.artemis = "artemis" in self.server.lower()

    def send(self, command: str, headers: Mapping[str, str], body: bytes = b"") -> None:
        """Send one frame; raises LineBroke, after which nobody knows whether the broker has it."""
        # stomp.py escapes values and not names: a name with a line break would be a header of its own
        named = {escaped(name): value for name, value in headers.items()}
        try:
            self.connection.send_frame(command, named, body)
        except (StompException, OSError, AttributeError) as error:
            raise LineBroke(f"the line broke: {self.inbox.last_words() or says(error)}") from error

    def next(self, timeout_s: float) -> Frame | None:
        """Return the next frame, None when there is none in time; raises LineBroke, BrokerError for an ERROR frame."""
        frame = self.inbox.take(timeout_s)
        if frame is not None and frame.cmd == "ERROR":
            raise BrokerError(frame)
        return frame

    def wait_for_receipt(self, receipt: str, timeout_s: float) -> bool:
        """Drop what comes until this receipt does; False when it does not in time. Raises LineBroke, BrokerError."""
        until = time.monotonic() + timeout_s
        while (left := until - time.monotonic()) > 0:
            frame = self.next(left)
            if frame is not None and frame.cmd == "RECEIPT" and frame.headers.get("receipt-id") == receipt:
                return True
        return False

    def close(self) -> None:
        """Say goodbye, so that what was sent before is read, and hang up."""
        transport = self.connection.transport
        whole = self.inbox.close()
        with contextlib.suppress(StompException, OSError, AttributeError):
            if whole and transport.is_connected():
                self.connection.disconnect()
                self.inbox.ended.wait(2)
        with contextlib.suppress(StompException, OSError, AttributeError, ValueError, KeyError):
            transport.disconnect_socket()
        if transport.io_thread is not None:
            transport.io_thread.join(2)


class BrokerError(LineBroke):
    """An ERROR frame; `receipt` names the frame it is about, when the broker says."""

    def __init__(self, frame: Frame) -> None:
        body = frame.body.decode("utf-8", "replace").partition("\n")[0] if frame.body else ""
        words = str(frame.headers.get("message") or body or "an error without words")
        super().__init__(" ".join(words.split())[:300])
        self.receipt = str(frame.headers.get("receipt-id", ""))


class _Inbox(stomp.ConnectionListener):
    """What stomp.py's thread puts in and ours takes out."""

    def __init__(self) -> None:
        self.frames: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()
        self.size = 0
        self.room = threading.Condition()
        self.closing = False
        self.ended = threading.Event()

    def _put(self, frame: Frame) -> None:
        with self.room:
            self.size += len(frame.body or b"")
            self.frames.put(frame)
            self.room.wait_for(lambda: self.size <= MOST_BYTES or self.closing)

    on_connected = on_message = on_receipt = on_error = _put

    def on_disconnected(self) -> None:
        self.ended.set()
        self.frames.put(None)

    def take(self, timeout_s: float) -> Frame | None:
        try:
            frame = self.frames.get(timeout=timeout_s) if timeout_s > 0 else self.frames.get_nowait()
        except queue.Empty:
            return None
        if frame is None:
            self.frames.put(None)  # it stays ended
            raise LineBroke("the broker hung up")
        with self.room:
            self.size -= len(frame.body or b"")
            self.room.notify_all()
        return frame

    def last_words(self) -> str:
        """Return what the broker said of why it hung up, "" when nothing; the frames before that are dropped, as the line is over."""
        with contextlib.suppress(LineBroke):
            while frame := self.take(0):
                if frame.cmd == "ERROR":
                    return str(BrokerError(frame))
        return ""

    def close(self) -> bool:
        """Let the thread run on; return whether the line was whole."""
        with self.room:
            self.closing = True
            self.room.notify_all()
        return not self.ended.is_set()


def _connected(address: Address, inbox: _Inbox, timeout_s: float) -> Any:
    parts = urlsplit(address.url)
    try:
        host, port = parts.hostname or "", parts.port or PORTS[parts.scheme]
    except (ValueError, KeyError) as error:
        raise Unreachable(f"{parts.scheme}:// with this port is no address of STOMP") from error
    connection = stomp.StompConnection12(
        [(host, port)], prefer_localhost=False, try_loopback_connect=False, reconnect_attempts_max=1, reconnect_sleep_initial=0,
        timeout=timeout_s, heartbeats=(BEAT_MS, 0), keepalive=("linux", 30, 10, 3), auto_decode=False,
    )  # fmt: skip
    authority = str(address.options.get("ca") or "") or None
    if parts.scheme == "stomp+ssl":
        connection.set_ssl([(host, port)], ca_certs=authority)
    connection.set_listener("waybill", inbox)
    try:
        connection.transport.start()
        connection.transport.socket.setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", SEND_S, 0)
        )  # stomp.py's sockets would wait for ever for a broker that takes no more
    except (StompException, OSError, AttributeError) as error:
        raise Unreachable(_why_not(host, port, parts.scheme == "stomp+ssl", authority)) from error
    return connection


def _why_not(host: str, port: int, tls: bool, authority: str | None) -> str:
    """Return why no connection was had: stomp.py keeps that to itself."""
    try:
        with socket.create_connection((host, port), timeout=5) as wire:
            if tls:
                ssl.create_default_context(cafile=authority).wrap_socket(wire, server_hostname=host).close()
        return f"{host}:{port} took the connection and dropped it"
    except ssl.SSLCertVerificationError as error:
        return f"the certificate of {host}:{port} is not trusted: {error.verify_message}"
    except OSError as error:
        return f"{host}:{port}: {error.strerror or says(error)}"


def says(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def receipt() -> str:
    return uuid.uuid4().hex


def reached(address: Address, timeout_s: float = 5) -> tuple[Line | None, list[Check]]:
    """Return a line and what connecting says of the broker; the line is None when it was not to be had."""
    try:
        line = Line(address, timeout_s=timeout_s)
    except LoginRefused as error:
        return None, [
            Check(question="reached", answer=True, detail="ActiveMQ answers"),
            Check(question="authenticated", answer=False, detail=str(error)),
        ]
    except LineBroke as error:
        return None, [Check(question="reached", answer=False, detail=f"ActiveMQ does not answer: {error}")]
    name = line.server or "a broker that does not say its name"
    return line, [
        Check(question="reached", answer=True, detail=f"{name} answers"),
        Check(question="authenticated", answer=True, detail="the login is accepted"),
    ]
