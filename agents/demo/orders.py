"""Orders as the shop makes them: pure, everything drawn from the caller's random numbers."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any

SLOW_WAREHOUSE = "LEJ-2"
WAREHOUSES = ("HAM-1", "HAM-2", "MUC-1", "LEJ-1")
UNKNOWN_SKU = "LAMP-2027"
ARTICLES = {
    "DESK-0140": 389.00, "DESK-0160": 429.00, "CHAIR-021": 249.50, "CHAIR-022": 279.90, "LAMP-0007": 59.90,
    "SHELF-080": 119.00, "SHELF-120": 149.00, "MAT-00011": 24.95, "DRAW-0003": 179.00, "SCREEN-27": 299.00,
}  # fmt: skip
CUSTOMERS = (
    ("Nordlicht Möbel GmbH", "DE", "DE811907980"), ("Atelier Ferrand SARL", "FR", "FR40303265045"),
    ("Van Dijk Interieur BV", "NL", "NL823456789B01"), ("Kovář & syn s.r.o.", "CZ", "CZ25596641"),
    ("Studio Bianchi S.r.l.", "IT", "IT12345670017"), ("Hotel Alpenblick AG", "AT", "ATU62134567"),
    ("Kontor Werkstatt eG", "DE", "DE129273398"), ("Lindqvist Kontor AB", "SE", "SE556677889901"),
    ("Brandt & Co. KG", "DE", "DE136695976"), ("Casa Moreno S.L.", "ES", "ESB58378431"),
    ("Øster Design ApS", "DK", "DK13585628"), ("Biuro Nowak sp. z o.o.", "PL", "PL5260001246"),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class NewOrder:
    """An order ready to be published; `body` may be broken on purpose."""

    order_no: str
    customer_no: str
    amount: float
    body: bytes


def make_order(order_no: str, at: datetime, chance: Random, *, trouble: str | None) -> NewOrder:
    """Return an order; `trouble` (a fault's name) puts the cause of that fault into it."""
    number = chance.randrange(len(CUSTOMERS))
    name, country, vat_number = CUSTOMERS[number]
    customer: dict[str, Any] = {"name": name, "country": country, "vat_number": vat_number}
    if trouble == "vat-missing":
        del customer["vat_number"]
    lines: list[dict[str, Any]] = [
        {"sku": sku, "quantity": chance.choice((1, 1, 1, 2, 4)), "price": ARTICLES[sku]}
        for sku in chance.sample(list(ARTICLES), chance.choice((1, 1, 2, 3)))
    ]
    if trouble == "unknown-sku":
        lines[-1]["sku"] = UNKNOWN_SKU
    order: dict[str, Any] = {
        "order_no": order_no,
        "customer_no": f"C-{10211 + 37 * number}",
        "ordered_at": at.isoformat(timespec="milliseconds"),
        "customer": customer,
        "warehouse": SLOW_WAREHOUSE if trouble == "erp-timeout" else chance.choice(WAREHOUSES),
        "currency": "EUR",
        "lines": lines,
        "amount": round(sum(line["quantity"] * line["price"] for line in lines), 2),
    }
    text = json.dumps(order, ensure_ascii=False)
    if trouble == "poison":
        text = text.replace("}]", "},]", 1)
    return NewOrder(order_no=order_no, customer_no=order["customer_no"], amount=order["amount"], body=text.encode())


def parse_leniently(text: str) -> Any:
    """Return the JSON value of a text that may have commas before closing brackets."""
    return json.loads(re.sub(r",\s*([}\]])", r"\1", text))
