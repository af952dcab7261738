"""Why an event belongs to a journey: what it shares, which event brought it, and how far that can be trusted. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

TRACE, LINK, MESSAGE, CORRELATION, KEY = "trace", "link", "message id", "correlation id", "key"
ANSWER, REQUEST = "answer", "request"
STRONG, LIKELY, WEAK = "strong", "likely", "weak"
OF_KIND = {
    TRACE: STRONG,
    LINK: STRONG,
    MESSAGE: STRONG,
    ANSWER: LIKELY,
    REQUEST: LIKELY,
    CORRELATION: LIKELY,
    KEY: WEAK,
}
ORDER = {STRONG: 0, LIKELY: 1, WEAK: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """kind: trace, link, message id, answer, request, correlation id or key. value: what is shared. by: the event that brought it, None for the start.

    strength  strong: systems passed it on; likely: a sender chose it; weak: only a document's number, near in time. Never stronger than
              that of the event which brought it.
    """

    kind: str
    value: str = ""
    by: UUID | None = None
    strength: str = STRONG

    @property
    def tie(self) -> str:
        """Return it in a word: "trace", or "order_no=4711"."""
        return self.value if self.kind == KEY else self.kind


START = Evidence(kind=TRACE)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotFollowed:
    """A tie that more share than a journey follows. kind, value: as Evidence has them. words: of how many what is not here.

    q  the search that finds the messages of all of them; "" where the reader is not told the value.
    """

    kind: str
    value: str
    words: str
    q: str


def brought(kind: str, value: str = "", by: tuple[UUID, Evidence] | None = None) -> Evidence:
    """Return the evidence of what `by`, an event that is here already, brought."""
    strength = OF_KIND[kind]
    if by is not None and ORDER[by[1].strength] > ORDER[strength]:
        strength = by[1].strength
    return Evidence(kind=kind, value=value, by=by[0] if by else None, strength=strength)


def words_of_tie(evidence: Evidence, by: str) -> str:
    """Return the evidence as a sentence. by: the event that brought it in words ("shop send"), "" when the search began there."""
    like = f", like {by}" if by else ""
    if evidence.kind == TRACE:
        words = f"carries the trace {evidence.value}{like}" if evidence.value else f"carries the same trace{like}"
    elif evidence.kind == LINK:
        words = f"is in a trace tied by a span link: {evidence.value}"
    elif evidence.kind == MESSAGE:
        words = f"is about the same message{' as ' + by if by else ''}"
    elif evidence.kind == ANSWER:
        words = f"has the id of {by or 'a message'}, {evidence.value}, as its correlation id: a reply, or of the same conversation"
    elif evidence.kind == REQUEST:
        words = f"is about {evidence.value}, the correlation id of {by or 'another'}, a reply to it or of the same conversation"
    elif evidence.kind == CORRELATION:
        words = f"carries the correlation id {evidence.value}{like}; a sender may use one for several journeys"
    else:
        words = f"has {evidence.value}{like} within a day; other journeys may have the same number"
    if evidence.strength == WEAK and evidence.kind != KEY:
        return f"{words}, which itself is here by a number alone"
    return words
