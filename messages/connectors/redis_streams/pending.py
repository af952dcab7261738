"""Entries that a consumer group was given again and again and never acknowledged: its dead letters, though nobody moved them anywhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from messages.connectors.base import BrokerUnavailable, Check, Received
from messages.connectors.redis_streams.decode import decode_entry

PAGE = 500
MOST_LOOKED_AT = 20_000  # pending entries, each time: a group with more is behind, not dead


class PendingEntries:
    """Takes over what a group's consumers were given at least so often, when none of them works on it, and lets go of it in that group.

    options  pending_of (the group), deliveries (5), idle_s (60: how long nobody may have been given it), entry ("leave": other groups
             may need it, or "delete"). wrong: what is not so in them, in words; then nothing is received.
    """

    def __init__(
        self, client: Any, *, broker: str, queue: str, system: str, consumer: str, options: Mapping[str, object]
    ) -> None:
        self.client, self.broker, self.queue, self.system, self.consumer = client, broker, queue, system, consumer
        self.group = str(options["pending_of"])
        self.wrong = wrong_in(options)
        self.deliveries = 0 if self.wrong else int(str(options.get("deliveries", 5)))
        self.idle_ms = 0 if self.wrong else int(str(options.get("idle_s", 60))) * 1000
        self.deletes = options.get("entry") == "delete"
        self.handed: set[bytes] = set()  # on this line; what is not acknowledged comes again on the next

    def receive(self, limit: int, wait_s: float) -> list[Received]:
        """Return up to so many; raises redis.RedisError, and BrokerUnavailable when an option is wrong."""
        if self.wrong:
            raise BrokerUnavailable(self.wrong)
        received = self._take(limit)
        if not received:
            time.sleep(wait_s)
            received = self._take(limit)
        return received

    def _take(self, limit: int) -> list[Received]:
        dead: dict[bytes, dict[str, Any]] = {}
        for entry in self._dead():
            if entry["message_id"] not in self.handed:
                dead[entry["message_id"]] = entry
                if len(dead) == limit:
                    break
        if not dead:
            return []
        # Ours now, so that none of its consumers is given it meanwhile; JUSTID: this is no delivery and is not counted as one.
        others = [i for i, entry in dead.items() if entry["consumer"].decode() != self.consumer]
        if others:
            claimed = self.client.xclaim(self.queue, self.group, self.consumer, self.idle_ms, others, justid=True)
            for lost in set(others) - set(claimed):  # somebody took it up again, or it was deleted
                del dead[lost]
        pipe = self.client.pipeline(transaction=False)
        for entry_id in dead:
            pipe.xrange(self.queue, min=entry_id, max=entry_id)
        found = [(entry_id, entries[0][1]) for entry_id, entries in zip(dead, pipe.execute(), strict=True) if entries]
        self.handed.update(dead)
        return [self._received(entry_id, fields, dead[entry_id]) for entry_id, fields in found]

    def _dead(self) -> Iterator[dict[str, Any]]:
        """Return the pending entries that count as dead, oldest first."""
        start, looked_at = "-", 0
        while looked_at < MOST_LOOKED_AT:
            page = self.client.xpending_range(self.queue, self.group, min=start, max="+", count=PAGE)
            for entry in page:
                resting = entry["time_since_delivered"] >= self.idle_ms or entry["consumer"].decode() == self.consumer
                if entry["times_delivered"] >= self.deliveries and resting:
                    yield entry
            if len(page) < PAGE:
                return
            start, looked_at = f"({page[-1]['message_id'].decode()}", looked_at + len(page)

    def _received(self, entry_id: bytes, fields: Mapping[bytes, bytes], pending: Mapping[str, Any]) -> Received:
        letter = decode_entry(entry_id.decode(), fields, broker=self.broker, queue=self.queue, system=self.system)
        given_at = datetime.now(UTC) - timedelta(milliseconds=pending["time_since_delivered"])
        return Received(
            token=entry_id,
            letter=letter
            | {
                "id": f"{self.broker}/{self.queue}/{self.group}/{entry_id.decode()}"[-256:],
                "origin": self.queue,
                "route": {"stream": self.queue},
                "system": self.system or self.group,
                "reason": f"given to group {self.group} {pending['times_delivered']} times and never acknowledged",
                "reason_code": "delivery_limit",
                "attempts": pending["times_delivered"],
                "failed_at": given_at.isoformat(),
            },
        )

    def acknowledge(self, tokens: Sequence[object]) -> None:
        """Take them off the group's list; raises redis.RedisError."""
        pipe = self.client.pipeline(transaction=True)
        pipe.xack(self.queue, self.group, *tokens)
        if self.deletes:
            pipe.xdel(self.queue, *tokens)
        pipe.execute()
        self.handed.difference_update(tokens)  # type: ignore[arg-type]

    def depth(self) -> int:
        return sum(1 for _ in self._dead())

    def check(self) -> Check:
        """Return whether the group is there; raises redis.RedisError when it is not or may not be read."""
        if self.wrong:
            return Check(question="may read", answer=False, detail=self.wrong)
        summary = self.client.xpending(self.queue, self.group)
        return Check(
            question="may read",
            answer=True,
            detail=f"group {self.group} has {summary['pending']} entries pending, {self.depth()} of them given "
            f"{self.deliveries} times or more and resting: each is a dead letter, and is "
            + ("deleted from the stream" if self.deletes else "left in the stream"),
        )


def wrong_in(options: Mapping[str, object]) -> str:
    """Return what is wrong with these options, "" when nothing is. Pure."""
    for name, least in (("deliveries", 1), ("idle_s", 0)):
        value = options.get(name, least)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            return f"{name} is a whole number, {least} or more"
    what = options.get("entry", "leave")
    return "" if what in ("leave", "delete") else f'entry = "leave" or "delete", not “{what}”'
