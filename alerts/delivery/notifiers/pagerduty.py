"""PagerDuty, Events API v2: trigger, acknowledge, resolve under one dedup_key.

202 is taken, 400 is never tried again, 429 wants minutes (PagerDuty's documentation). At most 512 KB; summary 1,024, dedup_key 255.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from alerts.delivery.notifiers.base import BadChannel, Field, Said, Telling, Told
from alerts.delivery.notifiers.http import JSON, HTTPNotifier, as_json
from alerts.delivery.notifiers.words import cut, first_link, iso, one_line, short_facts, thread_key, web_links
from alerts.delivery.outbound import Call
from alerts.notices import Happening

ADDRESS = "https://events.pagerduty.com/v2/enqueue"
LEAST_PAUSE_S = 120.0
ACTIONS = {
    Happening.FIRING: "trigger",
    Happening.ESCALATED: "trigger",  # the open incident takes it up as another event
    Happening.ACKNOWLEDGED: "acknowledge",
    Happening.RESOLVED: "resolve",
    Happening.TEST: "trigger",
}
SEVERITIES = {"page": "critical", "ticket": "warning"}


class PagerDuty(HTTPNotifier):
    """What is over before it could be told is resolved alone: PagerDuty drops that, and nobody is woken for what is over."""

    kind = "pagerduty"
    label = "PagerDuty"
    fields = (
        Field(
            name="routing_key",
            label="Integration key",
            help="32 characters, of an Events API v2 integration.",
            secret=True,
        ),
        Field(
            name="url",
            label="Events address",
            help="In the EU https://events.eu.pagerduty.com/v2/enqueue.",
            default=ADDRESS,
            required=False,
        ),
    )
    hosts = ("events.pagerduty.com", "events.eu.pagerduty.com")
    at_once = 2

    def check(self, said: Said) -> None:
        super().check(said)
        key = said["routing_key"]
        if len(key) != 32 or not key.isascii() or not key.isalnum():
            raise BadChannel("Integration key: it has 32 letters and digits")

    def addresses(self, said: Said) -> list[str]:
        return [said.get("url") or ADDRESS]

    def render(self, telling: Telling, said: Said) -> Sequence[Call]:
        events = [event(telling, said["routing_key"])]
        if telling.notice.happening is Happening.TEST:  # a test leaves no open incident behind
            events.append(
                {name: value for name, value in events[0].items() if name != "payload"} | {"event_action": "resolve"}
            )
        return [Call(url=self.addresses(said)[0], body=as_json(one), headers=JSON) for one in events]

    def read(self, told: Told) -> Told:
        if told.status != 429:
            return told
        return replace(told, retry_after_s=max(LEAST_PAUSE_S, told.retry_after_s or 0))


def event(telling: Telling, routing_key: str) -> dict[str, Any]:
    """Return the event; pure."""
    notice = telling.notice
    made: dict[str, Any] = {
        "routing_key": routing_key,
        "event_action": ACTIONS[notice.happening],
        "dedup_key": thread_key(notice.thread, 255),
    }
    if made["event_action"] != "trigger":
        return made
    severity = "info" if notice.happening is Happening.TEST else SEVERITIES.get(notice.severity, "error")
    payload = {
        "summary": cut(one_line(f"{telling.title}: {telling.text}" if telling.text else telling.title), 1_024),
        "source": cut(notice.labels.get("flow") or notice.environment or "waybill", 255),
        "severity": severity,
        "timestamp": iso(notice.starts_at),
        "component": cut(notice.labels.get("flow", ""), 255),
        "group": cut(notice.environment, 255),
        "class": cut(notice.labels.get("objective", ""), 255),
        "custom_details": {
            **short_facts(notice.labels, most=30, name=100, value=500),
            **short_facts(notice.facts, most=40, name=100, value=1_000),
        },
    }
    made["payload"] = {name: value for name, value in payload.items() if value not in ("", {})}
    made["links"] = [{"href": url, "text": cut(one_line(words), 200)} for words, url in web_links(notice).items()]
    made["client"] = "Waybill"
    if link := first_link(notice):
        made["client_url"] = link
    return made


PAGERDUTY = PagerDuty()
