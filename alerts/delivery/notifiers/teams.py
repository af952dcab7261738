"""Microsoft Teams: an Adaptive Card to the URL of a Workflow ("When a Teams webhook request is received").

The connectors of before are retired. A message has at most 28 KB, and more than four a second are throttled with 429 (Microsoft Learn).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alerts.delivery.notifiers.base import Field, Said, Telling
from alerts.delivery.notifiers.http import JSON, HTTPNotifier, as_json
from alerts.delivery.notifiers.words import cut, one_line, short_facts, untold_words, web_links, when_words
from alerts.delivery.outbound import Call
from alerts.notices import Happening

MOST_BYTES = 27_000
COLOURS = {Happening.RESOLVED: "good", Happening.ACKNOWLEDGED: "accent", Happening.TEST: "accent"}


class Teams(HTTPNotifier):
    """A Workflow answers 202."""

    kind = "teams"
    label = "Microsoft Teams"
    fields = (
        Field(
            name="url", label="Workflow URL", help="Of a Workflow that posts a card to a channel or chat.", secret=True
        ),
    )
    hosts = ("*.logic.azure.com", "*.environment.api.powerplatform.com", "*.api.powerplatform.com")
    a_second, at_once = 4.0, 2

    def render(self, telling: Telling, said: Said) -> Sequence[Call]:
        for most in (4_000, 1_000, 200):
            body = as_json({"type": "message", "attachments": [_attachment(telling, most)]})
            if len(body) <= MOST_BYTES:
                break
        return [Call(url=said["url"], body=body, headers=JSON)]


def _attachment(telling: Telling, most: int) -> dict[str, Any]:
    return {
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": None,
        "content": card(telling, most),
    }


def card(telling: Telling, most: int) -> dict[str, Any]:
    """Return an Adaptive Card 1.4; most: characters of its text."""
    notice = telling.notice
    title = plain(cut(one_line(telling.title), min(most, 300)))
    body: list[dict[str, Any]] = [
        {
            "type": "TextBlock",
            "text": title,
            "weight": "Bolder",
            "size": "Medium",
            "wrap": True,
            "color": COLOURS.get(notice.happening, "attention"),
        }
    ]
    for text in (telling.text.strip(), untold_words(telling)):
        if text:
            body.append({"type": "TextBlock", "text": plain(cut(text, most)), "wrap": True})
    facts = short_facts(notice.facts, most=12, name=80, value=min(most, 500))
    shown = [
        *facts.items(),
        ("Environment", cut(notice.environment, 100)),
        ("Severity", cut(notice.severity, 40)),
        ("When", when_words(notice)),
    ]
    body.append({"type": "FactSet", "facts": [{"title": plain(name), "value": plain(value)} for name, value in shown]})
    links = [(words, url) for words, url in web_links(notice).items() if len(url) < 600][:4]
    return {
        "type": "AdaptiveCard",
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "version": "1.4",
        "body": body,
        "actions": [{"type": "Action.OpenUrl", "title": cut(one_line(words), 60), "url": url} for words, url in links],
    }


def plain(text: str) -> str:
    """Return text that the card's Markdown shows to the letter: what a message says must not become a link."""
    return "".join(f"\\{one}" if one in "\\[]*_`" else one for one in text)


TEAMS = Teams()
