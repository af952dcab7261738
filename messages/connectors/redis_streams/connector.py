"""Sending to Redis Streams: an entry's field `body` is the body, every other field a header."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import redis
from redis.exceptions import NoPermissionError

from messages.connectors.base import Address, BrokerUnavailable, Check, Found, Outgoing, Published, Result
from messages.connectors.headers import value_of
from messages.connectors.naming import MOST_FOUND, why_dead_letters
from messages.connectors.redis_streams.client import connect, reached, says
from messages.connectors.redis_streams.topology import group_of, stream_hints

MOST_GROUPS = 50


class RedisStreamsConnector:
    """XADD, pipelined; the entry id is the broker's confirmation."""

    kind = "redis-streams"
    at_once = 200

    def __init__(self, address: Address) -> None:
        self.client = connect(address)

    def publish(self, items: Sequence[Outgoing], *, timeout_s: float) -> list[Published]:
        try:
            self.client.ping()  # so that a dead line is known before anything is sent
        except redis.AuthenticationError as error:
            return _all(items, "refused", f"Redis refused the login: {says(error)}")
        except redis.RedisError as error:
            return _all(items, "unavailable", f"Redis cannot be reached: {says(error)}")
        sending = self.client.pipeline(transaction=False)
        for item in items:
            sending.xadd(item.destination, _fields(item))
        try:
            answers = sending.execute(raise_on_error=False)
        except redis.RedisError as error:
            return _all(items, "unknown", f"the line broke while sending, Redis may have taken it: {says(error)}")
        return [_result(item, answer) for item, answer in zip(items, answers, strict=True)]

    def check(self, destination: str | None) -> list[Check]:
        checks = reached(self.client)
        if all(check.answer for check in checks) and destination:
            kind = self.client.type(destination).decode()
            exists = {"stream": True, "none": False}.get(kind, False)
            words = {"stream": "is there", "none": "is not there yet; the first message makes it"}.get(
                kind, f"is a {kind}, not a stream"
            )
            checks.append(Check(question="queue exists", answer=exists, detail=f"stream {destination} {words}"))
            if exists or kind == "none":
                checks.append(self._may_publish(destination))
        return checks

    def _may_publish(self, destination: str) -> Check:
        """Add an entry under an id that is none: Redis looks at the right first, and then refuses the id."""
        try:
            self.client.execute_command("XADD", destination, "no-id", "body", "")
        except NoPermissionError as error:
            return Check(question="may publish", answer=False, detail=says(error))
        except redis.ResponseError:
            pass
        return Check(question="may publish", answer=True, detail=f"XADD is allowed on {destination}")

    def hints(self, item: Outgoing, *, died_in: str, timeout_s: float) -> list[str]:
        """Say who reads the stream that it goes to, nobody or several, and whether the stream itself expires."""
        stream, until = item.destination, time.monotonic() + timeout_s
        try:
            if not self.client.exists(stream):
                return [f"stream {stream} is not there: this message makes it, and nobody reads it yet"]
            left = int(self.client.pttl(stream))
            groups = [
                group_of(row, self._consumers(stream, row, until))
                for row in self.client.xinfo_groups(stream)[:MOST_GROUPS]
            ]
        except redis.ResponseError as error:
            return [f"Redis says of {stream}: {says(error)}"]
        except redis.RedisError as error:
            raise BrokerUnavailable(says(error)) from error
        return stream_hints(stream, groups, expires_in_s=left / 1000 if left >= 0 else None)

    def _consumers(self, stream: str, row: Mapping[str, object], until: float) -> list[dict[str, object]]:
        """Return the consumers of a group; of one that there was no time to ask about, as many as it has, and no more of them."""
        count = row.get("consumers")
        if not count or time.monotonic() > until:
            return [{}] if count else []
        return list(self.client.xinfo_consumers(stream, row["name"]))

    def discover(self, *, timeout_s: float) -> list[Found]:
        """Look through the names of streams; a large database is not looked through to its end."""
        until, found = time.monotonic() + timeout_s, []
        try:
            for key in self.client.scan_iter(count=1000, _type="stream"):
                name = key.decode("utf-8", "replace")
                if why := why_dead_letters(name):
                    found.append(Found(queue=name, why=why, waiting=int(self.client.xlen(key))))
                if len(found) >= MOST_FOUND or time.monotonic() > until:
                    break
        except redis.RedisError as error:
            raise BrokerUnavailable(says(error)) from error
        return sorted(found, key=lambda one: one.queue)

    def close(self) -> None:
        self.client.close()


def _all(items: Sequence[Outgoing], result: Result, detail: str) -> list[Published]:
    return [Published(id=item.id, result=result, detail=detail) for item in items]


def _fields(item: Outgoing) -> dict[str | bytes, str | bytes]:
    fields: dict[str | bytes, str | bytes] = {}
    for header in item.headers:
        value = value_of(header)
        fields[header.name] = value if isinstance(value, bytes) else "" if value is None else str(value)
    return fields | {"body": item.body}


def _result(item: Outgoing, answer: object) -> Published:
    if isinstance(answer, bytes):
        where = f"stored in stream {item.destination}"
        return Published(id=item.id, result="confirmed", detail=where, broker_id=answer.decode())
    return Published(id=item.id, result="refused", detail=f"Redis refused it: {says(Exception(answer))}")
