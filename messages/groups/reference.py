"""What a failure group is called: G-204. Short enough to say aloud, the same for ever. Pure."""

from __future__ import annotations

import re

REFERENCE = re.compile(r"(?:g-?)?([1-9]\d{0,17})", re.ASCII | re.IGNORECASE)


def reference_of(pk: int) -> str:
    return f"G-{pk}"


def number_of(text: str) -> int | None:
    """Return the group's number in `G-204`, `g204` or `204`, None for what is no reference."""
    match = REFERENCE.fullmatch(text.strip())
    return int(match[1]) if match else None
