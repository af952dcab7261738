"""RabbitMQ over AMQP 0.9.1: publisher confirms with `mandatory`, dead letters with x-death in all its shapes."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pika
from pika import exceptions as amqp

from messages.connectors.base import Address, BrokerUnavailable, Check, Header, Outgoing, Published, Received
from messages.connectors.context import context_of
from messages.connectors.headers import as_dicts, first_text, header_of, value_of
from messages.connectors.held import Held
from messages.connectors.redis_streams import body_fields
from messages.connectors.roots import root_type

PROPERTIES = (
    "content_type",
    "content_encoding",
    "delivery_mode",
    "priority",
    "correlation_id",
    "reply_to",
    "message_id",
    "type",
    "app_id",
)
MOST_BYTES = 32 * 1024 * 1024  # in hand of one harvester
KNOWN_REASONS = {"rejected": "rejected", "expired": "expired", "maxlen": "overflow", "delivery_limit": "delivery_limit"}


def _parameters(address: Address, *, timeout_s: float) -> pika.connection.Parameters:
    parameters = pika.URLParameters(address.url)
    if address.username:
        parameters.credentials = pika.PlainCredentials(address.username, address.secret)
    parameters.socket_timeout = parameters.stack_timeout = parameters.blocked_connection_timeout = timeout_s
    parameters.connection_attempts = 1
    parameters.heartbeat = 30
    parameters.client_properties = {"connection_name": "waybill"}
    return parameters


def _says(error: Exception) -> str:
    return " ".join((str(error) or repr(error)).split())[:300] or type(error).__name__


class RabbitMQConnector:
    """basic.publish with confirms; unroutable comes back and is refused, never lost in silence."""

    kind = "rabbitmq"

    def __init__(self, address: Address) -> None:
        self.address = address
        self.connection: Any = None
        self.channel: Any = None

    def _open(self, timeout_s: float) -> None:
        if self.connection is None or not self.connection.is_open:
            self.connection = pika.BlockingConnection(_parameters(self.address, timeout_s=timeout_s))
            self.channel = None
        if self.channel is None or not self.channel.is_open:
            self.channel = self.connection.channel()
            self.channel.confirm_delivery()

    def publish(self, items: Sequence[Outgoing], *, timeout_s: float) -> list[Published]:
        return [self._publish(item, timeout_s) for item in items]

    def _publish(self, item: Outgoing, timeout_s: float) -> Published:
        exchange, key = item.route.get("exchange", ""), item.route.get("routing_key") or item.destination
        try:
            properties = _encodable(exchange, key, item)
        except Exception as error:  # noqa: BLE001  whatever pika's encoder says of it: nothing was sent
            return Published(id=item.id, result="refused", detail=f"AMQP cannot carry it: {_says(error)}")
        try:
            self._open(timeout_s)
        except (amqp.ProbableAuthenticationError, amqp.ProbableAccessDeniedError, amqp.AuthenticationError) as error:
            return Published(id=item.id, result="refused", detail=f"RabbitMQ refused the login: {_says(error)}")
        except (amqp.AMQPError, OSError) as error:
            return Published(id=item.id, result="unavailable", detail=f"RabbitMQ cannot be reached: {_says(error)}")
        try:
            self.channel.basic_publish(exchange, key, item.body, properties, mandatory=True)
        except amqp.UnroutableError:
            return Published(
                id=item.id,
                result="refused",
                detail=f"no queue takes {exchange or 'the default exchange'} with key {key}",
            )
        except amqp.NackError:
            return Published(
                id=item.id, result="refused", detail="RabbitMQ would not take it: the queue is full or failing"
            )
        except amqp.ChannelClosedByBroker as error:
            return Published(
                id=item.id, result="refused", detail=f"RabbitMQ refused it: {error.reply_code} {error.reply_text}"
            )
        except (amqp.AMQPError, OSError) as error:
            self.close()
            return Published(
                id=item.id,
                result="unknown",
                detail=f"the line broke before the confirm, RabbitMQ may have taken it: {_says(error)}",
            )
        return Published(
            id=item.id,
            result="confirmed",
            detail=f"RabbitMQ confirmed it at {exchange or 'the default exchange'} with key {key}",
        )

    def check(self, destination: str | None) -> list[Check]:
        return _checked(self.address, destination, "may publish", "a channel with confirms was opened")

    def close(self) -> None:
        with contextlib.suppress(amqp.AMQPError, OSError):
            if self.connection is not None and self.connection.is_open:
                self.connection.close()
        self.connection = self.channel = None


def _checked(address: Address, queue: str | None, question: Any, words: str) -> list[Check]:
    """Ask a broker, one question after the other, until one is answered with no."""
    try:
        connection = pika.BlockingConnection(_parameters(address, timeout_s=5))
    except (amqp.ProbableAuthenticationError, amqp.ProbableAccessDeniedError, amqp.AuthenticationError) as error:
        return [
            Check(question="reached", answer=True, detail="RabbitMQ answers"),
            Check(question="authenticated", answer=False, detail=_says(error)),
        ]
    except (amqp.AMQPError, OSError, ValueError) as error:
        return [Check(question="reached", answer=False, detail=f"RabbitMQ does not answer: {_says(error)}")]
    checks = [
        Check(question="reached", answer=True, detail="RabbitMQ answers"),
        Check(question="authenticated", answer=True, detail="the login is accepted"),
    ]
    try:
        channel = connection.channel()
        channel.confirm_delivery()
        if queue:
            count = channel.queue_declare(queue, passive=True).method.message_count
            checks.append(Check(question="queue exists", answer=True, detail=f"queue {queue} holds {count}"))
        checks.append(Check(question=question, answer=True, detail=words))
    except amqp.ChannelClosedByBroker as error:
        missing = error.reply_code == 404
        checks.append(
            Check(
                question="queue exists" if missing else question,
                answer=False,
                detail=f"{error.reply_code} {error.reply_text}",
            )
        )
    except (amqp.AMQPError, OSError) as error:
        checks.append(Check(question=question, answer=False, detail=_says(error)))
    finally:
        with contextlib.suppress(amqp.AMQPError, OSError):
            connection.close()
    return checks


def _encodable(exchange: str, key: str, item: Outgoing) -> pika.BasicProperties:
    """Return the properties to send with; raises what pika raises for names and numbers that do not fit their frames."""
    properties = _properties(item)
    properties.encode()
    pika.spec.Basic.Publish(exchange=exchange, routing_key=key).encode()
    return properties


def _properties(item: Outgoing) -> pika.BasicProperties:
    kept: dict[str, Any] = {name: item.properties[name] for name in PROPERTIES if item.properties.get(name) is not None}
    kept.setdefault("content_type", item.content_type or None)
    kept.setdefault("delivery_mode", 2)
    return pika.BasicProperties(headers={header.name: value_of(header) for header in item.headers}, **kept)


class RabbitMQSource:
    """Takes from one dead-letter queue by asking for each message (basic.get); what is not acknowledged comes again after a crash.

    Asking, not consuming: then nothing is on its way to us while we acknowledge, which the names of messages without an id need
    (see held.py), and a letter that stays unacknowledged for good takes no place from others.
    options  system (who failed), state (folder for the names of messages without an id; without it they last as long as we do).
    """

    def __init__(self, address: Address, *, broker: str, queue: str, options: Mapping[str, object]) -> None:
        self.address, self.broker, self.queue = address, broker, queue
        self.system = str(options.get("system") or "")
        self.connection: Any = None
        self.channel: Any = None
        self.unacknowledged: dict[int, str] = {}  # delivery tag → name given to a message without one, else ""
        folder = str(options.get("state") or "")
        file = hashlib.sha256(f"{broker}\0{queue}".encode()).hexdigest()[:16]
        self.held = Held(Path(folder) / f"{file}.json" if folder else None)

    def _open(self) -> None:
        if self.connection is not None and self.connection.is_open and self.channel.is_open:
            return
        self.close()
        self.held.load()
        self.connection = pika.BlockingConnection(_parameters(self.address, timeout_s=10))
        self.channel = self.connection.channel()

    def receive(self, limit: int, wait_s: float) -> list[Received]:
        try:
            self._open()
            taken = self._take(limit)
            if not taken:
                self.connection.process_data_events(time_limit=wait_s)
                taken = self._take(limit)
        except (amqp.AMQPError, OSError, ValueError) as error:
            self.close()
            raise BrokerUnavailable(_says(error)) from error
        received = [self._received(*delivery) for delivery in taken]
        if any(self.unacknowledged[one.token] for one in received):  # type: ignore[index]
            self.held.save()  # before anybody hears a name
        return received

    def _take(self, limit: int) -> list[tuple[Any, Any, bytes]]:
        """Return what waits, up to so many messages or bytes."""
        taken: list[tuple[Any, Any, bytes]] = []
        size = 0
        while len(taken) < limit and size < MOST_BYTES:
            method, properties, body = self.channel.basic_get(self.queue)
            if method is None:
                if not taken:
                    self.held.nothing_waits()
                break
            taken.append((method, properties, body))
            size += len(body)
        return taken

    def _received(self, method: Any, properties: Any, body: bytes) -> Received:
        letter = decode_delivery(properties, body, broker=self.broker, queue=self.queue, system=self.system)
        name = ""
        if not letter["message_id"]:
            name = letter["id"] = self.held.name(str(letter["id"]), delivered_before=method.redelivered)
        self.unacknowledged[method.delivery_tag] = name
        return Received(token=method.delivery_tag, letter=letter)

    def acknowledge(self, tokens: Sequence[object]) -> None:
        try:
            for token in tokens:
                self.channel.basic_ack(token)
            names = [self.unacknowledged.pop(int(str(token)), "") for token in tokens]
            if any(names):
                self.channel.queue_declare(
                    self.queue, passive=True
                )  # its answer says that the broker has read the above
                self.held.forget(names)
                self.held.save()
            else:
                self.connection.process_data_events(time_limit=0)
        except (amqp.AMQPError, OSError, AttributeError) as error:
            self.close()
            raise BrokerUnavailable(_says(error)) from error

    def depth(self) -> int | None:
        try:
            return int(self.channel.queue_declare(self.queue, passive=True).method.message_count) + len(
                self.unacknowledged
            )
        except (amqp.AMQPError, OSError, AttributeError):
            return None

    def check(self) -> list[Check]:
        return _checked(self.address, self.queue, "may read", "a channel was opened")

    def close(self) -> None:
        with contextlib.suppress(amqp.AMQPError, OSError):
            if self.connection is not None and self.connection.is_open:
                self.connection.close()
        self.connection = self.channel = None
        self.unacknowledged.clear()
        self.held.line_ended()


def decode_delivery(properties: Any, body: bytes, *, broker: str, queue: str, system: str = "") -> dict[str, object]:
    """Return the native dead letter of a delivery; odd headers never raise. Pure.

    x-death is newest first and compressed per queue and reason; its `time` is that of the first such death and its `count`
    counts deaths, not attempts. Spring AMQP's republished letters carry x-exception-* and x-original-* instead.
    """
    raw: Mapping[str, Any] = properties.headers or {}
    headers = [header_of(str(name), value) for name, value in raw.items()]
    deaths = _deaths(raw)
    newest = deaths[0] if deaths else {}
    exchange, key = _origin(newest, headers, queue)
    reason = str(newest.get("reason") or first_text(headers, "x-first-death-reason") or "")
    error = _error(headers)
    message_id = str(properties.message_id or first_text(headers, "message-id") or "")
    return {
        "id": _identity(broker, queue, message_id, deaths, headers, body),
        "broker": broker,
        "family": "rabbitmq",
        "queue": queue,
        "origin": str(newest.get("queue") or first_text(headers, "x-first-death-queue") or key or queue),
        "route": {"exchange": exchange, "routing_key": key},
        "system": system,
        "reason": reason,
        "reason_code": KNOWN_REASONS.get(reason, "target_error" if error["stack"] else "unknown"),
        "message_id": message_id[:256],
        "correlation_id": str(properties.correlation_id or "")[:256],
        "error": error,
        "headers": as_dicts(headers),
        "properties": {name: getattr(properties, name) for name in PROPERTIES if getattr(properties, name) is not None},
        "content_type": str(properties.content_type or ""),
        "content_encoding": str(properties.content_encoding or ""),
        "replay_id": (first_text(headers, "replay-id") or "")[:36],
        **body_fields(body),
        **_when_known(raw, newest, headers),
    }


def _deaths(raw: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    deaths = raw.get("x-death")
    return [death for death in deaths if isinstance(death, Mapping)] if isinstance(deaths, list) else []


def _error(headers: Sequence[Header]) -> dict[str, str]:
    stack = first_text(headers, "x-exception-stacktrace") or first_text(headers, "error-stack") or ""
    kind = first_text(headers, "error-type") or root_type(stack)
    message = first_text(headers, "x-exception-message") or first_text(headers, "error-message") or ""
    return {"type": kind, "root_type": root_type(stack) or kind, "message": message, "stack": stack}


def _when_known(raw: Mapping[str, Any], newest: Mapping[str, Any], headers: Sequence[Header]) -> dict[str, object]:
    """Return the fields that are left out when nothing tells them: trace, attempts, the first death."""
    found: dict[str, object] = {}
    if context := context_of(partial(first_text, headers)):
        found["trace_id"], found["span_id"] = context
    attempts = raw.get("x-delivery-count") or first_text(headers, "attempts")
    if isinstance(attempts, int) or (isinstance(attempts, str) and attempts.isascii() and attempts.isdigit()):
        found["attempts"] = min(int(attempts), 2**31 - 1)
    if isinstance(newest.get("time"), datetime):
        found["first_failed_at"] = newest["time"].replace(tzinfo=newest["time"].tzinfo or UTC).isoformat()
    return found


def _origin(newest: Mapping[str, Any], headers: Sequence[Header], queue: str) -> tuple[str, str]:
    """Return (exchange, routing key) that bring the message back to where it died."""
    spring_key = first_text(headers, "x-original-routingkey")
    if spring_key is not None:
        return first_text(headers, "x-original-exchange") or "", spring_key
    died_in = newest.get("queue")
    if died_in:
        # Straight into the queue it died in: its exchange may fan out to consumers that were fine.
        return "", str(died_in)
    first = first_text(headers, "x-first-death-queue") or first_text(headers, "original-queue")
    return "", first or queue.removesuffix(".dlq").removesuffix("_error")


def _identity(
    broker: str,
    queue: str,
    message_id: str,
    deaths: Sequence[Mapping[str, Any]],
    headers: Sequence[Header],
    body: bytes,
) -> str:
    """Return what this death is called: the same after a redelivery, another one after the next death."""
    facts = [[str(d.get(name)) for name in ("queue", "reason", "count", "time")] for d in deaths]
    others = sorted(
        (h.name, h.type, json.dumps(h.value, sort_keys=True, default=str))
        for h in headers
        if h.name != "x-delivery-count"
    )
    digest = hashlib.sha256(json.dumps([message_id, facts, others], sort_keys=True).encode() + b"\0" + body).hexdigest()
    return f"{broker}/{queue}/{digest[:40]}"[-256:]
