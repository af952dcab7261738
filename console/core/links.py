"""Addresses that people and programs write, and pages lead to."""

from __future__ import annotations

from urllib.parse import urlsplit


def is_link(url: str) -> bool:
    """Whether this is an http(s) address without spaces and control characters; its host may be an intranet's name without a dot."""
    try:
        parts = urlsplit(url)
        names_host = parts.port != 0 and any(letter.isalnum() for letter in parts.hostname or "")
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and names_host and url.isprintable() and " " not in url
