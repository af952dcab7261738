"""The outbox: which messages and dead letters changed. Triggers write it, in the transaction of the change; a worker empties it.

The triggers are there only while a back end is configured. They fire once a statement, so that a batch of 500 events is one row, and they
see every write, whoever makes it. A worker takes rows under a lease, which it renews as it goes on, reads what the rows of PostgreSQL are now, and
deletes each row of the outbox as soon as all that it names is written, even if another took it meanwhile: what a row names never changes but
to less. The version of a document is taken after the claim and before the read: whoever has a higher version read later than the change
was committed, so that the highest one is never an old state.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID

from django.db import connection, transaction

from messages.models import SearchChange, SearchGeneration
from messages.statement_triggers import StatementTrigger, count_made, drop, make

LEASE_S = 45  # longer than a request may take; renewed between them
LONGEST_WAIT_S = 60.0
HOPELESS = timedelta(hours=24)
MOST_ROWS = 10  # taken at once: at most ten thousand documents
MESSAGE, LETTER = "messaging_message", "messaging_deadletter"
TRIGGERS = {
    "search_message_made": StatementTrigger("INSERT", MESSAGE, "NEW", "messaging_note_messages"),
    "search_message_changed": StatementTrigger("UPDATE", MESSAGE, "NEW", "messaging_note_messages"),
    "search_letter_made": StatementTrigger("INSERT", LETTER, "NEW", "messaging_note_letters"),
    "search_letter_changed": StatementTrigger("UPDATE", LETTER, "NEW", "messaging_note_letters"),
    "search_letter_gone": StatementTrigger("DELETE", LETTER, "OLD", "messaging_note_letters"),
}


@dataclass(frozen=True, slots=True)
class Change:
    """One row of the outbox as it was taken."""

    pk: int
    attempt: int
    kind: int
    environment_id: int
    ids: list[UUID]
    first_on: date | None
    last_on: date | None


def attach() -> bool:
    """Note changes from now on; return whether that is new. Then whatever was built has missed some, and is to be built again."""
    if count_made(TRIGGERS) == len(TRIGGERS):
        return False
    with transaction.atomic():
        make(TRIGGERS)
        _forget_what_was_built()
    return True


def detach() -> bool:
    """Note no more changes; return whether any were noted until now."""
    if not count_made(TRIGGERS):
        return False
    with transaction.atomic(), connection.cursor() as cursor:
        drop(TRIGGERS)
        cursor.execute("DELETE FROM messaging_searchchange")
        _forget_what_was_built()
    return True


def give_up_when_hopeless(now: datetime) -> bool:
    """Throw the outbox away when it is a day behind: to build the index anew is cheaper by then, and the disk is not to fill."""
    with transaction.atomic(), connection.cursor() as cursor:
        oldest = oldest_change()
        if oldest is None or now - oldest < HOPELESS:
            return False
        cursor.execute("DELETE FROM messaging_searchchange")
        _forget_what_was_built()
    return True


def _forget_what_was_built() -> None:
    SearchGeneration.objects.exclude(state=SearchGeneration.State.RETIRING).update(
        state=SearchGeneration.State.RETIRING, lease_until=None, leased_by=None
    )


# Materialized: a plan may run a subquery more than once, and each time it locks other rows than before.
CLAIM = """
WITH oldest AS MATERIALIZED (
    SELECT id FROM messaging_searchchange WHERE not_before IS NULL OR not_before < now()
    ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED)
UPDATE messaging_searchchange c SET not_before = now() + make_interval(secs => %s), attempt = attempt + 1
FROM oldest WHERE c.id = oldest.id
RETURNING c.id, c.attempt, c.kind, c.environment_id, c.ids, c.first_on, c.last_on
"""


def claim_changes(most: int = MOST_ROWS) -> list[Change]:
    """Take the oldest rows that nobody has, for LEASE_S; whoever dies with them lets them go by dying."""
    with connection.cursor() as cursor:
        cursor.execute(CLAIM, [most, LEASE_S])
        return [Change(*row) for row in sorted(cursor.fetchall())]


def next_version() -> int:
    """Return a version above every one before. Take it after the claim and before the read of what it is given to."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('messaging_search_version')")
        return int(cursor.fetchone()[0])


HOLD = """
WITH mine AS MATERIALIZED (
    SELECT c.id FROM messaging_searchchange c JOIN unnest(%s::int8[], %s::int4[]) AS held (id, attempt) USING (id, attempt)
    FOR UPDATE OF c SKIP LOCKED)
UPDATE messaging_searchchange c SET not_before = now() + make_interval(secs => %s) FROM mine WHERE c.id = mine.id
"""


def hold_changes(changes: Sequence[Change]) -> None:
    """Renew the lease of these; rows that another took meanwhile are theirs."""
    with connection.cursor() as cursor:
        cursor.execute(HOLD, [[one.pk for one in changes], [one.attempt for one in changes], LEASE_S])


def settle_changes(changes: Sequence[Change], left: Set[UUID] = frozenset(), *, wait_s: float | None = None) -> None:
    """Forget what was done, whoever has it by now; keep the rest of `left` for a later turn, unless another took it meanwhile.

    wait_s  until that turn; None: longer with each attempt, a minute at most.
    """
    if not changes:
        return
    done = [one.pk for one in changes if left.isdisjoint(one.ids)]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM messaging_searchchange WHERE id = ANY(%s)", [done])
        for change in changes:
            if rest := [one for one in change.ids if one in left]:
                wait = min(LONGEST_WAIT_S, 2.0 ** min(change.attempt, 10)) if wait_s is None else wait_s
                cursor.execute(
                    "UPDATE messaging_searchchange SET ids = %s, not_before = now() + make_interval(secs => %s) "
                    "WHERE id = %s AND attempt = %s",
                    [rest, wait, change.pk, change.attempt],
                )


def oldest_change() -> datetime | None:
    """Return since when something waits; None when nothing does."""
    return SearchChange.objects.order_by("pk").values_list("changed_at", flat=True).first()


def add_changes(
    kind: SearchChange.Kind, environment_id: int, ids: Sequence[UUID], days: tuple[date, date] | None
) -> None:
    """Have these read and indexed again."""
    first, last = days if days else (None, None)
    SearchChange.objects.create(kind=kind, environment_id=environment_id, ids=list(ids), first_on=first, last_on=last)
