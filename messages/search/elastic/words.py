"""Texts as they lie in the index, and as a question looks for them: the same letters as PostgreSQL's upper(). Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

CHUNK = 8_000  # characters: at most 32,000 bytes, and Lucene takes no term above 32,766
LONGEST_WORD = 100  # characters of a part that is looked for; the automaton of a longer one is refused (measured with "YYYY…": 140)
MICROSECOND = timedelta(microseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def folded(text: str) -> str:
    """Return a text for comparing whatever the case: one letter stays one letter, as in PostgreSQL (ß does not become SS)."""
    upper = text.upper()
    return upper if len(upper) == len(text) else "".join(_upper(letter) for letter in text)


@lru_cache(maxsize=4096)
def _upper(letter: str) -> str:
    upper = letter.upper()
    return upper if len(upper) == 1 else letter


def chunks(text: str) -> list[str]:
    """Return a folded text in parts that Lucene takes; each part of up to LONGEST_WORD characters lies whole in one of them."""
    whole = folded(text)
    if len(whole) <= CHUNK:
        return [whole] if whole else []
    step = CHUNK - LONGEST_WORD
    return [whole[start : start + CHUNK] for start in range(0, len(whole) - LONGEST_WORD, step)]


def anywhere(text: str) -> str:
    """Return the pattern of a text that contains this one."""
    return "*" + "".join(f"\\{letter}" if letter in "*?\\" else letter for letter in folded(text)) + "*"


def key_term(name: str, value: str) -> str:
    """Return a business key as one term; the length tells the name from the value, whatever they contain."""
    return f"{len(name)}:{name}={value}"


def microseconds(at: datetime) -> int:
    """Return µs since 1970: Elasticsearch's dates end at milliseconds, and pages are ordered by µs."""
    return (at - EPOCH) // MICROSECOND


def moment(microseconds_since: int) -> datetime:
    return EPOCH + microseconds_since * MICROSECOND
