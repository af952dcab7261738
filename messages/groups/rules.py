"""Operators' rules as pure objects: which failures a rule is for, and by which parts they belong together."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache

from messages.groups.classes import class_of
from messages.groups.fingerprint import Failure, Parts, normal, usual_parts
from messages.masking.hashes import is_hash
from messages.masking.rules import MARK

PARTS = {
    "step": "the system that failed",
    "error_type": "the exception",
    "message": "the message without its values",
    "destination": "where it was to go",
    "queue": "the dead-letter queue",
    "broker": "the broker",
    "reason": "why the broker put it aside",
}
USUAL = ("step", "error_type", "message", "destination")
EXACT = "="  # before words: the message without its values is exactly this. Alone, also as a pattern: there is nothing
KEY = "key."  # key.country: the value of a business key
MOST_PARTS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """id 0: a rule that is not saved yet. Everything else is as in messages.models.groups.GroupRule."""

    id: int
    name: str
    flow: str = ""
    step: str = ""
    error_type: str = ""
    words: str = ""
    destination: str = ""
    reason: str = ""
    parts: tuple[str, ...] = ()
    failure_class: str = ""
    teams: Collection[int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Where a failure belongs: the parts of its fingerprint, its class, and the rule that said so, None for the usual way."""

    parts: Parts
    failure_class: str
    rule: Rule | None = None
    name: str = ""


def of_team(rules: Sequence[Rule], team_id: int | None) -> list[Rule]:
    """Return the rules that act on flows of this team, None for those of no team."""
    return [one for one in rules if one.teams is None or team_id is None or team_id in one.teams]


def acts_on(rule: Rule, flow: str, team_id: int | None) -> bool:
    """Whether failures of this flow may be for the rule, as far as its name and its team say; team None: of no team."""
    return bool(of_team([rule], team_id)) and _like(rule.flow, flow)


def place(failure: Failure, rules: Sequence[Rule]) -> Placed:
    """Return where a failure belongs: by the first rule that fits it, else the usual way."""
    rule = next((one for one in rules if fits(one, failure)), None)
    found = class_of(reason=failure.reason, error_type=failure.error_type, message=failure.message)
    if rule is None:
        return Placed(parts=usual_parts(failure), failure_class=found)
    parts = parts_by(rule, failure)
    return Placed(parts=parts, failure_class=rule.failure_class or found, rule=rule, name=_name(rule, parts))


def fits(rule: Rule, failure: Failure) -> bool:
    """Whether a failure is one that the rule is for: all of its patterns fit."""
    return (
        _like(rule.flow, failure.flow)
        and _like(rule.step, failure.step)
        and _like(rule.error_type, failure.error_type)
        and _like(rule.destination, failure.destination)
        and (not rule.reason or rule.reason == failure.reason)
        and _says(rule.words, failure.message)
    )


def _says(words: str, message: str) -> bool:
    if words.startswith(EXACT):
        whole = words.removeprefix(EXACT).strip()
        return normal(message).casefold() == (normal(whole) if MARK in whole else whole).casefold()
    return not words or words.casefold() in message.casefold()


def _like(pattern: str, text: str) -> bool:
    if pattern == EXACT:
        return not text
    return not pattern or _compiled(pattern)(text)


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> Callable[[str], bool]:
    """Return whether a text fits a pattern with `*` and `?`: piece by piece, so that no pattern takes more than |pattern| × |text| steps."""
    pieces = pattern.casefold().split("*")

    def found(text: str) -> bool:
        text = text.casefold()
        if len(pieces) == 1:
            return len(text) == len(pieces[0]) and _at(pieces[0], text, 0)
        first, *middle, last = pieces
        if len(text) < len(first) + len(last) or not _at(first, text, 0) or not _at(last, text, len(text) - len(last)):
            return False
        at, end = len(first), len(text) - len(last)
        for piece in middle:
            at = next((here for here in range(at, end - len(piece) + 1) if _at(piece, text, here)), -1)
            if at < 0:
                return False
            at += len(piece)
        return True

    return found


def _at(piece: str, text: str, at: int) -> bool:
    return (
        all(one in ("?", text[at + offset]) for offset, one in enumerate(piece))
        if "?" in piece
        else text.startswith(piece, at)
    )


def parts_by(rule: Rule, failure: Failure) -> Parts:
    """Return the parts of a failure that a rule makes count. All four usual ones and no other: the usual fingerprint, so that
    a rule which only gives a class or a name does not move anything.
    """
    usual, asked = usual_parts(failure), set(rule.parts)
    if asked == set(USUAL):
        return usual
    return Parts(
        step=usual.step if "step" in asked else "",
        error_type=usual.error_type if "error_type" in asked else "",
        message=usual.message if "message" in asked else "",
        destination=usual.destination if "destination" in asked else "",
        rule=rule.id,
        more=tuple((name, part_of(failure, name)) for name in sorted(asked - set(USUAL))),
    )


def part_of(failure: Failure, name: str) -> str:
    """Return one part of a failure, "" when it has none."""
    if name.startswith(KEY):
        return str(failure.keys.get(name.removeprefix(KEY), ""))[:200]
    if name == "message":
        return normal(failure.message)
    return str(getattr(failure, name))[:300]


def _name(rule: Rule, parts: Parts) -> str:
    """Return what the group is called: the rule's name, with the values that tell its groups apart."""
    if set(rule.parts) == set(USUAL):
        return ""
    told = [
        parts.step,
        parts.error_type.rpartition(".")[2],
        parts.destination,
        *(MARK if is_hash(value) else value for _, value in parts.more),
    ]
    return f"{rule.name}: {', '.join(one for one in told if one)}"[:200] if any(told) else rule.name[:200]


PART_NAME = re.compile(r"key\.[\w.\-]{1,64}")


def is_part(name: str) -> bool:
    return name in PARTS or bool(PART_NAME.fullmatch(name))
