"""Alerts from elsewhere as a page and by REST, and the links between the pages of alerts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from alerts.breaches.access import OBJECTIVE
from alerts.breaches.queries import count_firing
from alerts.delivery.services import tell
from alerts.models import Objective, Telling
from alerts.objectives import assess
from alerts.objectives.services import add_objective, remove_objective
from alerts.objectives.wishes import NewObjective
from console.identity.models import Role
from messages.models import SavedSearch
from tests.breaches.breaching import fired, flow, heard, policy
from tests.delivery.notices import memory_channel, notice
from tests.factories import ROOT, actor, api_key, environment, person
from tests.objectives.stored import promised
from tests.pages.people import signed_in, text_of

pytestmark = pytest.mark.django_db


def listed(key: str, query: str = "") -> Any:
    return Client().get(f"/api/v1/external-alerts?environment=production{query}", HTTP_AUTHORIZATION=f"Bearer {key}")


def test_alerts_from_elsewhere_are_a_tab_with_words_when_there_are_none():
    client = signed_in()
    assert "Nothing was told from elsewhere" in text_of(client.get("/breaches/?show=elsewhere"))
    heard("DiskFull", flow("orders")), heard("Slow", over=True)

    text = text_of(client.get("/breaches/?show=elsewhere"))

    assert "DiskFull is so" in text
    assert "Slow is so" in text
    assert "Slow" not in text_of(client.get("/breaches/?show=elsewhere&status=firing"))
    assert "Slow" not in text_of(client.get("/breaches/?show=elsewhere&flow=orders"))
    assert "Nothing matches" in text_of(client.get("/breaches/?show=elsewhere&flow=none"))
    assert client.get("/breaches/?show=elsewhere&status=loud").status_code == 400
    assert client.get("/breaches/?show=elsewhere&cursor=junk").status_code == 400
    assert b'rel="noopener noreferrer"' in client.get("/breaches/?show=elsewhere").content


def test_who_does_not_see_the_flow_does_not_see_what_is_said_of_it():
    flow("invoices", "Invoice team")
    heard("Secret", flow("invoices", "Invoice team")), heard("Open"), heard("Foreign", slug="staging")
    key = api_key(person("viewer", Role.VIEWER))

    names = [one["name"] for one in listed(key).json()["results"]]

    assert names == ["Open"]
    text = text_of(signed_in("second", Role.VIEWER).get("/breaches/?show=elsewhere"))
    assert "Open is so" in text
    assert "Secret" not in text
    assert "Foreign" not in text


def test_rest_pages_through_alerts_from_elsewhere_and_narrows_them():
    for number in range(5):
        heard(f"a{number}", flow("orders") if number % 2 else None, over=number == 4)
    key = api_key(person("ada", Role.VIEWER))

    first = listed(key, "&limit=3").json()
    rest = Client().get(first["next"], HTTP_AUTHORIZATION=f"Bearer {key}").json()

    assert [one["name"] for one in first["results"] + rest["results"]] == ["a4", "a3", "a2", "a1", "a0"]
    assert rest["next"] is None
    assert [one["name"] for one in listed(key, "&flow=orders").json()["results"]] == ["a3", "a1"]
    assert [one["name"] for one in listed(key, "&status=resolved").json()["results"]] == ["a4"]
    assert listed(key, "&status=loud").status_code == 400
    assert first["results"][1] | {"id": 0, "received_at": ""} == {
        "id": 0, "environment": "production", "flow": "orders", "fingerprint": "a3", "status": "firing", "name": "a3", "severity": "critical",
        "summary": "a3 is so", "starts_at": "2026-11-25T09:00:00Z", "ends_at": None, "labels": {"a": "b"}, "annotations": {},
        "url": "https://prometheus.example.com/g", "received_at": "",
    }  # fmt: skip


def test_an_alert_from_elsewhere_joins_the_timeline_of_a_breach_of_its_flow_for_those_who_see_the_flow():
    orders, client = flow("orders", "Order team"), signed_in()
    breach = fired(flow_ids=(orders.pk,))
    heard("DiskFull", orders), heard("Slow", orders, over=True), heard("Other", flow("stock")), heard("Nobodys")

    page = client.get(f"/breaches/{breach.reference}/")

    text = text_of(page)
    assert "elsewhere DiskFull fired: DiskFull is so" in text.replace("Elsewhere", "elsewhere")
    assert "lsewhere Slow was over" in text
    assert "DiskFull was over" not in text
    assert "Other" not in text
    assert "Nobodys" not in text
    assert "/breaches/?show=elsewhere&amp;flow=orders" in page.content.decode()
    told = (
        Client()
        .get(
            f"/api/v1/breaches/{breach.reference}", HTTP_AUTHORIZATION=f"Bearer {api_key(person('olga', Role.VIEWER))}"
        )
        .json()
    )
    assert next(one["words"] for one in told["meanwhile"]).startswith("elsewhere ")


# from one page to the next ------------------------------------------------------------------------------------------------


def now() -> datetime:
    return datetime.now(UTC)


def test_a_promise_shows_its_open_breach_and_the_breach_the_promise():
    client, one = signed_in(), promised()
    breach = fired(now(), source="objective", key=str(one.pk), url=f"/objectives/{one.pk}/")
    fired(now(), source="objective", key="999", title="another")

    page, back = client.get(f"/objectives/{one.pk}/"), client.get(f"/breaches/{breach.reference}/")

    assert f"{breach.reference} is open, a page: nobody has taken it." in text_of(page)
    assert page.content.count(b"/breaches/B-") == 1
    assert f'<a class="link" href="/objectives/{one.pk}/">Open the objective</a>' in back.content.decode()


def test_a_breach_leads_to_a_policy_when_nobody_is_told_and_to_what_was_told():
    client = signed_in()
    breach = fired(now())
    assert b'href="/settings/alerting/new/">Say who is told' in client.get(f"/breaches/{breach.reference}/").content
    channel = memory_channel()
    made = policy()
    tell(notice(thread="t-1"), [channel.pk])
    Telling.objects.filter(breach=breach).update(
        policy=made, thread="t-1", channels=[channel.pk], said="firing", began_at=now(), told_at=now()
    )

    page = client.get(f"/breaches/{breach.reference}/").content.decode()
    viewed = signed_in("viewer", Role.VIEWER).get(f"/breaches/{breach.reference}/").content.decode()

    assert "Say who is told" not in page
    assert f'<a href="/settings/deliveries/{channel.deliveries.get().pk}/"><b>{channel.name}</b>' in page
    assert "/settings/deliveries/" not in viewed


def test_a_channel_names_the_policies_that_use_it():
    client, channel = signed_in(), memory_channel()
    assert "none: nobody is told over it" in text_of(client.get(f"/settings/channels/{channel.pk}/"))
    made = policy()
    type(made).objects.filter(pk=made.pk).update(
        steps=[{"after_minutes": 5, "channels": [channel.pk]}], page_channels=[]
    )

    page = client.get(f"/settings/channels/{channel.pk}/").content.decode()

    assert f'<a href="/settings/alerting/{made.pk}/">everything else</a>' in page


def test_a_flow_leads_to_its_promises_and_breaches():
    page = signed_in().get(f"/flows/{flow('orders & more').pk}/").content.decode()

    assert "/objectives/?flow=orders%20%26%20more" in page
    assert "/breaches/?flow=orders%20%26%20more" in page


def test_what_a_removed_promise_left_open_ends_two_minutes_later():
    one = promised()
    breach = fired(now() - timedelta(minutes=5), source="objective", key=str(one.pk))
    other = fired(now() - timedelta(minutes=5), key="group-like", source="group")
    remove_objective(one, by=ROOT)
    breach.refresh_from_db()
    assert (breach.state, Objective.objects.count()) == ("firing", 0)  # well, but not for two minutes
    type(breach).objects.filter(pk=breach.pk).update(clear_since=now() - timedelta(minutes=2))

    assess.run()

    breach.refresh_from_db(), other.refresh_from_db()
    assert (breach.state, breach.summary, other.state) == ("resolved", "The objective was removed.", "firing")


def test_a_promise_that_is_there_is_not_said_to_be_gone():
    one = promised()
    fired(now(), source="objective", key=str(one.pk))

    assert assess.of_removed() == []
    assert assess.SOURCE == OBJECTIVE


def test_a_breach_of_a_promise_on_somebodys_search_is_theirs_as_the_promise_is():
    ada = signed_in("ada", Role.OPERATOR)
    owner = ada.get("/objectives/").wsgi_request.user
    search = SavedSearch.objects.create(
        environment=environment(), owner=owner, of="messages", name="Big ones", q="size:big"
    )
    one = add_objective(NewObjective(name="Secret deal", kind="success", target="0.99"), search=search, by=actor(owner))
    breach = fired(now(), source="objective", key=str(one.pk), title=one.name)
    gone = fired(now(), source="objective", key="999999", title="Secret and removed")
    sam = signed_in("sam", Role.OPERATOR)

    assert "Secret deal" in text_of(ada.get("/breaches/"))
    assert "Secret" not in text_of(sam.get("/breaches/"))
    for path in (breach.reference, gone.reference):
        assert sam.get(f"/breaches/{path}/").status_code == 404
        assert sam.post(f"/breaches/{path}/acknowledge/", {}).status_code == 404
    rest = Client().get("/api/v1/breaches", HTTP_AUTHORIZATION=f"Bearer {api_key(person('kim', Role.OPERATOR))}")
    assert rest.json()["results"] == []
    assert count_firing(actor(person("lee", Role.ADMINISTRATOR)), environment()) == 0
