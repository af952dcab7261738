"""Identifiers: time-ordered ones for rows that we make, derived ones for rows whose sender must meet its first copy."""

from __future__ import annotations

import hashlib
import os
import time
from uuid import UUID


def uuid7() -> UUID:
    """Return a time-ordered UUID (RFC 9562, version 7): 48 bits of milliseconds, 74 random bits."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    value = (milliseconds & (1 << 48) - 1) << 80
    value |= 0x7 << 76 | (random >> 68 & 0xFFF) << 64
    value |= 0b10 << 62 | random & (1 << 62) - 1
    return UUID(int=value)


def derived_uuid(*parts: object) -> UUID:
    """Return the UUID (version 8) that these parts always give; parts are told apart by length, not by a separator."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(4, "big") + data)
    value = int.from_bytes(digest.digest(), "big")
    value = value & ~(0xF << 76) | 0x8 << 76
    value = value & ~(0b11 << 62) | 0b10 << 62
    return UUID(int=value)
