"""Slack: an incoming webhook and Block Kit.

Limits (Slack's documentation; the cumulative one is undocumented, bolt-js #2509 and #2867): 50 blocks, header 150, section 3,000, 10 fields
of 2,000 characters, all together under 11,300; about one message a second into a channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alerts.delivery.notifiers.base import Field, Said, Telling
from alerts.delivery.notifiers.http import JSON, HTTPNotifier, as_json
from alerts.delivery.notifiers.words import cut, one_line, short_facts, untold_words, web_links, when_words
from alerts.delivery.outbound import Call

MOST_HEADER, MOST_TEXT, MOST_FIELDS, MOST_FIELD, MOST_LINK = 150, 3_000, 10, 220, 600
MARKS = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


class Slack(HTTPNotifier):
    """Answers 200 `ok`; 404 `no_service` when the webhook is gone, 429 with Retry-After."""

    kind = "slack"
    label = "Slack"
    fields = (
        Field(
            name="url",
            label="Webhook URL",
            help="https://hooks.slack.com/services/… of an incoming webhook.",
            secret=True,
        ),
    )
    hosts = ("hooks.slack.com", "hooks.slack-gov.com")
    a_second, at_once = 1.0, 1

    def render(self, telling: Telling, said: Said) -> Sequence[Call]:
        body = {"text": escaped(one_line(telling.title), MOST_TEXT), "blocks": blocks(telling)}
        return [Call(url=said["url"], body=as_json(body), headers=JSON)]


def blocks(telling: Telling) -> list[dict[str, Any]]:
    """Return header, text, facts, links and a line of where and when: at most five blocks and 9,500 characters."""
    notice = telling.notice
    text = "\n".join(part for part in (telling.text.strip(), untold_words(telling)) if part)
    made: list[dict[str, Any]] = [
        {
            "type": "header",
            "text": {"type": "plain_text", "text": cut(one_line(telling.title), MOST_HEADER) or "Waybill"},
        }
    ]
    if text:
        made.append({"type": "section", "text": {"type": "mrkdwn", "text": escaped(text, MOST_TEXT)}})
    facts = short_facts(notice.facts, most=MOST_FIELDS, name=80, value=MOST_FIELD)
    if facts:
        fields = [
            {"type": "mrkdwn", "text": f"*{escaped(name, 100)}*\n{escaped(value, MOST_FIELD)}"}
            for name, value in facts.items()
        ]
        made.append({"type": "section", "fields": fields})
    links = [
        f"<{escaped(url, MOST_LINK)}|{escaped(one_line(words).replace('|', '/'), 80)}>"
        for words, url in web_links(notice).items()
        if len(url) < MOST_LINK and len(escaped(url, 5 * MOST_LINK)) < MOST_LINK  # one that is cut leads elsewhere
    ]
    if links:
        made.append({"type": "section", "text": {"type": "mrkdwn", "text": " · ".join(links[:4])}})
    about = f"{notice.environment} · {notice.severity} · {when_words(notice)}"
    made.append({"type": "context", "elements": [{"type": "plain_text", "text": cut(about, 300)}]})
    return made


def escaped(text: str, most: int) -> str:
    """Return text as Slack's markup shows it to the letter, never cut inside an entity."""
    made: list[str] = []
    length = 0
    for one in text:
        piece = MARKS.get(one, one)
        length += len(piece)
        if length > most - 1:
            return "".join(made) + "…"
        made.append(piece)
    return "".join(made)


SLACK = Slack()
