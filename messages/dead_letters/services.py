"""Every write to dead letters: stored from agents, discarded, restored, closed by what their replay did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from console.audit.services import record_audit
from console.core.errors import Conflict, Invalid
from console.identity.actor import SYSTEM, Actor
from console.identity.models import Agent
from messages.access import check_can_operate
from messages.dead_letters.gone import RESTORABLE, reopen_returned
from messages.dead_letters.items import NewDeadLetter
from messages.dead_letters.masking import mask_letters
from messages.groups.letters import count_letters, home_letters
from messages.ingest import messages_sql
from messages.ingest.catalog import flow_id_for, system_id_for
from messages.ingest.error_texts import note_texts
from messages.ingest.masking import as_json
from messages.ingest.model import Refused
from messages.ingest.patience import not_storable, write_patiently
from messages.ingest.refusals import prepare_refused, store_refused
from messages.ingest.status import DEAD, FAILED
from messages.ingest.writer import AlreadyAnswered, copy_payloads, find_answer, record_answer
from messages.masking.hits import add_hits, tell_metrics
from messages.masking.rules import Work
from messages.models import DeadLetter, Replay
from messages.payloads.seal import seal
from messages.payloads.services import data_key_for
from messages.replay.states import AWAITING_PROOF
from messages.retention.policies import accepted_age

COLUMNS = {
    "id": "uuid",
    "identity": "uuid",
    "environment_id": "int8",
    "flow_id": "int8",
    "system_id": "int8",
    "agent_id": "int8",
    "state": "text",
    "received_at": "timestamptz",
    "failed_at": "timestamptz",
    "first_failed_at": "timestamptz",
    "broker": "text",
    "family": "text",
    "queue": "text",
    "origin": "text",
    "route": "jsonb",
    "reason": "text",
    "reason_code": "text",
    "error_type": "text",
    "error_root_type": "text",
    "error_message": "text",
    "error_stack": "text",
    "attempts": "int4",
    "message_uid": "uuid",
    "message_id": "text",
    "correlation_id": "text",
    "trace_id": "uuid",
    "span_id": "text",
    "keys": "jsonb",
    "content_type": "text",
    "size_bytes": "int8",
    "payload_on": "date",
    "masked": "jsonb",
    "content_masked": "bool",
    "group_id": "int8",
}
INSERT = (
    f"INSERT INTO messaging_deadletter ({', '.join(COLUMNS)}) "  # noqa: S608  names and types are constants
    f"SELECT * FROM unnest({', '.join(f'%b::{kind}[]' for kind in COLUMNS.values())}) "
    "ON CONFLICT (identity) DO NOTHING RETURNING id"
)


class NotOpen(Conflict):
    """The dead letter is not in a state in which this can be done: somebody was faster, or a replay is under way."""

    code = "dead_letter_not_open"


class ReasonMissing(Invalid):
    """Every action on a dead letter needs a reason; it is kept in the audit list."""

    code = "reason_missing"


def check_reason(reason: str) -> str:
    """Return the reason, trimmed to 1,000 characters; raises ReasonMissing."""
    reason = reason.replace("\x00", "").strip()
    if not reason:
        raise ReasonMissing("say why: the reason is kept in the audit list")
    return reason[:1000]


def store_dead_letters(
    agent: Agent,
    letters: Sequence[NewDeadLetter],
    refused: Sequence[Refused],
    *,
    batch_id: str,
    body_sha256: bytes,
    endpoint: str = "dead-letters",
    repeated: int = 0,
) -> dict[str, Any]:
    """Store a batch of dead letters in one transaction; a death that is there already is counted, not stored.

    Raises Unavailable when the database stays too busy; a letter that it cannot hold is refused, and the others are stored.
    repeated  how often letters of this batch came again in it: they are counted as duplicates.
    A letter that comes back from a replay closes the one it came from, as failed again, and is linked to it.
    """
    if (answered := find_answer(agent, batch_id, body_sha256)) is not None:
        return answered
    now = datetime.now(UTC)
    works = mask_letters(agent.environment_id, letters)
    rows = {row[0]: row for row in _rows(agent, letters, now)}
    payloads = _payloads(agent, letters, {uid: row[3] for uid, row in rows.items()}, now, works)

    def put(letters: Sequence[NewDeadLetter]) -> list[NewDeadLetter]:
        return _put(agent.environment_id, letters, rows, payloads, now)

    def write(letters: Sequence[NewDeadLetter], refused: Sequence[Refused], _: int) -> dict[str, Any]:
        with transaction.atomic():
            fresh = put(letters)
            refused = prepare_refused(agent, endpoint, refused)
            store_refused(agent, endpoint, refused, now)
            add_hits([works.get(letter.id) for letter in fresh], now)
            rejected = [
                {"index": r.index, "code": r.code, "detail": r.detail} for r in sorted(refused, key=lambda r: r.index)
            ]
            answer = {"accepted": len(fresh), "duplicates": repeated + len(letters) - len(fresh), "rejected": rejected}
            record_answer(agent, batch_id, body_sha256, answer, now)
        tell_metrics([works.get(letter.id) for letter in fresh])
        return answer

    try:
        return write_patiently(letters, refused, write, probe=put, refusal=lambda one: not_storable(one.index, one.raw))
    except AlreadyAnswered:
        return find_answer(agent, batch_id, body_sha256) or {}


def _put(
    environment_id: int,
    letters: Sequence[NewDeadLetter],
    rows: Mapping[UUID, tuple[Any, ...]],
    payloads: Mapping[UUID, tuple[object, ...]],
    now: datetime,
) -> list[NewDeadLetter]:
    """Write these letters and what follows from them, inside the caller's transaction; return those that are new."""
    known = set(
        DeadLetter.objects.filter(identity__in=[letter.identity for letter in letters]).values_list(
            "identity", flat=True
        )
    )
    new = sorted((one for one in letters if one.identity not in known), key=lambda one: one.identity)
    flows = {letter.id: rows[letter.id][3] for letter in new}
    homes = home_letters(environment_id, new, flows, now)
    stored = _insert([(*rows[letter.id], homes[letter.id].group_id) for letter in new])
    fresh = [letter for letter in letters if letter.id in stored]
    copy_payloads([payloads[letter.id] for letter in fresh if letter.id in payloads])
    if len(fresh) < len(letters):
        reopen_returned([letter.identity for letter in letters if letter.id not in stored])
    first_seen = _mark_messages(environment_id, fresh, {letter.id: rows[letter.id][3] for letter in fresh}, now)
    for letter, replay in _out_of_replays(environment_id, fresh):
        _link_to_replay(letter, replay, now)
    count_letters(fresh, flows, homes, first_seen, now)
    return fresh


