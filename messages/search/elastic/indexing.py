"""From the outbox into the index: what changed is read as it is now, and written into every generation that is kept."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from uuid import UUID

import structlog
from django.conf import settings
from django.db import connection

from console.identity.models import Environment
from messages.models import SearchChange, SearchGeneration, Unindexed
from messages.search.elastic.bulk import Item, Outcome, send
from messages.search.elastic.client import FAULTS, words_of
from messages.search.elastic.documents import document_of_letter, document_of_message
from messages.search.elastic.names import alias_of, index_of_letter, index_of_message
from messages.search.elastic.outbox import Change, claim_changes, hold_changes, next_version, settle_changes
from messages.search.elastic.reading import AT_ONCE, read_letters, read_messages
from messages.search.elastic.texts import searchable_flows
from messages.search.elastic.whole import lead_to

log = structlog.get_logger(__name__)
AWAY_S = 5.0
MESSAGE, LETTER = SearchChange.Kind.MESSAGE, SearchChange.Kind.LETTER


def index_changes(*, budget_s: float = 40.0) -> int:
    """Empty the outbox, for at most so long; return how many documents were written or found newer. Several at once share the work."""
    until, written = time.monotonic() + budget_s, 0
    while time.monotonic() < until and (changes := claim_changes()):
        outcome = _index(changes, until)
        written += len(outcome.done)
        if outcome.again:
            log.warning("search_index_behind", waiting=len(outcome.again), reason=outcome.why)
            break
    return written


def _index(changes: Sequence[Change], until: float) -> Outcome:
    """Write what these rows name, some at a time, and settle each row as soon as all of it is written; again: what is left of them.

    The version is taken here, after the claim and before the first read. However slow it is, what was written is not written again.
    """
    version, outcome, held = next_version(), Outcome(), list(changes)
    generations = generations_of({change.environment_id for change in changes})
    searchable = searchable_flows()
    left = {one for change in changes for one in change.ids}
    for kind, environment_id, some, ids in _parts(changes):
        kept = generations.get(environment_id, [])
        if not kept:
            part = Outcome(done=set(ids))  # whoever starts a generation reads what was committed before
        elif kind == MESSAGE:
            part = _messages(environment_id, ids, _days(some), kept, version, searchable)
        else:
            part = _letters(environment_id, ids, kept, version, searchable)
        _note_refused(kind, environment_id, part)
        outcome.add(part)
        left -= part.done | part.refused.keys()
        settle_changes([one for one in held if left.isdisjoint(one.ids)])
        held = [one for one in held if not left.isdisjoint(one.ids)]
        if not held or part.again or time.monotonic() > until:
            break
        hold_changes(held)
    settle_changes(held, left, wait_s=0 if not outcome.again else None if outcome.done else AWAY_S)
    outcome.again = left if outcome.again else set()
    return outcome


def _parts(changes: Sequence[Change]) -> Iterator[tuple[int, int, list[Change], list[UUID]]]:
    """Yield (kind, environment, its rows, some of the ids of these), each id once, those of the oldest rows first."""
    grouped: dict[tuple[int, int], list[Change]] = defaultdict(list)
    for change in changes:
        grouped[change.kind, change.environment_id].append(change)
    for (kind, environment_id), some in grouped.items():
        ids = list(dict.fromkeys(one for change in some for one in change.ids))
        for start in range(0, len(ids), AT_ONCE):
            yield kind, environment_id, some, ids[start : start + AT_ONCE]


def _days(changes: Sequence[Change]) -> tuple[date, date]:
    return (
        min(change.first_on for change in changes if change.first_on),
        max(change.last_on for change in changes if change.last_on),
    )


Kept = Sequence[tuple[str, SearchGeneration]]


def generations_of(environments: set[int]) -> dict[int, list[tuple[str, SearchGeneration]]]:
    """Return {environment: [(alias, generation)]} of what is live or being built."""
    slugs = dict(Environment.objects.filter(pk__in=environments).values_list("pk", "slug"))
    found: dict[int, list[tuple[str, SearchGeneration]]] = defaultdict(list)
    rows = SearchGeneration.objects.filter(environment__in=environments)
    for one in rows.exclude(state=SearchGeneration.State.RETIRING):
        alias = alias_of(settings.ELASTICSEARCH_PREFIX, one.environment_id, slugs[one.environment_id])
        found[one.environment_id].append((alias, one))
    return found


def _messages(
    environment_id: int, ids: list[UUID], days: tuple[date, date], kept: Kept, version: int, searchable: frozenset[int]
) -> Outcome:
    """Messages that are not there any more went with their day, and their index goes with it: see upkeep."""
    outcome = _sent(message_items(environment_id, ids, days, kept, version, searchable), kept, ids)
    outcome.done |= set(ids) - outcome.again - outcome.refused.keys()
    return outcome


def message_items(
    environment_id: int, ids: list[UUID], days: tuple[date, date], kept: Kept, version: int, searchable: frozenset[int]
) -> Iterator[Item]:
    for row in read_messages(environment_id, ids, *days, searchable):
        document = document_of_message(row)
        for alias, one in kept:
            index = index_of_message(alias, one.pk, row.day, one.days_per_index)
            yield Item(index=index, id=row.id, version=version, document=document)


def _letters(environment_id: int, ids: list[UUID], kept: Kept, version: int, searchable: frozenset[int]) -> Outcome:
    return _sent(letter_items(environment_id, ids, kept, version, searchable), kept, ids)


def _sent(items: Iterator[Item], kept: Kept, ids: Sequence[UUID]) -> Outcome:
    """Send, and have the aliases lead to indices that this made: none of these ids is written before a search finds it."""
    outcome = send(items)
    try:
        for alias, one in kept:
            lead_to(alias, one, outcome.indices)
    except FAULTS as fault:
        return Outcome(again=set(ids), why=words_of(fault))
    return outcome


def letter_items(
    environment_id: int, ids: list[UUID], kept: Kept, version: int, searchable: frozenset[int]
) -> Iterator[Item]:
    """Yield these letters; those that retention let go are deleted."""
    rows = {row.id: document_of_letter(row) for row in read_letters(environment_id, ids, searchable)}
    for pk in ids:
        for alias, one in kept:
            yield Item(index=index_of_letter(alias, one.pk, pk), id=pk, version=version, document=rows.get(pk))


def _note_refused(kind: int, environment_id: int, outcome: Outcome) -> None:
    """Set aside what is refused for what it is, and forget refusals of what was taken since."""
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM messaging_unindexed WHERE kind = %s AND object_id = ANY(%s)", [kind, list(outcome.done)]
        )
    set_aside(environment_id, kind, outcome.refused)


def set_aside(environment_id: int, kind: int, refused: Mapping[UUID, str]) -> None:
    """Remember what was refused and why, so that it is shown and not sent again until it changes."""
    if not refused:
        return
    now = datetime.now(UTC)
    rows = [
        Unindexed(environment_id=environment_id, kind=kind, object_id=pk, reason=reason, refused_at=now)
        for pk, reason in sorted(refused.items())
    ]
    Unindexed.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["kind", "object_id"], update_fields=["reason", "refused_at"]
    )
    log.error("not_indexed", documents=len(rows), reason=rows[0].reason)
