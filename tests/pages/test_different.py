"""What is different about failed letters: sampled over the window, rights and masking kept, audited, kept sealed for minutes."""

from __future__ import annotations

import base64
import gzip
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from redis.exceptions import ConnectionError as RedisConnectionError

from console.audit.models import AuditEntry
from console.identity.models import Membership, Role, Team, User
from messages.different import services
from messages.different.services import find_differences
from messages.groups.sweep import sweep_groups
from messages.ingest import catalog
from messages.masking.services import NewRule, add_masking_rule
from messages.models import DeadLetter, FailureGroup, Flow, Message, MessageStatus
from messages.schemas.services import NewSchema, add_schema
from tests.factories import ROOT, actor, agent_key, api_key, environment, event, letter, person, push
from tests.http.test_access import ask
from tests.pages.differing import FLOW, fill, found_by, nothing_is_kept, order, said, window  # noqa: F401  the fixture
from tests.pages.people import signed_in, text_of

pytestmark = pytest.mark.django_db


def test_what_failed_messages_lack_and_where_they_came_from_is_found():
    fill()

    found = found_by()

    assert said(found) == {
        "customer.vat is missing": (29, 30, 0, 60),
        "sender's service.version is 2.4": (27, 30, 0, 60),
    }
    assert (found.failed, found.delivered, found.bodies_failed, found.bodies_delivered, found.left_out) == (
        30,
        60,
        30,
        60,
        0,
    )


def test_who_may_not_read_payloads_gets_what_is_known_without_them_and_reads_none():
    fill()

    found = found_by("vera", Role.VIEWER)

    assert set(said(found)) == {"sender's service.version is 2.4"}
    assert (found.with_bodies, found.bodies_failed, found.bodies_delivered) == (False, 0, 0)
    assert not AuditEntry.objects.filter(action="payloads.sampled").exists()


def test_a_look_at_bodies_is_audited_once_an_hour_for_each_who_looks_also_from_what_is_kept():
    fill()

    for name in ("olga", "otto"):
        by = actor(person(name, Role.OPERATOR))
        for _ in range(2):
            find_differences(by, Flow.objects.get(), DeadLetter.objects.all(), window())

    entries = AuditEntry.objects.filter(action="payloads.sampled").order_by("pk")
    assert [(one.actor, one.object_kind, one.details) for one in entries] == [
        (name, "flow", {"failed": 30, "delivered": 60}) for name in ("olga", "otto")
    ]


def test_what_is_kept_is_sealed_and_spares_the_bodies(
    nothing_is_kept: dict[str, Any],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
):
    fill()
    first = found_by()
    (token,) = nothing_is_kept.values()
    assert b"vat" not in token
    monkeypatch.setattr(services, "stored_contents", None)  # would raise

    again = found_by("otto")

    assert said(again) == said(first)


def test_a_viewer_never_gets_what_is_kept_for_operators():
    fill()
    found_by()

    assert "customer.vat is missing" not in said(found_by("vera", Role.VIEWER))


def through_an_exchange() -> Flow:
    """Orders that another team's shop sends to its exchange, with their bodies, and the ERP takes from a queue; returns the flow of the exchange."""
    at = datetime.now(UTC) - timedelta(hours=2)
    events, letters = [], []
    for number in range(90):
        ok, uid = number >= 30, f"order {number} by way of an exchange"
        sent = {"message_id": uid, "destination": "shop.exchange", "occurred_at": at.isoformat()}
        events.append(
            event(
                **sent, attributes={"shop.secret": "in the shop" if ok else "abroad"},
                payload={"content_type": "application/json", "body": order(number, vat=ok, card="none" if ok else "4111 1111 1111 1111")},
            )
        )  # fmt: skip
        taken = {"message_id": uid, "destination": FLOW, "system": "erp", "operation": "process"}
        if ok:
            events.append(event(**taken, occurred_at=(at + timedelta(seconds=1)).isoformat()))
        else:
            letters.append(letter(message_id=uid, origin=FLOW, failed_at=(at + timedelta(seconds=1)).isoformat()))
    push("/ingest/v1/events", events, key=agent_key())
    push("/ingest/v1/dead-letters", letters, key=agent_key("harvester"))
    shop = Flow.objects.get(name="shop.exchange")
    Flow.objects.filter(pk=shop.pk).update(team=Team.objects.create(name="Shop"))
    shop.refresh_from_db()
    return shop


