"""Keyed hashes of masked values: who knows the value finds what had it, and nothing stored gives it back. Pure.

HMAC-SHA-256 under a key of the environment, which is derived from the master key; 128 bits of it are kept. Whoever has only what is stored
can try no guess. Who may search can, one at a time: a value of which there are few (a PIN) is not one to be found by.
"""

from __future__ import annotations

import hashlib
import hmac
import re

from console.core.ids import framed

HASH = re.compile(r"#[0-9a-f]{32}")


def key_of_environment(master_key: bytes, environment_id: int) -> bytes:
    """Return the 32-byte key of one environment's hashes."""
    return hmac.digest(master_key, framed("hash of a masked value", environment_id), hashlib.sha256)


def keyed_hash(key: bytes, name: str, value: str) -> str:
    """Return the hash of a value under the name that it is found by, as it stands among business keys."""
    return "#" + hmac.digest(key, framed(name, value.strip()), hashlib.sha256)[:16].hex()


def is_hash(value: str) -> bool:
    return HASH.fullmatch(value) is not None
