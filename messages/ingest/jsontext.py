"""JSON as agents send it: what one item does wrong must not cost its neighbours. Pure."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

from console.core.nesting import STRING, deeper_than, hollow
from messages.ingest.http import MOST_DEPTH, Malformed

Kind = TypeVar("Kind")
MOST_MEMBERS = 10_000  # of one item: 64 KiB of attributes are kept of it anyway
FEW_BYTES = 64 * 1024  # an item of less is not counted
WRAPPED_IN = 16  # levels that an envelope may put around an item
ESCAPES = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[dD][89a-fA-F][0-9a-fA-F]{2}|\\.", re.S
)
MEMBERS = re.compile(STRING + rb"|:", re.S)
UNREADABLE = (msgspec.DecodeError, RecursionError, UnicodeError, OverflowError)


def decode(data: bytes | msgspec.Raw, kind: type[Kind]) -> Kind:
    """Return the typed value; a lone surrogate, which JavaScript sends of text that it cut, becomes U+FFFD. Raises UNREADABLE."""
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        mended = without_lone_surrogates(bytes(data))
        if mended == data:
            raise
        return msgspec.json.decode(mended, type=kind)


def decode_around(data: bytes, kind: type[Kind]) -> Kind:
    """Return what holds items as msgspec.Raw, to be read one by one; an item nested too deep to be walked is still too deep then."""
    try:
        return decode(data, kind)
    except RecursionError:
        return decode(hollow(MOST_DEPTH + WRAPPED_IN, data), kind)


def check_item(data: bytes) -> None:
    """Refuse an item nested deeper than 64 or with more than 10,000 members: raises Malformed."""
    check_nesting(data)
    if len(data) > FEW_BYTES and _has_many_members(data):
        raise Malformed(f"an item has at most {MOST_MEMBERS:,} members")


def check_nesting(data: bytes) -> None:
    """Refuse JSON nested deeper than 64, before a parser sees it: raises Malformed."""
    if data.count(b"[") + data.count(b"{") > MOST_DEPTH and deeper_than(MOST_DEPTH, data):
        raise Malformed(f"the JSON is nested deeper than {MOST_DEPTH}")


def _has_many_members(data: bytes) -> bool:
    members = 0
    for token in MEMBERS.finditer(data):
        members += data[token.start()] == ord(":")
        if members > MOST_MEMBERS:
            return True
    return False


def without_lone_surrogates(data: bytes) -> bytes:
    """Return JSON in which half of a surrogate pair, which is no character, is U+FFFD."""

    def mend(escape: re.Match[bytes]) -> Any:
        return rb"\ufffd" if len(escape[0]) == 6 else escape[0]

    return ESCAPES.sub(mend, data)
