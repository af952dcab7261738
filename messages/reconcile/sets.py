"""The sets of a reconciliation: what each means in words, and how its counts add up. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from console.core.errors import NotFound

FORMULA = frozenset("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
PROCESSED, FAILED, MOVING, NEVER, UNLISTED = 1, 2, 3, 4, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySet:
    """A set of keys with an address. kinds: the first and last kind in it; twice, repeated: only those."""

    slug: str
    label: str
    meaning: str
    kinds: tuple[int, int]
    twice: bool = False
    repeated: bool = False


SETS: dict[str, KeySet] = {
    one.slug: one
    for one in (
        KeySet(
            slug="arrived",
            label="Arrived",
            meaning="keys that a message of the flow first seen in the period carries, or a dead letter that names none: processed, failed and on the way",
            kinds=(PROCESSED, MOVING),
        ),
        KeySet(
            slug="processed",
            label="Processed",
            meaning="arrived, and a message of theirs is delivered, or a dead letter that names none was processed by its replay; "
            "and a system that failed another of them passed one since",
            kinds=(PROCESSED, PROCESSED),
        ),
        KeySet(
            slug="failed",
            label="Failed",
            meaning="arrived, and no message of theirs is delivered, but one failed, is dead, was undone by a compensation, or left a dead letter "
            "that names none; or a system failed one of them and passed none since",
            kinds=(FAILED, FAILED),
        ),
        KeySet(
            slug="on-the-way",
            label="On the way",
            meaning="arrived, and their messages are neither delivered nor failed yet",
            kinds=(MOVING, MOVING),
        ),
        KeySet(
            slug="never-seen",
            label="Never seen",
            meaning="keys of the list that no message of the flow carries in the period, and no dead letter",
            kinds=(NEVER, NEVER),
        ),
        KeySet(
            slug="twice",
            label="Came twice",
            meaning="arrived with more than one message that one system took, or sent where none took any; they are counted above as well",
            kinds=(PROCESSED, MOVING),
            twice=True,
        ),
        KeySet(
            slug="repeated",
            label="Twice on the list",
            meaning="keys that the list says more than once; each is one key above, and what is counted are the lines that say it again",
            kinds=(PROCESSED, NEVER),
            repeated=True,
        ),
        KeySet(
            slug="not-on-the-list",
            label="Not on the list",
            meaning="keys of the flow's messages and dead letters of the period that the list does not have",
            kinds=(UNLISTED, UNLISTED),
        ),
    )
}


OF_SYSTEM = {
    "arrived": "keys that a message of the flow first seen in the period carries, or a dead letter of {system} that names none",
    "processed": "arrived, and what {system} did last with them was no error, or its dead letter of them was processed by its replay",
    "failed": "arrived, and what {system} did last with them was an error, or a dead letter of {system}, or of no system, waits or was discarded",
    "on-the-way": "arrived, and {system} has neither passed nor failed them yet, whatever other systems did",
    "twice": "arrived, and {system} took more than one message of theirs; they are counted above as well",
}


def set_of(one: Any, slug: str) -> KeySet:
    """Return a set of this reconciliation with what it means there: where it names a receiving system, that alone decides. Raises NotFound."""
    found = set_named(slug)
    if one.system is None or slug not in OF_SYSTEM:
        return found
    return replace(found, meaning=OF_SYSTEM[slug].format(system=one.system.name))


def set_named(slug: str) -> KeySet:
    """Return a set by its address; raises NotFound."""
    if slug not in SETS:
        raise NotFound(f"there is no such set of keys: one of {', '.join(SETS)}")
    return SETS[slug]


def query_of(one: Any, key_set: KeySet) -> str:
    """Return what to search for in messages or dead letters: what decided about each key of this set of a reconciliation."""
    return f"reconciled:{one.pk}.{key_set.slug}"


def safe_cell(value: object) -> str:
    """Return a cell that no spreadsheet takes for a formula: one that begins with = + - @, a tab or a line end gets an apostrophe.

    So do their full-width forms, which spreadsheets of East Asian locales read alike.
    """
    text = str(value)
    return f"'{text}" if text[:1] and text[0] in FORMULA else text


def csv_line(cells: list[object]) -> str:
    """Return one line of a CSV (RFC 4180), every cell that needs it in quotes, with its end."""
    return ",".join(_cell(safe_cell(one)) for one in cells) + "\r\n"


def _cell(text: str) -> str:
    if any(one in text for one in ',"\r\n;\t'):
        return '"' + text.replace('"', '""') + '"'
    return text
