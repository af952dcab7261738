"""Every list, as page and in REST, is explained: a table that grows with traffic is only ever reached through an index."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from alerts.api.urls import urlpatterns as alerting
from console.identity.models import Role
from messages.api.urls import urlpatterns as messaging
from messages.models import Message
from tests.factories import agent_key, api_key, event, person, push, stored_letter
from tests.pages.people import TRACE, signed_in
from tests.pages.test_queries import BASELINE, fill

pytestmark = pytest.mark.django_db

GROWS = (
    *("messaging_event", "messaging_message", "messaging_deadletter", "messaging_payload", "messaging_rollup", "messaging_replay", "messaging_planitem"),
    *("alerts_noticedelivery", "alerts_deliveryattempt", "alerts_externalalert", "alerts_reportmail", "alerts_reportfile"),
    *("messaging_trace_link", "messaging_logged_exception", "messaging_ingestreject", "messaging_ledgerentry", "audit_entry"),
)  # fmt: skip
ASKED = {
    "/messages/": (
        *("q=order_no:470-2", "status=failed", "flow=flow-1", "q=timed&window=30d", "q=error:no", "q=system:shop", "window=7d&status=dead"),
        *("q=failed:>now-1h", "q=failed:>now-1h+via:flow-1"),
    ),
    "/dead-letters/": ("q=order_no:470-2", "state=closed", "q=Error1", "q=class:Error1", "flow=flow-1"),
    "/api/v1/messages": ("q=order_no:470-2", "q=status:failed", "q=message_id:x"),
    "/api/v1/events": ("q=order_no:470-2", "q=status:error", "q=message_id:x"),
    "/api/v1/dead-letters": ("q=order_no:470-2", "q=status:waiting"),
}  # fmt: skip
WEIGHS = "/api/v1/retention"  # no list: it adds up the sizes of what was refused, which has its own days
LISTS = ["/api/v1/" + str(route.pattern) for route in [*alerting, *messaging] if "<" not in str(route.pattern) and "^" not in str(route.pattern)]  # fmt: skip


def addresses() -> Iterator[str]:
    for path in [*BASELINE, *LISTS]:
        if path != WEIGHS:
            yield path
        yield from (f"{path}?{query}" for query in ASKED.get(path, ()))


def statements_of(client: Client, address: str, **headers: Any) -> list[tuple[str, Any]]:
    """Return the SELECTs that this address makes, each once; of what answers no GET, none."""
    found: dict[str, Any] = {}

    def note(execute: Any, sql: str, values: Any, many: bool, context: Any) -> Any:
        if sql.lstrip().upper().startswith(("SELECT", "WITH")):
            found.setdefault(sql, values)
        return execute(sql, values, many, context)

    with connection.execute_wrapper(note):
        answer = client.get(address, **headers)
    assert answer.status_code < 500, f"{address}: {answer.status_code}"
    return list(found.items())


def scanned(sql: str, values: Any) -> list[str]:
    """Return what a statement reads without an index, or a whole index of, when the planner may not prefer a small table's scan."""
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN (FORMAT JSON) " + sql, values)
        plan = cursor.fetchone()[0]
    return list(_scans((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"], limited=False))


def _scans(node: dict[str, Any], *, limited: bool) -> Iterator[str]:
    kind, table = node["Node Type"], node.get("Relation Name", "")
    if table.startswith(GROWS) and kind == "Seq Scan":
        yield f"{kind} of {table}"
    if (
        table.startswith(GROWS)
        and kind in ("Index Scan", "Index Only Scan")
        and "Index Cond" not in node
        and not limited
    ):
        yield f"whole {node['Index Name']}"
    limited = kind == "Limit" or (limited and kind not in ("Sort", "Hash", "Aggregate"))
    for below in node.get("Plans", ()):
        yield from _scans(below, limited=limited)


NEVER_ANALYSED = """
DELETE FROM pg_statistic WHERE starelid IN (SELECT oid FROM pg_class WHERE relname ~ '^(messaging|alerts)_');
UPDATE pg_class SET reltuples = -1, relpages = 0 WHERE relname ~ '^(messaging|alerts)_' AND relkind IN ('r', 'p', 'i');
SET LOCAL enable_seqscan = off
"""


@pytest.fixture(autouse=True)
def of_any_size(db: None) -> None:
    """The planner does not know that these tables are nearly empty, whatever tests before made autovacuum note."""
    with connection.cursor() as cursor:
        cursor.execute(NEVER_ANALYSED)


def test_every_list_reaches_what_grows_through_an_index():
    fill(3)
    member = person("member", Role.ADMINISTRATOR)
    client = Client()
    client.force_login(member)
    headers = {"HTTP_AUTHORIZATION": f"Bearer {api_key(member)}"}

    found = {}
    for address in addresses():
        more = headers if address.startswith("/api/") else {}
        for sql, values in statements_of(client, address, **more):
            if scans := scanned(sql, values):
                found[address] = (scans, sql[:300])

    assert found == {}


def test_a_message_and_a_journey_reach_what_grows_through_an_index():
    fill(1)
    common = {"keys": {"order_no": "470-1"}, "message_id": "a long message id 0 1", "destination": "flow-0"}
    failed = event(**common, trace_id=TRACE, system="erp-0", operation="process", outcome="error")
    assert push("/ingest/v1/events", [failed], key=agent_key()).json()["accepted"] == 1
    stored_letter(message_id="", keys=common["keys"])
    client = signed_in("member")

    found = {}
    for address in (f"/messages/{Message.objects.get(trace_id=TRACE).id}/", f"/j/{TRACE}"):
        statements = statements_of(client, address)
        assert [sql for sql, _ in statements if '"messaging_deadletter"."keys" @>' in sql]
        for sql, values in statements:
            if scans := scanned(sql, values):
                found[address] = (scans, sql[:300])

    assert found == {}


def test_a_scan_is_seen():
    assert scanned("SELECT * FROM messaging_event WHERE name = %s", ["x"])
    assert not scanned("SELECT * FROM messaging_event WHERE id = %s", ["9eb43137-1111-4222-8333-944444444444"])
