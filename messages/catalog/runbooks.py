"""Runbooks: where it is written what to do when a flow, or a cause of its failures, is in trouble."""

from __future__ import annotations

from console.core.errors import Invalid
from console.core.links import is_link


def check_runbook(url: str) -> str:
    """Return an address of the web, trimmed, "" for none; raises Invalid."""
    url = url.replace("\x00", "").strip()
    if url and not is_link(url):
        raise Invalid("a runbook is an address that begins with http:// or https:// and has no spaces")
    if len(url) > 200:
        raise Invalid("an address has at most 200 characters")
    return url
