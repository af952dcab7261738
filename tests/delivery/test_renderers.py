"""What each receiver is sent, and that nothing, however long or odd, passes its limits."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from datetime import timedelta
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

import pytest

from alerts.delivery.notifiers import NOTIFIERS, get_notifier, notifiers
from alerts.delivery.notifiers.alertmanager import alert
from alerts.delivery.notifiers.apprise import APPRISE, body, judged
from alerts.delivery.notifiers.base import BadChannel
from alerts.delivery.notifiers.http import HTTPNotifier
from alerts.delivery.notifiers.mail import MAIL, as_message, receivers_of, rendered
from alerts.delivery.notifiers.opsgenie import OPSGENIE
from alerts.delivery.notifiers.pagerduty import PAGERDUTY, event
from alerts.delivery.notifiers.slack import SLACK, blocks, escaped
from alerts.delivery.notifiers.teams import TEAMS, card
from alerts.delivery.notifiers.webhook import WEBHOOK
from alerts.delivery.notifiers.words import thread_key
from alerts.notices import Happening
from tests.delivery.notices import hostile, notice, telling
from tests.engines.vendors import _check_blocks, _event_errors

SAID = {
    "slack": {"url": "https://hooks.slack.com/services/T/B/X"},
    "teams": {"url": "https://x.westeurope.logic.azure.com/workflows/a?sig=b"},
    "pagerduty": {"routing_key": "r" * 32},
    "opsgenie": {"api_key": "key"},
    "jsm": {"api_key": "key"},
    "webhook": {"url": "https://hooks.example.com/x?y=z", "secret": "s" * 20},
    "alertmanager": {
        "peers": "https://a.example.com:9093, https://b.example.com:9093/am/",
        "username": "u",
        "password": "p",
    },
    "mail": {"to": "ada@example.com, Bob <bob@example.com>"},
    "apprise": {"url": "discord://1234567890/abcdefghijklmnop"},
}
WEB = [kind for kind in NOTIFIERS if isinstance(get_notifier(kind), HTTPNotifier)]


def calls(kind: str, of: Any) -> list[Any]:
    notifier = get_notifier(kind)
    assert isinstance(notifier, HTTPNotifier)
    return list(notifier.render(of, SAID[kind]))


def bodies(kind: str, of: Any) -> list[Any]:
    return [json.loads(call.body) for call in calls(kind, of)]


def test_every_kind_takes_what_an_administrator_says_of_it():
    for notifier in notifiers():
        notifier.check(SAID[notifier.kind])


@pytest.mark.parametrize("kind", WEB)
@pytest.mark.parametrize("happening", list(Happening))
@pytest.mark.parametrize("make", [notice, hostile])
def test_whatever_is_told_becomes_json_in_ascii_headers(kind: str, happening: Happening, make: Any):
    found = calls(kind, telling(make(happening), untold=happening is Happening.RESOLVED))

    assert found
    for call in found:
        json.loads(call.body)
        assert call.url.isascii()
        assert all(
            f"{name}{value}".isprintable() and f"{name}{value}".isascii() for name, value in call.headers.items()
        )


@pytest.mark.parametrize("happening", list(Happening))
def test_slack_keeps_its_limits_also_the_undocumented_one(happening: Happening):
    made = blocks(telling(hostile(happening), untold=True))

    _check_blocks(made)
    assert sum(len(text) for text in _texts(made)) <= 9_500
    assert all("<b>" not in text for block in made if block["type"] == "section" for text in _texts([block]))
    assert "javascript:" not in json.dumps(made)


def test_links_full_of_signs_that_are_escaped_keep_slack_below_its_limit_and_lead_where_they_lead():
    long = "x" * 5_000
    url = "https://example.com/?" + "a&" * 100
    facts = {f"{number}{long}": long for number in range(20)}
    links = {f"{number}{long}": url + "b" * 250 for number in range(9)}
    made = blocks(telling(notice(title=long, summary=long, facts=facts, links=links), untold=True))

    assert sum(len(text) for text in _texts(made)) <= 9_500
    assert "…|" not in json.dumps(made, ensure_ascii=False)


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return ([value["text"]] if isinstance(value.get("text"), str) else []) + [
            t for v in value.values() if isinstance(v, dict | list) for t in _texts(v)
        ]
    return [text for one in value for text in _texts(one)]


@pytest.mark.parametrize(
    ("text", "most", "shown"),
    [
        ("a < b & c", 99, "a &lt; b &amp; c"),
        ("&&&&", 11, "&amp;&amp;…"),
        ("", 5, ""),
        ("abc", 4, "abc"),
        ("abcd", 4, "abc…"),
    ],
)
def test_text_for_slack_is_escaped_and_never_cut_inside_an_entity(text: str, most: int, shown: str):
    assert escaped(text, most) == shown
    assert len(escaped(text, most)) <= most


@pytest.mark.parametrize("happening", list(Happening))
def test_a_card_for_teams_is_under_28_kb_and_shows_markdown_to_the_letter(happening: Happening):
    assert len(calls("teams", telling(hostile(happening), untold=True))[0].body) < 28 * 1024

    made = card(telling(notice(summary="[click](https://evil.example.com)")), 4_000)

    assert "\\[click\\](https" in json.loads(json.dumps(made))["body"][1]["text"]
    assert made["version"] == "1.4"


@pytest.mark.parametrize("happening", list(Happening))
@pytest.mark.parametrize("make", [notice, hostile])
def test_pagerduty_takes_every_event(happening: Happening, make: Any):
    made = bodies("pagerduty", telling(make(happening)))

    assert [_event_errors(one) for one in made] == [[]] * len(made)
    assert all(len(call.body) < 512 * 1024 for call in calls("pagerduty", telling(make(happening))))
    assert {one["dedup_key"] for one in made} == {thread_key(make(happening).thread, 255)}


@pytest.mark.parametrize(
    ("happening", "severity", "said"),
    [
        (Happening.FIRING, "page", [("trigger", "critical")]),
        (Happening.FIRING, "ticket", [("trigger", "warning")]),
        (Happening.ESCALATED, "page", [("trigger", "critical")]),
        (Happening.ACKNOWLEDGED, "page", [("acknowledge", None)]),
        (Happening.RESOLVED, "page", [("resolve", None)]),
        (Happening.TEST, "page", [("trigger", "info"), ("resolve", None)]),
    ],
)
def test_what_happens_is_an_action_of_pagerduty(
    happening: Happening, severity: str, said: list[tuple[str, str | None]]
):
    made = bodies("pagerduty", telling(notice(happening, severity=severity)))

    assert [(one["event_action"], one.get("payload", {}).get("severity")) for one in made] == said


def test_an_event_for_pagerduty_carries_facts_labels_and_links():
    made = event(telling(notice()), "k")

    assert made["payload"]["timestamp"] == "2026-11-26T09:41:00.000Z"
    assert made["payload"]["custom_details"]["Attained"] == "96.5 %"
    assert made["payload"]["component"] == "orders: shop → erp"
    assert made["links"][0] == {"href": "https://waybill.example.com/breaches/4711/", "text": "Open the breach"}


@pytest.mark.parametrize(
    ("happening", "paths"),
    [
        (Happening.FIRING, [""]),
        (Happening.ESCALATED, [""]),
        (Happening.ACKNOWLEDGED, ["/a%2F1/acknowledge?identifierType=alias"]),
        (Happening.RESOLVED, ["/a%2F1/close?identifierType=alias"]),
        (Happening.TEST, ["", "/a%2F1/close?identifierType=alias"]),
    ],
)
def test_opsgenie_and_its_successor_are_asked_alike(happening: Happening, paths: list[str]):
    for kind, base in (
        ("opsgenie", "https://api.opsgenie.com/v2/alerts"),
        ("jsm", "https://api.atlassian.com/jsm/ops/integration/v2/alerts"),
    ):
        made = calls(kind, telling(notice(happening, thread="a/1")))

        assert [call.url for call in made] == [base + path for path in paths]
        assert {call.headers["Authorization"] for call in made} == {"GenieKey key"}


def test_an_alert_for_opsgenie_keeps_its_limits():
    [made] = bodies("opsgenie", telling(hostile()))

    assert (len(made["message"]), len(made["alias"]), len(made["description"])) == (130, 64, 15_000)
    assert sum(len(name) + len(value) for name, value in made["details"].items()) <= 8_000


def test_a_webhook_is_signed_over_time_and_body():
    [call] = calls("webhook", telling(notice()))

    stamp = call.headers["Waybill-Timestamp"]
    expected = hmac.new(b"s" * 20, stamp.encode() + b"." + call.body, hashlib.sha256).hexdigest()
    assert call.headers["Waybill-Signature"] == f"v1={expected}"
    assert call.headers["Waybill-Delivery"] == json.loads(call.body)["delivery"] == "waybill-17"
    assert json.loads(call.body)["beginning_told"] is True


def test_the_lines_of_the_docs_believe_a_webhook_and_no_other(time_machine: Any):
    page = (Path(__file__).resolve().parents[2] / "docs" / "notifications.md").read_text()
    (lines,) = re.findall(r"```python\n(import hashlib, hmac, time.*?)```", page, re.S)
    told: dict[str, Any] = {}
    exec(lines, told)
    [call] = calls("webhook", telling(notice()))
    sent = telling(notice()).now
    verify, secret = told["is_from_waybill"], SAID["webhook"]["secret"]
    later = str(int(call.headers["Waybill-Timestamp"]) + 200)

    time_machine.move_to(sent + timedelta(minutes=4))
    assert verify(call.headers, call.body, secret)
    assert not verify(call.headers, call.body.replace(b"firing", b"resolved"), secret)  # altered
    assert not verify(call.headers | {"Waybill-Timestamp": later}, call.body, secret)  # made young again
    assert not verify(call.headers, call.body, "t" * 20)
    for odd in ({"Waybill-Signature": "v1=é"}, {"Waybill-Timestamp": "abc"}, {"Waybill-Timestamp": "9" * 5_000}):
        assert not verify(call.headers | odd, call.body, secret)
    assert not verify({}, call.body, secret)
    time_machine.move_to(sent + timedelta(minutes=6))
    assert not verify(call.headers, call.body, secret)  # replayed


def test_alertmanager_is_told_at_every_peer_with_the_labels_of_the_first_notice():
    first = notice()
    over = telling(notice(Happening.RESOLVED, title="another", labels={"flow": "other"}), opened=first)

    fired, ended = alert(telling(first)), alert(over)

    assert [call.url for call in calls("alertmanager", over)] == [
        "https://a.example.com:9093/api/v2/alerts", "https://b.example.com:9093/am/api/v2/alerts",
    ]  # fmt: skip
    assert calls("alertmanager", over)[0].headers["Authorization"] == "Basic dTpw"
    assert fired["labels"] == ended["labels"] == {
        "alertname": "Orders delivered in 5 min", "severity": "page", "environment": "production", "slo": "orders in 5 min",
        "flow": "orders: shop → erp", "team": "Order team", "window": "1h", "waybill_thread": "breach-4711",
    }  # fmt: skip
    assert fired["annotations"]["runbook_url"] == "https://wiki.example.com/orders"
    assert (fired["startsAt"], fired["endsAt"], ended["endsAt"]) == (
        "2026-11-26T09:41:00.000Z", "2026-11-26T10:45:00.000Z", "2026-11-26T10:11:00.000Z",
    )  # fmt: skip


def test_labels_of_alertmanager_are_names_that_it_takes():
    names = alert(telling(hostile()))["labels"]

    assert all(name and not name[0].isdigit() and name.replace("_", "a").isalnum() and name.isascii() for name in names)


@pytest.mark.parametrize("happening", list(Happening))
@pytest.mark.parametrize("make", [notice, hostile])
def test_a_mail_has_text_and_html_in_ascii_lines_and_no_headers_of_others(happening: Happening, make: Any):
    mail = rendered(telling(make(happening), untold=happening is Happening.RESOLVED))
    raw = as_message(mail, receivers_of(SAID["mail"])).as_bytes()

    read = message_from_bytes(raw, policy=default)
    assert raw.isascii()
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))
    assert read["Bcc"] is None
    assert read["To"] == "ada@example.com, bob@example.com"
    assert [part.get_content_type() for part in read.iter_parts()] == ["text/plain", "text/html"]
    html = read.get_body(("html",)).get_content()
    assert "<b>Größe</b>" not in html
    assert "javascript:" not in html
    assert len(read["Subject"]) <= 200


def test_mails_of_one_thread_stand_together_and_each_has_its_own_id():
    fired, over = (
        rendered(telling(notice(one), key=f"waybill-{one}")) for one in (Happening.FIRING, Happening.RESOLVED)
    )

    assert fired.thread_id == over.thread_id
    assert fired.message_id != over.message_id


def test_a_thread_is_named_as_it_is_however_long_the_name_of_the_console_is(settings: Any):
    settings.CONSOLE_URL = "https://waybill.integration.example-company.example.com"
    mail = rendered(telling(notice()))

    raw = as_message(mail, ["ada@example.com"]).as_bytes()

    assert f"\r\nReferences: {mail.thread_id}\r\n".encode() in raw
    assert f"\r\nMessage-ID: {mail.message_id}\r\n".encode() in raw


def test_one_message_says_both_when_the_beginning_could_not_be_told():
    of = telling(notice(Happening.RESOLVED), untold=True)

    for text in (
        json.dumps(blocks(of)),
        json.dumps(card(of, 4_000)),
        rendered(of).text,
        body(of),
        json.dumps(alert(of)),
    ):
        assert "It began at 2026-11-26 09:41:00 UTC, and this channel could not be told then." in text


def test_what_a_message_says_calls_nobody():
    of = telling(notice(summary="<!channel> @everyone", title="<!here> @here"))

    assert "@everyone" not in body(of)
    [call] = calls("slack", of)
    sent = json.loads(call.body)
    marked = [
        sent["text"],
        *(block["text"]["text"] for block in sent["blocks"] if block["type"] == "section" and "text" in block),
    ]
    assert all("<!" not in text for text in marked)  # a header is plain text: nothing in it is read as markup


def test_apprise_is_given_short_text():
    assert len(body(telling(hostile()))) <= 1_800


@pytest.mark.parametrize(
    ("output", "result", "status"),
    [
        (b'{"ok": true, "log": ""}', "taken", None),
        (b'{"ok": false, "log": "Failed to send Discord notification: Unauthorized, error=401."}', "refused", 401),
        (b'{"ok": false, "log": "Failed: error=429."}', "later", 429),
        (b'{"ok": false, "log": "error=503"}', "later", 503),
        (b'{"ok": false, "log": "A Connection error occurred"}', "later", None),
        (b'{"ok": false, "refused": "x.example.com:25 is not approved", "log": ""}', "refused", None),
        (b"Traceback", "later", None),
        (b"", "later", None),
    ],
)
def test_what_apprise_says_is_judged(output: bytes, result: str, status: int | None):
    told = judged(1, output)

    assert (told.result, told.status) == (result, status)
    assert told.answer


BAD = [
    (SLACK, {}),
    (SLACK, {"url": "ftp://hooks.slack.com/x"}),
    (SLACK, {"url": "https://user:pass@hooks.slack.com/x"}),
    (SLACK, {"url": "https://hooks.slack.com/x", "more": "y"}),
    (SLACK, {"url": "https://hooks.slack.com\\@b.example.com/x"}),
    (TEAMS, {"url": "http://169.254.169.254/latest"}),
    (TEAMS, {"url": "http://[::ffff:169.254.169.254]/"}),
    (TEAMS, {"url": "https://[broken/"}),
    (TEAMS, {"url": "https://" + "a" * 64 + ".example.com/"}),
    (TEAMS, {"url": "https://x.example.com/\r\nX: y"}),
    (PAGERDUTY, {"routing_key": "short"}),
    (PAGERDUTY, {"routing_key": "ü" * 32}),
    (OPSGENIE, {"api_key": "a\nb"}),
    (WEBHOOK, {"url": "https://x.example.com/", "secret": "short"}),
    (get_notifier("alertmanager"), {"peers": ", ,"}),
    (get_notifier("alertmanager"), {"peers": ",".join(["https://a.example.com"] * 10)}),
    (MAIL, {"to": "nobody"}),
    (MAIL, {"to": "a@example.com\nBcc: b"}),
    (MAIL, {"to": "a@bücher.example"}),
    (MAIL, {"to": ",".join(f"a{n}@example.com" for n in range(21))}),
    (APPRISE, {"url": "syslog://"}),
    (APPRISE, {"url": "file:///etc/passwd"}),
    (APPRISE, {"url": "fcm://project@key/?keyfile=/etc/passwd"}),
    (APPRISE, {"url": "json://internal/"}),
    (APPRISE, {"url": "gotify://169.254.169.254/token"}),
    (APPRISE, {"url": "mmost:///"}),
]


@pytest.mark.parametrize(("notifier", "said"), BAD)
def test_what_cannot_be_a_channel_is_refused_in_words_that_quote_no_secret(notifier: Any, said: dict[str, str]):
    with pytest.raises(BadChannel) as refused:
        notifier.check(said)

    secrets = [said[field.name] for field in notifier.fields if field.secret and len(said.get(field.name, "")) > 8]
    assert all(secret not in str(refused.value) for secret in secrets)
