"""Pages of channels: made, tested, changed and removed with and without scripts, by who may; nothing odd breaks out of its text."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from alerts.delivery.notifiers.base import Told
from alerts.delivery.notifiers.memory import ANSWERS, TOLD
from alerts.delivery.sending import at_once, look
from alerts.delivery.services import approve_host, tell
from alerts.models import ApprovedHost, Channel, NoticeDelivery
from console.identity.models import Role
from tests.delivery.notices import hostile, memory_channel, notice
from tests.factories import ROOT, environment
from tests.pages.people import signed_in, text_of

pytestmark = pytest.mark.django_db
LIST = "/settings/channels/"


@pytest.fixture(autouse=True)
def forget() -> None:
    TOLD.clear()
    ANSWERS.clear()


def refused_channel(**changes: Any) -> tuple[Channel, NoticeDelivery]:
    channel = memory_channel()
    ANSWERS[channel.settings["name"]] = [Told(result="refused", answer="HTTP 404: <b>no_service</b>", status=404)]
    tell(notice(**changes), [channel.pk])
    look(begin=at_once)
    return channel, NoticeDelivery.objects.get(channel=channel)


def test_an_empty_list_offers_every_kind():
    environment()

    page = text_of(signed_in().get(LIST))

    assert "No channel yet" in page
    assert all(label in page for label in ("Mail", "Slack", "PagerDuty", "Webhook", "Alertmanager"))


def test_a_channel_is_made_by_a_form_without_scripts_and_its_secret_is_not_in_any_page():
    environment()
    client = signed_in()
    kinds = client.get(f"{LIST}new/").content.decode()
    assert f'href="{LIST}new/?kind=slack"' in kinds

    form = client.get(f"{LIST}new/?kind=slack").content.decode()
    assert 'type="password" name="field_url"' in form
    made = client.post(
        f"{LIST}new/?kind=slack",
        {"name": "Ops", "enabled": "on", "field_url": "https://hooks.slack.com/services/T/B/asecretpart"},
    )

    channel = Channel.objects.get()
    assert (made.status_code, made["Location"]) == (303, f"{LIST}{channel.pk}/")
    page = client.get(made["Location"]).content.decode()
    assert "asecretpart" not in page + client.get(LIST).content.decode()
    assert "Stored; empty keeps it." in page
    assert "Nothing was told yet" in page


def test_what_is_wrong_stands_beside_the_form_and_what_was_typed_stays():
    environment()

    refused = signed_in().post(
        f"{LIST}new/?kind=webhook", {"name": "Hook", "field_url": "https://x.example.com/", "field_secret": "s" * 20}
    )

    assert refused.status_code == 422
    assert "The host x.example.com is not approved" in text_of(refused)
    assert 'value="https://x.example.com/"' in refused.content.decode()
    assert "s" * 20 not in refused.content.decode()


def test_a_channel_is_changed_and_keeps_its_secret():
    channel = memory_channel(secrets={"token": "a-token-of-it"})
    sealed = bytes(channel.secret)
    client = signed_in()

    answer = client.post(
        f"{LIST}{channel.pk}/", {"name": "Renamed", "field_name": channel.settings["name"], "title_template": "{title}"}
    )

    channel.refresh_from_db()
    assert (answer.status_code, channel.name, channel.enabled, channel.title_template) == (
        303,
        "Renamed",
        False,
        "{title}",
    )
    assert bool(sealed) is bool(bytes(channel.secret)) is True
    assert "off" in text_of(client.get(LIST))


def test_a_test_shows_what_came_back_and_a_second_press_sends_nothing():
    channel = memory_channel()
    ANSWERS[channel.settings["name"]] = [Told(result="refused", answer="HTTP 404: <b>no_service</b>", status=404)]
    client = signed_in()
    token = re.search(r'name="token" value="([^"]+)"', client.get(f"{LIST}{channel.pk}/").content.decode())
    assert token

    first = client.post(f"{LIST}{channel.pk}/test/", {"token": token[1]})
    again = client.post(f"{LIST}{channel.pk}/test/", {"token": token[1]})

    assert first["Location"] == again["Location"]
    assert NoticeDelivery.objects.count() == 1
    page = client.get(first["Location"])
    assert "HTTP 404: &lt;b&gt;no_service&lt;/b&gt;" in page.content.decode()
    assert "Send another test" in text_of(page)


def test_what_was_given_up_is_said_listed_and_sent_again():
    channel, row = refused_channel()
    client = signed_in()

    assert "1 notice given up." in text_of(client.get(LIST))
    assert "last one given up" in text_of(client.get(LIST))
    listed = text_of(client.get(f"{LIST}dead/"))
    assert "Firing" in listed or "firing" in listed
    assert channel.name in listed
    page = text_of(client.get(f"/settings/deliveries/{row.pk}/"))
    assert "Send again" in page
    assert "12 of 340 orders" in page

    assert client.post(f"/settings/deliveries/{row.pk}/again/").status_code == 303
    assert client.post(f"/settings/deliveries/{row.pk}/again/").status_code == 422
    look(begin=at_once)

    row.refresh_from_db()
    assert row.state == "delivered"
    assert "Nothing was given up" in text_of(client.get(f"{LIST}dead/"))


def test_a_channel_that_rests_says_so_and_that_nothing_is_lost():
    channel = memory_channel()
    ANSWERS[channel.settings["name"]] = [Told(result="later", answer="HTTP 503")] * 5
    for number in range(5):
        tell(notice(thread=str(number)), [channel.pk])
    look(begin=at_once)

    page = text_of(signed_in().get(f"{LIST}{channel.pk}/"))

    assert "It failed 5 times in a row." in page
    assert "not answering" in page
    assert "tried again" in page


def test_a_channel_is_removed_with_a_reason():
    channel = memory_channel()
    client = signed_in()

    assert client.post(f"{LIST}{channel.pk}/remove/", {"reason": " "}).status_code == 422
    assert client.post(f"{LIST}{channel.pk}/remove/", {"reason": "moved"}).status_code == 303

    assert Channel.objects.count() == 0


def test_words_are_previewed_as_a_page_and_as_a_part():
    channel = memory_channel()
    client = signed_in()
    address = f"{LIST}{channel.pk}/?do=preview"

    page = client.post(address, {"title_template": "{severity}: {title}", "text_template": "<i>{flow}</i>"})
    part = client.post(address, {"title_template": "{severity"}, HTTP_HX_REQUEST="true")

    assert "page: Orders delivered in 5 min" in text_of(page)
    assert "&lt;i&gt;orders: shop → erp&lt;/i&gt;" in page.content.decode()
    assert (part.status_code, part.content.decode().count("<html")) == (422, 0)
    assert "A brace at character 1 stands alone" in text_of(part) or "brace at character" in text_of(part)
    assert Channel.objects.get().title_template == ""


def test_hosts_are_approved_and_withdrawn_on_the_page_by_administrators_of_the_console():
    environment()
    client, admin = signed_in("root", superuser=True), signed_in("ada")

    assert client.post(f"{LIST}hosts/", {"host": "not a host"}).status_code == 422
    assert client.post(f"{LIST}hosts/", {"host": "hooks.example.com"}).status_code == 303
    host = ApprovedHost.objects.get()
    assert "hooks.example.com" in text_of(admin.get(LIST))
    assert admin.post(f"{LIST}hosts/", {"host": "x.example.com"}).status_code == 403
    assert admin.post(f"{LIST}hosts/{host.pk}/withdraw/").status_code == 403
    assert client.post(f"{LIST}hosts/{host.pk}/withdraw/").status_code == 303
    assert ApprovedHost.objects.count() == 0


def test_who_may_open_and_press_what():
    channel, row = refused_channel()
    environment("staging")
    asked = [
        ("get", LIST), ("get", f"{LIST}{channel.pk}/"), ("get", f"{LIST}new/?kind=slack"), ("get", f"{LIST}dead/"),
        ("get", f"/settings/deliveries/{row.pk}/"), ("post", f"/settings/deliveries/{row.pk}/again/"), ("post", f"{LIST}{channel.pk}/"),
        ("post", f"{LIST}{channel.pk}/test/"), ("post", f"{LIST}{channel.pk}/remove/"),
    ]  # fmt: skip

    def statuses(client: Client) -> list[int]:
        return [getattr(client, method)(path).status_code for method, path in asked]

    assert statuses(signed_in("vera", Role.VIEWER)) == [200, 200, 403, 403, 404, 404, 403, 403, 403]
    assert statuses(signed_in("ole", Role.OPERATOR)) == [200, 200, 403, 403, 404, 404, 403, 403, 403]
    assert statuses(signed_in("ada")) == [200, 200, 200, 200, 200, 303, 422, 303, 422]
    assert statuses(Client()) == [302] * 9


def test_a_member_sees_no_address_and_no_notice():
    channel, _ = refused_channel()

    page = text_of(signed_in("vera", Role.VIEWER).get(f"{LIST}{channel.pk}/"))

    assert channel.name in page
    assert channel.settings["name"] not in page.replace(channel.name, "", 3)
    assert "Orders delivered" not in page


def test_the_oddest_notice_breaks_out_of_no_page():
    channel = memory_channel()
    tell(hostile(), [channel.pk])
    look(begin=at_once)
    client, row = signed_in(), NoticeDelivery.objects.get()

    for path in (f"{LIST}{channel.pk}/", f"/settings/deliveries/{row.pk}/"):
        html = client.get(path).content.decode()
        assert "<b>Größe</b>" not in html
        assert "javascript:" not in html


def test_deliveries_are_pages_and_parts():
    channel = memory_channel()
    for number in range(60):
        tell(notice(thread=str(number)), [channel.pk])
    client = signed_in()

    html = client.get(f"{LIST}{channel.pk}/").content.decode()
    following = re.search(r'href="(\?cursor=[^"]+)"', html)
    assert following
    part = client.get(f"{LIST}{channel.pk}/{following[1]}", HTTP_HX_REQUEST="true").content.decode()

    assert html.count('href="/settings/deliveries/') == 50
    assert part.count('href="/settings/deliveries/') == 10
    assert "<html" not in part
    assert client.get(f"{LIST}{channel.pk}/?cursor=junk").status_code == 400


def test_a_channel_whose_kind_is_declared_no_more_can_still_be_looked_at(settings: Any):
    channel = memory_channel()
    settings.CONSOLE_NOTIFIERS = {}

    page = signed_in().get(f"{LIST}{channel.pk}/")

    assert page.status_code == 200
    assert "there is no channel kind" in text_of(page).lower()


def test_the_number_of_queries_is_the_same_for_few_as_for_many():
    approve_host("hooks.example.com", by=ROOT)
    client = signed_in()

    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            client.get(LIST)
        return len(queries)

    for _ in range(2):
        tell(notice(), [memory_channel().pk])
    few = count()
    for _ in range(5):
        tell(notice(), [memory_channel().pk])
    look(begin=at_once)

    assert count() == few


@pytest.mark.parametrize(
    "value", ["\x00", "x" * 6000, "javascript:x", "http://[", "{", "http://169.254.169.254/", "\u202e", ""]
)
@pytest.mark.parametrize("field", ["name", "field_url", "field_secret", "title_template", "text_template"])
def test_a_channel_of_any_words_is_made_or_refused(field: str, value: str):
    approve_host("h.example.com", by=ROOT)
    environment()
    form = {"name": "n", "field_url": "https://h.example.com/", "field_secret": "s" * 20} | {field: value}
    client = signed_in()

    assert client.post(f"{LIST}new/?kind=webhook", form).status_code in (303, 422)
    assert client.post(f"{LIST}new/?kind=webhook&do=preview", form).status_code in (200, 422)


@pytest.mark.parametrize("kind", ["\x00", "fax", "x" * 999, "slack' OR 1=1"])
def test_a_kind_that_nobody_has_is_told_so(kind: str):
    environment()

    assert signed_in().get(f"{LIST}new/", {"kind": kind}).status_code in (200, 400)


def test_metrics_tell_what_waits_and_what_was_given_up():
    channel, _ = refused_channel()
    tell(notice(thread="waits"), [channel.pk])

    told = Client(REMOTE_ADDR="127.0.0.1").get("/metrics").content.decode()

    assert f'waybill_notices_waiting{{channel="{channel.name}",environment="production"}} 1.0' in told
    assert f'waybill_notices_given_up{{channel="{channel.name}",environment="production"}} 1.0' in told
