"""Every write to changes: told by pipelines, announced and withdrawn by people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
from django.db import IntegrityError, OperationalError, transaction

from console.audit.services import record_audit
from console.core.errors import Conflict, Invalid, Unavailable
from console.core.ids import uuid7
from console.identity.actor import Actor
from console.identity.models import Agent, Environment
from messages.access import check_can_announce, check_can_operate_change, owner_of_change
from messages.changes.items import FINAL, ChangeItem, Known, Told, change_identity, merged, said_by
from messages.dead_letters.services import check_reason
from messages.ingest.http import Malformed
from messages.ingest.model import Refused
from messages.ingest.native import decode_item
from messages.ingest.patience import IN_THE_WAY, TRIES
from messages.ingest.refusals import prepare_refused, store_refused
from messages.ingest.writer import AlreadyAnswered, find_answer, record_answer
from messages.models import Change

FIELDS = ("kind", "title", "version", "systems", "flows", "started_at", "ended_at", "outcome", "url", "author")


class ChangeWithdrawn(Conflict):
    """Somebody withdrew this change."""

    code = "change_withdrawn"


def store_changes(
    agent: Agent, told: Sequence[Told], refused: Sequence[Refused], *, batch_id: str, body_sha256: bytes
) -> dict[str, Any]:
    """Store a batch of messages about changes in one transaction; one that says nothing new is counted as a duplicate."""
    for _ in range(TRIES):
        if (answered := find_answer(agent, batch_id, body_sha256)) is not None:
            return answered
        try:
            return _store(agent, told, refused, batch_id, body_sha256)
        except AlreadyAnswered:
            continue
        except (IntegrityError, OperationalError) as error:
            if not isinstance(error.__cause__, IN_THE_WAY):  # made between our look and our insert: look again
                raise
    raise Unavailable("the database was too busy to take this batch; send it again")


@transaction.atomic
def _store(
    agent: Agent, told: Sequence[Told], refused: Sequence[Refused], batch_id: str, body_sha256: bytes
) -> dict[str, Any]:
    now = datetime.now(UTC)
    refused, accepted, duplicates = list(refused), 0, 0
    # Locked in one order, so that two batches about the same changes wait for each other instead of deadlocking.
    wanted = {one.identity for one in told}
    rows = {row.identity: row for row in Change.objects.select_for_update().filter(identity__in=wanted).order_by("pk")}
    before = {identity: _known(row) for identity, row in rows.items()}
    after = dict(before)
    senders: dict[UUID, Told] = {}
    for one in told:
        known = after.get(one.identity)
        try:
            after[one.identity] = merged(known, one.said, now=now)
        except Malformed as error:
            refused.append(Refused(index=one.index, code="invalid_item", detail=str(error), raw=one.raw))
            continue
        senders.setdefault(one.identity, one)
        accepted, duplicates = (
            (accepted, duplicates + 1) if after[one.identity] == known else (accepted + 1, duplicates)
        )
    for identity in sorted(senders):
        if identity not in rows:
            _insert(agent.environment_id, agent.pk, identity, senders[identity].external_id, after[identity], now)
        elif after[identity] != before[identity]:
            Change.objects.filter(pk=rows[identity].pk).update(**_columns(after[identity]), received_at=now)
    refused = prepare_refused(agent, "changes", refused)
    store_refused(agent, "changes", refused, now)
    rejected = [{"index": r.index, "code": r.code, "detail": r.detail} for r in sorted(refused, key=lambda r: r.index)]
    answer = {"accepted": accepted, "duplicates": duplicates, "rejected": rejected}
    record_answer(agent, batch_id, body_sha256, answer, now)
    return answer


def _known(row: Change) -> Known:
    values = {name: getattr(row, name) for name in FIELDS}
    return Known(**values | {"systems": tuple(row.systems), "flows": tuple(row.flows)})


def _columns(known: Known) -> dict[str, Any]:
    return asdict(known) | {"systems": list(known.systems), "flows": list(known.flows)}


def _insert(
    environment_id: int, agent_id: int | None, identity: UUID, external_id: str, known: Known, now: datetime
) -> Change:
    return Change.objects.create(
        environment_id=environment_id,
        agent_id=agent_id,
        identity=identity,
        external_id=external_id,
        received_at=now,
        **_columns(known),
    )


def note_change(environment: Environment, item: Mapping[str, Any], *, by: Actor) -> Change:
    """Store a change that a person made or announced; raises Invalid. The caller has checked the right and audits.

    item  as an agent's message says it, without its id and author.
    """
    now, external_id = datetime.now(UTC), f"by hand {uuid7()}"
    try:
        typed = decode_item(msgspec.json.encode({**item, "id": external_id, "author": by.name}), ChangeItem)
        known = merged(None, said_by(typed, now=now), now=now)
    except Malformed as error:
        raise Invalid(str(error).partition(" - at ")[0]) from error
    # Another space of identities than that of agents: no message can claim to continue what a person said.
    identity = change_identity(environment.pk, f"\x00{external_id}")
    return _insert(environment.pk, None, identity, external_id, known, now)


@transaction.atomic
def announce_change(environment: Environment, item: Mapping[str, Any], *, by: Actor) -> Change:
    """Add a change by hand, audited; raises Invalid, Forbidden, NotFound for a flow that is not there for this person."""
    change = note_change(environment, item, by=by)
    check_can_announce(by, environment, change.flows)
    _audit(by, "change.announced", change, environment, details={"kind": change.kind})
    return change


@transaction.atomic
def end_change(change: Change, *, by: Actor, reason: str = "") -> None:
    """Say that a change that goes on is over now, audited; raises Invalid, ChangeWithdrawn, Forbidden."""
    check_can_operate_change(by, change)
    row, now = _claimed(change), datetime.now(UTC)
    if row.started_at > now:
        raise Invalid("it has not begun: withdraw it instead")
    if row.outcome in FINAL or (row.ended_at is not None and row.ended_at <= now):
        raise Invalid("it has ended already")
    Change.objects.filter(pk=row.pk).update(**_columns(merged(_known(row), {"outcome": "succeeded"}, now=now)))
    _audit(by, "change.ended", row, change.environment, reason=reason.replace("\x00", "").strip()[:1000])


@transaction.atomic
def withdraw_change(change: Change, reason: str, *, by: Actor) -> None:
    """Take a wrong change off every chart and page, audited; it stays in the list of withdrawn ones, whatever is told of it later.

    Raises ReasonMissing, ChangeWithdrawn, Forbidden.
    """
    check_can_operate_change(by, change)
    reason = check_reason(reason)
    row = _claimed(change)
    Change.objects.filter(pk=row.pk).update(withdrawn_at=datetime.now(UTC), withdrawn_by=by.name)
    _audit(by, "change.withdrawn", row, change.environment, reason=reason)


def _claimed(change: Change) -> Change:
    row = Change.objects.select_for_update().filter(pk=change.pk, withdrawn_at=None).first()
    if row is None:
        raise ChangeWithdrawn("somebody withdrew this change")
    return row


def _audit(
    by: Actor,
    action: str,
    change: Change,
    environment: Environment,
    *,
    reason: str = "",
    details: dict[str, Any] | None = None,
) -> None:
    record_audit(
        by, action, change, environment=environment, team_id=owner_of_change(change), label=change.title, reason=reason,
        details=details,
    )  # fmt: skip
