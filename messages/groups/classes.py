"""What kind of failure it is, by rule, and what is usually done about it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

READ = 2_000  # characters of a message


@dataclass(frozen=True, slots=True, kw_only=True)
class Class:
    """words: what it means.   action: what to do first, as a sentence of its own."""

    words: str
    action: str


CLASSES: dict[str, Class] = {
    "transient": Class(
        words="something did not answer or broke off; the same message may pass a while later",
        action="Wait until the destination answers again, then replay.",
    ),
    "throttled": Class(
        words="the receiver, or a limit, was full",
        action="Replay slowly, once the limit lets messages through again.",
    ),
    "data": Class(
        words="the receiver looked at the message and refused what is in it",
        action="Repair the data where it comes from, or in the message, then replay. Replaying it as it is fails again.",
    ),
    "configuration": Class(
        words="an address, a queue, a table or a setting is not there",
        action="Put the configuration right, then replay.",
    ),
    "authentication": Class(
        words="the sender was not let in",
        action="Renew the credential or the right that is missing, then replay.",
    ),
    "contract": Class(
        words="the message could not be read: its form is not the one that was agreed",
        action="Have sender and receiver agree on the form, repair the messages or the receiver, then replay.",
    ),
    "poison": Class(
        words="the message ends whoever takes it, whatever they do",
        action="Keep it out of the way and look at it alone; do not replay before the receiver is repaired.",
    ),
    "unknown": Class(
        words="nothing that came with it says why",
        action="Look at one of the letters: its journey and the receiver's log say more.",
    ),
}

# What a broker says decides by itself; then the first line of a table whose words are in the text.
_REASONS = {
    "throttled": "throttled",
    "overflow": "throttled",
    "auth": "authentication",
    "deserialization": "contract",
    "hop_limit": "configuration",
    "expired": "transient",
}
# In the exception's name, small, without "_".
_TYPES = (
    ("poison", "outofmemory stackoverflow segfault workerlost recursionerror sigkill"),
    ("throttled", "throttl ratelimit toomanyrequests quotaexceeded limitexceeded slowdown"),
    (
        "authentication",
        "authenticat authoriz unauthorized forbidden accessdenied accessrefused permission credential invalidtoken "
        "expiredtoken certificate sslhandshake pkix",
    ),
    (
        "contract",
        "deserializ serializationexc parse unmarshal decod schema malformed jsonmapping unrecognizedproperty "
        "messageconversion unexpectedtoken syntaxerror notreadable",
    ),
    (
        "transient",
        "timeout timedout connect socket unavailable brokenpipe reset refused unreachable deadlock optimisticlock transient "
        "temporar ioexception eof circuitbreaker callnotpermitted noroutetohost unknownhost",
    ),
    (
        "configuration",
        "classnotfound nosuchmethod nosuchbean beancreation configuration undefinedtable filenotfound queuenotfound "
        "topicnotfound hostnotfound nosuchkey",
    ),
    (
        "data",
        "validat constraint illegalargument valueerror integrity duplicatekey dataexception numberformat keyerror "
        "nullpointer typeerror arithmetic invalid badaddress business assert notfound",
    ),
)
# In the message, small.
_MESSAGES = (
    ("throttled", "too many requests|rate limit|throttl|quota"),
    (
        "authentication",
        "unauthorised|unauthorized|forbidden|access denied|not authorised|not authorized|permission denied|bad credentials|"
        "invalid api key|token expired|token has expired|certificate|invalid credentials|invalid username|invalid password|"
        "username/password|password is incorrect|incorrect password|login failed|login incorrect|logon denied|"
        "authentication failed|authentication credentials",
    ),
    (
        "contract",
        "cannot parse|cannot be parsed|cannot deserial|cannot be deserial|cannot decode|unexpected token|unexpected end of|"
        "not well-formed|malformed|schema|unrecognized field|invalid json|invalid xml|invalid avro",
    ),
    (
        "transient",
        "timed out|time-out|timeout|did not answer|no answer|connection refused|connection reset|connection closed|"
        "connection lost|unavailable|try again|deadlock|not reachable|unreachable|broken pipe|temporar",
    ),
    (
        "configuration",
        "no such host|no such queue|no such table|no such file|no such topic|no such bucket|does not exist|unknown host|"
        "unknown topic|unknown queue|not configured|no route",
    ),
    (
        "data",
        "required|must be|must not be|missing|invalid|not valid|duplicate|violates|constraint|out of range|too long|"
        "unknown customer|unknown article|unknown order|unknown material|negative",
    ),
)
_STATUSES = {
    401: "authentication",
    403: "authentication",
    404: "configuration",
    405: "configuration",
    406: "contract",
    407: "authentication",
    408: "transient",
    410: "configuration",
    415: "contract",
    425: "transient",
    429: "throttled",
}
BY_TYPE = tuple((name, tuple(words.split())) for name, words in _TYPES)
BY_MESSAGE = tuple((name, tuple(words.split("|"))) for name, words in _MESSAGES)
HTTP = re.compile(
    r"\b(?:http(?:/[\d.]{1,3})?|status(?: ?code)?|returned|answered|response|error)[ :=]{1,3}([1-5]\d\d)\b", re.I
)


def http_status_of(text: str) -> int | None:
    """Return the HTTP status that a text names, such as in "HTTP 503" or "status code: 401"; None without one."""
    match = HTTP.search(text[:READ])
    return int(match[1]) if match else None


def class_of_status(status: int) -> str:
    """Return the class of an HTTP status, "" for one that is no failure."""
    if status in _STATUSES:
        return _STATUSES[status]
    return "transient" if status >= 500 else "data" if status >= 400 else ""


def class_of(*, reason: str = "", error_type: str = "", message: str = "") -> str:
    """Return the class of a failure by the shipped rules: what the broker says, then an HTTP status, the exception's name, its words."""
    if reason in _REASONS:
        return _REASONS[reason]
    status = http_status_of(message) or http_status_of(error_type)
    if status and (found := class_of_status(status)):
        return found
    kind, said = error_type[-300:].lower().replace("_", ""), message[:READ].lower()
    return _first(BY_TYPE, kind) or _first(BY_MESSAGE, said) or "unknown"


def _first(table: tuple[tuple[str, tuple[str, ...]], ...], text: str) -> str:
    return next((name for name, words in table if any(word in text for word in words)), "")
