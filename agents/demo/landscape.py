"""What the demo estate consists of: streams, services, faults, and the orders that run through it. Pure."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass
from typing import Any

FAULTS_KEY = "waybill-demo:faults"
ALIVE_KEY = "waybill-demo:alive:"
COUNT_KEY = "waybill-demo:count:"

# destination → (flow, owning team)
FLOWS = {
    "orders.new": ("orders: shop → order-service", "Order team"),
    "erp.orders": ("orders: order-service → erp", "Order team"),
    "billing.invoices": ("invoices: erp → billing", "Finance team"),
    "shipping.shipments": ("shipments: erp → shipping", "Logistics team"),
}
# service → stream it consumes
CONSUMES = {
    "order-service": "orders.new",
    "erp": "erp.orders",
    "billing": "billing.invoices",
    "shipping": "shipping.shipments",
}
SERVICES = ("shop", *CONSUMES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A switch on the page "Demo estate": what it breaks while it is on."""

    key: str
    title: str
    on: str
    off: str
    system: str


FAULTS = (
    Fault(
        key="erp-timeout", title="ERP time-outs", system="erp",
        on="about 8 % of the orders time out at the ERP, three times, and die", off="the ERP answers every order",
    ),
    Fault(
        key="vat-missing", title="VAT number required", system="billing",
        on="billing refuses invoices of customers without a VAT number, about 6 %", off="billing looks a missing VAT number up",
    ),
    Fault(
        key="unknown-sku", title="Unknown SKU", system="erp",
        on="the ERP does not know article AX-7731-B, in about 2 % of the orders", off="the article's master data is maintained",
    ),
    Fault(
        key="poison", title="Poison messages", system="order-service",
        on="a few orders arrive cut off and cannot be parsed, about 0.5 %", off="the order service repairs a cut-off order",
    ),
)  # fmt: skip

SKUS = ("BX-1001", "BX-2040", "CR-0310", "DT-5500", "EL-0077", "FW-9120")
STRANGE_SKU = "AX-7731-B"


def make_order(number: int, chance: random.Random) -> dict[str, Any]:
    """Return one order: a customer (a few without VAT number), lines (a few with the strange article), a total."""
    customer = 90_000 + chance.randrange(400)
    lines = [
        {
            "sku": STRANGE_SKU if chance.random() < 0.012 else chance.choice(SKUS),
            "quantity": chance.randint(1, 9),
            "price": f"{chance.randint(500, 40_000) / 100:.2f}",
        }
        for _ in range(chance.randint(1, 3))
    ]
    total = sum(float(line["price"]) * line["quantity"] for line in lines)  # type: ignore[arg-type]
    vat = None if chance.random() < 0.06 else f"DE{200_000_000 + customer}"
    return {
        "order_no": f"4711-{number}",
        "customer": {"id": customer, "name": f"Customer {customer}", "vat_number": vat},
        "total": {"amount": f"{total:.2f}", "currency": "EUR"},
        "lines": lines,
    }


def message_id_of(parent: str, stream: str) -> str:
    """Return the id of the message that follows from another: always the same, so that a repeated step repeats its id."""
    return str(uuid.uuid5(uuid.UUID(parent), stream))


def times_out(order_no: str) -> bool:
    """Whether this order is one of those that the ERP times out on while the fault is on: about 8 %, always the same ones."""
    return uuid.uuid5(uuid.NAMESPACE_OID, order_no).int % 100 < 8


def attributes_of(order: dict[str, Any]) -> dict[str, Any]:
    """Return the span attributes that carry an order's business keys."""
    return {
        "order_no": order["order_no"],
        "customer_no": str(order["customer"]["id"]),
        "business.amount": order["total"]["amount"],
    }
