"""One estate as a table: what happened, where, when, and who may see it. Times are minutes ago.

An exchange `ex.orders` fans out to `q.erp` (team Orders) and `q.stock` (team Stock), with a dead-letter queue; a Kafka topic `prices` has a
DLT whose letters name no message; an HTTP receiver takes `crm.contacts` and `invoices`, which are nobody's, and tries again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

ORDERS, STOCK, NOBODY = "Orders", "Stock", ""
TEAM_OF = {
    "ex.orders": ORDERS, "q.erp": ORDERS,
    "q.stock": STOCK, "prices": STOCK, "pick.tasks": STOCK,
    "crm.contacts": NOBODY, "invoices": NOBODY,
}  # fmt: skip
# administrator: of everything.   olga: operator of Orders.   vera: viewer of Stock.
READERS = {"administrator": {ORDERS, STOCK, NOBODY}, "olga": {ORDERS, NOBODY}, "vera": {STOCK, NOBODY}}
TRACE = "5a" * 16
TIMEOUT = ("ErpTimeout", "erp did not answer")
NO_STOCK = ("StockMissing", "no shelf has it")
BAD_PRICE = ("BadPrice", "the price is below the cost")
BAD_GATEWAY = ("BadGateway", "the gateway is down")
BROKER_GONE = ("BrokerGone", "the broker is gone")

KEYS = {
    "O-1": {"order_no": "O-1", "customer_no": "C-1", "amount": "10", "currency": "EUR"},
    "O-2": {"order_no": "O-2", "customer_no": "C-1", "amount": "20", "currency": "EUR"},
    "O-2 again": {"order_no": "O-2", "customer_no": "C-1", "amount": "20", "currency": "EUR"},
    "O-3": {"order_no": "O-3", "customer_no": "C-2", "amount": "30.5", "currency": "EUR"},
    "O-4": {"order_no": "O-4", "customer_no": "C-2", "amount": "40", "currency": "EUR"},
    "O-5": {"order_no": "O-5", "customer_no": "C-3", "amount": "50", "currency": "EUR"},
    "O-6": {"order_no": "O-6", "customer_no": "C-4", "amount": "60", "currency": "EUR"},
    "O-7": {"order_no": "O-7", "customer_no": "C-4", "amount": "70", "currency": "EUR"},
    "O-8": {"order_no": "O-8", "customer_no": "C-1", "amount": "80", "currency": "EUR"},
    "O-9": {"order_no": "O-9", "customer_no": "C-5", "amount": "90", "currency": "EUR"},
    "O-10": {"order_no": "O-10", "customer_no": "C-2", "amount": "100", "currency": "EUR"},
    "O-11": {"order_no": "O-11", "customer_no": "C-6", "amount": "110", "currency": "EUR"},
    "O-12": {"order_no": "O-12", "customer_no": "C-2", "amount": "120", "currency": "EUR"},
    "P-1": {"price_no": "P-1"}, "P-2": {"price_no": "P-2"}, "P-3": {"price_no": "P-3"}, "P-4": {"price_no": "P-4"},
    "K-1": {"customer_no": "C-1"}, "K-2": {"customer_no": "C-6"}, "K-3": {"customer_no": "C-7"}, "K-4": {"customer_no": "C-8"},
    "T-1": {"pick_no": "T-1"},
    "I-1": {"invoice_no": "I-1", "order_no": "O-1"},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Event:
    id: str
    ago: float
    about: str
    system: str
    operation: str
    flow: str
    error: tuple[str, str] | None = None
    took_ms: int = 0
    trace: str | None = None
    own_keys: tuple[tuple[str, str], ...] = ()

    @property
    def keys(self) -> dict[str, str]:
        shelf = {"shelf": f"shelf of {self.about}"} if self.flow == "q.stock" else {}
        return KEYS[self.about] | shelf | dict(self.own_keys)

    def at(self, now: datetime) -> datetime:
        return now - timedelta(minutes=self.ago)

    def wire(self, now: datetime) -> dict[str, Any]:
        error = {"type": self.error[0], "message": self.error[1], "stack": ""} if self.error else None
        return {
            "id": self.id, "system": self.system, "operation": self.operation, "occurred_at": self.at(now).isoformat(),
            "destination": self.flow, "message_id": uid(self.about), "outcome": "error" if error else "ok", "error": error,
            "duration_ms": self.took_ms, "keys": self.keys, "trace_id": self.trace,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Letter:
    """about: the message or, where it is not named, the document. closed: somebody discarded it since."""

    id: str
    ago: float
    about: str
    system: str
    flow: str
    queue: str
    error: tuple[str, str]
    named: bool = True
    closed: bool = False

    @property
    def keys(self) -> dict[str, str]:
        return KEYS[self.about]

    def at(self, now: datetime) -> datetime:
        return now - timedelta(minutes=self.ago)

    def wire(self, now: datetime) -> dict[str, Any]:
        kind = "rabbitmq" if self.named else "kafka"
        return {
            "id": self.id, "broker": kind, "family": kind, "queue": self.queue, "origin": self.flow, "system": self.system,
            "reason": "rejected", "reason_code": "rejected", "error": {"type": self.error[0], "message": self.error[1], "stack": ""},
            "message_id": uid(self.about) if self.named else "", "failed_at": self.at(now).isoformat(), "keys": self.keys,
            "content_type": "application/json", "body": "{}",
        }  # fmt: skip


Happening = Event | Letter


def uid(about: str) -> str:
    return f"message of {about}, long enough"


SENT: Callable[..., Event] = lambda about, ago, **more: Event(  # noqa: E731
    f"{about} sent", ago, about, "shop", "send", "ex.orders", took_ms=20, **more
)
HAPPENED: list[Happening] = [
    # O-9: the shop could not send it, three days ago.
    Event("O-9 not sent", 3 * 1440, "O-9", "shop", "send", "ex.orders", BROKER_GONE, 5),
    # O-1: all is well; the warehouse goes on under the same trace, and an invoice names the order.
    SENT("O-1", 300, trace=TRACE),
    Event("O-1 received", 299.5, "O-1", "erp", "receive", "q.erp", trace=TRACE),
    Event("O-1 booked", 299, "O-1", "erp", "process", "q.erp", took_ms=40, trace=TRACE),
    Event("O-1 picked", 298, "O-1", "wms", "process", "q.stock", took_ms=200, trace=TRACE),
    Event("T-1 sent", 297, "T-1", "wms", "send", "pick.tasks", took_ms=3, trace=TRACE),
    Event("T-1 done", 295, "T-1", "robot", "process", "pick.tasks", took_ms=5000, trace=TRACE),
    Event("I-1 sent", 290, "I-1", "billing", "send", "invoices", took_ms=9),
    Event("I-1 taken", 289, "I-1", "portal", "process", "invoices", took_ms=17),
    # O-2: the shop's event comes twice, the warehouse takes it twice; and the shop sends the order once more.
    SENT("O-2", 280),
    SENT("O-2", 280),
    Event("O-2 booked", 279, "O-2", "erp", "process", "q.erp", took_ms=41),
    Event("O-2 picked", 278, "O-2", "wms", "process", "q.stock", took_ms=210),
    Event("O-2 picked twice", 277, "O-2", "wms", "process", "q.stock", took_ms=190),
    SENT("O-2 again", 270),
    Event("O-2 again booked", 269, "O-2 again", "erp", "process", "q.erp", took_ms=39),
    # O-3 and O-4: the ERP times out twice and they die; somebody discarded the letter of O-4.
    SENT("O-3", 250),
    Event("O-3 picked", 249, "O-3", "wms", "process", "q.stock", took_ms=150),
    Event("O-3 failed", 248, "O-3", "erp", "process", "q.erp", TIMEOUT, 30_000),
    Event("O-3 failed again", 245, "O-3", "erp", "process", "q.erp", TIMEOUT, 30_000),
    Letter("O-3 died", 244, "O-3", "erp", "q.erp", "q.erp.dlq", TIMEOUT),
    Letter("O-3 died", 244, "O-3", "erp", "q.erp", "q.erp.dlq", TIMEOUT),
    SENT("O-4", 185),
    Event("O-4 failed", 184, "O-4", "erp", "process", "q.erp", TIMEOUT, 30_000),
    Letter("O-4 died", 183, "O-4", "erp", "q.erp", "q.erp.dlq", TIMEOUT, closed=True),
    # O-5: booked, then the warehouse has none.
    SENT("O-5", 170),
    Event("O-5 booked", 169, "O-5", "erp", "process", "q.erp", took_ms=44),
    Event("O-5 not picked", 168, "O-5", "wms", "process", "q.stock", NO_STOCK, 90),
    # O-6: picked, then the ERP times out, and no letter comes. O-10: the same, without the warehouse.
    SENT("O-6", 120),
    Event("O-6 picked", 119, "O-6", "wms", "process", "q.stock", took_ms=120),
    Event("O-6 failed", 118, "O-6", "erp", "process", "q.erp", TIMEOUT, 30_000),
    SENT("O-10", 115),
    Event("O-10 failed", 114, "O-10", "erp", "process", "q.erp", TIMEOUT, 30_000),
    # O-11: the ERP times out, the warehouse picks it after that, and no letter comes.
    SENT("O-11", 113),
    Event("O-11 failed", 112, "O-11", "erp", "process", "q.erp", TIMEOUT, 30_000),
    Event("O-11 picked", 111, "O-11", "wms", "process", "q.stock", took_ms=130),
    # O-7: on its way. O-8: times out, then passes.
    SENT("O-7", 30),
    SENT("O-8", 100),
    Event("O-8 failed", 99, "O-8", "erp", "process", "q.erp", TIMEOUT, 30_000),
    Event("O-8 booked", 90, "O-8", "erp", "process", "q.erp", took_ms=50),
    # O-12: booked, and dies in the warehouse's queue.
    SENT("O-12", 160),
    Event("O-12 booked", 159, "O-12", "erp", "process", "q.erp", took_ms=43),
    Event("O-12 not picked", 158, "O-12", "wms", "process", "q.stock", NO_STOCK, 91),
    Letter("O-12 died", 157, "O-12", "wms", "q.stock", "q.stock.dlq", NO_STOCK),
    # Prices: P-1 fails and its letter names no message, P-2 fails without one, of P-3 there is the letter alone, P-4 passes.
    *(Event(f"P-{n} sent", 400 - n, f"P-{n}", "pim", "send", "prices", took_ms=1) for n in (1, 2, 4)),
    Event("P-1 failed", 390, "P-1", "pricer", "process", "prices", BAD_PRICE, 6),
    Letter("P-1 died", 389, "P-1", "pricer", "prices", "prices.DLT", BAD_PRICE, named=False),
    Event("P-2 failed", 330, "P-2", "pricer", "process", "prices", BAD_PRICE, 6),
    Letter("P-3 died", 325, "P-3", "pricer", "prices", "prices.DLT", BAD_PRICE, named=False),
    Event("P-4 taken", 320, "P-4", "pricer", "process", "prices", took_ms=7),
    # Contacts: K-1 passes at the third try, K-2 does not at the second, K-3 at once; K-4 goes to the
    # warehouse under another customer's number, and fails there.
    *(Event(f"K-{n} sent", 80 - n, f"K-{n}", "shop", "send", "crm.contacts", took_ms=2) for n in (1, 2, 3)),
    Event("K-1 failed", 75, "K-1", "portal", "process", "crm.contacts", BAD_GATEWAY, 502),
    Event("K-2 failed", 74, "K-2", "portal", "process", "crm.contacts", BAD_GATEWAY, 503),
    Event("K-3 taken", 73, "K-3", "portal", "process", "crm.contacts", took_ms=80),
    Event("K-1 failed again", 65, "K-1", "portal", "process", "crm.contacts", BAD_GATEWAY, 502),
    Event("K-2 failed again", 64, "K-2", "portal", "process", "crm.contacts", BAD_GATEWAY, 503),
    Event("K-4 sent", 50, "K-4", "shop", "send", "crm.contacts", took_ms=2),
    Event("K-4 not picked", 45, "K-4", "wms", "process", "q.stock", NO_STOCK, 80, own_keys=(("customer_no", "C-9"),)),
    Event("K-1 taken", 55, "K-1", "portal", "process", "crm.contacts", took_ms=90),
]  # fmt: skip

Batch = list[Happening]


def alone(happened: list[Happening]) -> list[Batch]:
    return [[one] for one in happened]


def at_once(happened: list[Happening]) -> list[Batch]:
    return [[one for one in happened if isinstance(one, kind)] for kind in (Event, Letter)]


def by_time() -> list[Happening]:
    return sorted(HAPPENED, key=lambda one: -one.ago)


def letters_first() -> list[Happening]:
    return sorted(by_time(), key=lambda one: isinstance(one, Event))


def by_system() -> list[Batch]:
    """Each system's agent sends what it has, one after the other, the warehouse before the shop."""
    names = sorted({one.system for one in HAPPENED}, reverse=True)
    agents = [[one for one in by_time() if one.system == name] for name in names]
    return [[one for one in agent if isinstance(one, kind)] for agent in agents for kind in (Event, Letter)]


ORDERS_OF_PUSHING: dict[str, list[Batch]] = {
    "as it happened": alone(by_time()),
    "all at once, backwards": at_once(by_time()[::-1]),
    "newest first": alone(by_time()[::-1]),
    "letters first": alone(letters_first()),
    "system by system, backwards": by_system(),
}
