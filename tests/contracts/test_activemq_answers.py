"""Whoever answers where a broker of STOMP should, and however: the result is one of four, with words."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from messages.connectors.activemq.connector import StompConnector
from messages.connectors.activemq.source import StompSource
from messages.connectors.base import Address, Outgoing
from tests.contracts.test_activemq import fresh, outgoing, receive

Answer = Callable[[bytes], bytes]


@contextlib.contextmanager
def stranger(answer: Answer) -> Iterator[Address]:
    """Somebody who speaks as `answer` says: it gets what was read so far, and gives what to write; b"bye" hangs up."""
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(10)

    def serve() -> None:
        with contextlib.suppress(OSError), server.accept()[0] as wire:
            wire.settimeout(10)
            read = b""
            while data := wire.recv(65536):
                read += data
                said = answer(read)
                if said == b"bye":
                    return
                wire.sendall(said)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield Address(url=f"stomp://127.0.0.1:{server.getsockname()[1]}")
    finally:
        server.close()
        thread.join()


CONNECTED = b"CONNECTED\nversion:1.2\nserver:ActiveMQ/5\n\n\0"
STRANGERS: dict[str, tuple[Answer, str]] = {
    "says nothing after the message": (lambda read: b"" if b"SEND" in read else CONNECTED, "unknown"),
    "hangs up after the message": (lambda read: b"bye" if b"SEND" in read else CONNECTED, "unknown"),
    "refuses it": (lambda read: b"ERROR\nmessage:queue is full\n\n\0" if b"SEND" in read else CONNECTED, "refused"),
    "speaks no STOMP": (lambda read: b"HTTP/1.1 400 Bad Request\r\n\r\n\0", "unavailable"),
    "hangs up at once": (lambda read: b"bye", "unavailable"),
    "never ends its frame": (lambda read: b"CONNECTED\n", "unavailable"),
}


@pytest.mark.parametrize(("answer", "result"), STRANGERS.values(), ids=STRANGERS)
def test_answers_of_all_kinds_are_told_apart(answer: Answer, result: str):
    with stranger(answer) as address, contextlib.closing(StompConnector(address)) as connector:
        [published] = connector.publish([Outgoing(id="1", destination="q", body=b"x")], timeout_s=0.5)

    assert (published.result, bool(published.detail)) == (result, True)


def numbered(read: bytes) -> bytes:
    """Confirm the first message, and refuse the third when the fourth is there."""
    if b"receipt:4\n" in read:
        return b"ERROR\nreceipt-id:3\nmessage:address is full\n\n\0"
    return b"" if b"receipt:2\n" in read else b"RECEIPT\nreceipt-id:1\n\n\0" if b"SEND" in read else CONNECTED


def test_behind_one_that_is_refused_in_a_window_nobody_knows():
    items = [Outgoing(id=str(number), destination="q", body=b"x") for number in range(4)]
    with stranger(numbered) as address, contextlib.closing(StompConnector(address)) as connector:
        results = connector.publish(items, timeout_s=1)

    assert [result.result for result in results] == ["confirmed", "unknown", "refused", "unknown"]
    assert "address is full" in results[2].detail


@pytest.mark.engine
def test_with_tls_it_is_the_same_and_a_certificate_nobody_vouches_for_is_named(activemq: Any):
    queue = fresh()
    with contextlib.closing(StompConnector(activemq.secure)) as connector:
        results = connector.publish([outgoing(queue, body=b"\0" * 1_000_000) for _ in range(4)], timeout_s=20)
    with contextlib.closing(StompSource(activemq.secure, broker="b", queue=queue, options={})) as source:
        received = receive(source, 4)
        source.acknowledge([one.token for one in received])
    with contextlib.closing(
        StompConnector(Address(url=activemq.secure.url, username="waybill", secret="x"))
    ) as connector:
        [distrusted] = connector.publish([outgoing(queue)], timeout_s=5)

    assert {result.result for result in results} == {"confirmed"}
    assert (distrusted.result, "is not trusted" in distrusted.detail) == ("unavailable", True)
