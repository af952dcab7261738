"""The shop: an order every three seconds or so, some of them with a trouble in it that a receiver will stumble over."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from random import Random
from typing import Any

import redis

from agents.demo.alive import Alive
from agents.demo.consumer import MOST_ENTRIES, entry_headers, send_attributes
from agents.demo.names import FAULTS, ORDERS, Fault
from agents.demo.orders import make_order
from agents.demo.telemetry import Telemetry
from agents.demo.work import Publish

EVERY_S = 3.0  # four messages an order; faster, and the live hour towers over the history's busiest
LONGEST_PAUSE_S = 12.0
FIRST_ORDER_NO = 480_000
ORDER_NO_KEY = "waybill-demo:order-no"
TROUBLE_KEY = "waybill-demo:trouble:"
LONGEST_QUEUE = 2_000  # nobody is consuming: wait, rather than fill the memory


class Shop:
    def __init__(self, client: Any, telemetry: Telemetry, *, chance: Random | None = None) -> None:
        self.client, self.telemetry = client, telemetry
        self.chance = chance or Random()
        self.alive = Alive(client, "shop")

    def run(self, stopping: Callable[[], bool]) -> None:
        """Sell until told to stop; Redis going away is waited for."""
        due = time.monotonic()
        while not stopping():
            try:
                self.alive.say()
                if time.monotonic() >= due:
                    due = time.monotonic() + min(LONGEST_PAUSE_S, self.chance.expovariate(1 / EVERY_S))
                    if self.client.xlen(ORDERS) < LONGEST_QUEUE:
                        self.sell()
            except (redis.ConnectionError, redis.TimeoutError):
                pass
            time.sleep(max(0.05, min(0.5, due - time.monotonic())))

    def sell(self) -> str:
        """Publish one order and return its number."""
        self.client.set(ORDER_NO_KEY, FIRST_ORDER_NO, nx=True)
        number = str(self.client.incr(ORDER_NO_KEY))
        order = make_order(number, datetime.now(UTC), self.chance, trouble=self._trouble())
        publish = Publish(
            stream=ORDERS,
            body=order.body,
            keys={"order_no": number, "customer_no": order.customer_no},
            amount=order.amount,
        )
        message_id = str(uuid.UUID(int=self.chance.getrandbits(128), version=4))
        headers = entry_headers(message_id, message_id, publish)
        with self.telemetry.send(ORDERS, send_attributes(message_id, message_id, publish), headers):
            self.client.xadd(ORDERS, {**headers, "body": publish.body}, maxlen=MOST_ENTRIES, approximate=True)
        self.alive.count(ok=True)
        return number

    def _trouble(self) -> str | None:
        """Draw a fault by its share, as long as it is within its ration of this hour."""
        drawn = self.chance.random()
        for fault in FAULTS:
            if drawn < fault.share:
                return fault.name if self._within_ration(fault) else None
            drawn -= fault.share
        return None

    def _within_ration(self, fault: Fault) -> bool:
        """Take one of the fault's ration: a third of it at once, the rest over the hour, so that there is always some."""
        now = time.time()
        key = f"{TROUBLE_KEY}{fault.name}"
        burst = max(2.0, fault.per_hour / 3)
        tokens, at = (float(v) if v is not None else None for v in self.client.hmget(key, "tokens", "at"))
        left = burst if tokens is None or at is None else min(burst, tokens + (now - at) * fault.per_hour / 3600)
        self.client.hset(key, mapping={"tokens": left - 1 if left >= 1 else left, "at": now})
        return left >= 1
