"""Redis Streams: an entry's field `body` is the body, every other field a header. Layout of dead letters: docs/agents.md."""

from __future__ import annotations

import base64
import contextlib
import socket
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import redis

from messages.connectors.base import Address, BrokerUnavailable, Check, Header, Outgoing, Published, Received
from messages.connectors.context import context_of
from messages.connectors.headers import as_dicts, first_text, header_of, value_of
from messages.connectors.roots import root_type


def connect(address: Address, *, timeout_s: float = 10) -> Any:
    """Return a client; nothing is sent before its first command."""
    credentials = {"username": address.username or None, "password": address.secret} if address.secret else {}
    return redis.Redis.from_url(address.url, socket_timeout=timeout_s, socket_connect_timeout=5, **credentials)


def _says(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


class RedisStreamsConnector:
    """XADD; the entry id is the broker's confirmation."""

    kind = "redis-streams"

    def __init__(self, address: Address) -> None:
        self.client = connect(address)

    def publish(self, items: Sequence[Outgoing], *, timeout_s: float) -> list[Published]:
        return [self._publish(item) for item in items]

    def _publish(self, item: Outgoing) -> Published:
        fields: dict[str | bytes, str | bytes] = {}
        for header in item.headers:
            value = value_of(header)
            fields[header.name] = value if isinstance(value, bytes) else "" if value is None else str(value)
        fields["body"] = item.body
        try:
            self.client.ping()  # so that a dead line is known before anything is sent
        except redis.AuthenticationError as error:
            return Published(id=item.id, result="refused", detail=f"Redis refused the login: {_says(error)}")
        except redis.RedisError as error:
            return Published(id=item.id, result="unavailable", detail=f"Redis cannot be reached: {_says(error)}")
        try:
            entry = self.client.xadd(item.destination, fields)
        except redis.ResponseError as error:
            return Published(id=item.id, result="refused", detail=f"Redis refused it: {_says(error)}")
        except redis.RedisError as error:
            return Published(
                id=item.id,
                result="unknown",
                detail=f"the line broke while sending, Redis may have taken it: {_says(error)}",
            )
        return Published(
            id=item.id, result="confirmed", detail=f"stored in stream {item.destination}", broker_id=entry.decode()
        )

    def check(self, destination: str | None) -> list[Check]:
        checks = _reached(self.client)
        if all(check.answer for check in checks) and destination:
            kind = self.client.type(destination).decode()
            exists = {"stream": True, "none": False}.get(kind, False)
            words = {"stream": "is there", "none": "is not there yet; the first message makes it"}.get(
                kind, f"is a {kind}, not a stream"
            )
            checks.append(Check(question="queue exists", answer=exists, detail=f"stream {destination} {words}"))
        return checks

    def close(self) -> None:
        self.client.close()


def _reached(client: Any) -> list[Check]:
    try:
        client.ping()
    except redis.AuthenticationError as error:
        return [
            Check(question="reached", answer=True, detail="Redis answers"),
            Check(question="authenticated", answer=False, detail=_says(error)),
        ]
    except redis.RedisError as error:
        return [Check(question="reached", answer=False, detail=f"Redis does not answer: {_says(error)}")]
    return [
        Check(question="reached", answer=True, detail="Redis answers"),
        Check(question="authenticated", answer=True, detail="the login is accepted"),
    ]


class RedisStreamsSource:
    """Reads a dead-letter stream through a consumer group; acknowledged entries leave the stream.

    options  group (default waybill), system (who failed), consumer (default the host's name: its pending entries come first).
    """

    def __init__(self, address: Address, *, broker: str, queue: str, options: Mapping[str, object]) -> None:
        self.broker, self.queue = broker, queue
        self.system = str(options.get("system") or "")
        self.group = str(options.get("group") or "waybill")
        self.consumer = str(options.get("consumer") or f"waybill@{socket.gethostname()}")
        self.client = connect(address, timeout_s=30)
        self._ready = False
        self._pending_from = "0"  # our own unacknowledged entries of before, until there are none

    def receive(self, limit: int, wait_s: float) -> list[Received]:
        try:
            self._make_ready()
            if self._pending_from:
                entries = self._read(self._pending_from, limit, None)
                if entries:
                    self._pending_from = entries[-1][0].decode()
                    return [self._received(*entry) for entry in entries if entry[1]]
                self._pending_from = ""
            stolen = self.client.xautoclaim(self.queue, self.group, self.consumer, min_idle_time=60_000, count=limit)[1]
            entries = [entry for entry in stolen if entry[1]] or self._read(">", limit, max(1, int(wait_s * 1000)))
            return [self._received(*entry) for entry in entries]
        except redis.RedisError as error:
            self._ready, self._pending_from = False, "0"
            raise BrokerUnavailable(_says(error)) from error

    def _make_ready(self) -> None:
        if not self._ready:
            with contextlib.suppress(redis.ResponseError):  # BUSYGROUP: it is there
                self.client.xgroup_create(self.queue, self.group, id="0", mkstream=True)
            self._ready = True

    def _read(self, after: str, limit: int, block_ms: int | None) -> list[tuple[bytes, dict[bytes, bytes]]]:
        answer = self.client.xreadgroup(self.group, self.consumer, {self.queue: after}, count=limit, block=block_ms)
        if not answer:
            return []
        streams = answer.values() if isinstance(answer, dict) else [answer[0][1]]
        entries = next(iter(streams))
        return list(entries[0]) if entries and isinstance(entries[0], list) else list(entries)

    def _received(self, entry_id: bytes, fields: dict[bytes, bytes]) -> Received:
        return Received(
            token=entry_id,
            letter=decode_entry(entry_id.decode(), fields, broker=self.broker, queue=self.queue, system=self.system),
        )

    def acknowledge(self, tokens: Sequence[object]) -> None:
        try:
            pipe = self.client.pipeline(transaction=True)
            pipe.xack(self.queue, self.group, *tokens)
            pipe.xdel(self.queue, *tokens)
            pipe.execute()
        except redis.RedisError as error:
            self._pending_from = "0"
            raise BrokerUnavailable(_says(error)) from error

    def depth(self) -> int | None:
        try:
            return int(self.client.xlen(self.queue))
        except redis.RedisError:
            return None

    def check(self) -> list[Check]:
        checks = _reached(self.client)
        if not all(check.answer for check in checks):
            return checks
        try:
            kind = self.client.type(self.queue).decode()
            checks.append(
                Check(
                    question="queue exists",
                    answer=kind in {"stream", "none"},
                    detail={
                        "stream": f"stream {self.queue} holds {self.client.xlen(self.queue)} dead letters",
                        "none": f"stream {self.queue} is not there yet: nothing has died",
                    }.get(kind, f"{self.queue} is a {kind}, not a stream"),
                )
            )
            if kind == "stream":
                self.client.xrange(self.queue, count=1)
            checks.append(Check(question="may read", answer=True, detail="reading is allowed"))
        except redis.RedisError as error:
            checks.append(Check(question="may read", answer=False, detail=_says(error)))
        return checks

    def close(self) -> None:
        self.client.close()


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "replace")


