"""Orders: what is due of a connection that lives with an agent, handed to this agent; and what it reports of each item.

The rows, claims, leases, attempts and marks are those of a worker (messages/replay): only the sending happens elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog
from django.db import IntegrityError, transaction
from django.db.models import Q

from console.core.errors import Conflict
from console.identity.models import Agent
from messages.compensation.ordering import settle_reported, step_ordered_before, step_to_order
from messages.connectors.base import Outgoing, Published
from messages.ingest.messages_sql import run
from messages.models import CompensationStep, Connection, ReplayOrder
from messages.orders.wire import MOST_ITEMS, Ask, Item, Order
from messages.replay.holds import hold_connection
from messages.replay.lines import Line, version_of
from messages.replay.sending import ready
from messages.replay.window import LEASE_S, Claimed, claim, mark, still_claimed

log = structlog.get_logger(__name__)
ASKED_EVERY = timedelta(seconds=10)
KEPT_DAYS = 1


class OrderUnderWay(Conflict):
    """The same ask came twice at once; one of them is being answered."""

    code = "order_under_way"


def hand_over(agent: Agent, ask: Ask) -> Order | str:
    """Claim what is due of the connection of this name for its agent; return the order, or in words why there is none ever.

    An order without items: nothing is due. The same ask again gets the same order, without what is not its own any more: an answer
    that was lost on its way strands nothing.
    """
    found = Connection.objects.filter(environment_id=agent.environment_id, name=ask.connection, agent=agent).first()
    if found is None:
        return f"no connection {ask.connection} in {agent.environment.slug} lives with {agent.name}: an administrator says so under Connections"
    if found.kind != ask.kind:
        return f"the connection {found.name} is of kind {found.kind} in the console, and of kind {ask.kind} here"
    _note_asked(found)
    if found.approved_at is None:
        return f"the connection {found.name} is not approved: an administrator approves it under Connections"
    line = Line(connection_id=found.pk, version=version_of(found.pk) or "")
    earlier = ReplayOrder.objects.filter(agent=agent, nonce=ask.nonce).first()
    if earlier is None:
        window, issued_at = _claimed(agent, found, ask)
    elif earlier.connection_id == found.pk:
        window, issued_at = still_claimed(earlier.replays, earlier.attempts), earlier.issued_at
    else:
        window, issued_at = [], earlier.issued_at
    messages = _made_ready(line, window, again=earlier is not None)
    items = [Item(attempt=one.attempt, message=messages[one.pk]) for one in window if one.pk in messages]
    if not window:
        undo, issued_at = _undoing(agent, found, ask.nonce, earlier)
        items = [Item(attempt=step.attempt, message=message) for step, message in undo]
    return Order(
        agent=agent.name,
        environment=agent.environment.slug,
        connection=found.name,
        kind=found.kind,
        nonce=ask.nonce,
        answered_at=datetime.now(UTC),
        expires_at=issued_at + timedelta(seconds=LEASE_S),
        items=tuple(items),
    )


def _note_asked(found: Connection) -> None:
    now = datetime.now(UTC)
    due = Q(agent_asked_at__isnull=True) | Q(agent_asked_at__lt=now - ASKED_EVERY)
    Connection.objects.filter(due, pk=found.pk).update(agent_asked_at=now)


def _claimed(agent: Agent, found: Connection, ask: Ask) -> tuple[list[Claimed], datetime]:
    """Claim, and write down for whom in the same transaction; raises OrderUnderWay."""
    now = datetime.now(UTC)
    try:
        with transaction.atomic():
            window = claim(found.pk, min(ask.most, MOST_ITEMS))
            if window:
                ReplayOrder.objects.create(
                    agent=agent, nonce=ask.nonce, connection=found, issued_at=now,
                    replays=[one.pk for one in window], attempts=[one.attempt for one in window],
                )  # fmt: skip
    except IntegrityError as error:
        raise OrderUnderWay("this question is being answered; ask again") from error
    return window, now


def _undoing(
    agent: Agent, found: Connection, nonce: str, earlier: ReplayOrder | None
) -> tuple[list[tuple[CompensationStep, Outgoing]], datetime]:
    """Return (the step of a compensation that goes over it, when no replay does; when it was handed over first)."""
    now = datetime.now(UTC)
    if earlier is not None:
        before = (
            step_ordered_before(found, earlier.replays, earlier.attempts) if earlier.connection_id == found.pk else None
        )
        return ([before] if before else []), earlier.issued_at

    def note(step: CompensationStep) -> None:
        ReplayOrder.objects.create(
            agent=agent, nonce=nonce, connection=found, issued_at=now, replays=[step.pk], attempts=[step.attempt]
        )

    try:
        claimed = step_to_order(found, note)
    except IntegrityError as error:
        raise OrderUnderWay("this question is being answered; ask again") from error
    return ([claimed] if claimed else []), now


def _made_ready(line: Line, window: Sequence[Claimed], *, again: bool) -> dict[UUID, Outgoing]:
    """Return the messages that go, and mark what does not."""
    if not window:
        return {}
    messages, others = ready(line, window, again=again)
    if others:
        mark([one for one in window if one.pk in others], others)
    log.info("replays_ordered", connection=line.connection_id, claimed=len(window), ordered=len(messages))
    return messages


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """One result of an agent: attempt is that of the order it answers."""

    pk: UUID
    attempt: int
    result: Published


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What became of a report. again: marked before, or its lease ended first; not_yours: another claim or agent has it."""

    marked: int
    again: int
    not_yours: int