def _rows(agent: Agent, letters: Sequence[NewDeadLetter], now: datetime) -> list[tuple[Any, ...]]:
    rows = []
    for letter in letters:
        item, texts = letter.item, letter.texts
        destination = texts["origin"] or texts["queue"]
        has_body = letter.content is not None
        rows.append(
            (
                letter.id,
                letter.identity,
                agent.environment_id,
                flow_id_for(agent.environment_id, destination, item.system or "unknown"),
                system_id_for(agent.environment_id, item.system) if item.system else None,
                agent.pk,
                "open",
                now,
                letter.failed_at,
                letter.first_failed_at,
                texts["broker"],
                texts["family"],
                texts["queue"],
                texts["origin"],
                messages_sql.json(_clean_route(item.route)),
                texts["reason"],
                item.reason_code,
                texts["error_type"],
                texts["error_root_type"],
                texts["error_message"],
                texts["error_stack"],
                item.attempts,
                letter.message_uid,
                texts["message_id"],
                texts["correlation_id"],
                letter.trace_id,
                letter.span_id,
                messages_sql.json(letter.keys),
                texts["content_type"],
                len(letter.content.body) if letter.content else None,
                now.date() if has_body else None,
                messages_sql.json(letter.masked),
                letter.content_masked,
            )
        )
    return rows


def _clean_route(route: dict[str, str]) -> dict[str, str]:
    return {name.replace("\x00", "")[:64]: value.replace("\x00", "")[:300] for name, value in list(route.items())[:16]}


def _payloads(
    agent: Agent, letters: Sequence[NewDeadLetter], flows: dict[UUID, int], now: datetime, works: Mapping[UUID, Work]
) -> dict[UUID, tuple[object, ...]]:
    with_body = [letter for letter in letters if letter.content is not None]
    if not with_body:
        return {}
    day, environment_id = now.date(), agent.environment_id
    key_id, key = data_key_for(environment_id, day, kept=True)
    return {
        letter.id: (
            day,
            letter.id.bytes,
            environment_id,
            flows[letter.id],
            key_id,
            letter.texts["content_type"],
            len(letter.content.body),
            _masked_in_payload(works.get(letter.id)),
            seal(key, letter.content, environment_id=environment_id, row_id=letter.id.bytes),
        )
        for letter in with_body
        if letter.content is not None
    }


def _masked_in_payload(work: Work | None) -> object:
    return messages_sql.json(as_json(work.in_payload)) if work and work.in_payload else None


def _insert(rows: list[tuple[Any, ...]]) -> set[UUID]:
    if not rows:
        return set()
    return {row[0] for row in messages_sql.run_set_based(INSERT, rows)}


