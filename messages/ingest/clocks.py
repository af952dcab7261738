"""How far agents' clocks are ahead of ours: read off what arrives, kept by the hour, shown with agents and in journeys.

A thing cannot be reported before it happened. So the newest end among a batch's events, less the time the batch arrived, is
the least that the sender's clock is ahead; the largest of an hour's batches, that of the one that was least under way, is close
to the truth. Behind and late look alike there, so only an agent that says its own time (a heartbeat) is known to be behind.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from console.identity.models import Agent
from messages.ingest import clean
from messages.ingest.messages_sql import run_set_based
from messages.ingest.model import NewEvent
from messages.models import ClockReading

STEP_US = 1_000  # a reading that is better by less is not worth a write
KEPT = timedelta(days=40)
HOUR = timedelta(hours=1)
SPANS_FRESH_S = 30.0
UPSERT = """
INSERT INTO messaging_clockreading AS r (agent_id, system_id, hour, ahead_us, exact)
SELECT * FROM unnest(%b::int8[], %b::int8[], %b::timestamptz[], %b::int8[], %b::bool[])
ON CONFLICT (agent_id, system_id, hour) DO UPDATE SET
    ahead_us = CASE WHEN excluded.exact THEN excluded.ahead_us ELSE greatest(r.ahead_us, excluded.ahead_us) END
"""
_spans: dict[int, tuple[float, list[tuple[datetime, datetime]]]] = {}  # agent → when they were read, moved_spans
_written: dict[tuple[int, int, datetime], int] = {}  # what this process wrote; another's larger one stays anyway


def note_events(agent_id: int, events: Iterable[tuple[NewEvent, int]], *, received_at: datetime) -> None:
    """Read the clocks of these (event, system id), which are stored; writes at most one row a system, and rarely."""
    newest: dict[int, tuple[datetime, int]] = {}
    for event, system_id in events:
        at = event.clamped_from or event.occurred_at
        if at is not clean.EPOCH and (system_id not in newest or at > newest[system_id][0]):
            newest[system_id] = at, event.duration_us
    hour = received_at.replace(minute=0, second=0, microsecond=0)
    rows = []
    for system_id, (at, duration_us) in sorted(newest.items()):
        ahead_us = (at - received_at) // timedelta(microseconds=1) + duration_us
        known = _written.get((agent_id, system_id, hour))
        if known is None or ahead_us > known + STEP_US:
            if len(_written) > 10_000:
                _written.clear()
            _written[(agent_id, system_id, hour)] = ahead_us
            rows.append((agent_id, system_id, hour, ahead_us, False))
    if rows:
        run_set_based(UPSERT, rows)


def note_heartbeat(agent: Agent, sent_at: datetime, *, received_at: datetime) -> None:
    """Keep what an agent's own clock said when it sent its heartbeat: exact but for the way here."""
    hour = received_at.replace(minute=0, second=0, microsecond=0)
    run_set_based(UPSERT, [(agent.pk, None, hour, (sent_at - received_at) // timedelta(microseconds=1), True)])


def moved_spans(agent_id: int) -> list[tuple[datetime, datetime]]:
    """Return spans of senders' times in which events of this agent may have been moved to ours, because its clock was far ahead.

    Sent again when their time has come, such events are not moved any more, and would not meet their first copy by its time.
    """
    known = _spans.get(agent_id)
    if known is None or time.monotonic() - known[0] > SPANS_FRESH_S:
        if len(_spans) > 10_000:
            _spans.clear()
        far = ClockReading.objects.filter(agent_id=agent_id, ahead_us__gt=clean.FUTURE // timedelta(microseconds=1))
        spans = [(one.hour + clean.FUTURE, one.hour + HOUR + min(one.ahead, KEPT)) for one in far]
        known = _spans[agent_id] = (time.monotonic(), spans)
    return known[1]


def latest_readings(agents: Sequence[Agent], *, now: datetime) -> dict[int, list[ClockReading]]:
    """Return each agent's newest reading of each system's clock, of the last day: what is furthest ahead first."""
    rows = ClockReading.objects.filter(agent__in=agents, hour__gt=now - timedelta(days=1)).select_related("system")
    readings: dict[int, list[ClockReading]] = {}
    for reading in rows.order_by("agent_id", "system_id", "-hour").distinct("agent_id", "system_id"):
        readings.setdefault(reading.agent_id, []).append(reading)
    for found in readings.values():
        found.sort(key=lambda one: -one.ahead_us)
    return readings


def expire_readings() -> int:
    """Forget readings older than any journey that could use them; return how many went."""
    return ClockReading.objects.filter(hour__lt=datetime.now(UTC) - KEPT).delete()[0]


def forget() -> None:
    """Forget what this process wrote and read: tests roll it back."""
    _written.clear()
    _spans.clear()