def test_bodies_of_another_teams_flow_are_read_with_the_right_to_that_flow_and_never_told_from_what_is_kept():
    shop = through_an_exchange()
    everything = find_differences(ROOT, Flow.objects.get(name=FLOW), DeadLetter.objects.all(), window())
    assert "customer.vat is missing" in said(everything)
    assert "sender's shop.secret is abroad" in said(everything)

    found = found_by()  # an operator of the queue's flow; the exchange's is not theirs to see

    assert (found.bodies_delivered, "customer.vat is missing" in said(found)) == (0, False)
    assert "shop.secret" not in repr(found)
    audited = AuditEntry.objects.filter(action="payloads.sampled", object_id=str(shop.pk))
    assert [one.team_id for one in audited] == [shop.team_id]


def test_who_only_looks_at_another_teams_flow_gets_what_is_known_without_its_bodies():
    shop = through_an_exchange()
    olga = person("olga", Role.OPERATOR)
    Membership.objects.create(user=olga, team=shop.team, environment=environment(), role=Role.VIEWER)

    found = find_differences(actor(olga), Flow.objects.get(name=FLOW), DeadLetter.objects.all(), window())

    assert "sender's shop.secret is abroad" in said(found)
    assert (found.bodies_delivered, "customer.vat is missing" in said(found)) == (0, False)


def test_bodies_are_masked_by_the_rules_of_the_flow_that_they_came_by():
    shop = through_an_exchange()
    add_masking_rule(environment(), NewRule(kind="json_path", expression="$.card", flow=shop.name), by=ROOT)
    catalog.forget()  # rules are at most 3 s old

    found = find_differences(ROOT, Flow.objects.get(name=FLOW), DeadLetter.objects.all(), window())

    assert found.bodies_delivered == 60
    assert "4111" not in repr(found)


def test_masked_values_compare_as_masked_also_those_that_came_before_their_rule():
    fill(card="4111 1111 1111 1111")
    add_masking_rule(environment(), NewRule(kind="json_path", expression="$.card"), by=ROOT)
    fill(0, 60, flow="other", card="x")
    DeadLetter.objects.update(masked={})

    found = found_by()

    assert "4111" not in repr(found)
    assert "customer.vat is missing" in said(found)


def test_headers_and_attributes_that_came_before_their_rule_compare_as_masked_also_what_was_kept():
    at = (datetime.now(UTC) - timedelta(hours=2)).replace(minute=10)
    events, letters = [], []
    for number in range(90):
        tenant = "tenant-4711" if number < 30 else f"tenant-{number}"
        common = {"message_id": f"order {number} long enough", "destination": FLOW, "occurred_at": at.isoformat()}
        body = {"content_type": "application/json", "body": "{}", "headers": {"x-tenant": tenant}}
        events.append(event(**common, attributes={"x.tenant": tenant}, payload=body))
        events.append(event(**common, system="erp", operation="process", outcome="error" if number < 30 else "ok"))
        if number < 30:
            letters.append(letter(message_id=common["message_id"], origin=FLOW, failed_at=at.isoformat()))
    assert push("/ingest/v1/events", events, key=agent_key()).json()["accepted"] == 180
    assert push("/ingest/v1/dead-letters", letters, key=agent_key("harvester")).json()["accepted"] == 30
    told = {"sender's x.tenant is tenant-4711", "header x-tenant is tenant-4711"}
    assert told <= said(found_by()).keys()

    add_masking_rule(environment(), NewRule(kind="header", expression="x?tenant"), by=ROOT)
    catalog.forget()

    assert "4711" not in repr(found_by("otto"))


