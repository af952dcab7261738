"""B-12: how people call a breach. Pure."""

from __future__ import annotations

import re

REFERENCE = re.compile(r"(?:b-?)?([1-9]\d{0,17})", re.ASCII | re.IGNORECASE)


def reference_of(pk: int) -> str:
    return f"B-{pk}"


def number_of(text: str) -> int | None:
    """Return the breach's number in `B-12`, `b12` or `12`, None for what is no reference."""
    match = REFERENCE.fullmatch(text.strip())
    return int(match[1]) if match else None
