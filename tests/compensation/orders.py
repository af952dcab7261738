"""An order whose payment was taken and whose stock was reserved when billing refused it; and the book that undoes both."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

from messages.compensation.book import Book, parse_book
from messages.compensation.books import newest_book, save_book
from messages.compensation.proposing import propose, target_of_letter
from messages.models import Compensation, DeadLetter, Flow
from tests.factories import ROOT, agent_key, event, letter, push

_numbers = itertools.count(1)
BOOK = """
steps:
  - name: payment
    title: payment taken
    happened: {system: payment, destination: payments}
    undo:
      title: refund {amount}
      message: {destination: refunds}
      connection: redis
      body: {order: "{order}", amount: "{amount}", payment: "{payment}"}
      inputs:
        order: {key: order_no}
        amount: {json: "$.amount"}
        payment: {attribute: payment.id}
      proof: {system: payment, destination: refunds}
  - name: stock
    title: stock reserved
    happened: {system: stock, destination: reservations}
    undo:
      title: release the articles of {order}
      message: {destination: releases}
      connection: redis
      body: "release {order}"
      inputs:
        order: {key: order_no}
  - name: mail
    title: confirmation mailed
    happened: {system: mailer, destination: mails}
    irreversible: a mail cannot be called back
"""


def book(text: str = BOOK) -> Book:
    return parse_book(text)


def saved(flow: Flow, text: str = BOOK) -> Any:
    before = newest_book(flow)
    return save_book(flow, parse_book(text), by=ROOT, reason="tests", base=before.version if before else 0)


def failed_order(*happened: str, key: str | None = None, **changes: Any) -> DeadLetter:
    """Return the dead letter of an order that billing refused, after these systems did their part, the first one first."""
    number = next(_numbers)
    trace = f"{number:032x}"
    keys = {"order_no": f"4711-{number}"}
    key = key or agent_key("estate")
    at = datetime.now(UTC) - timedelta(minutes=5)
    done = {
        "payment": {"destination": "payments", "payload": {"body": '{"amount": 1284.50}'}, "attributes": {"payment.id": f"pay-{number}"}},
        "stock": {"destination": "reservations"},
        "mailer": {"destination": "mails"},
    }  # fmt: skip
    events = [
        event(system="shop", operation="send", message_id=f"order-{number}", destination="orders", trace_id=trace, keys=keys,
              occurred_at=at.isoformat()),
    ]  # fmt: skip
    for place, system in enumerate(happened or ("payment", "stock")):
        when = at + timedelta(seconds=10 * (place + 1))
        events.append(
            event(system=system, operation="process", outcome="ok", message_id=f"{system}-{number}", trace_id=trace, keys=keys,
                  occurred_at=when.isoformat()) | done[system]
        )  # fmt: skip
    answer = push("/ingest/v1/events", {"events": events}, key=key).json()
    assert answer["rejected"] == [], answer
    dead = letter(
        system="billing",
        broker="redis",
        message_id=f"order-{number}",
        trace_id=trace,
        keys=keys,
        origin="orders",
        **changes,
    )
    answer = push("/ingest/v1/dead-letters", [dead], key=key).json()
    assert answer["accepted"] == 1, answer
    return DeadLetter.objects.latest("id")


def proposed(*happened: str, text: str = BOOK, **options: Any) -> Compensation:
    """Return a proposal for an order that failed after these systems did their part."""
    found = failed_order(*happened)
    if newest_book(found.flow) is None:
        saved(found.flow, text)
    return propose(target_of_letter(found), by=options.pop("by", ROOT), reason="billing refused it for good", **options)


def refund_of(found: DeadLetter, *, key: str | None = None, **changes: Any) -> None:
    """The payment system tells that it has refunded."""
    told = event(
        system="payment", operation="process", outcome="ok", destination="refunds", message_id=f"refund-{next(_numbers)}",
        trace_id=found.trace_id.hex, keys=found.keys, occurred_at=datetime.now(UTC).isoformat(), **changes,
    )  # fmt: skip
    assert push("/ingest/v1/events", {"events": [told]}, key=key or agent_key("estate")).json()["rejected"] == []