def test_keys_that_came_before_their_rule_are_told_as_lists_show_them_and_attributes_masked():
    at = (datetime.now(UTC) - timedelta(hours=2)).replace(minute=10)
    events, letters = [], []
    for number in range(90):
        currency = "USD" if number < 30 else "EUR"
        common = {"message_id": f"order {number} long enough", "destination": FLOW, "occurred_at": at.isoformat()}
        events.append(event(**common, keys={"currency": currency}, attributes={"x.currency": currency}))
        events.append(event(**common, system="erp", operation="process", outcome="error" if number < 30 else "ok"))
        if number < 30:
            letters.append(letter(message_id=common["message_id"], origin=FLOW, failed_at=at.isoformat()))
    assert push("/ingest/v1/events", events, key=agent_key()).json()["accepted"] == 180
    assert push("/ingest/v1/dead-letters", letters, key=agent_key("harvester")).json()["accepted"] == 30
    add_masking_rule(environment(), NewRule(kind="regex", expression="USD|EUR"), by=ROOT)
    catalog.forget()

    found = found_by()
    listed = ask("messages?limit=500", api_key(person("otto", Role.OPERATOR))).json()["results"]

    assert {place for place in said(found) if "currency" in place} == {"key currency is USD"}
    assert {one["keys"]["currency"] for one in listed} == {"USD", "EUR"}


def test_packed_bodies_are_read():
    fill(0, 60)
    at = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    letters = []
    for number in range(30):
        body = base64.b64encode(gzip.compress(order(number, vat=False).encode())).decode()
        one = letter(origin=FLOW, failed_at=at, body_base64=body)
        one.pop("body")
        letters.append(one)
    push("/ingest/v1/dead-letters", letters, key=agent_key("harvester"))

    assert said(found_by())["customer.vat is missing"] == (30, 30, 0, 60)


def test_bodies_that_only_a_schema_opens_are_compared_by_their_fields():
    definition = {
        "type": "record",
        "name": "Order",
        "fields": [{"name": "no", "type": "string"}, {"name": "vat", "type": ["null", "string"]}],
    }
    add_schema(
        environment(), NewSchema(name="orders", format="avro", definition=json.dumps(definition), ids=[42]), by=ROOT
    )
    at = datetime.now(UTC) - timedelta(hours=1)
    letters, events = [], []
    for number in range(90):
        ok, no = number >= 30, f"{number * 7919 % 90_000 + 10_000}"
        record = bytes([len(no) * 2]) + no.encode() + (b"\x02\x06DE1" if ok else b"\x00")
        body = base64.b64encode(b"\x00\x00\x00\x00\x2a" + record).decode()
        payload = {"content_type": "application/octet-stream", "body_base64": body}
        common = {"message_id": f"avro order {number} long enough", "destination": FLOW}
        events.append(event(**common, payload=payload, occurred_at=at.isoformat()))
        if ok:
            events.append(event(**common, system="erp", operation="process", occurred_at=at.isoformat()))
        else:
            letters.append(letter(message_id=common["message_id"], origin=FLOW, failed_at=at.isoformat()))
    push("/ingest/v1/events", events, key=agent_key())
    push("/ingest/v1/dead-letters", letters, key=agent_key("harvester"))

    with CaptureQueriesContext(connection) as captured:
        found = said(found_by())

    assert found["vat is null"] == (30, 30, 0, 60)
    assert sum("messaging_schema" in one["sql"] for one in captured) <= 2


def test_a_dead_redis_costs_time_and_no_answer(monkeypatch: pytest.MonkeyPatch):
    fill()

    def dead(*_: Any) -> None:
        raise RedisConnectionError("no")

    monkeypatch.setattr("console.core.kept.cache", SimpleNamespace(get=dead, set=dead))

    assert "customer.vat is missing" in said(found_by())


# pages and REST -----------------------------------------------------------------------------------------------------------


