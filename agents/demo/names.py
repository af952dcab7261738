"""Names that the estate, its set-up and its page share. No I/O here."""

from __future__ import annotations

from dataclasses import dataclass

ENVIRONMENT = "demo"
CONNECTION = "demo-redis"
RABBIT_CONNECTION = "demo-rabbitmq"
ESTATE_AGENT = "demo estate"
HARVESTER_AGENT = "demo harvester"
FAULTS_KEY = "waybill-demo:faults"
ALIVE_KEY = "waybill-demo:alive:"  # + process; JSON, gone when the process is
DID_KEY = "waybill-demo:did:"  # + system:order number; what payment and stock did last for an order
ORDERS, BOOKINGS, INVOICES, SHIPMENTS = "orders.new", "erp.orders", "billing.invoices", "shipping.shipments"
PAYMENTS, REFUNDS = "payment.charges", "payment.refunds"
RESERVATIONS, RELEASES = "stock.reservations", "stock.releases"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One route of the estate: who consumes which stream, and what the console calls it."""

    stream: str
    producer: str
    consumer: str
    flow: str
    team: str
    criticality: str
    description: str

    @property
    def dead_letters(self) -> str:
        return f"{self.stream}.dlq"


HOPS = (
    Hop(
        stream=ORDERS,
        producer="shop",
        consumer="order-service",
        flow="orders: shop → order-service",
        team="Order team",
        criticality="high",
        description="Every order of the web shop, checked and passed on to the ERP.",
    ),
    Hop(
        stream=BOOKINGS,
        producer="order-service",
        consumer="erp",
        flow="orders: order-service → erp",
        team="Order team",
        criticality="high",
        description="Checked orders, booked in the ERP, which then asks for an invoice and a shipment.",
    ),
    Hop(
        stream=INVOICES,
        producer="erp",
        consumer="billing",
        flow="invoices: erp → billing",
        team="Finance team",
        criticality="normal",
        description="One invoice for each booked order.",
    ),
    Hop(
        stream=SHIPMENTS,
        producer="erp",
        consumer="shipping",
        flow="shipments: erp → shipping",
        team="Logistics team",
        criticality="normal",
        description="One parcel for each booked order.",
    ),
    Hop(
        stream=PAYMENTS,
        producer="order-service",
        consumer="payment",
        flow="payments: order-service → payment",
        team="Finance team",
        criticality="high",
        description="The payment of each order, taken as soon as it is checked.",
    ),
    Hop(
        stream=RESERVATIONS,
        producer="order-service",
        consumer="stock",
        flow="reservations: order-service → stock",
        team="Logistics team",
        criticality="normal",
        description="The articles of each order, reserved as soon as it is checked.",
    ),
    Hop(
        stream=REFUNDS,
        producer="waybill",
        consumer="payment",
        flow="refunds: → payment",
        team="Finance team",
        criticality="high",
        description="Payments to give back: what compensations send when an order failed for good.",
    ),
    Hop(
        stream=RELEASES,
        producer="waybill",
        consumer="stock",
        flow="releases: → stock",
        team="Logistics team",
        criticality="normal",
        description="Reservations to let go: what compensations send when an order failed for good.",
    ),
)
HOP_OF_CONSUMER = {hop.consumer: hop for hop in reversed(HOPS)}  # the first of each
SERVICES = ("shop", *dict.fromkeys(hop.consumer for hop in HOPS))
PROCESSES = (*SERVICES, "harvester")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that goes wrong in the estate until somebody switches it off.

    share  part of new orders that carry the cause.   per_hour  most of them in an hour, so that an estate left alone
    for a weekend has some thousand dead letters and not a hundred thousand.
    """

    name: str
    title: str
    system: str
    what: str
    fix: str
    share: float
    per_hour: int


FAULTS = (
    Fault(
        name="erp-timeout",
        title="ERP time-outs",
        system="erp",
        what="The ERP does not answer for orders of warehouse LEJ-2: three attempts, then the dead-letter queue.",
        fix="Switched off, the ERP answers again: a replay is booked.",
        share=0.08,
        per_hour=40,
    ),
    Fault(
        name="vat-missing",
        title="VAT number missing",
        system="billing",
        what="Some business customers have no VAT number, and billing refuses their invoice.",
        fix="Switched off, billing looks the number up itself: a replay is invoiced.",
        share=0.06,
        per_hour=20,
    ),
    Fault(
        name="unknown-sku",
        title="Unknown article",
        system="erp",
        what="The shop sells an article that the ERP's master data does not know.",
        fix="Switched off, the article is in the master data: a replay is booked.",
        share=0.02,
        per_hour=10,
    ),
    Fault(
        name="poison",
        title="Poison message",
        system="order-service",
        what="An old shop template writes JSON with a comma too many, which nobody can parse.",
        fix="Switched off, the order service reads it all the same: a replay is accepted.",
        share=0.005,
        per_hour=4,
    ),
)
