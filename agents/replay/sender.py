"""Sending what the console orders: ask, check, send over this agent's own broker, report per item. One thread a broker.

The console's rules for its own workers hold here too. Nothing is sent with too little of the lease left, what a report says counts
only under the attempt of the order, and whoever dies between sending and reporting leaves a replay whose outcome is unknown, or that
is sent again with the same replay id where the receiver is idempotent.
"""

from __future__ import annotations

import contextlib
import random
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agents.harvest.config import HarvestConfig, ReplayBroker
from agents.harvest.console import Console, ConsoleAway, ConsoleRefuses
from agents.harvest.seen import queue_mark
from agents.replay.clock import boot_s
from agents.replay.reports import Reports
from messages.connectors import get_connector
from messages.connectors.base import Connector, Outgoing, Published, Result
from messages.orders.wire import MOST_ITEMS, MOST_ORDER_BYTES, Ask, BadOrder, Order, read_order, results_told

PUBLISH_TIMEOUT_S = 20.0
IDLE_S = 15.0  # a line that rests longer may be dead without saying so
ASKED_FOR_S = (
    60.0  # so long the same question is asked again when its answer was lost: then the lease of its order is over
)
LONGEST_PAUSE_S = 15.0  # while the console is away: results should reach it within the lease
REFUSED_PAUSE_S = 10.0
Log = Callable[..., None]


@dataclass(slots=True)
class ReplayTally:
    """What one broker's thread says of itself in the heartbeat. sent: items by what became of them."""

    sent: Counter[str] = field(default_factory=Counter)
    asked_at: datetime | None = None  # when the console last answered
    error: str = ""


