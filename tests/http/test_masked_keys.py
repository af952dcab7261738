"""Business keys that are hashes of masked values: who may not find by them is told that there is one, in every answer and page that tells keys."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client

from console.core.ids import uuid7
from console.identity.models import Role, User
from messages.groups.ruling import NewGroupRule, add_rule
from messages.groups.sweep import sweep_groups
from messages.masking.rules import MARK
from messages.masking.services import NewRule, add_masking_rule
from messages.models import DeadLetter, Event, FailureGroup, Message, Plan, ReconciledKey, Reconciliation
from messages.plans.selection import Selection
from messages.plans.services import Options, create_plan
from tests.conftest import forget_everything
from tests.factories import ROOT, agent_key, environment, event, letter, memory_connection, push
from tests.http.test_rest_administration import Caller
from tests.services.reconciling import compared, flow

pytestmark = pytest.mark.django_db
HASH = re.compile("#[0-9a-f]{32}")


@pytest.fixture(autouse=True)
def masked() -> None:
    """Two messages, and a dead letter of one of them, with the same value that was masked."""
    memory_connection()
    for name in ("customer.vat", "vat_no"):
        rule = NewRule(kind="json_path", expression=f"$.{name}", found_as=name)
        add_masking_rule(environment(), rule, by=ROOT)
    add_rule(environment(), NewGroupRule(name="By vat", error_type="ErpTimeout", parts=("key.vat_no",)), by=ROOT)
    forget_everything()
    body = json.dumps({"customer": {"vat": "DE811193231"}, "vat_no": "DE811193231"})
    payload = {"content_type": "application/json", "body": body}
    events = [event(message_id=f"h{n}", payload=payload, trace_id=f"{n:032x}", span_id=f"{n:016x}") for n in (1, 2)]
    assert push("/ingest/v1/events", events, key=agent_key()).json()["accepted"] == 2
    letters = [letter(message_id="h1", body=body, origin="orders"), letter(body="{}", origin="orders")]
    assert push("/ingest/v1/dead-letters", letters, key=agent_key("harvester")).json()["accepted"] == 2
    sweep_groups()


def addresses() -> Iterator[str]:
    """Yield where keys are told in REST."""
    message, died = Message.objects.get(message_id="h1"), DeadLetter.objects.get(message_id="h1")
    plan = create_plan(
        Selection(source=Plan.Source.TICKED, ids=list(DeadLetter.objects.values_list("pk", flat=True))),
        environment=environment(),
        by=ROOT,
        reason="x",
        options=Options(order_key="customer.vat"),
    )
    one = compared("1\n", of=flow(), key_name="customer.vat", until=datetime.now(UTC) + timedelta(minutes=1))
    yield from ("messages", f"messages/{message.id}", "events", f"events/{Event.objects.earliest('occurred_at').id}")
    yield from ("journeys", f"journeys/{1:032x}", f"messages/{message.id}/journey")
    yield from ("dead-letters", f"dead-letters/{died.pk}", "overview")
    yield from (f"plans/{plan.reference}/items", f"plans/{plan.reference}/csv")
    yield from (f"reconciliations/{one.pk}/keys?set=not-on-the-list", f"reconciliations/{one.pk}/csv")


def read(who: Caller, address: str) -> str:
    answer = who("get", address)
    assert answer.status_code == 200, (address, answer.content)
    return b"".join(answer.streaming_content if answer.streaming else [answer.content]).decode()


def test_a_viewer_is_told_that_there_is_one_and_an_operator_the_hash():
    operator, viewer = Caller("olga", Role.OPERATOR), Caller("victor", Role.VIEWER)

    told = {one: (read(operator, one), read(viewer, one)) for one in addresses()}

    assert {one for one, (known, _) in told.items() if not HASH.search(known)} == set()
    assert {one for one, (_, seen) in told.items() if HASH.search(seen) or MARK not in seen} == set()
    message = json.loads(told[f"messages/{Message.objects.get(message_id='h1').id}"][1])
    assert message["keys"] == {"customer.vat": MARK, "vat_no": MARK}


def test_what_else_names_what_a_masked_value_ties_together_names_no_hash():
    viewer, died = Caller("victor", Role.VIEWER), DeadLetter.objects.get(message_id="h1")
    group = FailureGroup.objects.get(pk=died.group_id)

    told = [read(viewer, one) for one in ("groups", f"groups/{group.reference}", f"groups/{group.reference}/different")]

    assert not any(map(HASH.search, told))
    assert group.heading == f"By vat: {MARK}"


def test_pages_show_a_viewer_none_either():
    plans = list(addresses())
    Caller("victor", Role.VIEWER)
    client, message, died = Client(), Message.objects.get(message_id="h1"), DeadLetter.objects.get(message_id="h1")
    client.force_login(User.objects.get(username="victor"))
    one = Reconciliation.objects.get()
    pages = [
        f"/messages/{message.id}/",
        f"/dead-letters/{died.pk}/",
        f"/j/{1:032x}",
        "/messages/",
        "/dead-letters/",
        "/",
    ]
    pages += [f"/{plans[10].removesuffix('/items')}/", f"/reconciliations/{one.pk}/not-on-the-list/"]

    told = {page: client.get(page, follow=True) for page in pages}

    assert {page for page, answer in told.items() if answer.status_code != 200} == set()
    assert {page for page, answer in told.items() if HASH.search(answer.content.decode())} == set()
    assert MARK in told[pages[0]].content.decode()
    client.force_login(User.objects.get(username="ada"))
    assert HASH.search(client.get(pages[0]).content.decode())


def test_the_cursor_of_a_reconciliation_says_no_hash_and_leads_on():
    viewer, address = Caller("victor", Role.VIEWER), list(addresses())[-2]
    one, other = Reconciliation.objects.get(), "#" + "0" * 32
    row = ReconciledKey.objects.filter(reconciliation_id=one.pk, kind=5).get()
    ReconciledKey.objects.create(reconciliation_id=one.pk, kind=5, key=other, listed=0, messages=1, message_uid=uuid7())

    first = viewer("get", f"{address}&limit=1").json()
    cursor = parse_qs(urlsplit(first["next"]).query)["cursor"][0]
    second = viewer("get", f"{address}&limit=1&cursor={cursor}").json()

    at, kind, _ = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    for guessed in ("#8", "2"):  # where it lies beside the hash would tell the hash
        made = base64.urlsafe_b64encode(json.dumps([at, kind, guessed]).encode()).decode().rstrip("=")
        assert viewer("get", f"{address}&limit=1&cursor={made}").status_code == 400
    assert not HASH.search(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode())
    assert [found["key"] for found in (first["results"][0], second["results"][0])] == [MARK, MARK]
    assert (second["results"][0]["message"], second["next"]) == (str(row.message_uid), None)


def test_a_hash_as_it_stands_finds_nothing_for_who_may_not_find_by_it():
    operator, viewer = Caller("olga", Role.OPERATOR), Caller("victor", Role.VIEWER)
    hashed = Message.objects.get(message_id="h1").keys["customer.vat"]

    found = {
        (name, of, q): len(who("get", f"{of}?q={q.replace('#', '%23')}").json()["results"])
        for name, who in (("operator", operator), ("viewer", viewer))
        for of in ("messages", "events", "dead-letters")
        for q in (f'customer.vat:"{hashed}"', "customer.vat:*")
    }

    assert {(name, q): n for (name, of, q), n in found.items() if of == "messages"} == {
        ("operator", f'customer.vat:"{hashed}"'): 2, ("operator", "customer.vat:*"): 2,
        ("viewer", f'customer.vat:"{hashed}"'): 0, ("viewer", "customer.vat:*"): 2,
    }  # fmt: skip
    assert [found["viewer", of, f'customer.vat:"{hashed}"'] for of in ("events", "dead-letters")] == [0, 0]
    assert [found["operator", of, f'customer.vat:"{hashed}"'] for of in ("events", "dead-letters")] == [2, 1]
