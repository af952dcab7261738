"""Texts as they lie in the index, and as a question looks for them: letters are alike when PostgreSQL's ILIKE says so. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

CHUNK = 8_000  # characters: at most 32,000 bytes, and Lucene takes no term above 32,766
LONGEST_WORD = 100  # characters of a part that is looked for; the automaton of a longer one is refused (measured with "YYYY…": 140)
MICROSECOND = timedelta(microseconds=1)
FOLDING = 2  # rises with each change of `folded`: indices of another are built anew
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def folded(text: str) -> str:
    """Return a text for comparing whatever the case. One letter stays one letter: ß does not become SS, nor is ς a Σ."""
    return text.upper() if text.isascii() else "".join(map(_folded, text))


@lru_cache(maxsize=4096)
def _folded(letter: str) -> str:
    """Return what stands for all letters of one lower case, which is all that ILIKE goes by: their capital, where there is one."""
    lower = letter.lower()[0]  # of İ alone Python's has two
    upper = lower.upper()
    return upper if upper.lower() == lower else lower


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
