"""Opsgenie, which ends on 5 April 2027, and its successor Jira Service Management, which takes the same requests under another address.

message 130, alias 512, description 15,000, details 8,000 characters together; answered with 202 and a request id. The successor takes
`identifierType=alias` although its documentation does not say so (JSDCLOUD-14179).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from alerts.delivery.notifiers.base import BadChannel, Field, Said, Telling
from alerts.delivery.notifiers.http import JSON, HTTPNotifier, as_json
from alerts.delivery.notifiers.words import cut, one_line, short_facts, thread_key, untold_words, web_links
from alerts.delivery.outbound import Call
from alerts.notices import Happening

PRIORITIES = {"page": "P1", "ticket": "P3"}


class Opsgenie(HTTPNotifier):
    """Creating an alert of an open alias counts it again and opens nothing. Closing one that is not there is taken and changes nothing."""

    at_once = 2

    def __init__(self, kind: str, label: str, address: str, hosts: tuple[str, ...], more: str) -> None:
        self.kind, self.label, self.address, self.hosts = kind, label, address, hosts
        self.fields = (
            Field(name="api_key", label="API key", help="Of an API integration.", secret=True),
            Field(name="url", label="Address", help=more, default=address, required=False),
        )

    def check(self, said: Said) -> None:
        super().check(said)
        if not said["api_key"].isascii() or not said["api_key"].isprintable():
            raise BadChannel("API key: it holds a character that no header takes")

    def addresses(self, said: Said) -> list[str]:
        return [(said.get("url") or self.address).rstrip("/")]

    def render(self, telling: Telling, said: Said) -> Sequence[Call]:
        notice, base = telling.notice, self.addresses(said)[0]
        headers = {**JSON, "Authorization": f"GenieKey {said['api_key']}"}
        alias = thread_key(notice.thread, 512)
        create = Call(url=base, body=as_json(alert(telling, alias)), headers=headers)
        note = as_json({"source": "Waybill", "note": cut(one_line(telling.text), 5_000)})

        def act(action: str) -> Call:
            return Call(url=f"{base}/{quote(alias, safe='')}/{action}?identifierType=alias", body=note, headers=headers)

        match notice.happening:
            case Happening.ACKNOWLEDGED:
                return [act("acknowledge")]
            case Happening.RESOLVED:
                return [act("close")]
            case Happening.TEST:
                return [create, act("close")]
            case _:
                return [create]


def alert(telling: Telling, alias: str) -> dict[str, Any]:
    """Return the body that creates an alert; pure."""
    notice = telling.notice
    links = "\n".join(f"{words}: {url}" for words, url in web_links(notice).items())
    parts = (telling.text.strip(), untold_words(telling), links)
    priority = "P5" if notice.happening is Happening.TEST else PRIORITIES.get(notice.severity, "P3")
    return {
        "message": cut(one_line(telling.title), 130),
        "alias": alias,
        "description": cut("\n\n".join(part for part in parts if part), 15_000),
        "priority": priority,
        "source": "Waybill",
        "entity": cut(notice.labels.get("flow", ""), 512),
        "tags": [cut(tag, 50) for tag in (notice.environment, notice.severity) if tag],
        "details": short_facts({**notice.labels, **notice.facts}, most=20, name=80, value=300),
    }


OPSGENIE = Opsgenie(
    "opsgenie", "Opsgenie", "https://api.opsgenie.com/v2/alerts", ("api.opsgenie.com", "api.eu.opsgenie.com"),
    "In the EU https://api.eu.opsgenie.com/v2/alerts. Opsgenie ends on 5 April 2027.",
)  # fmt: skip
JSM = Opsgenie(
    "jsm", "Jira Service Management", "https://api.atlassian.com/jsm/ops/integration/v2/alerts", ("api.atlassian.com",),
    "Of the API integration of Jira Service Management.",
)  # fmt: skip
