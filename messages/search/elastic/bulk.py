"""Documents on their way: bulk requests of bounded size, and what became of each item."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec
import structlog

from messages.search.base import Away
from messages.search.elastic.client import FAULTS, client, words_of

log = structlog.get_logger(__name__)
MOST_BYTES = 4 * 1024 * 1024  # of one request
MOST_REASON = 500
SUSPICIOUS = 20  # so many refused of one request, and more than half of it: the index is wrong, not the documents


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One document for one index; document None deletes it."""

    index: str
    id: UUID
    version: int
    document: dict[str, Any] | None


@dataclass(slots=True)
class Outcome:
    """done: that version or a newer one is there.   again: not taken now.   refused: never, and why.   indices: what was written into."""

    done: set[UUID] = field(default_factory=set)
    again: set[UUID] = field(default_factory=set)
    refused: dict[UUID, str] = field(default_factory=dict)
    why: str = ""  # of what is to be tried again
    indices: set[str] = field(default_factory=set)

    def add(self, other: Outcome) -> None:
        self.done |= other.done
        self.again |= other.again
        self.refused |= other.refused
        self.why = other.why or self.why
        self.indices |= other.indices


def send(items: Iterable[Item]) -> Outcome:
    """Send documents; of those that meet trouble, say which. An answer that does not come makes the rest a matter of `again`."""
    outcome = Outcome()
    for some, lines in _requests(items):
        if outcome.again:  # the back end is busy or away: what is left waits with the rest
            outcome.again |= {item.id for item in some}
            continue
        try:
            answer = client().bulk(operations=lines)  # type: ignore[arg-type]
        except FAULTS as fault:
            outcome.add(Outcome(again={item.id for item in some}, why=words_of(fault)))
        else:
            outcome.add(_outcome(some, answer["items"]))
            outcome.indices |= {item.index for item in some}
    outcome.done -= outcome.again | outcome.refused.keys()
    return outcome


def _requests(items: Iterable[Item]) -> Iterator[tuple[list[Item], list[bytes]]]:
    """Yield (items, lines of the body), each request below MOST_BYTES unless one document alone is not."""
    some: list[Item] = []
    lines: list[bytes] = []
    size = 0
    for item in items:
        own = _lines(item)
        length = sum(len(line) + 1 for line in own)
        if some and size + length > MOST_BYTES:
            yield some, lines
            some, lines, size = [], [], 0
        some.append(item)
        lines += own
        size += length
    if some:
        yield some, lines


def _lines(item: Item) -> list[bytes]:
    meta = {"_index": item.index, "_id": str(item.id), "version": item.version, "version_type": "external"}
    if item.document is None:
        return [msgspec.json.encode({"delete": meta})]
    return [msgspec.json.encode({"index": meta}), msgspec.json.encode(item.document)]


def _outcome(items: list[Item], answers: list[dict[str, Any]]) -> Outcome:
    outcome = Outcome()
    for item, answer in zip(items, answers, strict=True):
        found = next(iter(answer.values()))
        status = int(found["status"])
        if status < 300 or status == 409 or (item.document is None and status == 404):
            outcome.done.add(item.id)  # 409: a newer version is there
        elif status == 400:
            outcome.refused[item.id] = _reason(found)
        else:
            outcome.again.add(item.id)
            outcome.why = f"it answered {status} to some of them"
    if len(outcome.refused) > max(SUSPICIOUS, len(items) // 2):
        log.error("index_refuses_everything", items=len(items), reason=next(iter(outcome.refused.values())))
        return Outcome(
            outcome.done, outcome.again | outcome.refused.keys(), {}, "it refuses most documents: rebuild the index"
        )
    return outcome


def _reason(answer: dict[str, Any]) -> str:
    """Return the reason without the previews of values that Elasticsearch adds to it."""
    error = answer.get("error") or {}
    words = str(error.get("reason", "")).split(" Preview of field's value")[0]
    return f"{error.get('type', 'refused')}: {words}"[:MOST_REASON]


def raise_if_away(outcome: Outcome) -> None:
    """Raise Away when something is to be sent again."""
    if outcome.again:
        raise Away(outcome.why)
