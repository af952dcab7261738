"""What axe looks for on a page: everything in light; in dark, where only colours are others, their contrast. A look costs 0.3 to 1 s of CPU."""

from __future__ import annotations


def looked_for(scheme: str) -> dict[str, object]:
    """Return axe's options for a page in this colour scheme: light or dark."""
    if scheme == "dark":
        return {"runOnly": {"type": "rule", "values": ["color-contrast"]}}
    return {"runOnly": ["wcag2a", "wcag2aa"]}
