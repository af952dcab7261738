"""Sending tasks to Celery's queues: over RabbitMQ as any message with its confirm, over Redis by kombu into the queue's list."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import kombu
import redis
from kombu import exceptions

from messages.connectors.base import Address, BrokerUnavailable, Check, Outgoing, Published
from messages.connectors.celery.task import NotATask, as_message, read_task
from messages.connectors.headers import header_of, value_of
from messages.connectors.rabbitmq.connector import RabbitMQConnector
from messages.connectors.redis_streams.client import connect, reached, says

BROKEN = (exceptions.KombuError, redis.RedisError, OSError)


class CeleryConnector:
    """Sends each task as a new one whose id is the item's, straight into the queue that the destination names."""

    kind = "celery"

    def __init__(self, address: Address) -> None:
        self.address = address
        amqp = urlsplit(address.url).scheme.startswith("amqp")
        self.rabbitmq = RabbitMQConnector(address) if amqp else None
        if not amqp:
            connect(address).close()  # nothing is sent: it raises ValueError for an address that is none
        self.kombu: Any = None
        self.at_once = self.rabbitmq.at_once if self.rabbitmq else 1

    def publish(self, items: Sequence[Outgoing], *, timeout_s: float) -> list[Published]:
        refused: dict[int, Published] = {}
        tasks: dict[int, Outgoing] = {}
        for index, item in enumerate(items):
            try:
                tasks[index] = as_task(item)
            except NotATask as error:
                refused[index] = Published(id=item.id, result="refused", detail=f"not a task: {error}")
        if self.rabbitmq is not None:
            results = self.rabbitmq.publish(list(tasks.values()), timeout_s=timeout_s)
        else:
            results = [self._push(task, timeout_s) for task in tasks.values()]
        known = refused | dict(zip(tasks, results, strict=True))
        return [known[index] for index in range(len(items))]

    def _push(self, task: Outgoing, timeout_s: float) -> Published:
        try:
            producer = self._open(timeout_s)
        except BROKEN as error:
            self.close()
            if isinstance(error, redis.AuthenticationError) or isinstance(error.__cause__, redis.AuthenticationError):
                return Published(id=task.id, result="refused", detail=f"Redis refused the login: {says(error)}")
            return Published(id=task.id, result="unavailable", detail=f"Redis cannot be reached: {says(error)}")
        try:
            producer.publish(
                task.body,
                exchange="",
                routing_key=task.destination,
                headers={header.name: value_of(header) for header in task.headers},
                content_type=task.content_type,
                content_encoding="utf-8",
                correlation_id=task.id,
                reply_to="",
                retry=False,
            )
        except redis.ResponseError as error:
            return Published(id=task.id, result="refused", detail=f"Redis refused it: {says(error)}")
        except (TypeError, ValueError) as error:
            return Published(id=task.id, result="refused", detail=f"JSON cannot carry its headers: {says(error)}")
        except BROKEN as error:
            self.close()
            words = f"the line broke while sending, Redis may have taken it: {says(error)}"
            return Published(id=task.id, result="unknown", detail=words)
        return Published(id=task.id, result="confirmed", detail=f"task {task.id} waits in the list {task.destination}")

    def _open(self, timeout_s: float) -> Any:
        """Return a producer whose line answers; raises what Redis or kombu raises."""
        if self.kombu is None:
            options = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
            self.kombu = kombu.Connection(url_of(self.address), connect_timeout=timeout_s, transport_options=options)
        channel = self.kombu.default_channel
        channel.client.ping()
        return kombu.Producer(channel)

    def check(self, destination: str | None) -> list[Check]:
        if self.rabbitmq is not None:
            return self.rabbitmq.check(destination)
        with contextlib.closing(connect(self.address, timeout_s=5)) as client:
            checks = reached(client)
            if destination and all(check.answer for check in checks):
                checks.append(_of_list(client, destination))
        return checks

    def hints(self, item: Outgoing, *, died_in: str, timeout_s: float) -> list[str]:
        """Say whether a worker listens: over RabbitMQ by the queue's consumers, over Redis by who waits for tasks, which is a guess."""
        try:
            task = as_task(item)
        except NotATask as error:
            return [f"it would be refused, it is not a task: {error}"]
        if self.rabbitmq is not None:
            return self.rabbitmq.hints(task, died_in=died_in, timeout_s=timeout_s)
        try:
            with contextlib.closing(connect(self.address, timeout_s=timeout_s)) as client:
                kind, waiting = client.type(task.destination).decode(), 0
                if kind not in ("list", "none"):
                    return [f"{task.destination} is a {kind}, not a queue of Celery: Redis would refuse the task"]
                waiting = client.llen(task.destination)
                return worker_hints(task.destination, waiting, client.client_list(), db=_db_of(client))
        except redis.ResponseError:  # this login may not ask who is there
            return []
        except redis.RedisError as error:
            raise BrokerUnavailable(says(error)) from error

    def close(self) -> None:
        if self.rabbitmq is not None:
            self.rabbitmq.close()
        if self.kombu is not None:
            with contextlib.suppress(*BROKEN):
                self.kombu.release()
        self.kombu = None


def as_task(item: Outgoing) -> Outgoing:
    """Return the message of a new task; raises NotATask. The item's own headers stay, but for those that are Celery's."""
    name, args, kwargs = read_task(item.body)
    body, headers = as_message(item.id, name, args, kwargs)
    more = tuple(header for header in item.headers if header.name.lower() not in headers)
    return replace(
        item,
        body=body,
        route={},
        headers=(*more, *(header_of(key, value) for key, value in headers.items())),
        properties={"correlation_id": item.id, "content_encoding": "utf-8"},
        content_type="application/json",
    )


def url_of(address: Address) -> str:
    """Return the address with its login in it, as kombu takes it."""
    parts = urlsplit(address.url)
    if not address.secret:
        return address.url
    login = f"{quote(address.username, safe='')}:{quote(address.secret, safe='')}"
    return urlunsplit(parts._replace(netloc=f"{login}@{parts.netloc.rpartition('@')[2]}"))


def worker_hints(queue: str, waiting: int, clients: Sequence[Mapping[str, object]], *, db: int) -> list[str]:
    """Return what a Redis' clients tell of workers: those that have room wait in BRPOP, for which lists Redis does not say. Pure."""
    idle = sum(1 for one in clients if str(one.get("cmd", "")).lower() == "brpop" and str(one.get("db")) == str(db))
    if not idle:
        return [
            f"no worker waits for tasks on this Redis: none runs, or all are busy ({waiting:,} wait in queue {queue})"
        ]
    if waiting:
        return [
            f"{waiting:,} tasks wait in queue {queue} although workers wait for tasks: maybe none of them reads this queue"
        ]
    return []


def _db_of(client: Any) -> int:
    return int(client.connection_pool.connection_kwargs.get("db") or 0)


def _of_list(client: Any, name: str) -> Check:
    kind = client.type(name).decode()
    if kind in ("list", "none"):
        waiting = client.llen(name)
        words = f"{waiting} tasks wait in it" if waiting else "nothing waits in it, or no worker has ever used it"
        return Check(question="queue exists", answer=True if waiting else None, detail=f"queue {name}: {words}")
    return Check(question="queue exists", answer=False, detail=f"{name} is a {kind}, not a queue of Celery")
