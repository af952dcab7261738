"""Clients that are slow, silent, endless or enormous: others are answered, and memory stays where it was."""

from __future__ import annotations

import gzip
import json
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.factories import event
from tests.faults.checker import is_green
from tests.faults.conftest import peak_bytes, web_beside
from tests.product import Product, call, wait_until

pytestmark = [pytest.mark.fault, pytest.mark.timeout(240)]
EVENTS = "/ingest/v1/events"
MIB = 2**20
FLOW = """
from console.identity.models import Environment
from messages.models import Flow
Flow.objects.get_or_create(environment=Environment.objects.get(slug="production"), name="lists")
"""


def dial(base: str) -> socket.socket:
    parts = urlsplit(base)
    assert parts.hostname
    assert parts.port
    return socket.create_connection((parts.hostname, parts.port), timeout=30)


def head(key: str, *more: str) -> bytes:
    lines = [
        f"POST {EVENTS} HTTP/1.1",
        "Host: localhost",
        f"Authorization: Bearer {key}",
        "Content-Type: application/json",
        *more,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def status_in(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


def send_until_answered(base: str, start: bytes, piece: bytes, times: int) -> tuple[int, int]:
    """Send `start` and then `piece` again and again; return (status of the answer, bytes that went out before it came)."""
    with dial(base) as client:
        client.sendall(start)
        sent = 0
        for _ in range(times):
            if select.select([client], [], [], 0)[0]:
                break
            try:
                client.sendall(piece)
            except OSError:
                break
            sent += len(piece)
        answer = client.recv(65536)
    return status_in(answer), sent


@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "in chunks"])
def test_a_body_of_100_mb_is_refused_early_and_takes_no_memory(running: Product, chunked: bool):
    """Row 21: 413 before it was read, or after 8 MiB where nobody said how much comes; the process grows by less than 64 MB."""
    key = running.agent_key(f"enormous {chunked}")
    piece = b" " * MIB
    if chunked:
        piece = f"{MIB:x}\r\n".encode() + piece + b"\r\n"
    declared = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {100 * MIB}"
    with web_beside(running, WAYBILL_WEB_PROCESSES="1") as (base, [worker]):
        assert call("POST", base + EVENTS, key=key, body=[event()])[0] == 200
        before = peak_bytes(worker)

        answers = [send_until_answered(base, head(key, declared), piece, 100) for _ in range(4)]

        assert {status for status, _ in answers} == {413}
        assert max(sent for _, sent in answers) < 50 * MIB
        assert peak_bytes(worker) - before < 64 * MIB
        assert call("POST", base + EVENTS, key=key, body=[event()])[0] == 200


def test_one_field_of_100_mb_is_refused_by_what_it_inflates_to(running: Product):
    """Row 21: 100 MB in one field, compressed to little: 413, and no memory for it."""
    body = gzip.compress(b'[{"id": "' + b"x" * 100 * MIB + b'"}]', 1)
    key = running.agent_key("one field")
    with web_beside(running, WAYBILL_WEB_PROCESSES="1") as (base, [worker]), dial(base) as client:
        assert call("POST", base + EVENTS, key=key, body=[event()])[0] == 200
        before = peak_bytes(worker)

        client.sendall(head(key, "Content-Encoding: gzip", f"Content-Length: {len(body)}") + body)

        assert status_in(client.recv(65536)) == 413
        assert peak_bytes(worker) - before < 64 * MIB


def test_a_body_that_ends_early_stores_nothing(running: Product):
    """Row 24: the client dies in the middle of its body, declared or in chunks, at a place where NDJSON looks whole."""
    key = running.agent_key("cut short")
    lines = b"".join(json.dumps(event()).encode() + b"\n" for _ in range(50))
    for start in (
        head(key, f"Content-Length: {2 * len(lines)}") + lines,
        head(key, "Transfer-Encoding: chunked") + f"{len(lines):x}\r\n".encode() + lines + b"\r\n",
    ):
        with dial(running.base) as client:
            client.sendall(start.replace(b"application/json", b"application/x-ndjson"))
            client.shutdown(socket.SHUT_WR)
            assert status_in(client.recv(65536)) in (0, 400)

    wait_until(lambda: is_green(running), seconds=30, what="green")
    assert (
        call("GET", f"{running.base}/api/v1/events?q=&limit=1&environment=production", key=running.api_key())[0] == 200
    )
    assert stored_by(running, "cut short") == 0


