"""Words put into a query so that they mean themselves. Pure."""

from __future__ import annotations


def quoted(text: str) -> str:
    """Return `text` as one phrase of the query language: in quotes, with its own quotes and backslashes escaped."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
