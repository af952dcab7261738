"""REST of channels: who may what, what is refused, and that no secret ever comes back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from alerts.delivery.notifiers.base import Told
from alerts.delivery.notifiers.memory import ANSWERS
from alerts.delivery.secrets import opened
from alerts.delivery.sending import at_once, look
from alerts.delivery.services import tell
from alerts.models import ApprovedHost, Channel, NoticeDelivery
from console.audit.models import AuditEntry
from console.identity.models import Role
from messages.payloads.rotation import rotate_master_key
from tests.delivery.notices import memory_channel, notice
from tests.factories import ROOT, api_key, environment, person

pytestmark = pytest.mark.django_db
SLACK = {
    "environment": "production",
    "kind": "slack",
    "name": "Ops",
    "secrets": {"url": "https://hooks.slack.com/services/T/B/asecretpart"},
}
HOOK = {
    "environment": "production", "kind": "webhook", "name": "Hook", "settings": {"url": "https://hooks.example.com/x"},
    "secrets": {"secret": "a secret of sixteen"},
}  # fmt: skip


class Caller:
    """A person over REST."""

    def __init__(
        self,
        name: str,
        role: Role | None = Role.ADMINISTRATOR,
        *,
        superuser: bool = False,
        slug: str = "production",
        team: str = "T",
    ) -> None:
        user = person(name, role, slug=slug, team=team)
        if superuser:
            user.is_superuser = True
            user.save(update_fields=["is_superuser"])
        self.key = api_key(user)

    def __call__(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        answer = Client(raise_request_exception=False).generic(
            method, f"/api/v1/{path}", json.dumps(body) if body is not None else "", content_type="application/json",
            HTTP_AUTHORIZATION=f"Bearer {self.key}",
        )  # fmt: skip
        return answer.status_code, answer.json() if answer.content else None


def test_a_channel_is_made_read_changed_and_removed_and_its_secret_never_comes_back():
    environment()
    ada = Caller("ada")

    status, made = ada("POST", "channels", SLACK)
    assert (status, made["settings"], made["secrets"], made["enabled"]) == (201, {}, ["url"], True)
    path = f"channels/{made['id']}"
    assert ada("PUT", path, {"name": "Ops 2", "title_template": "{severity}: {title}"})[1]["secrets"] == ["url"]
    assert opened(Channel.objects.get())["url"].endswith("asecretpart")

    told = json.dumps(
        [ada("GET", "channels")[1], ada("GET", path)[1], list(AuditEntry.objects.values("details", "object_label"))]
    )
    assert "asecretpart" not in told
    assert ada("DELETE", path, {})[0] == 400
    assert ada("DELETE", path, {"reason": "gone"})[0] == 204
    assert ada("GET", path)[0] == 404
    assert list(AuditEntry.objects.order_by("at").values_list("action", flat=True)) == [
        "channel.created",
        "channel.changed",
        "channel.removed",
    ]


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"kind": "fax"}, 400, "channel_invalid"),
        ({"name": " "}, 400, "invalid"),
        ({"secrets": {}}, 400, "channel_invalid"),
        ({"secrets": {"url": "https://hooks.slack.com@evil.example.com/x"}}, 400, "channel_invalid"),
        ({"secrets": {"url": "http://169.254.169.254/"}}, 400, "channel_invalid"),
        ({"secrets": {"url": "https://evil.example.com/x"}}, 409, "host_not_approved"),
        ({"settings": {"url": "https://hooks.slack.com/x"}}, 400, "channel_invalid"),
        ({"settings": {"nonsense": "x"}}, 400, "channel_invalid"),
        ({"title_template": "{title.__class__}"}, 400, "channel_invalid"),
        ({"text_template": "{% include 'x' %}"}, 400, "channel_invalid"),
        ({"environment": "staging"}, 404, "not_found"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_channel_is_refused_and_nothing_is_made(changes: dict[str, Any], status: int, code: str):
    environment(), environment("staging")
    ada = Caller("ada")

    answer = ada("POST", "channels", SLACK | changes)

    assert (answer[0], answer[1]["code"], Channel.objects.count()) == (status, code, 0), answer
    assert "asecretpart" not in json.dumps(answer[1])


def test_a_name_is_there_once_in_an_environment():
    environment()
    ada = Caller("ada")
    ada("POST", "channels", SLACK)

    assert ada("POST", "channels", SLACK)[1]["code"] == "channel_exists"


def test_a_host_is_approved_by_administrators_of_the_whole_console_and_used_by_those_of_an_environment():
    environment()
    ada, root, viewer = Caller("ada"), Caller("root", superuser=True), Caller("vera", Role.VIEWER)
    assert ada("POST", "channels", HOOK)[1]["code"] == "host_not_approved"
    assert ada("POST", "approved-hosts", {"host": "hooks.example.com"})[0] == 403

    status, host = root("POST", "approved-hosts", {"host": "HOOKS.example.com"})

    assert (status, host["host"]) == (201, "hooks.example.com")
    assert root("POST", "approved-hosts", {"host": "hooks.example.com"})[0] == 409
    assert root("POST", "approved-hosts", {"host": "http://x/"})[1]["code"] == "channel_invalid"
    assert [one["host"] for one in ada("GET", "approved-hosts")[1]["results"]] == ["hooks.example.com"]
    assert viewer("GET", "approved-hosts")[1]["results"] == []
    assert ada("POST", "channels", HOOK)[0] == 201
    assert ada("DELETE", f"approved-hosts/{host['id']}")[0] == 403
    assert root("DELETE", f"approved-hosts/{host['id']}")[0] == 204
    assert ApprovedHost.objects.count() == 0
    actions = list(
        AuditEntry.objects.filter(object_kind="approvedhost").order_by("at").values_list("action", flat=True)
    )
    assert actions == ["outbound_host.approved", "outbound_host.withdrawn"]


def test_a_stored_secret_does_not_follow_to_another_host():
    environment()
    ada, root = Caller("ada"), Caller("root", superuser=True)
    for host in ("hooks.example.com", "evil.example.com"):
        root("POST", "approved-hosts", {"host": host})
    _, made = ada("POST", "channels", HOOK)
    moved = {"name": "Hook", "settings": {"url": "https://evil.example.com/x"}}

    refused = ada("PUT", f"channels/{made['id']}", moved)

    assert (refused[0], "do not follow" in refused[1]["detail"]) == (400, True)
    assert (
        ada("PUT", f"channels/{made['id']}", moved | {"secrets": {"secret": "another secret, given again"}})[0] == 200
    )
    assert (
        ada("PUT", f"channels/{made['id']}", {"name": "H", "settings": {"url": "https://evil.example.com/y"}})[0] == 200
    )


def test_who_may_see_and_do_what():
    environment(), environment("staging")
    channel = memory_channel()
    ANSWERS[channel.settings["name"]] = [Told(result="refused", answer="no")]
    tell(notice(), [channel.pk])
    look(begin=at_once)
    row = NoticeDelivery.objects.get()
    administrator, operator, viewer = Caller("ada"), Caller("ole", Role.OPERATOR), Caller("vera", Role.VIEWER)
    stranger = Caller("sue", slug="staging", team="S")
    path = f"channels/{channel.pk}"

    change = {"name": "x", "settings": {"name": "x"}}
    asked = [
        ("GET", path, None), ("PUT", path, change), ("POST", f"{path}/test", None), ("GET", f"deliveries/{row.pk}", None),
        ("POST", f"deliveries/{row.pk}/send-again", None), ("DELETE", path, {"reason": "x"}), ("POST", "channels", SLACK),
    ]  # fmt: skip
    statuses = {
        name: [who(*one)[0] for one in asked]
        for name, who in (("s", stranger), ("v", viewer), ("o", operator), ("a", administrator))
    }

    assert statuses == {
        "s": [404, 404, 404, 404, 404, 404, 404], "v": [200, 403, 403, 404, 404, 403, 403], "o": [200, 403, 403, 404, 404, 403, 403],
        "a": [200, 200, 200, 200, 202, 204, 201],
    }  # fmt: skip


def test_members_see_that_a_channel_is_there_and_not_whom_it_reaches():
    environment()
    channel = memory_channel()

    seen = Caller("vera", Role.VIEWER)("GET", f"channels/{channel.pk}")[1]

    assert (seen["name"], seen["settings"], seen["secrets"]) == (channel.name, {}, [])


def test_deliveries_are_keyset_pages_by_channel_and_state():
    environment()
    ada = Caller("ada")
    one, two = memory_channel(), memory_channel()
    for number in range(5):
        tell(notice(thread=f"t{number}"), [one.pk, two.pk])
    ANSWERS[two.settings["name"]] = [Told(result="refused", answer="no")] * 5
    look(begin=at_once)

    first = ada("GET", f"deliveries?channel={one.pk}&limit=3")[1]
    cursor = first["next"].rpartition("cursor=")[2]
    rest = ada("GET", f"deliveries?channel={one.pk}&limit=3&cursor={cursor}")[1]

    assert [one["thread"] for one in first["results"] + rest["results"]] == ["t4", "t3", "t2", "t1", "t0"]
    assert rest["next"] is None
    assert {one["channel_id"] for one in ada("GET", "deliveries?state=dead")[1]["results"]} == {two.pk}
    assert ada("GET", "deliveries?state=lost")[0] == 400
    assert ada("GET", "deliveries?cursor=junk")[1]["code"] == "invalid_cursor"
    detail = ada("GET", f"deliveries/{first['results'][0]['id']}")[1]
    assert (detail["notice"]["facts"], detail["attempts"][0]["result"]) == (
        {"Attained": "96.5 %", "Target": "99 %"},
        "taken",
    )


def test_a_test_answers_with_what_came_back():
    environment()
    channel = memory_channel()
    ANSWERS[channel.settings["name"]] = [Told(result="refused", answer="HTTP 404: no_service", status=404)]

    told = Caller("ada")("POST", f"channels/{channel.pk}/test")[1]

    assert (told["state"], told["answer"], told["attempts"][0]["status"]) == ("dead", "HTTP 404: no_service", 404)


def test_words_are_previewed_and_kinds_are_told():
    ada = Caller("ada")

    assert ada("POST", "channels/preview", {"title_template": "{severity}!"})[1]["title"] == "page!"
    assert ada("POST", "channels/preview", {"text_template": "{x}"})[1]["code"] == "channel_invalid"
    kinds = {one["kind"]: one for one in ada("GET", "channels/kinds")[1]["results"]}
    [field] = kinds["slack"]["secrets"]
    assert (field["name"], field["label"], field["required"]) == ("url", "Webhook URL", True)
    assert [one["name"] for one in kinds["pagerduty"]["settings"]] == ["url"]


def test_a_new_master_key_seals_the_secrets_of_channels_anew(
    settings: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
):
    environment()
    Caller("ada")("POST", "channels", SLACK)
    before = bytes(Channel.objects.get().secret)
    old = settings.CONFIG.master_key()
    monkeypatch.setattr(type(settings.CONFIG), "master_key", lambda self: b"n" * 32)
    monkeypatch.setattr(type(settings.CONFIG), "previous_master_key", lambda self: old)

    done = rotate_master_key(by=ROOT, make=False)

    assert (done.others, done.unreadable) == (1, 0)
    assert bytes(Channel.objects.get().secret) != before
    monkeypatch.setattr(type(settings.CONFIG), "previous_master_key", lambda self: None)
    assert opened(Channel.objects.get())["url"].endswith("asecretpart")
