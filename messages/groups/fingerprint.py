"""Which failures are one: a versioned fingerprint of flow, step, root exception, normal form of the message and destination.

Pure, and linear in the length of what strangers send: each pattern reads a character once, and only the first part of a text is read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from console.core.ids import derived_uuid, framed

VERSION = 1
READ = 2_000  # characters of a message that are looked at
LONGEST = 300  # of a normal form
VALUE = "…"

# What was masked, quoted text, a web address, or a run of words joined by the marks that join parts of one value (2026-11-24T10:00, a-b@c.d, 10.0.0.1:80).
PIECE = re.compile(
    r"""(?P<masked>•••)|(?<!\w)(?P<quote>['"`])(?P<quoted>[^'"`\n]{0,200})(?P=quote)(?!\w)"""
    r"""|(?P<address>[A-Za-z][A-Za-z0-9+.]{1,15}://[^\s'"<>)\]]{1,400})"""
    r"""|(?P<word>\w+(?:[-.:,/@#+]\w+)*)"""
)
VALUES = re.compile(rf"{VALUE}(?:[\s,;|]*{VALUE})+")
LONG_WORD = 40  # nobody writes such words; machines do
STATUS_BEFORE = frozenset(
    {"http", "status", "code", "statuscode", "http/1.1", "http/2", "error", "returned", "answered"}
)
CODE = re.compile(r"(?:ORA|TNS|PLS|AMQ|SQLSTATE|SQLCODE)[-:]?\d{3,6}", re.IGNORECASE)
STATUS = re.compile(r"[45]\d\d")
DIGIT = re.compile(r"\d")
FIELD_NAME = re.compile(
    r"[A-Za-z]+(?:[_.][A-Za-z]+)+"
)  # 'customer.vat', "vat_number": which field it is says what is wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What is known of one failure, as it is stored: masked.

    step  the system that failed.   error_type  of the innermost exception.   message  of the error, else the reason of a dead letter.
    """

    flow_id: int
    flow: str = ""
    step: str = ""
    error_type: str = ""
    message: str = ""
    destination: str = ""
    reason: str = ""
    queue: str = ""
    broker: str = ""
    keys: Mapping[str, str] = field(default_factory=dict)


def normal(message: str) -> str:
    """Return a message without its values: numbers, ids, dates, addresses, quoted and masked values are "…"; at most 300 characters.

    Kept are names of fields in quotes (with _ or .), HTTP statuses after a word that says so, and codes of well-known systems.
    """
    return _joined([VALUE if is_value else text for text, is_value in _pieces(message)])


def in_common(messages: Sequence[str]) -> str:
    """Return what these messages, all of one normal form, have in common: values that are the same in each stay.

    "erp:8443 did not answer in 30 s" stays as it is when all say so, "order 4711 is unknown" becomes "order … is unknown".
    """
    taken = [_pieces(one) for one in messages]
    if not taken:
        return ""
    first = taken[0]
    alike = [one for one in taken if len(one) == len(first)]
    same = [len({one[at][0] for one in alike}) == 1 and len(alike) == len(taken) for at in range(len(first))]
    pieces = [text if same[at] or not is_value else VALUE for at, (text, is_value) in enumerate(first)]
    return _joined(pieces)


def _pieces(message: str) -> list[tuple[str, bool]]:
    """Return a message's first line in pieces, each with whether it is a value."""
    line = next((one for one in message[:READ].splitlines() if one.strip()), "")
    pieces: list[tuple[str, bool]] = []
    end, before = 0, ""
    for match in PIECE.finditer(line):
        if match.start() > end:
            pieces.append((line[end : match.start()], False))
        end = match.end()
        pieces.append((match[0], _is_value(match, before)))
        before = match[0].lower()
    if end < len(line):
        pieces.append((line[end:], False))
    return pieces


def _is_value(match: re.Match[str], before: str) -> bool:
    if match["masked"] is not None or match["address"] is not None:
        return True
    if match["quote"] is not None:
        return not FIELD_NAME.fullmatch(match["quoted"])
    word = match["word"]
    if len(word) > LONG_WORD or "@" in word:
        return True
    if not DIGIT.search(word):
        return False
    return not (CODE.fullmatch(word) or (STATUS.fullmatch(word) and before in STATUS_BEFORE))


def _joined(pieces: Sequence[str]) -> str:
    text = VALUES.sub(VALUE, " ".join("".join(pieces).split()))
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + VALUE


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What makes a fingerprint, beside environment and flow; empty where it does not count."""

    step: str = ""
    error_type: str = ""
    message: str = ""
    destination: str = ""
    rule: int = 0
    more: tuple[tuple[str, str], ...] = ()


def usual_parts(failure: Failure) -> Parts:
    """Return the parts by which failures belong together when no rule says otherwise."""
    return Parts(
        step=failure.step[:120],
        error_type=failure.error_type[:300],
        message=normal(failure.message),
        destination=failure.destination[:300],
    )


def fingerprint_of(environment_id: int, flow_id: int, parts: Parts) -> UUID:
    """Return the fingerprint, the same for ever for the same parts in this version. The flow is always part of it:
    a group is seen by those who see its flow.
    """
    texts = [one.casefold() for one in (parts.step, parts.error_type, parts.message, parts.destination)]
    more = [text for pair in parts.more for text in pair]
    return derived_uuid("failure group", framed(VERSION, environment_id, flow_id, parts.rule, *texts, *more))
