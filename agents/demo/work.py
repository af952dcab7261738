"""What each service does with a message, and how it fails."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from agents.demo.landscape import STRANGE_SKU, times_out

Outgoing = list[tuple[str, dict[str, Any]]]
Faults = dict[str, bool]


class ErpTimeout(TimeoutError):
    """The ERP did not answer."""


class UnknownSku(LookupError):
    """An article that the ERP has no master data for."""


class VatNumberMissing(ValueError):
    """An invoice without a VAT number."""


class MalformedOrder(ValueError):
    """A body that is no order."""


def parse(body: bytes, faults: Faults) -> dict[str, Any]:
    """Return the order of a body; a cut-off one is repaired when the fault is off."""
    try:
        return dict(json.loads(body))
    except ValueError as error:
        if not faults["poison"]:
            try:
                return dict(json.loads(body + b"}"))
            except ValueError:
                pass
        raise MalformedOrder(f"the order cannot be parsed: {error}") from error


def order_service(order: dict[str, Any], faults: Faults) -> Outgoing:
    return [("erp.orders", order)]


def erp(order: dict[str, Any], faults: Faults) -> Outgoing:
    if faults["erp-timeout"] and times_out(order["order_no"]):
        _call_erp()
    if faults["unknown-sku"]:
        for line in order["lines"]:
            if line["sku"] == STRANGE_SKU:
                raise UnknownSku(f"Unknown SKU {line['sku']}")
    invoice = {"invoice_no": f"R-{order['order_no']}", **order}
    shipment = {"shipment_no": f"S-{order['order_no']}", **order}
    return [("billing.invoices", invoice), ("shipping.shipments", shipment)]


def _call_erp() -> None:
    try:
        time.sleep(0.3)
        raise TimeoutError("read timed out")
    except TimeoutError as error:
        raise ErpTimeout("erp.example:8443 did not answer in 30 s") from error


def billing(order: dict[str, Any], faults: Faults) -> Outgoing:
    if faults["vat-missing"] and not order["customer"].get("vat_number"):
        raise VatNumberMissing("customer.vat_number is required")
    return []


def shipping(order: dict[str, Any], faults: Faults) -> Outgoing:
    return []


WORK: dict[str, Callable[[dict[str, Any], Faults], Outgoing]] = {
    "order-service": order_service,
    "erp": erp,
    "billing": billing,
    "shipping": shipping,
}
