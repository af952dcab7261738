"""Bytes among what rules look at: found in the base64 they stand in, and read in every way a person could read them. Pure."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator

DIGIT = "[A-Za-z0-9+/]"
BASE64 = re.compile(f"(?:{DIGIT}{{4}})+(?:{DIGIT}{{2}}==|{DIGIT}{{3}}=)?")
CUT = "…"  # at the end of what was too long for ingest


def text_of(data: bytes) -> str | None:
    """Return what the bytes say as UTF-8; None for what is no text, and for NULs, between which UTF-16 has its letters."""
    if b"\x00" in data:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def readings_of(data: bytes) -> Iterator[str]:
    """Yield the texts that bytes may be which are not UTF-8: with broken places, Latin-1, UTF-16 and UTF-32 (Latin-1 among NULs)."""
    yield data.decode("utf-8", "replace")
    yield data.decode("latin-1")
    if b"\x00" in data:
        yield data.replace(b"\x00", b"").decode("latin-1")


def bytes_in(text: str) -> bytes | None:
    """Return the bytes that a text is the base64 of, None when it is none; of one that ingest cut, those that are left."""
    if text.endswith(CUT):
        text = text[: (len(text) - len(CUT)) // 4 * 4]
    return base64.b64decode(text) if len(text) % 4 == 0 and BASE64.fullmatch(text) else None