@dataclass(frozen=True, slots=True)
class _Ours:
    """A replay of this agent under the attempt that it reports of."""

    pk: UUID
    attempt: int
    spared: int
    state: str
    receiver_is_idempotent: bool
    connection_id: int


OURS = """
SELECT r.id, r.attempt, r.spared, r.state, f.receiver_is_idempotent, r.connection_id
FROM unnest(%b::uuid[], %b::int4[]) m (id, attempt)
JOIN messaging_replay r ON r.id = m.id AND r.attempt = m.attempt
JOIN messaging_connection c ON c.id = r.connection_id AND c.agent_id = %b
JOIN messaging_deadletter d ON d.id = r.dead_letter_id JOIN messaging_flow f ON f.id = d.flow_id
ORDER BY r.id FOR UPDATE OF r
"""


@transaction.atomic
def settle_report(agent: Agent, reported: Sequence[Reported]) -> Settled:
    """Mark what an agent says of its items, each under its attempt; a repeat is harmless, and what is not its own stays as it is."""
    keys = [[one.pk for one in reported], [one.attempt for one in reported], agent.pk]
    ours = [_Ours(*row) for row in run(OURS, keys).fetchall()]
    results: Mapping[UUID, Published] = {one.pk: one.result for one in reported}
    open_ended = [one for one in ours if one.state == "sending"]
    marked = mark(open_ended, results) if open_ended else 0
    _heed_wishes(open_ended, results)
    mine = {one.pk for one in ours}
    steps = Counter(
        settle_reported(agent, [(one.pk, one.attempt, one.result) for one in reported if one.pk not in mine])
    )
    settled = Settled(
        marked=marked + steps["marked"], again=len(ours) - marked + steps["again"], not_yours=steps["not_yours"]
    )
    log.info(
        "replays_reported", agent=agent.pk, marked=settled.marked, again=settled.again, not_yours=settled.not_yours
    )
    return settled


def _heed_wishes(marked: Sequence[_Ours], results: Mapping[UUID, Published]) -> None:
    """Hold what a receiver asked to be left alone by."""
    wishes: dict[int, int] = {}
    for one in marked:
        wishes[one.connection_id] = max(wishes.get(one.connection_id, 0), results[one.pk].retry_after_s or 0)
    for connection_id, wait_s in wishes.items():
        if wait_s:
            hold_connection(connection_id, wait_s)


def forget_orders() -> None:
    """Let go of orders that nobody asks for again."""
    ReplayOrder.objects.filter(issued_at__lt=datetime.now(UTC) - timedelta(days=KEPT_DAYS)).delete()
