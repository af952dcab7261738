"""What tests of the pages of plans share: letters, plans of them, proofs, and what stands in a form."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from django.test import Client

from messages.models import DeadLetter, Plan, Replay
from messages.plans.advance import advance_plan
from messages.plans.selection import Selection
from messages.plans.services import Options, create_plan, start_plan
from messages.replay.proofs import settle_replays
from tests.factories import ROOT, agent_key, environment, event, letter, push

FORM = {
    "reason": "erp is back",
    "rate": "",
    "waves": "1, 100%",
    "waits_for": "processed",
    "wave_wait": "600",
    "failed": "5",
    "latency": "4",
}
HTMX = {"HTTP_HX_REQUEST": "true"}


def letters(count: int, **changes: Any) -> list[DeadLetter]:
    """Push so many letters, each an order of its own; return them, the one that failed first first."""
    made = [
        letter(**{"failed_at": f"2026-11-2{n // 50}T10:{n % 50:02d}:00Z", "keys": {"order_no": f"4711-{n}"}, **changes})
        for n in range(count)
    ]
    assert push("/ingest/v1/dead-letters", made, key=agent_key("harvester")).json()["accepted"] == count
    return list(DeadLetter.objects.order_by("failed_at"))


def plan_of(chosen: list[DeadLetter], by: Any = ROOT, **options: Any) -> Plan:
    return create_plan(
        Selection(source=Plan.Source.TICKED, ids=[one.pk for one in chosen]), environment=environment(), by=by, reason="erp is back",
        options=Options(**{"rate_per_s": None, "waits_for": "processed", **options}),
    )  # fmt: skip


def begin(plan: Plan) -> Plan:
    start_plan(plan, by=ROOT)
    advance_plan(plan.pk)
    plan.refresh_from_db()
    return plan


def prove(replay: Replay) -> None:
    proof = event(
        system="erp", operation="process", destination="erp.orders", message_id="", trace_id=replay.trace_id.hex
    )
    proof["occurred_at"] = datetime.now(UTC).isoformat()
    push("/ingest/v1/events", [proof], key=agent_key("erp exporter"))
    settle_replays()


def form_of(client: Client, address: str) -> dict[str, str]:
    """Return what the form at this address sends along."""
    html = client.get(address).content.decode()
    return FORM | {name: re.findall(rf'name="{name}" value="([^"]*)"', html)[0] for name in ("shown", "token")}


def address_of(html: str, label: str) -> str:
    found = re.search(rf'href="(/plans/new/[^"]*)"[^>]*>(?:<svg.*?</svg>)?{re.escape(label)}', html, re.S)
    assert found, label
    return found[1].replace("&amp;", "&")
