"""Messages of one flow through one system, and the links of a page, for tests of the map and the figures."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.test import Client

from tests.factories import agent_key, event, push


def estate(flow: str = "orders", system: str = "erp", minutes: int = 10, outcome: str = "error") -> None:
    at = (datetime.now(UTC) - timedelta(minutes=minutes)).isoformat()
    common = {
        "destination": flow,
        "occurred_at": at,
        "message_id": f"message of {flow} {minutes}"[:60],
        "duration_ms": 40,
    }
    error = {"error": {"type": "ErpTimeout", "message": "no", "stack": ""}} if outcome == "error" else {}
    events = [event(**common), event(**common, system=system, operation="process", outcome=outcome, **error)]
    assert push("/ingest/v1/events", events, key=agent_key()).json()["accepted"] == 2


def links(page: Any, start: str) -> list[str]:
    return [
        one.replace("&amp;", "&")
        for one in re.findall(r'href="([^"]+)"', page.content.decode())
        if one.startswith(start)
    ]


def shown(client: Client, path: str, **query: str) -> Any:
    return client.get(f"{path}?{urlencode(query)}" if query else path)
