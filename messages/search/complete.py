"""What may follow in the search box: fields, words of fields, names that the reader may see. Never values of business keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import QuerySet

from console.identity.access import visible_agents
from console.identity.actor import Actor
from console.identity.models import Environment
from messages.access import visible_dead_letters, visible_flows, visible_hours, visible_systems
from messages.models import DeadLetter
from messages.search.fields import TARGETS, Field, Kind, fields_of
from messages.search.groups import named_groups
from messages.search.keys import known_keys
from messages.search.query import value_text
from messages.search.scan import Token, clean, token_before

MOST = 10
LATELY = timedelta(hours=6)  # the hours whose destinations are read: the current one and those before it
ROWS = 5_000  # of them at most
LETTERS = 1_000  # the newest, whoever may see them, among which names are looked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """text: what is put in place of the token.   label: what the reader sees of it.   what: a short word of what it is."""

    text: str
    label: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Completions:
    """items replace what stands between `start` and `cursor`, offsets from 0 in characters (code points)."""

    start: int
    cursor: int
    items: list[Completion]


def complete(
    actor: Actor, environments: Sequence[Environment], target: str, text: str, cursor: int | None = None
) -> Completions:
    """Return at most ten completions of the token before the cursor, which is at the end when it is not given. Never refuses."""
    text = clean(text)
    cursor = len(text) if cursor is None else min(max(0, cursor), len(text))
    token = token_before(text, cursor)
    if token is None:
        return Completions(start=cursor, cursor=cursor, items=[])
    if token.field is None:
        items = _fields(actor, environments, target, token.written)
        if text[cursor : cursor + 1] == ":":
            items = [replace(item, text=item.text.removesuffix(":")) for item in items]
    else:
        items = _values(actor, environments, target, token)
    return Completions(start=token.start, cursor=cursor, items=items[:MOST])


def _fields(actor: Actor, environments: Sequence[Environment], target: str, written: str) -> list[Completion]:
    """Return the fields, then the business keys, whose name begins with what is written; then those that contain it."""
    items = [Completion(text=f"{field.name}:", label=field.name, what=field.what) for field in TARGETS[target]]
    if target != "changes":
        said = written.lower().startswith("key.")  # then those that are called like a field as well
        keys = sorted(known_keys(actor, environments) - (set() if said else set(fields_of(target))))
        names = [(f"key.{_key(name)}", f"key.{name}") if said else (_key(name), name) for name in keys]
        items += [Completion(text=f"{text}:", label=label, what="business key") for text, label in names]
    return _fitting(items, written)


def _key(name: str) -> str:
    """Return a key's name as it is written before the colon."""
    return "".join(one if one.isalnum() or one in "_.-" else f"\\{one}" for one in name)


def _fitting(items: Sequence[Completion], written: str) -> list[Completion]:
    word = written.lower()
    first = [item for item in items if item.label.lower().startswith(word)]
    return first + [item for item in items if word in item.label.lower() and item not in first]


def _values(actor: Actor, environments: Sequence[Environment], target: str, token: Token) -> list[Completion]:
    field = fields_of(target).get(str(token.field).lower())
    if field is None:  # a business key: its values are nobody's business but of those who know them
        return []
    if field.choices or field.examples:
        return _fitting([_value(field, one, field.what) for one in (*field.choices, *field.examples)], token.written)
    if field.name == "group":
        found = named_groups(actor, environments, token.written, most=MOST)
        return [
            Completion(text=f"{one.reference} ", label=f"{one.reference} {one.heading[:60]}", what=one.state)
            for one in found
        ]
    rows = NAMES.get((target, field.name)) or NAMES.get(("", field.name))
    if rows is None:
        return []
    names, what = rows(actor, environments, token.written), field.name
    return [_value(field, name, what) for name in names]


def _value(field: Field, value: str, what: str) -> Completion:
    plain = field.kind in (Kind.AGE, Kind.TIME, Kind.DURATION)  # written in the language already
    return Completion(text=f"{value if plain else value_text(value)} ", label=value, what=what)


Names = Callable[[Actor, Sequence[Environment], str], list[str]]


def _names_of(visible: Callable[[Actor], QuerySet[Any]]) -> Names:
    """Return the names of rows of the catalogue: those that begin with the word first, each group by name."""

    def names(actor: Actor, environments: Sequence[Environment], word: str) -> list[str]:
        rows = visible(actor).filter(environment__in=environments).order_by("name").values_list("name", flat=True)
        first = list(rows.filter(name__istartswith=word)[:MOST])
        more = list(rows.filter(name__icontains=word)[: 2 * MOST]) if word and len(first) < MOST else []
        return list(dict.fromkeys([*first, *more]))[:MOST]

    return names


def _destinations(actor: Actor, environments: Sequence[Environment], word: str) -> list[str]:
    """Return destinations of the last hours, of flows that the actor may see, from the hourly counts."""
    since = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - LATELY
    rows = visible_hours(actor).filter(environment__in=environments, hour__gte=since, destination__icontains=word)
    found = set(rows.order_by().values_list("destination", flat=True)[:ROWS])
    return _by_beginning(found - {""}, word)


def _of_letters(column: str) -> Names:
    def names(actor: Actor, environments: Sequence[Environment], word: str) -> list[str]:
        latest = DeadLetter.objects.filter(environment__in=environments).order_by("-id").values("pk")[:LETTERS]
        rows = visible_dead_letters(actor).filter(pk__in=latest, **{f"{column}__icontains": word})
        found = set(rows.order_by().values_list(column, flat=True).distinct())
        return _by_beginning(found - {""}, word)

    return names


def _by_beginning(found: set[str], word: str) -> list[str]:
    return sorted(found, key=lambda one: (not one.lower().startswith(word.lower()), one))[:MOST]


NAMES: dict[tuple[str, str], Names] = {
    ("", "flow"): _names_of(visible_flows),
    ("messages", "via"): _names_of(visible_flows),
    ("", "system"): _names_of(visible_systems),
    ("", "agent"): _names_of(visible_agents),
    ("", "destination"): _destinations,
    ("dead-letters", "destination"): _of_letters("origin"),
    ("dead-letters", "queue"): _of_letters("queue"),
    ("dead-letters", "broker"): _of_letters("broker"),
}
