"""What a plan is made of: all that match a query, a failure group, ticked rows, or a list of ids."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from django.db.models import Q, QuerySet
from django.db.models.expressions import RawSQL

from console.core.errors import Invalid
from console.identity.actor import Actor
from console.identity.models import Environment
from messages.access import visible_dead_letters
from messages.models import DeadLetter, FailureGroup, Plan
from messages.plans.freeze import MOST_ITEMS
from messages.search.elsewhere import check_postgresql_can
from messages.search.postgres import DEAD_LETTERS
from messages.search.queries import matching_letters
from messages.search.query import Query
from messages.search.window import Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """q: the query as people wrote it, shown on the plan; `query` is what is asked, with the filters of the page.

    ids     of ticked rows.
    listed  ids of a long list, as `joined` gives them: a million of them as objects would take 110 MB, so they take 33.
    """

    source: Plan.Source
    q: str = ""
    query: Query = field(default_factory=Query)
    window: Window | None = None
    group: FailureGroup | None = None
    ids: Sequence[UUID] = ()
    listed: str = ""

    @property
    def ids_count(self) -> int:
        """How many ids were named, each as often as it was."""
        return self.listed.count(",") + 1 if self.listed else len(self.ids)


def joined(ids: Iterable[UUID]) -> str:
    """Return ids as the text that a Selection has of a long list."""
    return ",".join(one.hex for one in ids)


def letters_of(selection: Selection, *, actor: Actor, environment: Environment) -> QuerySet[DeadLetter]:
    """Return the letters that the actor may see there, in no order. Raises BadQuery, Invalid."""
    if selection.source == Plan.Source.QUERY:
        check_postgresql_can(selection.query, DEAD_LETTERS, "plans are made by PostgreSQL")
        return matching_letters(
            actor, environments=[environment], query=selection.query, window=selection.window, now=datetime.now(UTC)
        )
    letters = visible_dead_letters(actor).filter(environment=environment)
    if selection.source == Plan.Source.GROUP:
        if selection.group is None:
            raise Invalid("say which failure group: its reference, such as G-204")
        whole = Q(group=selection.group) | Q(group__merged_into=selection.group)
        return letters.filter(whole, closed_at=None)
    if not 1 <= selection.ids_count <= MOST_ITEMS:
        raise Invalid(f"name 1 to {MOST_ITEMS:,} dead letters")
    named = selection.listed or joined(selection.ids)
    return letters.filter(pk__in=RawSQL("SELECT unnest(string_to_array(%s, ',')::uuid[])", [named]))
