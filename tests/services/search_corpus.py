"""The five messages that docs/search.md describes, sent through ingest."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from messages.groups.sweep import sweep_groups
from messages.models import ErrorTextsSince
from tests.factories import agent_key, event, letter, push


def at(**ago: float) -> str:
    return (datetime.now(UTC) - timedelta(**ago)).isoformat()


def message(name: str, flow: str, ago: dict[str, float], *more: dict[str, Any], **common: Any) -> list[dict[str, Any]]:
    first = {"system": "shop", "operation": "send", "occurred_at": at(**ago)}
    return [event(message_id=name, destination=flow, **common, **(first | one)) for one in ({}, *more)]


def failed(kind: str, words: str) -> dict[str, Any]:
    error = {"type": kind, "message": words, "stack": ""}
    return {"system": "erp", "operation": "process", "outcome": "error", "error": error}


def fill() -> None:
    processed = {"system": "erp", "operation": "process", "outcome": "ok", "occurred_at": at(minutes=5, seconds=-3)}
    events = [
        *message("m1", "orders", {"minutes": 5}, processed, keys={"order_no": "4711", "customer_no": "77"}),
        *message(
            "m2",
            "orders",
            {"hours": 2},
            failed("ErpTimeout", "erp did not answer, timed out"),
            keys={"order_no": "4712"},
        ),
        *message("m3", "orders", {"minutes": 30}, keys={"order_no": "4713"}),
        *message("m4", "contacts", {"hours": 3}, failed("BadAddress", "no postal code"), keys={"customer_no": "77"}),
        *message("m5", "invoices", {"days": 2}, keys={"invoice_no": "9001"}),
    ]
    for one in events:
        if one["message_id"] == "m4" and one["operation"] == "send":
            one["system"] = "crm"
    assert push("/ingest/v1/events", events, key=agent_key()).json()["accepted"] == len(events)
    dead = letter(
        message_id="m5", origin="invoices", queue="invoices.dlq", reason="expired", reason_code="expired", failed_at=at(days=2),
        keys={"invoice_no": "9001"}, body="{}", error=None,
    )  # fmt: skip
    dead.pop("error")
    assert push("/ingest/v1/dead-letters", [dead], key=agent_key("harvester")).json()["accepted"] == 1
    sweep_groups()


def noted_since(day: date) -> None:
    """The errors of all messages since this day are known by their words: nothing else made messages here than ingest."""
    ErrorTextsSince.objects.create(pk=1, begun_on=day, since=day)
