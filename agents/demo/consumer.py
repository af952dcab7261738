"""A receiver on a Redis stream that loses nothing when it is killed and does nothing twice.

Read through a consumer group under a stable name: what it had not acknowledged when it died comes first when it is back;
what another consumer left lying for 30 s is claimed. Everything that a message leads to (the messages sent on, the mark
that it is done or its dead letter, the acknowledgement) is one MULTI: all of it or nothing.
"""

from __future__ import annotations

import json
import time
import traceback
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import redis

from agents.demo.alive import Alive
from agents.demo.faults import Faults
from agents.demo.names import DID_KEY, Hop
from agents.demo.telemetry import Telemetry
from agents.demo.work import Done, Handler, Publish, Refused

ATTEMPTS = 3
PAUSE_S = 0.1
BLOCK_MS = 1_000
ABANDONED_MS = 30_000
DONE_FOR_S = 3_600
DID_FOR_S = 7 * 24 * 3_600
MOST_ENTRIES = 20_000  # a stream is emptied as it is read; this only guards memory
NAMESPACE = uuid.UUID("5d7e3f0c-5f0e-5a55-9a52-3a2f6d1c8e11")


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    entry_id: str
    headers: dict[str, str]
    body: bytes

    @property
    def message_id(self) -> str:
        return self.headers.get("message-id") or self.entry_id

    @property
    def correlation_id(self) -> str:
        return self.headers.get("correlation-id") or self.message_id


def next_message_id(message_id: str, stream: str) -> str:
    """Return the id of the message that follows from this one: the same every time, so that a second run is no second message."""
    return str(uuid.uuid5(NAMESPACE, f"{message_id}/{stream}"))


def send_attributes(message_id: str, correlation_id: str, publish: Publish) -> dict[str, Any]:
    """Return what a `send` span says of the message, its body included."""
    return {
        "messaging.message.id": message_id,
        "messaging.message.conversation_id": correlation_id,
        "messaging.message.body.size": len(publish.body),
        "waybill.payload": publish.body.decode("utf-8", "replace"),
        "waybill.payload.content_type": "application/json",
        **publish.keys,
        **amount_of(publish),
    }


def amount_of(publish: Publish) -> dict[str, str]:
    """Return what a message is worth as a business key, in spans and headers alike: a failure says how much of it there is."""
    return {} if publish.amount is None else {"business.amount_eur": f"{publish.amount:.2f}"}


def entry_headers(message_id: str, correlation_id: str, publish: Publish) -> dict[str, str]:
    return {
        "message-id": message_id,
        "correlation-id": correlation_id,
        "content-type": "application/json",
        **publish.keys,
        **amount_of(publish),
    }


class OutletAway(Exception):
    """The other broker does not take messages now: no message's fault, so it is tried again until it does."""


class Outlet(Protocol):
    """Another broker than Redis, for the destinations that go over it. `send` returns once the broker has it, or raises OutletAway."""

    system: str

    def send(self, body: bytes, headers: Mapping[str, str]) -> None: ...


