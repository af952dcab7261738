"""Which questions go to a back end beside PostgreSQL, what comes back, and what is said when it cannot answer.

PostgreSQL answers by itself what an index of its own serves: lists without a query, ids and business keys, and what a flow, a time or
the state of a dead letter narrows. It is never behind, and there is nothing to gain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from django.conf import settings
from django.db.models import Model

from console.core.paging import Page, encode_cursor
from console.identity.actor import Actor
from console.identity.models import Agent, Environment
from messages.access import flows_to_narrow_to, readable_flows, where_hashes_are_tried
from messages.masking.queries import hashes_of
from messages.models import Flow, System
from messages.search.backends import get_backend
from messages.search.base import Away, Hit, Question, SearchBackend, Unsuited
from messages.search.conditions import ids_named
from messages.search.fields import fields_of
from messages.search.groups import groups_called
from messages.search.postgres import Target, is_exact
from messages.search.query import EVERYTHING, BadQuery, Leaf, Node, Query, SearchAway, leaves_of, without

M = TypeVar("M", bound=Model)
NAMED: dict[str, Any] = {"flow": Flow, "system": System, "agent": Agent}
INDEXED = {"messages": {"flow", "at", "age"}, "dead-letters": {"status", "flow", "at", "age"}}  # in PostgreSQL
MOST_FLOWS = 10_000  # in one question
MOST_TURNS = 5  # pages of hits none of which PostgreSQL has: it let them go, and the index will
PAYLOAD = "payload"


def backend_for(query: Query, target: Target) -> SearchBackend | None:
    """Return the back end that is asked first; None when PostgreSQL answers by itself."""
    if settings.SEARCH_BACKEND == "postgresql" or target.name not in INDEXED:
        return None
    return get_backend(settings.SEARCH_BACKEND) if is_worth_it(query, target) else None


def is_worth_it(query: Query, target: Target) -> bool:
    if asks_for_payload(query, target):
        return True
    if query.root == EVERYTHING or is_exact(query.root, target):
        return False
    names = {_name(leaf, target) for leaf in leaves_of(query.root)}
    return not names <= INDEXED[target.name]


def _name(leaf: Leaf, target: Target) -> str:
    """Return the field that a leaf asks for; "" of free text and business keys."""
    field = fields_of(target.name).get((leaf.field or "").lower())
    return field.name if field else ""


def asks_for_payload(query: Query, target: Target) -> bool:
    return any(_name(leaf, target) == PAYLOAD for leaf in leaves_of(query.root))


def for_postgresql(query: Query, target: Target) -> Query:
    """Return the query without what PostgreSQL cannot look into and another back end can, so that it says what else is wrong with it."""
    if settings.SEARCH_BACKEND == "postgresql":
        return query

    def is_payload(node: Node) -> bool:
        return getattr(node, "field", None) is not None and _name(node, target) == PAYLOAD  # type: ignore[arg-type]

    return replace(query, root=without(query.root, is_payload))


def check_postgresql_can(query: Query, target: Target, why: str, *, away: bool = False) -> None:
    """Raise BadQuery when only the other back end could have answered, with the words why it did not; SearchAway when it may soon."""
    for leaf in leaves_of(query.root):
        if _name(leaf, target) == PAYLOAD:
            column = leaf.place.field_start + 1 if leaf.place else None
            alone = "payload text is searched by Elasticsearch alone, and"
            raise (
                SearchAway(f"{alone} it cannot answer now: {why}", column)
                if away
                else BadQuery(f"{alone} {why}", column)
            )


def question_of(
    query: Query,
    target: Target,
    actor: Actor,
    environments: Sequence[Environment],
    *,
    now: datetime,
    since: datetime | None,
    until: datetime | None,
    after: tuple[datetime | None, UUID] | None,
    limit: int,
) -> Question:
    """Return a question with the reader's rights in it. Raises Unsuited for a reader of more flows than a question holds."""
    seen = flows_to_narrow_to(actor)
    flows = None if seen is None else _ids(seen, environments)
    read_flows: list[int] = []
    if asks_for_payload(query, target):
        read_flows = _ids(readable_flows(actor).filter(payload_search=True), environments)
    return Question(
        target=target.name,
        query=query,
        environments=environments,
        flows=flows,
        read_flows=read_flows,
        named=partial(_named, actor, environments),
        hashed=partial(hashes_of, where_hashes_are_tried(actor, environments)),
        now=now,
        since=since,
        until=until,
        after=after,
        limit=limit,
    )


def _named(actor: Actor, environments: Sequence[Environment], field: str, leaf: Leaf) -> list[int]:
    if field == "group":
        return groups_called(leaf, actor, environments)
    return ids_named(NAMED[field], leaf, actor, environments)


def _ids(flows: Any, environments: Sequence[Environment]) -> list[int]:
    found = list(flows.filter(environment__in=environments).order_by().values_list("pk", flat=True)[: MOST_FLOWS + 1])
    if len(found) > MOST_FLOWS:
        raise Unsuited("the reader sees more flows than a question holds")
    return found


def page_of(backend: SearchBackend, question: Question, fetch: Callable[[list[Hit]], dict[UUID, M]]) -> Page[M]:
    """Return a page of the rows that PostgreSQL has of the hits; raises Unsuited, Away."""
    asked, rows, more = replace(question, limit=question.limit + 1), [], True
    for _ in range(MOST_TURNS):
        hits = backend.find(asked)
        more, hits = len(hits) > question.limit, hits[: question.limit]
        known = fetch(hits) if hits else {}
        rows = [known[hit.id] for hit in hits if hit.id in known]
        if rows or not more:
            break
        asked = replace(asked, after=(hits[-1].at if question.target == "messages" else None, hits[-1].id))
    last = hits[-1] if more else None
    position = () if last is None else (last.at, last.id) if question.target == "messages" else (last.id,)
    return Page(rows, encode_cursor(*position) if position else None, by=settings.SEARCH_BACKEND)


def words_of_degradation(away: Away) -> str:
    """Return what a reader is told when PostgreSQL stands in."""
    return f"Elasticsearch does not answer this search because {away}. PostgreSQL answers it instead: the same rows, perhaps slower."