def decode_entry(
    entry_id: str, fields: Mapping[bytes, bytes], *, broker: str, queue: str, system: str = ""
) -> dict[str, object]:
    """Return the native dead letter of a stream entry; odd fields never raise, they become headers. Pure."""
    known = {_text(name): value for name, value in fields.items()}
    headers: list[Header] = []
    for name, value in known.items():
        if name != "body":
            try:
                headers.append(header_of(name, value.decode()))
            except UnicodeDecodeError:
                headers.append(header_of(name, value))
    stack = _text(known.get("error-stack"))
    kind = _text(known.get("error-type"))
    context = context_of(partial(first_text, headers))
    origin = _text(known.get("original-stream")) or queue.removesuffix(".dlq")
    letter: dict[str, object] = {
        "id": f"{broker}/{queue}/{entry_id}",
        "broker": broker,
        "family": "redis-streams",
        "queue": queue,
        "origin": origin,
        "route": {"stream": origin},
        "system": _text(known.get("failed-system")) or system,
        "reason": _text(known.get("dead-reason")),
        "reason_code": reason_code(_text(known.get("dead-reason"))),
        "message_id": _text(known.get("message-id"))[:256],
        "correlation_id": _text(known.get("correlation-id"))[:256],
        "error": {
            "type": kind,
            "root_type": root_type(stack) or kind,
            "message": _text(known.get("error-message")),
            "stack": stack,
        },
        "headers": as_dicts(headers),
        "content_type": _text(known.get("content-type")),
        "replay_id": _text(known.get("replay-id"))[:36],
        **body_fields(known.get("body", b"")),
    }
    if context:
        letter["trace_id"], letter["span_id"] = context
    attempts = _text(known.get("attempts"))
    if attempts.isascii() and attempts.isdigit() and len(attempts) < 9:
        letter["attempts"] = int(attempts)
    for name in ("first-failed-at", "failed-at"):
        if known.get(name):
            letter[name.replace("-", "_")] = _text(known[name])
    return letter


def body_fields(body: bytes) -> dict[str, object]:
    """Return the body as text when it is UTF-8 without NUL, else as base64."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text = "\x00"
    return {"body_base64": base64.b64encode(body).decode()} if "\x00" in text else {"body": text}


def reason_code(native: str) -> str:
    """Return the small reason of a native one, by the words brokers and consumers use."""
    words = native.lower().replace("-", "_").replace(" ", "_")
    for code, marks in REASONS:
        if any(mark in words for mark in marks):
            return code
    return "unknown"


REASONS = (
    ("delivery_limit", ("delivery_limit", "max_deliver", "maxdelivery", "attempts", "retries")),
    ("expired", ("expired", "ttl")),
    ("overflow", ("maxlen", "overflow")),
    ("deserialization", ("deserial", "decode", "malformed", "parse", "invalid_json", "poison")),
    ("auth", ("auth", "forbidden", "unauthorized", "permission")),
    ("throttled", ("throttl", "rate_limit", "too_many")),
    ("hop_limit", ("hop",)),
    ("target_error", ("target", "timeout", "timed_out", "error", "failed", "unavailable")),
    ("rejected", ("reject", "refused", "validation", "invalid")),
)