def everything_from(client: socket.socket) -> bytes:
    """Return what is answered, head and body, which may come apart."""
    client.settimeout(30)
    answer = b""
    while b"body_cut" not in answer and (part := client.recv(65536)):
        answer += part
    return answer


@pytest.mark.parametrize("how", ["half-closed", "closed", "reset", "in chunks"])
def test_a_list_that_ends_early_takes_the_place_of_none(running: Product, how: str):
    """Row 24: the sender of a list dies at a place where the list looks whole."""
    key, path = running.api_key(), f"{running.base}/api/v1/reconciliations"
    running.manage("shell", "-c", FLOW)
    wanted = {"environment": "production", "flow": "lists", "key": "order_no", "since": "2026-01-01T00:00:00Z"}
    made = call("POST", path, key=key, body=wanted | {"until": "2026-01-02T00:00:00Z", "keys": ["1", "2", "3"]})[1]

    def is_done() -> dict[str, Any] | None:
        read: dict[str, Any] = call("GET", f"{path}/{made['id']}", key=key)[1]
        return read if read["state"] == "done" else None

    before = wait_until(is_done, seconds=60, what="the first list")
    lines = b"".join(b"%d\n" % number for number in range(20_000))
    framed = f"Content-Length: {2 * len(lines)}\r\n\r\n".encode() + lines
    if how == "in chunks":
        framed = f"Transfer-Encoding: chunked\r\n\r\n{len(lines):x}\r\n".encode() + lines + b"\r\n"
    start = (
        f"PUT {urlsplit(path).path}/{made['id']}/list HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
    )

    with dial(running.base) as client:
        client.sendall(start.encode() + framed)
        time.sleep(0.5)
        if how == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif how != "closed":
            client.shutdown(socket.SHUT_WR)
            assert b"body_cut" in everything_from(client)

    def is_told() -> dict[str, Any] | None:
        read = is_done()
        return read if read and read["problem"] else None

    after = wait_until(is_told, seconds=30, what="the refusal")
    assert "the body was cut" in after["problem"]
    assert after | {"problem": ""} == before


def stored_by(product: Product, agent: str) -> int:
    import psycopg

    with psycopg.connect(product.engines()["database_url"]) as database:
        row = database.execute(
            "SELECT count(*) FROM messaging_event e JOIN identity_agent a ON a.id = e.agent_id WHERE a.name = %s",
            [agent],
        ).fetchone()
    return int(row[0]) if row else 0


@contextmanager
def crowd(base: str, count: int, first: bytes, *, then: bytes = b"") -> Iterator[None]:
    """Keep so many connections open that say `first`, and then a byte of `then` every half second."""
    with ExitStack() as stack:
        clients = [stack.enter_context(dial(base)) for _ in range(count)]
        for client in clients:
            client.sendall(first)
        done = threading.Event()

        def trickle() -> None:
            for byte in then:
                if done.wait(0.5):
                    return
                for client in clients:
                    try:
                        client.send(bytes([byte]))
                    except OSError:
                        continue

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


CROWDS: dict[str, tuple[int, Any, bytes]] = {
    "1,000 that say nothing": (1_000, lambda key: b"", b""),
    "100 that say their head byte by byte": (
        100,
        lambda key: b"POST /ingest/v1/events HTTP/1.1\r\n",
        b"X-Slow: " + b"x" * 1000,
    ),
    "100 without a key that say their body byte by byte": (
        100,
        lambda key: head("wb_none", "Content-Length: 4000"),
        b"[" + b" " * 1000,
    ),
    "20 with a key that say their body byte by byte": (
        5,
        lambda key: head(key, "Content-Length: 4000"),
        b"[" + b" " * 1000,
    ),
    "100 that never end their chunks": (
        100,
        lambda key: head("wb_none", "Transfer-Encoding: chunked") + b"5\r\n",
        b" " * 1000,
    ),
}


