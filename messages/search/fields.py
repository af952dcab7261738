"""What can be asked of messages, events, dead letters and changes: one table for errors, completion, back ends and docs."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from messages.models import Change, DeadLetter
from messages.models.stream import MessageStatus, Operation, Outcome


class Kind(Enum):
    """How a field is compared, in words for its reader."""

    NAME = "a name, or a word of it"
    TEXT = "words, anywhere in the text"
    WHOLE = "the whole value, or its beginning with *"
    ID = "an id, whole"
    CHOICE = "one of its words"
    TIME = "a time"
    AGE = "a span, such as 1h"
    DURATION = "a span, such as 2s"
    WORDS = "whole words of a body, in their order"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """name is what completion offers, `also` other names that are understood, `examples` what may follow the colon."""

    name: str
    kind: Kind
    what: str
    also: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()


STATES = tuple(DeadLetter.State.values)
RESOLUTIONS = tuple(DeadLetter.Resolution.values)
AGE = Field(name="age", kind=Kind.AGE, what="how long ago", examples=(">1h", "<15min", ">1d"))
AT = Field(name="at", kind=Kind.TIME, what="when", examples=("[now-1h TO now]", "[now-1d TO now]", "now/d"))
GROUP = Field(name="group", kind=Kind.ID, what="failure group")
RECONCILED = Field(name="reconciled", kind=Kind.ID, what="a set of a reconciliation")
FLOW = Field(name="flow", kind=Kind.NAME, what="the route it takes")
VIA = Field(name="via", kind=Kind.NAME, what="a flow that one of its events names")
SYSTEM = Field(name="system", kind=Kind.NAME, what="an application that touched it")
FAILED = Field(name="failed", kind=Kind.TIME, what="when an event of it failed", examples=AT.examples)
AGENT = Field(name="agent", kind=Kind.NAME, what="who reported it")
ERROR = Field(name="error", kind=Kind.TEXT, what="words of the error")
CLASS = Field(name="class", kind=Kind.TEXT, what="type of the error")
DESTINATION = Field(name="destination", kind=Kind.TEXT, what="queue, topic or address")
IDS = (
    Field(name="id", kind=Kind.ID, what="our own id"),
    Field(name="message_id", kind=Kind.WHOLE, what="the sender's message id"),
    Field(name="trace", kind=Kind.ID, what="trace id", also=("trace_id",)),
    Field(name="correlation", kind=Kind.WHOLE, what="correlation id", also=("correlation_id",)),
)
PAYLOAD = Field(name="payload", kind=Kind.WORDS, what="words of its body")
REASON = Field(name="reason", kind=Kind.TEXT, what="why it died", examples=tuple(DeadLetter.ReasonCode.values))
DIED_OF = Field(
    name="died_of", kind=Kind.CHOICE, what="the kind of its reason", choices=tuple(DeadLetter.ReasonCode.values)
)

TARGETS: dict[str, tuple[Field, ...]] = {
    "messages": (
        Field(name="status", kind=Kind.CHOICE, what="where it stands", choices=tuple(MessageStatus.labels)),
        FLOW, SYSTEM, DESTINATION, ERROR, CLASS, REASON, AGE, AT,
        Field(name="duration", kind=Kind.DURATION, what="from first to last event", examples=(">2s", ">1min")),
        AGENT, VIA, FAILED, *IDS, PAYLOAD, GROUP, RECONCILED,
    ),
    "events": (
        Field(name="status", kind=Kind.CHOICE, what="how it went", choices=tuple(Outcome.labels), also=("outcome",)),
        FLOW, SYSTEM, DESTINATION, ERROR, CLASS, AGE, AT,
        Field(name="operation", kind=Kind.CHOICE, what="what the system did", choices=tuple(Operation.labels)),
        Field(name="duration", kind=Kind.DURATION, what="how long it took", examples=(">2s", ">=500ms")),
        Field(name="name", kind=Kind.TEXT, what="name of the step"),
        AGENT, *IDS, Field(name="span", kind=Kind.WHOLE, what="span id"), GROUP,
    ),
    "dead-letters": (
        Field(
            name="status", kind=Kind.CHOICE, what="where it stands", choices=("waiting", *STATES, *RESOLUTIONS), also=("state",)
        ),
        FLOW, SYSTEM, REASON, DIED_OF, ERROR, CLASS,
        Field(name="destination", kind=Kind.TEXT, what="where it was to go", also=("origin",)),
        Field(name="queue", kind=Kind.TEXT, what="where it was found dead"),
        AGE, AT, AGENT, Field(name="broker", kind=Kind.WHOLE, what="name of the broker"), *IDS, PAYLOAD, GROUP, RECONCILED,
    ),
    "changes": (
        Field(name="kind", kind=Kind.CHOICE, what="what it is", choices=tuple(Change.Kind.values)),
        Field(name="outcome", kind=Kind.CHOICE, what="how it went", choices=tuple(Change.Outcome.values[1:])),
        FLOW, Field(name="system", kind=Kind.NAME, what="an application it changes"),
        Field(name="version", kind=Kind.WHOLE, what="version that came"),
        Field(name="author", kind=Kind.WHOLE, what="who made it"),
        Field(name="id", kind=Kind.WHOLE, what="the sender's id of it"),
    ),
}  # fmt: skip


def fields_of(target: str) -> dict[str, Field]:
    """Return {name: field} of one kind of row, with the other names that are understood."""
    return {name: field for field in TARGETS[target] for name in (field.name, *field.also)}


def nearest(word: str, words: Iterable[str]) -> str:
    """Return the word that was probably meant, empty when none is near. A name of several parts (agent_no) is seldom a slip."""
    word, known = word.lower()[:64], list(words)
    parted = "_" in word or "." in word
    found = difflib.get_close_matches(word, known, n=1, cutoff=0.9 if parted else 0.75)
    begun = [one for one in known if len(word) > 2 and not parted and one.startswith(word)]
    return (found or begun or [""])[0]


def others_with(name: str, target: str) -> list[str]:
    """Return the other kinds of row that have this field, in words."""
    return [
        other.replace("-", " ") for other in TARGETS if other not in (target, "changes") and name in fields_of(other)
    ]
