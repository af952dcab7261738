"""Dead letters from a stream, read through a consumer group."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping, Sequence
from typing import Any

import redis
from redis.exceptions import NoPermissionError

from messages.connectors.base import Address, BrokerUnavailable, Check, Question, Received
from messages.connectors.redis_streams.client import connect, reached, says
from messages.connectors.redis_streams.decode import decode_entry
from messages.connectors.redis_streams.pending import PendingEntries

MOST_BYTES = 16 * 1024 * 1024  # in hand of one harvester, and one step
FIRST_STEP, MOST_STEP = 4, 200  # entries asked for at a time
Entry = tuple[bytes, dict[bytes, bytes]]
LONGEST_AGE_S = 10 * 366 * 86400.0  # an entry id that is no time in milliseconds says more


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
        self.mirror = options.get("mode") == "mirror"
        self.client = connect(address, timeout_s=30)
        self.pending: PendingEntries | None = None
        if options.get("pending_of"):
            self.pending = PendingEntries(
                self.client, broker=broker, queue=queue, system=self.system, consumer=self.consumer, options=options
            )
        self._ready = False
        self.step = FIRST_STEP
        self._pending_from = "0"  # our own unacknowledged entries of before, until there are none

    def receive(self, limit: int, wait_s: float) -> list[Received]:
        try:
            if self.pending:
                return self.pending.receive(limit, wait_s)
            self._make_ready()
            return [self._received(*entry) for entry in self._take(limit, max(1, int(wait_s * 1000)))]
        except redis.RedisError as error:
            self._ready, self._pending_from = False, "0"
            raise BrokerUnavailable(says(error)) from error

    def _take(self, limit: int, wait_ms: int) -> list[Entry]:
        """Return up to so many entries or bytes: our own of before, those that nobody works on, new ones; only for these it waits."""
        taken: list[Entry] = []
        size = 0
        while len(taken) < limit and size < MOST_BYTES:
            entries = self._some(min(self.step, limit - len(taken)), None if taken else wait_ms)
            if not entries:
                break
            sizes = [sum(map(len, fields.values())) for _, fields in entries if fields]
            size += sum(sizes)
            # Redis gives by number: no more than fits when the next are as large as these, and more again step by step
            fits = MOST_BYTES // (2 * max(sizes, default=0) or 1)
            self.step = max(1, min(2 * self.step, fits, MOST_STEP))
            taken += [entry for entry in entries if entry[1]]
        return taken

    def _some(self, count: int, wait_ms: int | None) -> list[Entry]:
        if self._pending_from:
            entries = self._read(self._pending_from, count, None)
            self._pending_from = entries[-1][0].decode() if entries else ""
            if entries:
                return entries
        stolen = self.client.xautoclaim(self.queue, self.group, self.consumer, min_idle_time=60_000, count=count)[1]
        return [entry for entry in stolen if entry[1]] or self._read(">", count, wait_ms)

    def _make_ready(self) -> None:
        if not self._ready:
            with contextlib.suppress(redis.ResponseError):  # BUSYGROUP: it is there
                self.client.xgroup_create(self.queue, self.group, id="0", mkstream=True)
            self._ready = True

    def _read(self, after: str, limit: int, block_ms: int | None) -> list[Entry]:
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

    def peek(self, limit: int, after: object | None) -> list[Received]:
        """Look with XRANGE, which touches no group and no counter."""
        if self.pending:
            raise BrokerUnavailable('mode = "mirror" looks at a whole stream: with pending_of use mode = "move"')
        try:
            start = f"({after.decode()}" if isinstance(after, bytes) else "-"
            entries = self.client.xrange(self.queue, min=start, count=limit)
        except redis.RedisError as error:
            raise BrokerUnavailable(says(error)) from error
        return [self._received(*entry) for entry in entries]

    def oldest_age_s(self) -> float | None:
        """Return the age of the first entry by the broker's own clock; an id that somebody made up tells none."""
        if self.pending:
            return None  # the first entry of the stream is nobody's dead letter
        try:
            entries = self.client.xrange(self.queue, count=1)
            seconds, micros = self.client.time()
        except redis.RedisError:
            return None
        if not entries:
            return None
        age = seconds + micros / 1e6 - int(entries[0][0].partition(b"-")[0]) / 1000
        return round(age, 3) if 0 <= age < LONGEST_AGE_S else None

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
            checks += [self.pending.check()] if self.pending else self._rights()
        except redis.RedisError as error:
            checks.append(Check(question="may read", answer=False, detail=says(error)))
        return checks

    def _rights(self) -> list[Check]:
        """Run each command that harvesting needs in a way that does nothing: Redis looks at the right before anything else."""
        queue, group = self.queue, self.group
        reads = [("xrange", queue, "-", "+", "COUNT", 1), ("xlen", queue)]
        takes = [
            ("xgroup", "CREATE", queue, group, "no-id"),
            ("xreadgroup", "GROUP", group, self.consumer, "COUNT", 1, "STREAMS", queue, "no-id"),
            ("xautoclaim", queue, group, self.consumer, 60_000, "no-id"),
            ("xack", queue, group, "0-0"),
            ("xdel", queue, "0-0"),
        ]
        asked: list[tuple[Question, list[Any]]] = [("may read", reads)]
        if not self.mirror:
            asked.append(("may take", takes))
        return [self._right(question, commands) for question, commands in asked]

    def _right(self, question: Question, commands: Sequence[Sequence[Any]]) -> Check:
        missing = [str(command[0]) for command in commands if self._is_forbidden(command)]
        if missing:
            grant = " ".join(f"+{name}" for name in missing)
            words = f"its user may not run {', '.join(missing).upper()} on {self.queue}: ACL SETUSER … {grant} ~{self.queue}"
            return Check(question=question, answer=False, detail=words)
        return Check(
            question=question, answer=True, detail=f"{', '.join(str(c[0]) for c in commands).upper()} are allowed"
        )

    def _is_forbidden(self, command: Sequence[Any]) -> bool:
        try:
            self.client.execute_command(*command)
        except NoPermissionError:
            return True
        except redis.ResponseError:
            return False  # it got as far as the arguments
        return False

    def close(self) -> None:
        self.client.close()
