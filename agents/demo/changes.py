"""What was deployed, configured and maintained in the estate around its last 24 hours. Pure: the same run tells the same."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from agents.demo.history import CLUSTER_BEGAN, Run
from agents.demo.names import HOP_OF_CONSUMER

CAUSE = CLUSTER_BEGAN + timedelta(minutes=12)  # the ERP that times out went out 12 minutes before the first time-out


def changes_of(run: Run) -> list[dict[str, Any]]:
    """Return the changes as a pipeline would tell them: an ERP release just before its time-outs, and the ordinary ones of a day."""

    def ago(**span: float) -> datetime:
        return run.until - timedelta(**span)

    erp = ago(minutes=CAUSE.total_seconds() / 60)
    return [
        _change(run, "shipping-database", "maintenance", "Shipping: database patched", ago(hours=21), ["shipping"], lasted_min=35),
        _change(run, "shop-8.3.0", "deployment", "Shop 8.3.0: gift cards", ago(hours=14.2), ["shop"], version="8.3.0"),
        _change(run, "billing-vat", "configuration", "Billing checks VAT numbers strictly", ago(hours=9), ["billing"]),
        _change(run, "order-service-3.9.4", "deployment", "Order service 3.9.4", ago(hours=5.1), ["order-service"], version="3.9.4"),
        _change(run, "order-service-3.9.5", "deployment", "Order service 3.9.5: hotfix", ago(hours=5), ["order-service"], version="3.9.5"),
        _change(run, "erp-2.4.1", "deployment", "ERP 2.4.1: new warehouse connector", erp, ["erp"], version="2.4.1"),
        {
            **_change(run, "erp-patch-day", "maintenance", "ERP patch day", ago(hours=-20), ["erp"], lasted_min=120),
            "flows": [HOP_OF_CONSUMER["erp"].flow],
        },
    ]  # fmt: skip


def _change(
    run: Run,
    name: str,
    kind: str,
    title: str,
    at: datetime,
    systems: list[str],
    *,
    version: str = "",
    lasted_min: float = 0,
) -> dict[str, Any]:
    change: dict[str, Any] = {
        "id": f"demo/{run.seed}/{name}",
        "kind": kind,
        "title": title,
        "systems": systems,
        "started_at": at.isoformat(),
        "author": "demo pipeline",
    }
    if version:
        change |= {"version": version, "outcome": "succeeded", "ended_at": at.isoformat()}
    if lasted_min:
        change["ended_at"] = (at + timedelta(minutes=lasted_min)).isoformat()
    return change