@pytest.mark.parametrize("kind", CROWDS)
def test_while_slow_clients_hold_their_connections_others_are_answered(running: Product, kind: str):
    """Row 25: slowloris and idle connections take no thread, so requests of others do not wait for them."""
    count, first, then = CROWDS[kind]
    key = running.agent_key(f"quick beside {kind}")
    assert call("POST", running.base + EVENTS, key=key, body=[event()])[0] == 200
    took_s = []

    with crowd(running.base, count, first(key), then=then):
        time.sleep(0.5)
        for _ in range(20):
            begun = time.monotonic()
            assert call("POST", running.base + EVENTS, key=key, body=[event()])[0] == 200
            took_s.append(time.monotonic() - begun)

    # Under gthread the first waits 5 s behind a thousand silent ones, and behind slow heads or bodies none was answered at all.
    assert max(took_s) < 4


def test_a_connection_serves_many_requests_whose_parts_come_as_they_like(running: Product):
    """Row 25: heads in pieces, two requests in one packet, a body that is refused unread: the connection and its order hold."""
    key = running.agent_key("pieces")
    body = json.dumps([event()]).encode()
    request = head(key, f"Content-Length: {len(body)}") + body
    with dial(running.base) as client:
        reader = client.makefile("rb")
        for pieces in ([request[:9], request[9:100], request[100:]], [request + request[:50], request[50:]]):
            for piece in pieces:
                client.sendall(piece)
                time.sleep(0.05)
        answers = [read_answer(reader) for _ in range(3)]

    assert answers == [200, 200, 200]


def read_answer(reader: Any) -> int:
    status = status_in(reader.readline())
    length = 0
    while line := reader.readline().strip():
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    reader.read(length)
    return status


def test_memory_of_a_web_process_stays_under_250_mb_while_bodies_of_20_mib_come(running: Product):
    """Row 21, and a bar of issue 4: four at a time, of several shapes, over and over, in one process."""
    key = running.agent_key("heavy")
    with web_beside(running, WAYBILL_WEB_PROCESSES="1") as (base, [worker]):
        bodies = [gzip.compress(body, 1) for body in (heavy(3.8), heavy(18), named(), b"[" + b" " * 21 * MIB)]
        statuses: list[int] = []

        def send(body: bytes) -> None:
            for _ in range(4):
                with dial(base) as client:
                    client.sendall(head(key, "Content-Encoding: gzip", f"Content-Length: {len(body)}") + body)
                    statuses.append(status_in(client.recv(65536)))

        threads = [threading.Thread(target=send, args=(body,)) for body in bodies]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert set(statuses) == {200, 413} or set(statuses) == {200, 413, 429}
        assert statuses.count(200) >= 4
        assert peak_bytes(worker) < 250 * MIB, f"{peak_bytes(worker) // MIB} MB"


def heavy(kilobytes: float) -> bytes:
    """Return just under 20 MiB of events with a payload of this size."""
    filling = "".join(f"<line no='{n}'>goods</line>" for n in range(1000))[: int(kilobytes * 1024)]
    count = int(19.5 * MIB / (len(filling) + 500))
    return json.dumps(
        [event(payload={"body": filling}, attributes={f"a{n}": n for n in range(10)}) for _ in range(count)]
    ).encode()


def named() -> bytes:
    """Return just under 20 MiB of events with many attributes."""
    attributes = {f"attribute.number.{n}": f"its value {n:09d}" for n in range(80)}
    return json.dumps([event(attributes=attributes) for _ in range(4_700)]).encode()


def test_connections_that_stay_open_are_spread_over_the_processes(running: Product):
    """Each process computes on one core: agents that met in one of them would share it while the other idles."""
    with web_beside(running, WAYBILL_WEB_PROCESSES="2") as (base, workers), ExitStack() as opened:
        uneven = 0
        for _ in range(60):
            client = opened.enter_context(dial(base))
            client.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert status_in(client.recv(65536)) == 200
            held = [connections_of(pid, urlsplit(base).port or 0) for pid in workers]
            uneven = max(uneven, max(held) - min(held))

    assert sum(held) == 60
    assert uneven <= 4  # by chance it would be once in a while only


def connections_of(pid: int, port: int) -> int:
    """Return how many established connections of this port a process holds."""
    ours = {
        f"socket:[{line.split()[9]}]"
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if is_open(line, port)
    }
    held = 0
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            held += os.readlink(descriptor) in ours
    return held


def is_open(line: str, port: int) -> bool:
    _, local, _, state, *_ = line.split()
    return state == "01" and int(local.rpartition(":")[2], 16) == port
