"""The last 24 hours of the estate as it would have sent them. Pure: the same run makes the same bytes.

Every order is what the services make of it (agents/demo/work.py does the work, refusals and stack traces included); only the
times are drawn. Most failures of the day went through later, as they do after a retry; the rest wait as dead letters: a few
of each kind, and a cluster of ERP time-outs that began 42 minutes ago.
"""

from __future__ import annotations

import json
import os
import secrets
import traceback
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any

from agents.demo.consumer import ATTEMPTS, entry_headers, next_message_id, send_attributes
from agents.demo.names import CONNECTION, HOPS, ORDERS, Hop
from agents.demo.orders import make_order
from agents.demo.work import HANDLERS, Handler, Publish, Refused, book_order

ORDERS_A_DAY = 4_400
FIRST_ORDER_NO = 471_000
DAY = timedelta(hours=24)
CLUSTER_BEGAN = timedelta(minutes=42)
CLUSTER = 23  # time-outs that wait since then
WAITING = {"vat-missing": 12, "unknown-sku": 4, "poison": 2}  # the rest of what waits, over the day
RECOVERED_SHARE = 0.03  # failed, and processed some minutes later
# Orders by hour of the day (UTC), the working day in the middle.
CURVE = (1, 1, 1, 1, 2, 3, 6, 10, 14, 17, 18, 17, 14, 15, 17, 17, 15, 12, 9, 7, 6, 4, 3, 2)
BUSY_ENOUGH = 8  # even at night the last hour has so many, or the cluster would have no orders
SETTLED = timedelta(
    minutes=3
)  # the newest orders went through: a time-out takes a minute and a half to become a dead letter
DID: dict[str, Handler] = {**HANDLERS, "erp": partial(book_order, waits_s=0)}
TAKES_MS = {
    "order-service": (4, 18),
    "erp": (70, 420),
    "billing": (12, 60),
    "shipping": (8, 40),
    "payment": (20, 90),
    "stock": (5, 30),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What makes one fill: kept on disk, so that a fill that was cut short goes on as the same one."""

    seed: str
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    service: str
    name: str
    kind: int  # OTLP: 4 producer, 5 consumer
    trace_id: bytes
    span_id: bytes
    parent_id: bytes
    link: tuple[bytes, bytes] | None
    start: datetime
    end: datetime
    attributes: dict[str, Any]
    error: BaseException | None = None


@dataclass(slots=True)
class Story:
    """One order's spans and, when it got stuck, its dead letter."""

    spans: list[Span] = field(default_factory=list)
    letters: list[dict[str, Any]] = field(default_factory=list)


def is_filled(folder: Path) -> bool:
    return (folder / "history.done").exists()


def load_run(folder: Path, now: datetime) -> Run:
    """Return the run of this data folder, made at first."""
    path = folder / "history.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = path.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps({"seed": secrets.token_hex(8), "until": now.isoformat()}))
        temporary.replace(path)
    kept = json.loads(path.read_text())
    return Run(seed=kept["seed"], until=datetime.fromisoformat(kept["until"]))


def stories(run: Run, *, orders: int = ORDERS_A_DAY) -> Iterator[Story]:
    """Yield every order of the 24 hours before `run.until`, oldest first."""
    chance = Random(run.seed)
    times = sorted(_times(run.until, orders, chance))
    fates = _fates(times, run.until, chance)
    for number, at in enumerate(times):
        yield _Teller(run, number, at, fates.get(number)).tell()


def _times(until: datetime, orders: int, chance: Random) -> list[datetime]:
    minutes = [until - DAY + timedelta(minutes=m) for m in range(int(DAY.total_seconds() // 60))]
    hour_ago = until - timedelta(hours=1)
    weights = list(accumulate(max(CURVE[m.hour], BUSY_ENOUGH if m > hour_ago else 0) for m in minutes))
    drawn = chance.choices(minutes, cum_weights=weights, k=orders)
    return [at + timedelta(seconds=chance.uniform(0, 50)) for at in drawn]


def _fates(times: list[datetime], until: datetime, chance: Random) -> dict[int, tuple[str, bool]]:
    """Return {order: (fault, does it wait)}; the others went through at once."""
    fates: dict[int, tuple[str, bool]] = {}
    began = until - CLUSTER_BEGAN
    recent = [n for n, at in enumerate(times) if began <= at < until - SETTLED]
    before = [n for n, at in enumerate(times) if at < began - timedelta(minutes=30)]
    for number in chance.sample(before, min(len(before), int(len(times) * RECOVERED_SHARE))):
        fates[number] = (chance.choices(["erp-timeout", "vat-missing", "unknown-sku"], [6, 4, 1])[0], False)
    free = [n for n in before if n not in fates]
    chance.shuffle(free)
    for fault, count in WAITING.items():
        for _ in range(min(count, len(free))):
            fates[free.pop()] = (fault, True)
    for number in recent[:1] + sorted(chance.sample(recent[1:], min(max(0, len(recent) - 1), CLUSTER - 1))):
        fates[number] = ("erp-timeout", True)
    return fates


class _Teller:
    """Follows one order through the systems."""

    def __init__(self, run: Run, number: int, at: datetime, fate: tuple[str, bool] | None) -> None:
        self.run, self.number, self.at = run, number, at
        self.fault: str | None = fate[0] if fate else None
        self.waits = fate is not None and fate[1]
        self.chance = Random(f"{run.seed}/{number}")
        self.story = Story()

    def tell(self) -> Story:
        order = make_order(str(FIRST_ORDER_NO + self.number), self.at, self.chance, trouble=self.fault)
        keys = {"order_no": order.order_no, "customer_no": order.customer_no}
        publish = Publish(stream=ORDERS, body=order.body, keys=keys, amount=order.amount)
        message_id = str(uuid.UUID(bytes=self.chance.randbytes(16), version=4))
        sent = self._send("shop", publish, message_id, message_id, None, self.at)
        self._receive(HOPS[0], publish, message_id, message_id, sent)
        return self.story

    def _send(
        self,
        service: str,
        publish: Publish,
        message_id: str,
        correlation_id: str,
        parent: tuple[bytes, bytes] | None,
        at: datetime,
    ) -> Span:
        trace_id, parent_id = parent or (self.chance.randbytes(16), b"")
        attributes = {
            **_messaging("send", publish.stream),
            **send_attributes(message_id, correlation_id, publish),
        }
        return self._span(service, f"send {publish.stream}", 4, trace_id, parent_id, None, at, (1, 4), attributes)

    def _span(
        self, service: str, name: str, kind: int, trace_id: bytes, parent_id: bytes, link: tuple[bytes, bytes] | None,
        at: datetime, takes_ms: tuple[float, float], attributes: dict[str, Any], error: BaseException | None = None,
    ) -> Span:  # fmt: skip
        span = Span(
            service=service, name=name, kind=kind, trace_id=trace_id, span_id=self.chance.randbytes(8), parent_id=parent_id,
            link=link, start=at, end=at + timedelta(milliseconds=self.chance.uniform(*takes_ms)), attributes=attributes, error=error,
        )  # fmt: skip
        self.story.spans.append(span)
        return span

    def _receive(self, hop: Hop, publish: Publish, message_id: str, correlation_id: str, sent: Span) -> None:
        at = sent.end + timedelta(milliseconds=self.chance.uniform(8, 90))
        try:
            done = DID[hop.consumer](publish.body, lambda fault: True)
        except Refused as error:
            at = self._fail(hop, publish, message_id, correlation_id, sent, at, error)
            if self.waits:
                return
            done = DID[hop.consumer](publish.body, lambda fault: False)
        processed = self._process(hop, message_id, correlation_id, sent, at, done.keys, attempt=1)
        for send in done.sends:
            next_id = next_message_id(message_id, send.stream)
            at = processed.start + (processed.end - processed.start) * self.chance.uniform(0.6, 0.9)
            following = self._send(
                hop.consumer, send, next_id, correlation_id, (processed.trace_id, processed.span_id), at
            )
            self._receive(next(h for h in HOPS if h.stream == send.stream), send, next_id, correlation_id, following)

    def _process(
        self, hop: Hop, message_id: str, correlation_id: str, sent: Span, at: datetime, keys: Any,
        *, attempt: int, error: BaseException | None = None,
    ) -> Span:  # fmt: skip
        attributes = {
            **_messaging("process", hop.stream),
            "messaging.message.id": message_id,
            "messaging.message.conversation_id": correlation_id,
            "messaging.consumer.group.name": hop.consumer,
            "demo.attempt": attempt,
            **keys,
        }
        takes = (30_000, 30_040) if isinstance(error, Refused) and "timeout" in error.reason else TAKES_MS[hop.consumer]
        return self._span(
            hop.consumer, f"process {hop.stream}", 5, self.chance.randbytes(16), b"", (sent.trace_id, sent.span_id), at, takes,
            attributes, error,
        )  # fmt: skip

    def _fail(
        self,
        hop: Hop,
        publish: Publish,
        message_id: str,
        correlation_id: str,
        sent: Span,
        at: datetime,
        error: Refused,
    ) -> datetime:
        """Tell the attempts that failed and, when the order waits, its dead letter; return when it went through."""
        first = last = None
        for attempt in range(1, (ATTEMPTS if error.retry else 1) + 1):
            last = self._process(hop, message_id, correlation_id, sent, at, publish.keys, attempt=attempt, error=error)
            first = first or last
            at = last.end + timedelta(milliseconds=100 * attempt)
        assert first is not None
        assert last is not None
        if self.waits:
            self.story.letters.append(self._letter(hop, publish, message_id, correlation_id, sent, error, first, last))
        return at + timedelta(minutes=self.chance.uniform(4, 25))

    def _letter(
        self, hop: Hop, publish: Publish, message_id: str, correlation_id: str, sent: Span, error: Refused, first: Span, last: Span
    ) -> dict[str, Any]:  # fmt: skip
        """Return the native dead letter that the harvester would have pushed."""
        headers = entry_headers(message_id, correlation_id, publish)
        headers["traceparent"] = f"00-{sent.trace_id.hex()}-{sent.span_id.hex()}-01"
        return {
            "id": f"{CONNECTION}/{hop.dead_letters}/history-{self.run.seed}-{self.number}",
            "broker": CONNECTION,
            "family": "redis-streams",
            "queue": hop.dead_letters,
            "origin": hop.stream,
            "route": {"stream": hop.stream},
            "system": hop.consumer,
            "reason": error.reason,
            "reason_code": _reason_code(error),
            "message_id": message_id,
            "correlation_id": correlation_id,
            "trace_id": sent.trace_id.hex(),
            "span_id": sent.span_id.hex(),
            "error": {
                "type": type(error).__name__,
                "message": str(error),
                "stack": stack_of(error),
            },
            "attempts": ATTEMPTS if error.retry else 1,
            "first_failed_at": first.end.isoformat(),
            "failed_at": last.end.isoformat(),
            "keys": dict(publish.keys),
            "headers": [{"name": name, "type": "string", "value": value} for name, value in headers.items()],
            "content_type": "application/json",
            "body": publish.body.decode(),
        }


def stack_of(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def _reason_code(error: Refused) -> str:
    words = error.reason
    return "deserialization" if "deserial" in words else "target_error" if "timeout" in words else "rejected"


def _messaging(operation: str, stream: str) -> dict[str, Any]:
    return {
        "messaging.system": "redis",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": stream,
    }


def utc_now() -> datetime:
    return datetime.now(UTC)
