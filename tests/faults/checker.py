"""The checker behind the fault tests, in the manner of Jepsen: agents that log every batch they try, and what must be true afterwards.

I1 acknowledged ⊆ stored · I2 stored ⊆ attempted · I3 nothing stored twice · I4 stored + refused = sent, for each acknowledged batch ·
I7 rollups and messages are a recount of the rows · I9 the console is green again by itself.
"""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import psycopg

from tests.product import Product, wait_until

PUSHED_BACK = frozenset({429, 502, 503})
GREEN_WITHIN_S = 60.0
_numbers = itertools.count(1)


@dataclass(slots=True)
class Op:
    """One batch: what was sent in it and what is known of its fate. `unknown`: the connection broke, so it may be stored."""

    batch: str
    ids: list[str]
    bad: int
    state: Literal["invoked", "ok", "refused", "unknown"] = "invoked"
    answer: dict[str, Any] = field(default_factory=dict)
    tries: int = 0


def just_now(agent: Agent) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=5)


class Agent(threading.Thread):
    """Sends batches one after the other, each again until it is acknowledged, as an agent must."""

    def __init__(self, base: str, key: str, name: str, *, batch: int, clock: Callable[[Agent], datetime]) -> None:
        super().__init__(name=name)
        self.host = base.removeprefix("http://")
        self.key, self.batch, self.clock = key, batch, clock
        self.ops: list[Op] = []
        self.statuses: Counter[int] = Counter()
        self.surprises: list[str] = []
        self.slowest_s = 0.0
        self.stopping, self.giving_up = threading.Event(), threading.Event()
        self._connection: http.client.HTTPConnection | None = None

    def run(self) -> None:
        try:
            for number in itertools.count():
                if self.stopping.is_set():
                    return
                self._send(number)
        finally:
            self._disconnect()

    def _send(self, number: int) -> None:
        bad = number % 3 == 0  # every third batch carries an item that must be refused alone
        ids = [f"{self.name}-{number:05d}-{row:03d}" for row in range(self.batch)]
        events: list[dict[str, Any]] = [self._event(identity) for identity in ids]
        if bad:
            events.insert(self.batch // 2, {"id": "bad", "why": "no event"})
        op = Op(f"{self.name}-{number}", ids, int(bad))
        self.ops.append(op)
        body = json.dumps({"batch_id": op.batch, "events": events}).encode()
        while not self.giving_up.is_set():
            op.tries += 1
            begun = time.monotonic()
            status, answer = self._post(body)
            self.slowest_s = max(self.slowest_s, time.monotonic() - begun)
            self.statuses[status] += 1
            if status == 200:
                op.state, op.answer = "ok", answer
                return
            # A refusal says that nothing was stored, but an earlier try of the same batch may have been.
            op.state = "unknown" if status == 0 or op.state == "unknown" else "refused"
            if status and status not in PUSHED_BACK:
                self.surprises.append(f"{status} {str(answer)[:500]}")
            self.giving_up.wait(0.05)

    def _event(self, identity: str) -> dict[str, Any]:
        row = int(identity.rsplit("-", 1)[1])
        return {
            "id": identity, "message_id": identity, "system": "shop", "operation": "send" if row % 3 else "process",
            "occurred_at": self.clock(self).isoformat(), "outcome": "error" if row % 7 == 0 else "ok", "duration_ms": row,
            "destination": f"orders-{row % 2}", "keys": {"order_no": row}, "payload": {"body": identity},
        }  # fmt: skip

    def _post(self, body: bytes) -> tuple[int, dict[str, Any]]:
        """Return (status, answer), status 0 when there was none."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self.host, timeout=30)
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        try:
            self._connection.request("POST", "/ingest/v1/events", body, headers)
            answer = self._connection.getresponse()
            text = answer.read()
            if answer.status in PUSHED_BACK and not answer.headers.get("Retry-After"):
                self.surprises.append(f"{answer.status} without Retry-After")
            return answer.status, json.loads(text)
        except (OSError, http.client.HTTPException, ValueError):
            self._disconnect()
            return 0, {}

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Fleet:
    """Some agents that send while a fault happens, and the invariants of what they did."""

    def __init__(
        self,
        product: Product,
        *,
        agents: int = 2,
        batch: int = 50,
        base: str = "",
        clock: Callable[[Agent], datetime] = just_now,
    ) -> None:
        self.product = product
        self.mark = f"fleet{next(_numbers)}x{time.time_ns() % 10**9}"
        key = product.agent_key(self.mark)
        self.agents = [
            Agent(base or product.base, key, f"{self.mark}-{number}", batch=batch, clock=clock)
            for number in range(agents)
        ]

    @contextmanager
    def sending(self) -> Iterator[Fleet]:
        """Send as long as the block lasts; afterwards every agent finishes the batch it is at."""
        for agent in self.agents:
            agent.start()
        try:
            self.wait_for_acknowledged(1)
            yield self
        except BaseException:
            self._end(seconds=0)
            raise
        self._end(seconds=GREEN_WITHIN_S)

    def _end(self, seconds: float) -> None:
        for agent in self.agents:
            agent.stopping.set()
        until = time.monotonic() + seconds
        for agent in self.agents:
            agent.join(max(0.0, until - time.monotonic()))
            agent.giving_up.set()
        for agent in self.agents:
            agent.join()

    def ops(self, *states: str) -> list[Op]:
        return [op for agent in self.agents for op in agent.ops if not states or op.state in states]

    def acknowledged(self) -> int:
        return len(self.ops("ok"))

    def statuses(self) -> Counter[int]:
        return sum((agent.statuses for agent in self.agents), Counter())

    def slowest_s(self) -> float:
        return max(agent.slowest_s for agent in self.agents)

    def wait_for_acknowledged(self, more: int, seconds: float = GREEN_WITHIN_S) -> None:
        """Wait until every agent got so many more batches acknowledged: the console works for all of them."""
        before = [sum(op.state == "ok" for op in agent.ops) for agent in self.agents]

        def done() -> bool:
            now = [sum(op.state == "ok" for op in agent.ops) for agent in self.agents]
            return all(after >= was + more for was, after in zip(before, now, strict=True))

        wait_until(done, seconds=seconds, what=f"{more} more acknowledged batches of each agent", every=0.05)

    def check(self) -> None:
        """Assert every invariant of this fleet's batches; the console must be green."""
        assert [surprise for agent in self.agents for surprise in agent.surprises] == []
        with psycopg.connect(self.product.engines()["database_url"]) as database:
            check_batches(database, self.mark, self.ops())
            check_recount(database)
        wait_until_green(self.product)


def check_batches(database: psycopg.Connection, mark: str, ops: list[Op]) -> None:
    """I1 to I4, of the batches of agents whose names begin with this mark."""
    rows = database.execute(
        "SELECT message_id, count(*) FROM messaging_event WHERE message_id LIKE %s GROUP BY 1", [f"{mark}-%"]
    )
    stored: dict[str, int] = dict(rows.fetchall())
    refused = database.execute(
        "SELECT count(*) FROM messaging_ingestreject r JOIN identity_agent a ON a.id = r.agent_id WHERE a.name = %s", [mark]
    ).fetchone()  # fmt: skip
    acknowledged = [op for op in ops if op.state == "ok"]

    lost = [identity for op in acknowledged for identity in op.ids if identity not in stored]
    assert lost == [], f"I1: {len(lost)} acknowledged events are not stored"
    invented = stored.keys() - {identity for op in ops for identity in op.ids}
    assert invented == set(), f"I2: {len(invented)} stored events were never sent"
    doubled = {identity: copies for identity, copies in stored.items() if copies > 1}
    assert doubled == {}, f"I3: {len(doubled)} events are stored more than once"
    unequal = [
        (op.batch, op.answer)
        for op in acknowledged
        if op.answer["accepted"] + op.answer["duplicates"] != len(op.ids) or len(op.answer["rejected"]) != op.bad
    ]
    assert unequal == [], "I4: stored + refused is not what was sent"
    half = [op.batch for op in ops if 0 < sum(identity in stored for identity in op.ids) < len(op.ids)]
    assert half == [], "I4: batches are stored in part"
    kept = sum(op.bad for op in ops if op.ids[0] in stored)
    assert refused == (kept,), "I4: refused items are not kept exactly once"


RECOUNT = """
WITH counted AS (
    SELECT date_trunc('minute', occurred_at) AS minute, flow_id, operation, outcome, count(*) AS n, sum(duration_us) AS us
    FROM messaging_event GROUP BY 1, 2, 3, 4
), rolled AS (
    SELECT minute, flow_id, operation, outcome, sum(count) AS n, sum(duration_us) AS us FROM messaging_rollup_minute GROUP BY 1, 2, 3, 4
)
SELECT c.*, r.* FROM counted c FULL JOIN rolled r USING (minute, flow_id, operation, outcome)
WHERE (c.n, c.us) IS DISTINCT FROM (r.n, r.us)
"""
HOURS = """
WITH counted AS (
    SELECT date_trunc('hour', occurred_at) AS hour, flow_id, system_id, coalesce(destination, '') AS destination, operation, outcome, count(*) AS n
    FROM messaging_event GROUP BY 1, 2, 3, 4, 5, 6
), rolled AS (
    SELECT hour, flow_id, system_id, destination, operation, outcome, sum(count) AS n FROM messaging_rollup_hour GROUP BY 1, 2, 3, 4, 5, 6
)
SELECT c.*, r.* FROM counted c FULL JOIN rolled r USING (hour, flow_id, system_id, destination, operation, outcome) WHERE c.n IS DISTINCT FROM r.n
"""
MESSAGES = """
SELECT m.id, m.event_count, c.n FROM messaging_message m
FULL JOIN (SELECT message_uid AS id, count(*) AS n FROM messaging_event WHERE message_uid IS NOT NULL GROUP BY 1) c USING (id)
WHERE m.event_count IS DISTINCT FROM coalesce(c.n, 0)
"""
PAYLOADS = """
SELECT e.id FROM messaging_event e LEFT JOIN messaging_payload p ON p.id = e.id AND p.stored_on = e.payload_on
WHERE e.payload_on IS NOT NULL AND p.id IS NULL
"""


def check_recount(database: psycopg.Connection) -> None:
    """I7, of everything that is stored; and every event that names a payload has it."""
    for what, statement in {"minutes": RECOUNT, "hours": HOURS, "messages": MESSAGES, "payloads": PAYLOADS}.items():
        wrong = database.execute(statement).fetchmany(3)
        assert wrong == [], f"I7: the {what} are not a recount of the events"


def is_green(product: Product) -> bool:
    try:
        with urllib.request.urlopen(product.base + "/readyz", timeout=5) as answer:
            return set(json.loads(answer.read())["checks"].values()) == {"ok"}
    except OSError:
        return False


def wait_until_green(product: Product, seconds: float = GREEN_WITHIN_S) -> None:
    """I9: every part says ok, without anybody's help."""
    wait_until(lambda: is_green(product), seconds=seconds, what="every part of /readyz to say ok")
