"""A corpus of hostile texts in every field that a sender or an operator fills, and every page that links lead to: none becomes markup."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urldefrag, urlsplit

import pytest
from django.test import Client
from django.urls import resolve
from lxml import html

from console.identity.models import User
from messages.groups.refresh import refresh_groups
from messages.groups.ruling import NewGroupRule, add_rule
from messages.groups.services import add_note
from messages.groups.sweep import sweep_groups
from messages.mappings.services import NewMapping, add_mapping
from messages.mappings.shipped import EVENTBRIDGE
from messages.masking.services import NewRule, add_masking_rule
from messages.models import FailureGroup, Flow, Plan
from messages.plans.selection import Selection
from messages.plans.services import Options, create_plan, refuse_plan, request_approval
from messages.plans.stops import stop_replays
from messages.reconcile.evaluating import reconcile
from messages.reconcile.services import NewReconciliation, begin_reconciliation, receive_list
from messages.replay.services import request_replay
from messages.saved.services import NewSearch, save_search
from messages.schemas.services import NewSchema, add_schema
from tests.factories import ROOT, actor, agent_key, environment, event, memory_connection, push, stored_letter
from tests.pages.people import signed_in

pytestmark = pytest.mark.django_db

MARK = "xssq7"
CORPUS = (
    f"<script>{MARK}()</script>",
    f'"><img src=x onerror={MARK}()>',
    f"'><svg/onload={MARK}()>",
    f"javascript:{MARK}()",
    f"</script><script>{MARK}()</script>",
    f"</title></textarea></style><iframe srcdoc='{MARK}'>",
    f"{{{{ {MARK} }}}}{{% {MARK} %}}${{{MARK}}}",
    f'" autofocus onfocus="{MARK}()',
    f"<a href=javascript:{MARK}()>{MARK}</a>",
    f"--><!--<b {MARK}>]]>",
)
OF_A_NAME, MOST_PAGES = 2, 260
LEADS_NOWHERE = ("/account/logout", "/admin", "/api/v1/schema", "/api/v1/docs", "/demo")
ADDRESSES = ("href", "src", "action", "formaction", "hx-get", "hx-post", "data", "srcdoc", "xlink:href")


def fill(text: str, number: int) -> None:
    """Put this text wherever it is taken."""
    key, now = agent_key(f"agent {text}"[:100]), datetime.now(UTC)
    common: dict[str, Any] = {
        "message_id": f"{text} {number}", "destination": f"{text} {number}"[:300], "trace_id": f"{number + 1:032x}",
        "correlation_id": text, "keys": {"order_no": text, "customer_no": text}, "attributes": {text: text, "service.version": text}, "name": text,
    }  # fmt: skip
    error = {"type": text, "message": text, "stack": f"{text}\n  at {text}"}
    body = {"content_type": text, "body": json.dumps({text: text, "order_no": text})}
    events = [
        event(**common, system=f"{text} a"[:120], payload=body),
        event(**common, system=f"{text} b"[:120], operation="process", outcome="error", error=error, payload=body),
        {"id": text, "system": text},
    ]
    assert push("/ingest/v1/events", events, key=key).json()["accepted"] == 2
    letter = stored_letter(
        message_id=f"{text} {number}", broker="redis 1", queue=text, origin=text, route={"stream": text}, system=text, reason=text,
        error=error, trace_id=f"{number + 1:032x}", content_type=text, body=json.dumps({text: text, "order_no": text}),
        headers=[{"name": text, "type": "string", "value": text}],
    )  # fmt: skip
    if number == 0:
        memory_connection("redis 1")
        request_replay(letter, by=ROOT, destination=text, reason=text)
    selection = Selection(source=Plan.Source.TICKED, q=text, ids=[letter.pk])
    plan = create_plan(
        selection, environment=environment(), by=ROOT, reason=text, ticket=text, options=Options(order_key=text[:60])
    )
    if plan.items_count:
        request_approval(plan, by=ROOT)
        refuse_plan(plan, by=ROOT, reason=text)
    change = {"id": text, "kind": "deployment", "title": text, "version": text, "outcome": "running", "systems": [text]}
    push("/ingest/v1/changes", [change], key=key)
    push("/ingest/v1/heartbeat", {"version": text, "queues": [{"name": text, "depth": 1}]}, key=key)
    flow = Flow.objects.filter(name__contains=MARK).latest("pk")
    admin = actor(User.objects.get(username="root"))
    stop_replays(environment(), flow, by=ROOT, reason=text)
    save_search(environment(), "messages", NewSearch(name=text[:80], q=json.dumps(text)), by=admin)
    add_rule(environment(), NewGroupRule(name=text, step=text, words=text), by=ROOT)
    add_mapping(environment(), NewMapping(slug=f"hook-{number}", name=text, definition=json.dumps(EVENTBRIDGE.definition)), by=ROOT)  # fmt: skip
    add_masking_rule(environment(), NewRule(kind="header", expression=f"x-{MARK}-{number}"), by=ROOT)
    add_schema(environment(), NewSchema(name=text, format="avro", definition='"int"', ids=[number + 1]), by=ROOT)
    said = NewReconciliation(name=text, key_name="order_no", since=now - timedelta(days=1), until=now)
    receive_list(begin_reconciliation(flow, said, by=ROOT), [text.encode() + b"\nother\n"], by=ROOT)


def crawl(client: Client) -> Iterator[tuple[str, str]]:
    """Yield (address, HTML) of pages that links lead to, at most two of a route, and their parts."""
    waiting, known, counted = ["/", *(f"/messages/?q={MARK}", f"/nothing/{MARK}")], set[str](), Counter[str]()
    while waiting and len(known) < MOST_PAGES:
        address = waiting.pop(0)
        if address in known or not address.startswith("/") or address.startswith(LEADS_NOWHERE):
            continue
        known.add(address)
        response = client.get(address, follow=True)
        if not response.get("Content-Type", "").startswith("text/html"):
            continue
        text = b"".join(response).decode() if response.streaming else response.content.decode()
        yield address, text
        for link in html.fromstring(text).xpath("//@href | //@hx-get"):
            path = urldefrag(link).url
            if path.startswith("?"):
                path = urlsplit(address).path + path
            if path.startswith("/") and not path.startswith(("/static/", "//")):
                counted[_route(path)] += 1
                if counted[_route(path)] <= OF_A_NAME * len(CORPUS):
                    waiting.append(path)


def _route(path: str) -> str:
    try:
        return resolve(urlsplit(path).path).view_name
    except Exception:
        return path


def broken(text: str) -> list[str]:
    """Return what of a page a hostile text has become: elements, attributes, scripts, addresses that run."""
    found = []
    for element in html.fromstring(text).iter():
        if not isinstance(element.tag, str):
            if MARK in (element.text or "") and "<b" in (element.text or ""):
                found.append(f"a comment: {element.text}")
            continue
        if element.tag == "script" and element.get("type") == "application/json":
            json.loads(element.text or "")  # data: it ends where it should
        elif element.tag in ("script", "style", "iframe", "object") and MARK in (element.text or "") + str(
            element.attrib
        ):
            found.append(f"<{element.tag}>: {(element.text or '')[:80]}")
        for name, value in element.attrib.items():
            if MARK in name or (name.startswith("on") and MARK in value):
                found.append(f"{element.tag} {name}={value[:80]}")
            if name in ADDRESSES and value.strip().lower().startswith(("javascript:", "data:text/html")):
                found.append(f"{element.tag} {name}={value[:80]}")
    return found


@pytest.mark.timeout(240)
def test_no_hostile_text_becomes_markup_on_any_page():
    client = signed_in("root", superuser=True)
    for number, text in enumerate(CORPUS):
        fill(text, number)
    sweep_groups()
    refresh_groups()
    reconcile()
    for group in FailureGroup.objects.all()[:3]:
        add_note(group, CORPUS[0], by=ROOT)

    seen: Counter[str] = Counter()
    wrong: dict[str, list[str]] = {}
    for address, text in crawl(client):
        seen[_route(address)] += MARK in text
        if found := broken(text):
            wrong[address] = found

    assert wrong == {}
    shown = {name for name, count in seen.items() if count}
    assert {"messages", "message", "dead-letters", "dead-letter", "groups", "group", "flows", "flow", "topology", "figures", "changes",
            "agents", "audit", "plans", "plan", "plan-stops", "saved-searches", "reconciliations", "reconciliation", "refused",
            "masking", "mappings", "schemas"} <= shown  # fmt: skip


def test_a_text_that_became_markup_is_seen():
    became = [bool(broken(f"<html><body><p>{text}</p></body></html>")) for text in CORPUS]

    assert became == [True, True, True, False, True, True, False, False, True, True]
