"""Business keys in a message's own body. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

LARGEST = 1_000_000  # bytes: a key is looked for in documents, not in files
DEEPEST = 6

Keys = Callable[[Mapping[str, Any]], dict[str, str]]


def keys_of_body(body: bytes | None, keys: Keys) -> dict[str, str]:
    """Return the business keys among the fields of a JSON object, nested ones by dotted name; {} for any other body."""
    if body is None or len(body) >= LARGEST or body[:1] not in (b"{", b" ", b"\n", b"\r", b"\t"):
        return {}
    try:
        tree = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return {}
    return keys(_flat(tree)) if isinstance(tree, dict) else {}


def _flat(tree: dict[str, Any], prefix: str = "", depth: int = 0) -> dict[str, Any]:
    """Return {"customer.id": 7, …}: the scalars of nested objects by dotted name."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict) and depth < DEEPEST:
            flat.update(_flat(value, f"{prefix}{name}.", depth + 1))
        elif not isinstance(value, list):
            flat[prefix + name] = value
    return flat