def test_the_page_and_its_part_say_it_in_a_sentence_a_person_can_judge():
    fill()
    client, found = signed_in("olga", Role.OPERATOR), DeadLetter.objects.latest("id")

    page = client.get(f"/dead-letters/{found.pk}/different/")
    part = client.get(f"/dead-letters/{found.pk}/different/", HTTP_HX_REQUEST="true")

    words = text_of(page)
    assert "30 failed messages beside 60 delivered" in words
    assert "customer.vat is missing 97 % 29 of 30 0 % 0 of 60" in words
    assert "What goes together with failing is not what causes it." in words
    assert part.content.decode().startswith("\n<section") or "<html" not in part.content.decode()
    assert page["Cache-Control"] == "no-store"
    letter_page = client.get(f"/dead-letters/{found.pk}/").content.decode()
    assert f'href="/dead-letters/{found.pk}/different/"' in letter_page


def test_rest_has_the_same_and_a_stranger_has_nothing():
    fill()
    pk = DeadLetter.objects.latest("id").pk

    found = ask(f"dead-letters/{pk}/different", api_key(person("olga", Role.OPERATOR))).json()

    assert found["differences"][0]["words"] == "customer.vat is missing in 97 % of failed, 0 % of delivered"
    assert found["with_bodies"]
    viewer = ask(f"dead-letters/{pk}/different", api_key(person("vera", Role.VIEWER))).json()
    assert [one["place"] for one in viewer["differences"]] == ["sender's service.version"]
    Flow.objects.update(team=Team.objects.create(name="Finance team"))
    assert ask(f"dead-letters/{pk}/different", api_key(person("otto", Role.OPERATOR))).status_code == 404
    assert signed_in("frida", Role.OPERATOR).get(f"/dead-letters/{pk}/different/").status_code == 404


def test_values_of_bodies_do_not_run_on_the_page():
    fill(30, 0, country="<img src=x onerror=alert(1)>")
    fill(0, 60, first=100, country="DE")
    pk = DeadLetter.objects.latest("id").pk

    html = signed_in("olga", Role.OPERATOR).get(f"/dead-letters/{pk}/different/").content.decode()

    assert "is &lt;img src=x onerror=alert(1)&gt;" in html
    assert "<img src=x" not in html


def test_letters_of_another_flow_are_left_out():
    fill(20, 40)
    fill(20, 0, flow="others", first=200)
    ids = list(DeadLetter.objects.values_list("pk", flat=True))

    found = find_differences(ROOT, Flow.objects.get(name=FLOW), ids, window())

    assert found.failed == 20


def test_without_anything_delivered_it_says_that_there_is_nothing_to_compare_with():
    fill(3, 0)

    page = signed_in("olga", Role.OPERATOR).get(f"/dead-letters/{DeadLetter.objects.latest('id').pk}/different/")

    assert "there is nothing to compare with" in text_of(page)


def test_a_group_shows_what_is_different_about_its_letters_and_about_failed_messages_that_have_none():
    fill()
    some = list(DeadLetter.objects.order_by("pk")[:10])
    Message.objects.filter(id__in=[one.message_uid for one in some]).update(status=MessageStatus.FAILED)
    DeadLetter.objects.filter(pk__in=[one.pk for one in some]).delete()
    sweep_groups()
    [group] = FailureGroup.objects.all()
    client, stranger = signed_in("olga", Role.OPERATOR), person("stranger", Role.OPERATOR, slug="elsewhere")
    away = Client()
    away.force_login(stranger)

    page = client.get(f"/groups/{group.reference}/different/")
    told = ask(f"groups/{group.reference}/different", key=api_key(User.objects.get(username="olga"))).json()

    assert "customer.vat is missing" in text_of(page)
    assert (told["failed"], told["delivered"], told["with_bodies"]) == (30, 60, True)
    assert any(one["place"] == "customer.vat" for one in told["differences"])
    assert f"/groups/{group.reference}/different/" in client.get(f"/groups/{group.reference}/").content.decode()
    assert ask(f"groups/{group.reference}/different", key=api_key(stranger)).status_code == 404
    assert away.get(f"/groups/{group.reference}/different/").status_code == 404
