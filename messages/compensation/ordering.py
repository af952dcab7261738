"""Steps that are undone over a connection which lives with an agent: claimed for its ask, one an order, and settled by its report.

The claim, the lease, the attempt and the marks are those of a worker (execute.py, settling.py): only the sending happens elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

from django.db import connection as database
from django.db import transaction
from django.db.models import QuerySet

from console.identity.models import Agent
from messages.compensation.books import read_book
from messages.compensation.execute import HOLD_THEIRS, Claimed, advance
from messages.compensation.sending import Answer, answer_of, ready_to_go
from messages.compensation.services import tell_compensation
from messages.compensation.settling import settle
from messages.compensation.states import STEP_OVER
from messages.connectors.base import Outgoing, Published
from messages.models import Compensation, CompensationStep, Connection

MOST_LOOKED_AT = 20  # compensations whose turn it seems to be, of one ask
PASSED = sorted(
    STEP_OVER | {"failed", "unknown"}
)  # what comes before may be so; whether it holds the rest, the engine says
DUE = """
SELECT s.compensation_id FROM messaging_compensationstep s JOIN messaging_compensation r ON r.id = s.compensation_id
WHERE s.connection_id = %(line)s AND (s.state = 'waiting' OR (s.state = 'sending' AND s.lease_until < %(now)s))
  AND r.state = 'running' AND r.begins_at <= %(now)s AND coalesce(s.not_before <= %(now)s, true)
  AND NOT EXISTS (SELECT 1 FROM messaging_plan p WHERE p.id = r.plan_id AND p.state = ANY(%(holding)s))
  AND NOT EXISTS (SELECT 1 FROM messaging_replaystop t
                  WHERE t.environment_id = r.environment_id AND (t.flow_id IS NULL OR t.flow_id = r.flow_id))
  AND NOT EXISTS (SELECT 1 FROM messaging_compensationstep e
                  WHERE e.compensation_id = s.compensation_id AND e.ordinal < s.ordinal AND e.state <> ALL(%(passed)s))
ORDER BY s.id LIMIT %(most)s
"""


def step_to_order(
    line: Connection, note: Callable[[CompensationStep], None]
) -> tuple[CompensationStep, Outgoing] | None:
    """Claim the next step that is due over this connection, and return it with what is sent; None: nothing is due.

    note  writes down for whom it was claimed, in the same transaction: an answer that is lost on its way must strand nothing.
    """
    with database.cursor() as cursor:
        asked: dict[str, Any] = {
            "line": line.pk,
            "passed": PASSED,
            "holding": list(HOLD_THEIRS),
            "most": MOST_LOOKED_AT,
        }
        cursor.execute(DUE, asked | {"now": datetime.now(UTC)})
        due = [pk for (pk,) in cursor.fetchall()]
    for pk in due:
        with transaction.atomic():
            claimed = advance(pk, over=line.pk)
            if claimed is not None:
                note(claimed.step)
        if claimed is not None and (message := _made_ready(claimed)) is not None:
            return claimed.step, message
    return None


def _made_ready(claimed: Claimed) -> Outgoing | None:
    """Return what goes out; what cannot is settled here."""
    ready = ready_to_go(claimed.run, claimed.step, claimed.undo)
    if isinstance(ready, Answer):
        settle(claimed.step, claimed.undo, ready)
        return None
    return ready


def step_ordered_before(
    line: Connection, ids: Sequence[UUID], attempts: Sequence[int]
) -> tuple[CompensationStep, Outgoing] | None:
    """Return the step of an order that was handed over before, while it is still claimed under the same attempt."""
    for pk, attempt in zip(ids, attempts, strict=True):
        step = _steps().filter(pk=pk, attempt=attempt, state="sending", connection=line).first()
        undo = read_book(step.compensation.book).step(step.name) if step else None
        if step and undo and undo.undo:
            ready = ready_to_go(step.compensation, step, undo.undo, again=True)
            return (step, ready) if isinstance(ready, Outgoing) else None
    return None


def settle_reported(agent: Agent, reported: Sequence[tuple[UUID, int, Published]]) -> Iterator[str]:
    """Settle what an agent says of steps, (idempotency key, attempt, result) each; yield marked, again or not_yours of each.

    Attempts are counted by key (execute.py): of one key and attempt there is one step.
    """
    _lock_compensations(agent, [key for key, _, _ in reported])
    for key, attempt, result in reported:
        found = _steps().filter(idempotency_key=key, attempt=attempt, connection__agent=agent).first()
        yield _settled(found, result) if found is not None else "not_yours"


def _lock_compensations(agent: Agent, keys: Sequence[UUID]) -> None:
    """Take the compensations before their steps, as everybody does who changes both; each in the order of its number."""
    own = CompensationStep.objects.filter(idempotency_key__in=keys, connection__agent=agent).values("compensation_id")
    rows = Compensation.objects.select_for_update(of=("self",), no_key=True).filter(pk__in=own).order_by("pk")
    list(rows.values_list("pk", flat=True))


def _settled(step: CompensationStep, result: Published) -> str:
    if step.state not in ("sending", "unknown"):
        return "again"
    run, was = step.compensation, step.state
    of_book = read_book(run.book).step(step.name)
    if of_book is None or of_book.undo is None:
        return "again"
    settle(step, of_book.undo, answer_of(result))
    now = CompensationStep.objects.filter(pk=step.pk).values_list("state", flat=True).get()
    Compensation.objects.filter(pk=run.pk, due_at__isnull=False).update(due_at=datetime.now(UTC))
    transaction.on_commit(partial(tell_compensation, run.pk))
    return "marked" if now != was else "again"


def _steps() -> QuerySet[CompensationStep]:
    return CompensationStep.objects.select_related(
        "connection", "compensation__book", "compensation__environment", "compensation__flow__environment"
    )
