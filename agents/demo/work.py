"""What each receiver does with a message: pure apart from the ERP's slow line. Every refusal is an exception."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agents.demo.names import BOOKINGS, INVOICES, PAYMENTS, REFUNDS, RELEASES, RESERVATIONS, SHIPMENTS, Hop
from agents.demo.orders import ARTICLES, SLOW_WAREHOUSE, UNKNOWN_SKU, parse_leniently

IsOn = Callable[[str], bool]
ERP_WAITS_S = 0.3


class Refused(Exception):
    """A message that a receiver does not process; `reason` is what its dead letter says, `retry` whether trying again may help."""

    reason = "rejected: validation"
    retry = True


class OrderUnreadable(Refused):
    reason = "deserialization"
    retry = False


class OrderIncomplete(Refused):
    pass


class ErpTimeout(Refused):
    reason = "target timeout, attempts exhausted"


class ArticleNotFound(Refused):
    pass


class InvoiceRejected(Refused):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """A message that a receiver sends on."""

    stream: str
    body: bytes
    keys: Mapping[str, str] = field(default_factory=dict)
    amount: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What came of a message: its business keys as far as the receiver learned them, what it sends on, and what it did, in a word.

    state  of what it keeps, as its span tells it; {} for nothing.
    """

    keys: Mapping[str, str]
    sends: tuple[Publish, ...] = ()
    did: str = ""
    state: Mapping[str, Any] = field(default_factory=dict)


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def _keys(order: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: str(order[name]) for name in ("order_no", "customer_no", "invoice_no", "shipment_no") if name in order
    }


def check_order(body: bytes, is_on: IsOn) -> Done:
    """order-service: read the order, check it, pass it to the ERP."""
    text = body.decode()
    try:
        order = json.loads(text) if is_on("poison") else parse_leniently(text)
    except json.JSONDecodeError as error:
        raise OrderUnreadable(f"the order is not JSON: {error}") from error
    for name in ("order_no", "customer_no", "customer", "lines", "amount"):
        if name not in order:
            raise OrderIncomplete(f"order: {name} is required")
    keys = _keys(order)
    amount = float(order["amount"])
    charge = {name: order.get(name, "EUR") for name in ("order_no", "customer_no", "amount", "currency")}
    articles = {"order_no": order["order_no"], "lines": order["lines"], "warehouse": order.get("warehouse", "")}
    return Done(
        keys=keys,
        sends=(
            Publish(stream=BOOKINGS, body=_json(order), keys=keys, amount=amount),
            Publish(stream=PAYMENTS, body=_json(charge), keys=keys, amount=amount),
            Publish(stream=RESERVATIONS, body=_json(articles), keys=keys),
        ),
    )


def take_payment(body: bytes, is_on: IsOn) -> Done:
    """payment: take the money of an order. Its number is what a refund names."""
    charge = json.loads(body)
    number = _number("PAY", charge["order_no"])
    return Done(
        keys={**_keys(charge), "payment.no": number, "payment.amount": str(charge["amount"])}, did="taken",
        state={"payment_no": number, "order_no": charge["order_no"], "amount": charge["amount"], "status": "taken"},
    )  # fmt: skip


def refund_payment(body: bytes, is_on: IsOn) -> Done:
    """payment: give the money of an order back."""
    refund = json.loads(body)
    return Done(
        keys={**_keys(refund), "payment.no": refund["payment_no"]}, did=f"refunded {refund['amount']}",
        state={"payment_no": refund["payment_no"], "order_no": refund["order_no"], "amount": 0, "status": "refunded"},
    )  # fmt: skip


def reserve_articles(body: bytes, is_on: IsOn) -> Done:
    """stock: put the articles of an order aside."""
    articles = json.loads(body)
    count = len(articles["lines"])
    return Done(
        keys={**_keys(articles), "stock.lines": str(count)}, did="reserved",
        state={"order_no": articles["order_no"], "reserved_lines": count, "status": "reserved"},
    )  # fmt: skip


def release_articles(body: bytes, is_on: IsOn) -> Done:
    """stock: let the articles of an order go."""
    release = json.loads(body)
    return Done(
        keys=_keys(release), did="released",
        state={"order_no": release["order_no"], "reserved_lines": 0, "status": "released"},
    )  # fmt: skip


def book_order(body: bytes, is_on: IsOn, *, waits_s: float = ERP_WAITS_S) -> Done:
    """erp: book the order; ask for an invoice and a shipment."""
    order = json.loads(body)
    for line in order["lines"]:
        _check_article(line["sku"], is_on)
    if order.get("warehouse") == SLOW_WAREHOUSE and is_on("erp-timeout"):
        _reserve_stock(order, waits_s)
    keys = _keys(order)
    invoice = {
        "invoice_no": _number("RE", order["order_no"]),
        **{name: order[name] for name in ("order_no", "customer_no", "customer", "currency", "lines", "amount")},
    }
    shipment = {
        "shipment_no": _number("SH", order["order_no"]),
        "order_no": order["order_no"],
        "customer_no": order["customer_no"],
        "warehouse": order["warehouse"],
        "parcels": max(1, len(order["lines"])),
    }
    amount = float(order["amount"])
    return Done(
        keys=keys,
        sends=(
            Publish(stream=INVOICES, body=_json(invoice), keys=_keys(invoice), amount=amount),
            Publish(stream=SHIPMENTS, body=_json(shipment), keys=_keys(shipment)),
        ),
    )


def _check_article(sku: str, is_on: IsOn) -> None:
    if sku not in ARTICLES and (sku != UNKNOWN_SKU or is_on("unknown-sku")):
        raise ArticleNotFound(f"article {sku} is not in the master data")


def _reserve_stock(order: Mapping[str, Any], waits_s: float) -> None:
    try:
        _await_answer(waits_s)
    except TimeoutError as error:
        raise ErpTimeout("erp:8443 did not answer in 30 s") from error


def _await_answer(waits_s: float) -> None:
    """The stock service of that warehouse hangs; we wait a hundredth of what a real client would."""
    time.sleep(waits_s)
    raise TimeoutError("Timeout: read timed out")


def write_invoice(body: bytes, is_on: IsOn) -> Done:
    """billing: write the invoice; business customers need a VAT number."""
    invoice = json.loads(body)
    if not invoice["customer"].get("vat_number") and is_on("vat-missing"):
        raise InvoiceRejected("customer.vat_number is required")
    return Done(keys=_keys(invoice))


def plan_shipment(body: bytes, is_on: IsOn) -> Done:
    """shipping: plan the parcels."""
    return Done(keys=_keys(json.loads(body)))


def _number(prefix: str, order_no: str) -> str:
    """The same order always gets the same number: a second booking is the first one again."""
    return f"{prefix}-{order_no}-{zlib.crc32(order_no.encode()) % 90 + 10}"


Handler = Callable[[bytes, IsOn], Done]
HANDLERS: dict[str, Handler] = {
    "order-service": check_order,
    "erp": book_order,
    "billing": write_invoice,
    "shipping": plan_shipment,
    "payment": take_payment,
    "stock": reserve_articles,
}
UNDO: dict[str, Handler] = {REFUNDS: refund_payment, RELEASES: release_articles}


def handler_of(hop: Hop) -> Handler:
    """Return what the consumer of this hop does."""
    return UNDO.get(hop.stream) or HANDLERS[hop.consumer]