class Consumer:
    """Takes the messages of one hop and does with them what `handler` says.

    outlets  {destination: broker} of what is sent on elsewhere than to a stream. It is sent before the rest is committed, so a
             kill in between sends it twice under the same id, which the receiver knows.
    """

    system = "redis"

    def __init__(
        self,
        client: Any,
        hop: Hop,
        handler: Handler,
        telemetry: Telemetry,
        outlets: Mapping[str, Outlet] | None = None,
        *,
        name: str = "",
    ) -> None:
        self.outlets = outlets or {}
        self.client, self.hop, self.handler, self.telemetry = client, hop, handler, telemetry
        self.faults, self.alive = Faults(client), Alive(client, hop.consumer)
        self.name = name or hop.consumer
        self._pending_from = "0"
        self._claimed_at = 0.0

    def run(self, stopping: Callable[[], bool]) -> None:
        """Consume until told to stop; Redis going away is waited for."""
        while not stopping():
            try:
                self.alive.say()
                for message in self._receive():
                    if stopping():
                        break
                    self.process(message)
            except redis.ResponseError as error:
                if "NOGROUP" not in str(error):
                    raise
                self._make_group()
            except (redis.ConnectionError, redis.TimeoutError, OutletAway):
                self._pending_from = "0"
                time.sleep(0.5)

    def _make_group(self) -> None:
        try:
            self.client.xgroup_create(self.hop.stream, self.hop.consumer, id="0", mkstream=True)
        except redis.ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    def _receive(self) -> list[Message]:
        group, stream = self.hop.consumer, self.hop.stream
        if self._pending_from:
            mine = self._read(self._pending_from, None)
            self._pending_from = mine[-1].entry_id if mine else ""
            return mine
        if time.monotonic() - self._claimed_at > 5:
            self._claimed_at = time.monotonic()
            entries = self.client.xautoclaim(stream, group, self.name, min_idle_time=ABANDONED_MS, count=50)[1]
            if entries:
                return [_message(*entry) for entry in entries if entry[1]]
        return self._read(">", BLOCK_MS)

    def _read(self, after: str, block_ms: int | None) -> list[Message]:
        answer = self.client.xreadgroup(
            self.hop.consumer, self.name, {self.hop.stream: after}, count=20, block=block_ms
        )
        if not answer:
            return []
        entries = next(iter(answer.values())) if isinstance(answer, dict) else answer[0][1]
        if entries and isinstance(entries[0], list):
            entries = entries[0]
        return [_message(*entry) for entry in entries if entry[1]]

    def process(self, message: Message) -> None:
        """Try up to three times, each attempt a span of its own; then it is a dead letter."""
        if self.client.exists(self._done_key(message)):
            self._attempt(message, 1, lambda body, is_on: Done(keys={}))
            return
        first_failed_at = None
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._attempt(message, attempt, self.handler)
            except (redis.RedisError, OutletAway):
                raise
            except Exception as error:  # noqa: BLE001  whatever a handler raises is this message's fate
                first_failed_at = first_failed_at or datetime.now(UTC)
                self.alive.count(ok=False)
                if attempt == ATTEMPTS or not getattr(error, "retry", True):
                    self._bury(message, attempt, error, first_failed_at)
                    return
                time.sleep(PAUSE_S * attempt)
            else:
                self.alive.count(ok=True)
                return

    def _attempt(self, message: Message, attempt: int, handler: Handler) -> None:
        attributes: dict[str, str | int] = {
            "messaging.system": self.system,
            "messaging.message.id": message.message_id,
            "messaging.message.conversation_id": message.correlation_id,
            "messaging.consumer.group.name": self.hop.consumer,
            "messaging.message.body.size": len(message.body),
            "demo.attempt": attempt,
            **{name: message.headers[name] for name in ("order_no", "customer_no") if name in message.headers},
        }
        if "replay-id" in message.headers:
            attributes["replay.id"] = message.headers["replay-id"]
        with self.telemetry.process(self.hop.stream, attributes, message.headers) as span:
            done = handler(message.body, self.faults.is_on)
            span.set_attributes(dict(done.keys))
            if done.state:
                told = {"waybill.payload": json.dumps(done.state), "waybill.payload.content_type": "application/json"}
                span.set_attributes(told)
            pipe = self.client.pipeline(transaction=True)
            for publish in done.sends:
                message_id = next_message_id(message.message_id, publish.stream)
                headers = entry_headers(message_id, message.correlation_id, publish)
                sending = send_attributes(message_id, message.correlation_id, publish)
                if (outlet := self.outlets.get(publish.stream)) is not None:
                    with self.telemetry.send(publish.stream, {**sending, "messaging.system": outlet.system}, headers):
                        outlet.send(publish.body, headers)
                    continue
                with self.telemetry.send(publish.stream, sending, headers):
                    pipe.xadd(publish.stream, {**headers, "body": publish.body}, maxlen=MOST_ENTRIES, approximate=True)
            pipe.set(self._done_key(message), 1, ex=DONE_FOR_S)
            if done.did and "order_no" in done.keys:
                pipe.set(f"{DID_KEY}{self.hop.consumer}:{done.keys['order_no']}", done.did, ex=DID_FOR_S)
            self._finish(pipe, message)

    def _bury(self, message: Message, attempts: int, error: Exception, first_failed_at: datetime) -> None:
        reason = error.reason if isinstance(error, Refused) else "processing error"
        fields = {
            **message.headers,
            "original-stream": self.hop.stream,
            "error-type": type(error).__name__,
            "error-message": str(error),
            "error-stack": "".join(traceback.format_exception(error)),
            "dead-reason": reason,
            "attempts": str(attempts),
            "first-failed-at": first_failed_at.isoformat(),
            "failed-at": datetime.now(UTC).isoformat(),
            "failed-system": self.hop.consumer,
            "dead-entry-id": message.entry_id,
            "body": message.body,
        }
        pipe = self.client.pipeline(transaction=True)
        pipe.xadd(self.hop.dead_letters, fields)
        self._finish(pipe, message)

    def _finish(self, pipe: Any, message: Message) -> None:
        pipe.xack(self.hop.stream, self.hop.consumer, message.entry_id)
        pipe.xdel(self.hop.stream, message.entry_id)
        pipe.execute()

    def _done_key(self, message: Message) -> str:
        return f"waybill-demo:done:{self.hop.consumer}:{message.message_id}"


def _message(entry_id: bytes, fields: dict[bytes, bytes]) -> Message:
    headers = {k.decode("utf-8", "replace"): v.decode("utf-8", "replace") for k, v in fields.items() if k != b"body"}
    return Message(entry_id=entry_id.decode(), headers=headers, body=fields.get(b"body", b""))