def _mark_messages(
    environment_id: int, fresh: Sequence[NewDeadLetter], flows: Mapping[UUID, object], now: datetime
) -> dict[UUID, datetime]:
    """Set the letters' messages dead; return when each was first seen."""
    deaths: dict[UUID, tuple[object, ...]] = {}
    first_seen: dict[UUID, datetime] = {}
    oldest = now - accepted_age(environment_id)
    for letter in fresh:
        if letter.message_uid is not None:
            texts = letter.texts
            deaths[letter.message_uid] = (
                flows[letter.id],
                texts["message_id"],
                texts["correlation_id"] or None,
                letter.trace_id,
                letter.failed_at,
                letter.keys,
                texts["error_root_type"] or None,
                texts["error_message"] or texts["reason"] or None,
            )
            # The letter may be older than metadata gets; its message's row must not lie in a day that retention lets go.
            first_seen[letter.message_uid] = max(letter.first_failed_at or letter.failed_at, oldest)
    note_texts(environment_id, messages_sql.mark_dead(environment_id, deaths, first_seen, now))
    return first_seen


def _out_of_replays(environment_id: int, letters: Sequence[NewDeadLetter]) -> Iterator[tuple[NewDeadLetter, Replay]]:
    """Return each letter that came out of a replay, by the replay id in its headers or the replay's own trace; one query for all."""
    ids = {letter.replay_id for letter in letters if letter.replay_id}
    traces = {letter.trace_id for letter in letters if letter.trace_id}
    if not ids and not traces:
        return
    found = list(Replay.objects.filter(Q(pk__in=ids) | Q(trace_id__in=traces), environment_id=environment_id))
    by_id, by_trace = {replay.pk: replay for replay in found}, {replay.trace_id: replay for replay in found}
    for letter in letters:
        named = by_id.get(letter.replay_id) if letter.replay_id else None
        replay = named or (by_trace.get(letter.trace_id) if letter.trace_id else None)
        if replay is not None and replay.dead_letter_id != letter.id:
            yield letter, replay


def _link_to_replay(letter: NewDeadLetter, replay: Replay, now: datetime) -> None:
    """Tie a death to the replay that it came out of, which has failed."""
    DeadLetter.objects.filter(pk=letter.id).update(previous_id=replay.dead_letter_id)
    moved = Replay.objects.filter(pk=replay.pk, state__in=AWAITING_PROOF).update(
        state=Replay.State.FAILED_AGAIN,
        lease_until=None,
        finished_at=now,
        detail="it died again: " + letter.texts["error_message"][:300],
    )
    if moved:
        close_dead_letter(replay.dead_letter_id, DeadLetter.Resolution.FAILED_AGAIN, now)
        old = replay.dead_letter
        record_audit(
            SYSTEM,
            "replay.failed_again",
            old,
            environment=old.environment,
            team_id=old.flow.team_id,
            details={"later": str(letter.id)},
        )


def close_dead_letter(pk: UUID, resolution: DeadLetter.Resolution, now: datetime) -> bool:
    """Close a letter whose replay ended; False when it was not replaying."""
    return bool(
        DeadLetter.objects.filter(pk=pk, state=DeadLetter.State.REPLAYING).update(
            state=DeadLetter.State.CLOSED, resolution=resolution, closed_at=now
        )
    )


@transaction.atomic
def discard_dead_letter(letter: DeadLetter, *, by: Actor, reason: str) -> None:
    """Close an open dead letter without sending it; it can be restored. Raises NotOpen, ReasonMissing, Forbidden."""
    check_can_operate(by, letter.flow)
    reason = check_reason(reason)
    claimed = DeadLetter.objects.filter(pk=letter.pk, state=DeadLetter.State.OPEN).update(
        state=DeadLetter.State.CLOSED, resolution=DeadLetter.Resolution.DISCARDED, closed_at=datetime.now(UTC)
    )
    if not claimed:
        raise NotOpen("this dead letter is not open any more: somebody replayed or discarded it")
    if letter.message_uid:
        messages_sql.set_status(letter.message_uid, FAILED)
    record_audit(
        by, "dead_letter.discarded", letter, environment=letter.environment, team_id=letter.flow.team_id, reason=reason
    )
    letter.refresh_from_db()


@transaction.atomic
def restore_dead_letter(letter: DeadLetter, *, by: Actor, reason: str) -> None:
    """Open a dead letter again that was discarded, or that left its queue. Raises NotOpen, ReasonMissing, Forbidden."""
    check_can_operate(by, letter.flow)
    reason = check_reason(reason)
    restored = DeadLetter.objects.filter(pk=letter.pk, state=DeadLetter.State.CLOSED, resolution__in=RESTORABLE).update(
        state=DeadLetter.State.OPEN, resolution=None, closed_at=None
    )
    if not restored:
        raise NotOpen("only a dead letter that was discarded, or left its queue, can be restored")
    if letter.message_uid:
        messages_sql.set_status(letter.message_uid, DEAD)
    record_audit(
        by, "dead_letter.restored", letter, environment=letter.environment, team_id=letter.flow.team_id, reason=reason
    )
    letter.refresh_from_db()
