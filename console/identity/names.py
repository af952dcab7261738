"""Names that people may have: the audit list and plans say who did something by name, so no two may read alike. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from console.core.errors import Conflict, Invalid
from console.identity.actor import COMMAND, SYSTEM

MOST = 150
OF_THE_PRODUCT = (SYSTEM.name, COMMAND.name, "demo set-up", "waybill")
BEGIN_LIKE_THE_PRODUCTS = ("agent:", "automatic:")  # what agents do, what replay rules do


def reads_as(name: str) -> str:
    """Return what two names have in common that a reader does not tell apart: letter case, width, spaces and what is not seen do not count."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return "".join(one for one in folded if unicodedata.category(one)[0] not in "ZC")


def check_name(name: str, *, taken: Iterable[str]) -> str:
    """Return the name without spaces around it; raises Invalid for one that nobody may have, Conflict for one that reads as a taken one."""
    name = name.replace("\x00", "").strip()
    if not name or len(name) > MOST:
        raise Invalid(f"a user has a name of 1 to {MOST} characters")
    if not name.isprintable():
        raise Invalid("a user's name has letters that can be seen, and plain spaces")
    key = reads_as(name)
    if key in {reads_as(one) for one in OF_THE_PRODUCT} or key.startswith(BEGIN_LIKE_THE_PRODUCTS) or not key:
        raise Invalid(f"“{name[:60]}” is what this console calls itself: choose another name")
    for other in taken:
        if reads_as(other) == key:
            raise Conflict(f"there is a user {other} already")
    return name
