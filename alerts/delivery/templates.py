"""A channel's own words: text with named fields in braces and nothing else. No attributes, no formats, no logic. Pure.

`{{` and `}}` stand for the braces themselves. A field that a notice does not have is empty.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from alerts.delivery.notifiers.words import HAPPENED, first_link, one_line, utc_words
from alerts.notices import Notice

LABELS = ("flow", "team", "objective", "service", "window")
FIELDS = {
    "happening": "Firing, Acknowledged, Still not acknowledged, Resolved or Test",
    "title": "what it is about",
    "summary": "one sentence with numbers",
    "severity": "page or ticket",
    "environment": "production, …",
    "starts_at": "when it began",
    "ends_at": "when it ended; empty before",
    "facts": "every fact in a line of its own",
    "link": "the console’s page",
    "thread": "the same for all that is told of one breach",
    **{name: f"the {name}, where it has one" for name in LABELS},
}
TITLE, TEXT = "{happening}: {title}", "{summary}"
MOST_TITLE, MOST_TEXT = 200, 2_000
PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


class BadTemplate(ValueError):
    """A template that names no field, or leaves a brace open; the sentence says where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """Templates of title and text; empty for ours."""

    title: str = ""
    text: str = ""


def check_template(template: str, *, most: int) -> None:
    """Raise BadTemplate, in words."""
    if len(template) > most or "\x00" in template:
        raise BadTemplate(f"at most {most} characters")
    for found in PIECE.finditer(template):
        if found[0] in ("{{", "}}"):
            continue
        if found[1] is None:
            raise BadTemplate(
                f"a brace at character {found.start() + 1} stands alone: write it twice, or close it around a field’s name"
            )
        if found[1] not in FIELDS:
            raise BadTemplate(
                f"there is no field {{{found[1][:40]}}}; there are {', '.join(f'{{{name}}}' for name in FIELDS)}"
            )


def fields_of(notice: Notice) -> dict[str, str]:
    """Return every field of FIELDS with its value."""
    return {
        "happening": HAPPENED[notice.happening],
        "title": one_line(notice.title),
        "summary": notice.summary,
        "severity": notice.severity,
        "environment": notice.environment,
        "starts_at": utc_words(notice.starts_at),
        "ends_at": utc_words(notice.ends_at) if notice.ends_at else "",
        "facts": "\n".join(f"{name}: {value}" for name, value in notice.facts.items()),
        "link": first_link(notice),
        "thread": notice.thread,
        **{name: notice.labels.get(name, "") for name in LABELS},
    }


def fill(template: str, values: Mapping[str, str]) -> str:
    """Return the template with its fields filled; what is filled in is not looked at again."""

    def piece(found: re.Match[str]) -> str:
        if found[0] in ("{{", "}}"):
            return found[0][0]
        return found[0] if found[1] is None else values.get(found[1], "")

    return PIECE.sub(piece, template)


def worded(words: Words, notice: Notice) -> tuple[str, str]:
    """Return (title in one line, text) of a notice, by the channel's words or ours."""
    values = fields_of(notice)
    title = one_line(fill(words.title or TITLE, values)) or one_line(fill(TITLE, values))
    return title[:1_000], fill(words.text or TEXT, values)[:20_000]
