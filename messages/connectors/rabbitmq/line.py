"""A line to RabbitMQ that moves only while somebody pumps it: pika's SelectConnection, driven step by step in the caller's own thread.

pika's BlockingConnection confirms one message by one and gives back what it has not handed over when a consumer is cancelled.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pika
from pika import exceptions as amqp

from messages.connectors.base import Address
from messages.connectors.rabbitmq.client import parameters_of

SEGMENT = 64 * 1024  # bytes handed to the socket at once


class Gathering(pika.SelectConnection):
    """Gathers what is written meanwhile: pika gives each of a message's three frames to the socket alone, a third of sending's time."""

    _gathered: list[bytes] | None = None
    _size = 0

    def _output_marshaled_frames(self, marshaled_frames: Sequence[bytes]) -> None:
        if self._gathered is None:
            super()._output_marshaled_frames(marshaled_frames)  # type: ignore[misc]
            return
        self._gathered.extend(marshaled_frames)
        self._size += sum(map(len, marshaled_frames))
        if self._size >= SEGMENT:
            self._write()

    def _write(self) -> None:
        gathered, self._gathered, self._size = self._gathered, [], 0
        if gathered:
            super()._output_marshaled_frames([b"".join(gathered)])  # type: ignore[misc]

    @contextlib.contextmanager
    def gathering(self) -> Iterator[None]:
        """Write what this block sends in large pieces, all of it when the block ends."""
        self._gathered = []
        try:
            yield
        finally:
            self._write()
            self._gathered = None


class Line:
    """One connection and one channel. Raises amqp.AMQPError or OSError when they cannot be opened, or when they end while it is pumped.

    ended    why connection or channel is closed, None while both are open.
    blocked  RabbitMQ's words while it takes no messages from anybody (memory, disk), else "".
    """

    def __init__(self, address: Address, *, timeout_s: float) -> None:
        self.ended: Exception | None = None
        self.blocked = ""
        self.channel: Any = None
        self._opened = self._closing = False
        self.connection = Gathering(
            parameters_of(address, timeout_s=timeout_s),
            on_open_callback=lambda _: setattr(self, "_opened", True),
            on_open_error_callback=lambda _, error: self._end(_first_cause(error)),
            on_close_callback=lambda _, error: self._end(error),
        )
        self._loop: Any = self.connection.ioloop
        self._loop.activate_poller()
        self.connection.add_on_connection_blocked_callback(
            lambda _, frame: setattr(self, "blocked", str(frame.method.reason) or "low on resources")
        )
        self.connection.add_on_connection_unblocked_callback(lambda *_: setattr(self, "blocked", ""))
        try:
            self._wait(
                lambda: self._opened, timeout_s + 2
            )  # pika gives up by itself after timeout_s, and closes its socket
            self.open_channel(timeout_s)
        except BaseException:
            self.close()
            raise

    @property
    def broken(self) -> bool:
        """The connection itself is closed, not only the channel."""
        return not self.connection.is_open

    def open_channel(self, timeout_s: float) -> None:
        """Open a channel, in the place of one that was closed."""
        opened: list[Any] = []
        self.ended = None
        self.channel = self.connection.channel(on_open_callback=opened.append)
        self.channel.add_on_close_callback(lambda _, error: self._end(error))
        self._wait(lambda: bool(opened), timeout_s)

    def ask(self, method: Callable[..., Any], *arguments: Any, timeout_s: float, **named: Any) -> Any:
        """Return the broker's answer to one of the channel's methods that take a callback."""
        answers: list[Any] = []
        method(*arguments, callback=lambda *answer: answers.append(answer[0] if len(answer) == 1 else answer), **named)
        self._wait(lambda: bool(answers), timeout_s)
        return answers[0]

    def pump(self, until: Callable[[], bool], timeout_s: float) -> bool:
        """Read and write until the condition holds, the line ends or time runs out; True when the condition holds."""
        deadline = time.monotonic() + timeout_s
        timer = self._loop.call_later(timeout_s, lambda: None)  # so that a poll ends by then
        try:
            while not until():
                if self.ended is not None:
                    return False
                self._loop.poll()
                self._loop.process_timeouts()
                if time.monotonic() >= deadline:
                    return until()
            return True
        finally:
            self._loop.remove_timeout(timer)

    def look(self) -> None:
        """Take note of what has come meanwhile; raises when the line has ended."""
        self.pump(lambda: False, 0)
        if self.ended is not None:
            raise self.ended

    def close(self) -> None:
        with contextlib.suppress(amqp.AMQPError, OSError):
            if self.connection.is_open:
                self._closing, self.ended = (
                    True,
                    None,
                )  # the channel's end is no reason not to wait for the connection's
                self.connection.close()
                if not self.pump(lambda: self.connection.is_closed, 1):
                    self._hang_up()
        self._loop.deactivate_poller()
        self._loop.close()

    def _hang_up(self) -> None:
        """Close the socket of a broker that does not answer the goodbye; pika has no public way."""
        transport: Any = getattr(self.connection, "_transport", None)
        if transport is not None:
            transport.abort()
            self.pump(lambda: self.connection.is_closed, 1)

    def _wait(self, until: Callable[[], bool], timeout_s: float) -> None:
        if not self.pump(until, timeout_s):
            raise self.ended or amqp.AMQPConnectionError(f"no answer within {timeout_s:g} s")

    def _end(self, error: Any) -> None:
        if self._closing:
            return
        self.ended = self.ended or (error if isinstance(error, Exception) else amqp.AMQPConnectionError(str(error)))


def _first_cause(error: Any) -> Any:
    """Return what was wrong, without the layers of pika's way of connecting around it."""
    while True:
        inner = getattr(error, "exceptions", None) or [getattr(error, "exception", None)]
        if not isinstance(inner[-1], BaseException):
            return error
        error = inner[-1]
