"""Lengths of time and lists of names, as sentences for an operator have them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

SOON_S = 3600  # who keeps a message no longer than this keeps it for a short time
UNITS = ((86_400, "day", "days"), (3600, "hour", "hours"), (60, "min", "min"))


def span(seconds: float) -> str:
    """Return a length of time in its largest whole unit: "5 s", "10 min", "1 hour", "4 days"."""
    for size, one, many in UNITS:
        if seconds >= size and not seconds % size:
            count = int(seconds // size)
            return f"{count} {one if count == 1 else many}"
    return f"{seconds:,.0f} s" if seconds >= 10_000 else f"{seconds:g} s"


def some(names: Sequence[str], most: int = 5) -> str:
    """Return the first names, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
