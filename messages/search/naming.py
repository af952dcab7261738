"""How a message is called: by its first business number, as the people who miss it do. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from messages.masking.hashes import is_hash
from messages.masking.rules import MARK

FIRST = ("order_no", "invoice_no", "shipment_no", "customer_no")
SUFFIXES = ("_no", "_id", "_number", "_nr")


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """`title` names the message, `word` and `number` are its parts ("Order", "4711-2209"), `tags` are the other keys."""

    title: str
    word: str
    number: str
    tags: tuple[tuple[str, str], ...]


def name_of(keys: Mapping[str, str], fallback: str, *, what: str = "Message") -> Name:
    """Return the name of a message with these business keys; without any it is called by `fallback`, its id."""
    keys = {name: value for name, value in keys.items() if not is_hash(str(value)) and value != MARK}
    if not keys:
        return Name(title=f"{what} {fallback}", word=what, number=fallback, tags=())
    ordered = sorted(keys, key=lambda name: (_rank(name), name))
    first, rest = ordered[0], ordered[1:]
    word = _word(first)
    return Name(
        title=f"{word} {keys[first]}",
        word=word,
        number=str(keys[first]),
        tags=tuple((_word(name).lower(), str(keys[name])) for name in rest),
    )


def _rank(name: str) -> int:
    """Order numbers before other documents', those before customers and the like, whatever names nothing last."""
    if name in FIRST:
        return FIRST.index(name) if name != "customer_no" else len(FIRST)
    return len(FIRST) - 1 if name.endswith(SUFFIXES) else len(FIRST) + 1


def _word(name: str) -> str:
    for suffix in SUFFIXES:
        if name.endswith(suffix) and len(name) > len(suffix):
            name = name.removesuffix(suffix)
            break
    words = name.replace("_", " ").replace(".", " ").strip()
    return words[:1].upper() + words[1:] if words else name
