"""What console and agent say to each other of replays, and the signatures under it. Pure: both sides use this module.

An agent asks for the replays of one connection with a nonce of its own; the console answers with an order that carries this nonce;
the agent reports what became of each item. All three are JSON, signed over exactly the bytes that are sent, with a secret that only
the console and this agent have (HMAC-SHA-256, RFC 2104), each with its own label, so that none can be taken for another.

An order is good for the one ask whose nonce it carries: nobody can hand it to another agent, to another connection or a second time.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal, cast

from messages.connectors.base import Outgoing, Published, Result
from messages.connectors.headers import as_dicts, from_dicts

FORMAT = 1
SIGNATURE = "Waybill-Signature"  # the header of asks and reports
ORDERS = "/ingest/v1/orders"
RESULTS = "/ingest/v1/orders/results"
MOST_ITEMS = 100  # of one order: what is out cannot be stopped any more
MOST_ORDER_BYTES = 64 * 1024 * 1024  # a window of 8 MiB, or one body of 20 MiB behind it, as base64
SENT_WITHIN_S = 45  # what must be left of an order before anything of it is sent: no connector takes longer for one
KNOWN: tuple[Result, ...] = ("confirmed", "refused", "unavailable", "unknown")
Label = Literal["ask", "order", "results"]


class BadOrder(Exception):
    """What came is no order for this ask; the sentence says why. Nothing of it is sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One replay: the message exactly as it goes out, and the attempt under which it is claimed."""

    attempt: int
    message: Outgoing


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What one agent is to send over one connection, once.

    answered_at, expires_at  by the console's clock. The agent takes their difference alone, from the moment it asked, so that its own
                             clock may be wrong.
    """

    agent: str
    environment: str
    connection: str
    kind: str
    nonce: str
    answered_at: datetime
    expires_at: datetime
    items: tuple[Item, ...]

    def is_late(self, *, asked_at: float, now: float) -> bool:
        """Whether too little of it is left to begin; both moments in seconds of one clock that nobody sets."""
        left_s = (self.expires_at - self.answered_at).total_seconds()
        return now - asked_at > left_s - SENT_WITHIN_S


def sign(secret: str, label: Label, data: bytes) -> str:
    """Return the signature of these bytes, in hex."""
    return hmac.new(secret.encode(), f"waybill {label} {FORMAT}\n".encode() + data, hashlib.sha256).hexdigest()


def is_signed(secret: str, label: Label, data: bytes, signature: object) -> bool:
    """Whether this is the signature of these bytes; never raises for what anybody sent."""
    given = signature.encode("utf-8", "replace") if isinstance(signature, str) else b""
    return bool(secret) and hmac.compare_digest(sign(secret, label, data).encode(), given)


def order_answer(order: Order, *, secret: str) -> dict[str, str]:
    """Return what the console answers: the order as text, and the signature of this text."""
    told = {
        "format": FORMAT,
        **{name: getattr(order, name) for name in ("agent", "environment", "connection", "kind", "nonce")},
        "answered_at": order.answered_at.isoformat(),
        "expires_at": order.expires_at.isoformat(),
        "items": [_item_told(one) for one in order.items],
    }
    text = json.dumps(told)
    return {"order": text, "signature": sign(secret, "order", text.encode())}


def _item_told(one: Item) -> dict[str, object]:
    message = one.message
    return {
        "id": message.id,
        "attempt": one.attempt,
        "destination": message.destination,
        "route": dict(message.route),
        "headers": as_dicts(message.headers),
        "properties": dict(message.properties),
        "content_type": message.content_type,
        "expiry": message.expiry,
        "body": base64.b64encode(message.body).decode(),
    }


def read_order(answer: Mapping[str, Any], *, secret: str, nonce: str, connection: str, kind: str) -> Order:
    """Return the order of an answer to this ask; raises BadOrder for anything that is none, whatever it is."""
    text = answer.get("order")
    if not isinstance(text, str) or not is_signed(
        secret, "order", text.encode("utf-8", "replace"), answer.get("signature")
    ):
        raise BadOrder("the order is not signed with this agent's order secret")
    try:
        told = json.loads(text)
        if not isinstance(told, dict) or told.get("format") != FORMAT:
            raise BadOrder("the order is of a format that this agent does not know: update the agent")
        order = _order_of(told)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError, binascii.Error) as error:
        raise BadOrder(f"the order cannot be read: {type(error).__name__}") from error
    if not hmac.compare_digest(order.nonce.encode(), nonce.encode()):
        raise BadOrder("the order answers another question than the one this agent asked")
    if (order.connection, order.kind) != (connection, kind):
        raise BadOrder(f"the order is for {order.kind} {order.connection[:120]}, not for {kind} {connection}")
    if len({one.message.id for one in order.items}) < len(order.items) or len(order.items) > MOST_ITEMS:
        raise BadOrder("the order names an item twice, or too many")
    return order


def _order_of(told: Mapping[str, Any]) -> Order:
    names = [str(told[name]) for name in ("agent", "environment", "connection", "kind", "nonce")]
    answered_at, expires_at = (datetime.fromisoformat(told[name]) for name in ("answered_at", "expires_at"))
    if answered_at.tzinfo is None or expires_at.tzinfo is None:
        raise ValueError("a moment without its zone")
    agent, environment, connection, kind, nonce = names
    return Order(
        agent=agent, environment=environment, connection=connection, kind=kind, nonce=nonce,
        answered_at=answered_at, expires_at=expires_at, items=tuple(_item_of(one) for one in told["items"]),
    )  # fmt: skip


def _item_of(told: Mapping[str, Any]) -> Item:
    expiry = told["expiry"]
    if expiry not in ("", "drop", "keep"):
        raise ValueError("no such expiry")
    message = Outgoing(
        id=str(told["id"]),
        destination=str(told["destination"]),
        body=base64.b64decode(told["body"], validate=True),
        route={str(name): str(value) for name, value in told["route"].items()},
        headers=from_dicts(told["headers"]),
        properties=dict(told["properties"]),
        content_type=str(told["content_type"]),
        expiry=cast(Any, expiry),
    )
    return Item(attempt=int(told["attempt"]), message=message)


def results_told(items: Sequence[Item], results: Sequence[Published]) -> list[dict[str, object]]:
    """Return what an agent reports: one result an item, in the order of the items."""
    return [
        {
            "id": item.message.id, "attempt": item.attempt, "result": result.result, "detail": result.detail[:1000],
            "retry_after_s": result.retry_after_s,
        }
        for item, result in zip(items, results, strict=True)
    ]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What an agent asks with: nonce, 32 hex digits, anew for each order; most, how many its connector takes at once."""

    connection: str
    kind: str
    most: int
    nonce: str

    def data(self) -> bytes:
        return json.dumps({"format": FORMAT, **asdict(self)}).encode()
