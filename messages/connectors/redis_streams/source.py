"""Dead letters from a stream, read through a consumer group."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping, Sequence

import redis

from messages.connectors.base import Address, BrokerUnavailable, Check, Received
from messages.connectors.redis_streams.client import connect, reached, says
from messages.connectors.redis_streams.decode import decode_entry
from messages.connectors.redis_streams.pending import PendingEntries


class RedisStreamsSource:
    """Reads a dead-letter stream through a consumer group; acknowledged entries leave the stream.

    options  group (default waybill), system (who failed), consumer (default the host's name: its pending entries come first).
             With pending_of it is no dead-letter stream but one that a group works on: see PendingEntries.
    """

    def __init__(self, address: Address, *, broker: str, queue: str, options: Mapping[str, object]) -> None:
        self.broker, self.queue = broker, queue
        self.system = str(options.get("system") or "")
        self.group = str(options.get("group") or "waybill")
        self.consumer = str(options.get("consumer") or f"waybill@{socket.gethostname()}")
        self.client = connect(address, timeout_s=30)
        self.pending: PendingEntries | None = None
        if options.get("pending_of"):
            self.pending = PendingEntries(
                self.client, broker=broker, queue=queue, system=self.system, consumer=self.consumer, options=options
            )
        self._ready = False
        self._pending_from = "0"  # our own unacknowledged entries of before, until there are none

    def receive(self, limit: int, wait_s: float) -> list[Received]:
        try:
            if self.pending:
                return self.pending.receive(limit, wait_s)
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
            raise BrokerUnavailable(says(error)) from error

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
            if self.pending:
                return self.pending.acknowledge(tokens)
            pipe = self.client.pipeline(transaction=True)
            pipe.xack(self.queue, self.group, *tokens)
            pipe.xdel(self.queue, *tokens)
            pipe.execute()
        except redis.RedisError as error:
            self._pending_from = "0"
            raise BrokerUnavailable(says(error)) from error

    def depth(self) -> int | None:
        try:
            return self.pending.depth() if self.pending else int(self.client.xlen(self.queue))
        except redis.RedisError:
            return None

    def check(self) -> list[Check]:
        checks = reached(self.client)
        if not all(check.answer for check in checks):
            return checks
        try:
            kind = self.client.type(self.queue).decode()
            checks.append(
                Check(
                    question="queue exists",
                    answer=kind in {"stream", "none"},
                    detail={
                        "stream": f"stream {self.queue} holds {self.client.xlen(self.queue)} "
                        + ("entries" if self.pending else "dead letters"),
                        "none": f"stream {self.queue} is not there yet: nothing has died",
                    }.get(kind, f"{self.queue} is a {kind}, not a stream"),
                )
            )
            if kind == "stream":
                self.client.xrange(self.queue, count=1)
            checks.append(
                self.pending.check()
                if self.pending
                else Check(question="may read", answer=True, detail="reading is allowed")
            )
        except redis.RedisError as error:
            checks.append(Check(question="may read", answer=False, detail=says(error)))
        return checks

    def close(self) -> None:
        self.client.close()
