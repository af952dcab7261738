"""The receiver's proof: a replay is processed when the receiver's own event says so, and not before."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from console.audit.services import record_audit
from console.identity.actor import SYSTEM
from messages.dead_letters.services import close_dead_letter
from messages.ingest import messages_sql
from messages.ingest.status import DELIVERED
from messages.models import DeadLetter, Replay
from messages.replay.states import TRANSITIONS

LOCK = 7_219_004
AT_MOST = 500
LOOKED_FOR = timedelta(days=30)
OFTEN = timedelta(hours=1)  # younger ones than this are looked for every other second, the rest once a minute

LOOKED_AT = 2_000  # replays at a time: each costs 20 to 60 µs, and a worker has other things to do
NEWEST = 500  # are looked at every time: most proofs come within seconds, and a first wave waits for its own
AWAITING = """
    r.state IN ('sending', 'sent', 'confirmed', 'unknown') AND r.finished_at IS NULL AND r.created_at > now() - make_interval(secs => %s)
"""
HOW_MANY = f"""
SELECT count(*), (SELECT r.id FROM messaging_replay r WHERE {AWAITING} ORDER BY r.id DESC OFFSET {NEWEST} LIMIT 1)
FROM messaging_replay r WHERE {AWAITING}
"""  # noqa: S608  constants of ours

# A proof is a process or settle event (4, 5) that succeeded (1), pushed by an agent, about this letter's flow, message or
# system, tied to the replay by its own trace, by a link to that trace, or by the same message after the sending.
# OFFSET 0: from the link to its event. Of a day that was not analysed yet PostgreSQL would read all events, for each replay (measured: 4 ms).
PROOFS = """
SELECT r.id, p.occurred_at, p.event_id, p.tie, p.system_id
FROM messaging_replay r
JOIN messaging_deadletter d ON d.id = r.dead_letter_id
CROSS JOIN LATERAL (
    SELECT e.occurred_at, e.id AS event_id, 'trace' AS tie, 1 AS strength, e.system_id FROM messaging_event e
    WHERE e.trace_id = r.trace_id AND e.occurred_at >= r.created_at - interval '10 minutes'
      AND e.operation IN (4, 5) AND e.outcome = 1 AND e.agent_id IS NOT NULL
      AND (e.flow_id = d.flow_id OR e.message_uid = d.message_uid OR e.system_id = d.system_id)
    UNION ALL
    SELECT e.occurred_at, e.id, 'link', 2, e.system_id FROM (
        SELECT * FROM messaging_trace_link l
        WHERE l.linked_trace_id = r.trace_id AND l.occurred_at >= r.created_at - interval '10 minutes' OFFSET 0
    ) l
    CROSS JOIN LATERAL (SELECT * FROM messaging_event e WHERE e.trace_id = l.trace_id AND e.occurred_at = l.occurred_at OFFSET 0) e
    WHERE e.span_id = l.span_id AND e.operation IN (4, 5) AND e.outcome = 1 AND e.agent_id IS NOT NULL
      AND (e.flow_id = d.flow_id OR e.message_uid = d.message_uid OR e.system_id = d.system_id)
    UNION ALL
    SELECT e.occurred_at, e.id, 'message id', 3, e.system_id FROM messaging_event e
    WHERE e.message_uid = d.message_uid AND e.occurred_at > r.sent_at
      AND e.operation IN (4, 5) AND e.outcome = 1 AND e.agent_id IS NOT NULL
      AND (d.system_id IS NULL OR e.system_id = d.system_id)
    ORDER BY strength, occurred_at LIMIT 1
) p
WHERE {awaiting} AND ((hashtext(r.id::text) & 65535) %% %s = %s OR r.id > %s)
ORDER BY r.id LIMIT %s
""".replace("{awaiting}", AWAITING)


def settle_replays(*, within: timedelta = LOOKED_FOR) -> int:
    """Close replays of this age whose proof has arrived; two at once do the work once. Returns how many were proved.

    Where more wait than can be looked at in a moment, chance says which have their turn; the newest have theirs always.
    """
    most = LOOKED_AT * (5 if within > OFTEN else 1)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        if not cursor.fetchone()[0]:
            return 0
        cursor.execute(HOW_MANY, [within.total_seconds()] * 2)
        waiting, newest = cursor.fetchone()
        turns = -(-waiting // most) or 1
        turn = random.randrange(turns)  # noqa: S311  no secret
        cursor.execute(PROOFS, [within.total_seconds(), turns, turn, newest or UUID(int=2**128 - 1), AT_MOST])
        found: list[Any] = cursor.fetchall()
        return sum(_settle(*row) for row in found)


def _settle(pk: UUID, occurred_at: datetime, event_id: UUID, tie: str, system_id: int) -> bool:
    replay = Replay.objects.select_related("dead_letter__flow", "dead_letter__environment").get(pk=pk)
    now = datetime.now(UTC)
    proof: dict[str, Any] = {
        "proof_event_at": occurred_at,
        "proof_event_id": event_id,
        "proof_tie": tie,
        "finished_at": now,
    }
    before = [state for state, following in TRANSITIONS.items() if "processed" in following]
    if not Replay.objects.filter(pk=pk, state__in=before).update(state="processed", lease_until=None, **proof):
        return False
    letter = replay.dead_letter
    close_dead_letter(letter.pk, DeadLetter.Resolution.PROCESSED, now)
    if letter.system_id is None:  # now it is known: it speaks for no other that failed the message
        DeadLetter.objects.filter(pk=letter.pk).update(system_id=system_id)
    if letter.message_uid:
        messages_sql.set_status(letter.message_uid, DELIVERED)
    details = {"replay": str(pk), "event": str(event_id), "tie": tie}
    record_audit(
        SYSTEM, "replay.processed", letter, environment=letter.environment, team_id=letter.flow.team_id, details=details
    )
    return True
