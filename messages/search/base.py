"""What a search back end is: it answers a question with ids in page order; rows always come from PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from console.identity.models import Environment
from messages.search.query import Leaf, Query


class Unsuited(Exception):
    """This query is not for this back end, for a reason that is no fault: PostgreSQL answers it, and nobody need know."""


class Away(Exception):
    """The back end cannot answer now; the words are for a reader, and begin after "because "."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One page of one list, with the reader's rights.

    target        messages or dead-letters.   since, until  of the list's time, until excluded; None is open.
    flows         ids of the flows that the reader may see in these environments; None is every one.
    read_flows    those whose payloads the reader may read; None is every one.
    named         ids of what a leaf of a field of names (flow, system, agent, group) means.
    hashed        what a value of a business key stands as where it was masked: (name, value) → keyed hashes.
    after         the last row of the page before: (time, id) of messages, (None, id) of dead letters.
    """

    target: str
    query: Query
    environments: Sequence[Environment]
    flows: Sequence[int] | None
    read_flows: Sequence[int] | None
    named: Callable[[str, Leaf], Sequence[int]]
    hashed: Callable[[str, str], Sequence[str]]
    now: datetime
    since: datetime | None
    until: datetime | None
    after: tuple[datetime | None, UUID] | None
    limit: int


@dataclass(frozen=True, slots=True)
class Hit:
    """The position of a row: `at` is first_seen_at of a message, failed_at of a dead letter."""

    at: datetime
    id: UUID


class SearchBackend(Protocol):
    def find(self, question: Question) -> list[Hit]:
        """Return up to `limit` hits in the order of the list: messages by (time, id), dead letters by id, both descending.

        Raises Unsuited, Away.
        """
        ...