class ReplaySender(threading.Thread):
    """One broker, one thread, at most one order in hand."""

    def __init__(self, config: HarvestConfig, broker: ReplayBroker, stopping: threading.Event, log: Log) -> None:
        super().__init__(name=f"{broker.name} replays", daemon=True)
        self.config, self.broker, self.stopping, self.log = config, broker, stopping, log
        self.tally = ReplayTally()
        self.reports = Reports(Path(config.state) / f"{queue_mark(broker.name, '')}.results")
        self.connector: Connector | None = None
        self.used_at = 0.0
        self.ask: Ask | None = None  # the question that has no answer yet
        self.asked_at = 0.0  # when it was first put
        self.put_at = 0.0  # when it was last put
        self.most = 0
        self.pause_s = 0.0

    def run(self) -> None:
        console = Console(self.config.console, self.config.key, most_bytes=MOST_ORDER_BYTES)
        while not self.stopping.is_set():
            try:
                pause_s = self.round(console)
            except Exception as error:  # noqa: BLE001  a surprise here must not end the thread
                self._say("replays_failed", f"{type(error).__name__}: {error}")
                pause_s = self._longer_pause_s()
            self._let_rest()
            self.stopping.wait(pause_s)
        with contextlib.suppress(ConsoleAway, ConsoleRefuses, OSError):
            self._deliver(console)
        self._close()
        console.close()

    def round(self, console: Console) -> float:
        """Report what waits, then fetch an order and carry it out; return how long to wait before the next round."""
        try:
            self._deliver(console)
            answer = self._asked(console)
        except ConsoleAway as error:
            self._say("console_away", str(error))
            return min(LONGEST_PAUSE_S, error.retry_after_s) if error.retry_after_s else self._longer_pause_s()
        except ConsoleRefuses as error:
            self.ask = None
            self._say("orders_refused", str(error))
            return REFUSED_PAUSE_S
        self.pause_s = 0.0
        self.tally.asked_at = datetime.now(UTC)
        if not answer.get("order"):
            self.ask = None
            self._say("no_orders", str(answer.get("words") or ""))
            return min(60.0, max(0.2, _number(answer.get("again_s"), 1.0)))
        return self._carry_out(answer, console)

    def _asked(self, console: Console) -> dict[str, Any]:
        """Ask; a question whose answer was lost is asked again as it was, so that its order comes again and no other."""
        self.most = self.most or min(MOST_ITEMS, getattr(self._open(), "at_once", 1))
        self.put_at = boot_s()
        if self.ask is None or self.put_at - self.asked_at > ASKED_FOR_S:
            nonce = secrets.token_hex(16)
            self.ask = Ask(connection=self.broker.name, kind=self.broker.kind, most=self.most, nonce=nonce)
            self.asked_at = self.put_at
        return console.ask_for_order(self.ask, secret=self.config.order_secret)

    def _carry_out(self, answer: dict[str, Any], console: Console) -> float:
        assert self.ask is not None
        ask, self.ask = self.ask, None
        try:
            order = read_order(
                answer,
                secret=self.config.order_secret,
                nonce=ask.nonce,
                connection=self.broker.name,
                kind=self.broker.kind,
            )
        except BadOrder as error:
            self._say("order_not_taken", str(error))
            return REFUSED_PAUSE_S
        results = self._sent(order)
        self._count(results)
        try:
            self.reports.keep(results_told(order.items, results))
        except OSError as error:
            self._say("results_not_kept", f"results wait in memory, their folder cannot be written: {error}")
        return 0.0

    def _sent(self, order: Order) -> list[Published]:
        """Send the items of an order that is not late; one result an item, whatever happens."""
        messages = [one.message for one in order.items]
        if order.is_late(asked_at=self.put_at, now=boot_s()):
            return _all(
                messages, "unavailable", "nothing was sent: the agent was held up until its lease was nearly over"
            )
        try:
            connector = self._open()
        except Exception as error:  # noqa: BLE001  of any family
            return _all(messages, "unavailable", f"nothing was sent: {type(error).__name__}: {error}")
        try:
            results = connector.publish(messages, timeout_s=PUBLISH_TIMEOUT_S)
            assert len(results) == len(messages)
        except Exception as error:  # noqa: BLE001  of any family
            self.log("connector_failed", broker=self.broker.name, words=type(error).__name__)
            words = f"the connector failed: {type(error).__name__}; the agent's log has more"
            results = _all(messages, "unknown", words)
        if not {one.result for one in results} <= {"confirmed", "refused"}:
            self._close()
        return results

    def _deliver(self, console: Console) -> None:
        """Report what waits; raises ConsoleAway, and ConsoleRefuses for a key or secret that is not accepted."""
        while waiting := self.reports.next():
            path, data = waiting
            try:
                answer = console.report_results(data, secret=self.config.order_secret)
            except ConsoleRefuses as error:
                if error.status in (401, 403, 404):
                    raise
                self._say("results_refused", str(error))
            else:
                said = {name: answer.get(name) for name in ("marked", "again", "not_yours")}
                self.log("results_reported", broker=self.broker.name, **said)
            self.reports.done(path)

    def _count(self, results: list[Published]) -> None:
        became = Counter(one.result for one in results)
        self.tally.sent.update(became)
        self.log("replays_sent", broker=self.broker.name, **{str(name): count for name, count in became.items()})
        failed = next((one for one in results if one.result in ("unavailable", "unknown")), None)
        if failed:
            self._say("replays_not_sent", failed.detail)
        else:
            self.tally.error = ""

    def _open(self) -> Connector:
        if self.connector is None:
            self.connector = get_connector(self.broker.kind, self.broker.address)
        self.used_at = time.monotonic()
        return self.connector

    def _let_rest(self) -> None:
        if time.monotonic() - self.used_at > IDLE_S:
            self._close()

    def _close(self) -> None:
        connector, self.connector = self.connector, None
        if connector is not None:
            with contextlib.suppress(Exception):
                connector.close()

    def _say(self, event: str, words: str) -> None:
        """Tell the heartbeat what is wrong, and the log when it is news; "" when nothing is."""
        if words and words != self.tally.error:
            self.log(event, broker=self.broker.name, words=words)
        self.tally.error = words[:1000]

    def _longer_pause_s(self) -> float:
        self.pause_s = min(LONGEST_PAUSE_S, self.pause_s * 2 or 0.2)
        return self.pause_s * random.uniform(0.5, 1.0)

    def told(self) -> dict[str, object]:
        """Return what the heartbeat says of this broker."""
        return {
            "broker": self.broker.name,
            "kind": self.broker.kind,
            **{name: self.tally.sent[name] for name in ("confirmed", "refused", "unavailable", "unknown")},
            "asked_at": self.tally.asked_at.isoformat() if self.tally.asked_at else None,
            "error": self.tally.error,
        }


def _all(messages: list[Outgoing], result: Result, detail: str) -> list[Published]:
    return [Published(id=one.id, result=result, detail=detail) for one in messages]


def _number(value: object, default: float) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else default
