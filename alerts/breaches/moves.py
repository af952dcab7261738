"""The only way to change a breach's state, its timeline, and the lock that lets one act at a time on an environment's breaches.

Locks are taken in this order: the environment's, breaches by id, what was told of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import Any

from django.db import connection

from alerts.breaches.states import TRANSITIONS, state_after, states_before
from alerts.models import Breach, BreachEntry, Silence, Telling

LOCK = 7_219_041  # with the environment's id as second half
NOBODY = "acknowledged_at = NULL, acknowledged_by = '', owner_id = NULL"
UNHELD = "inhibited_by_id = NULL, silenced_by_id = NULL, silence_over_id = NULL, is_excluded = false"
OVER = f"resolved_at = %(now)s, clear_since = NULL, frozen_at = NULL, unwatched_since = NULL, {UNHELD}"
# happening → what it writes beside the state
WRITES = {
    "fire": "fired_at = %(now)s",
    "acknowledge": "acknowledged_at = %(now)s, acknowledged_by = %(by)s, owner_id = coalesce(owner_id, %(user)s)",
    "clear": OVER,
    "close": OVER,
    "again": f"fired_at = %(now)s, last_seen_at = %(now)s, resolved_at = NULL, flaps = flaps + 1, {NOBODY}, {UNHELD}",
}


def lock_environment(environment_id: int) -> None:
    """Wait until nobody else looks at this environment's breaches; until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [LOCK, environment_id])


def now_utc() -> datetime:
    return datetime.now(UTC)


def move(pks: Collection[int], happening: str, *, now: datetime, by: str = "", user_id: int | None = None) -> list[int]:
    """Let this happen to breaches that are in a state for it; return those to which it did, in order.

    Of two that try it at once one succeeds: the update is conditional. What calms leaves no row, because it never fired.
    """
    if not pks:
        return []
    values = {"pks": sorted(pks), "before": states_before(happening), "now": now, "by": by, "user": user_id}
    where = "id = ANY(%(pks)s) AND state = ANY(%(before)s) RETURNING id"
    if happening == "calm":
        gone = _ids(f"DELETE FROM alerts_breach WHERE {where}", values)  # noqa: S608  constants of ours
        Silence.objects.filter(about__in=gone).update(about=None)
        return gone
    values["after"] = state_after(happening)
    statement = f"UPDATE alerts_breach SET state = %(after)s, {WRITES[happening]} WHERE {where}"  # noqa: S608  constants of ours
    return _ids(statement, values)


def _ids(statement: str, values: dict[str, Any]) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return sorted(row[0] for row in cursor.fetchall())


def write(pks: Iterable[int], kind: BreachEntry.Kind, text: str = "", *, now: datetime, by: str = "") -> None:
    """Add a line to the timeline of each."""
    BreachEntry.objects.bulk_create(
        [BreachEntry(breach_id=pk, at=now, kind=kind, by=by, text=text) for pk in pks], batch_size=1000
    )


def look_at_tellings(pks: Collection[int], now: datetime) -> None:
    """Have it looked at what is owed about these breaches."""
    if pks:
        Telling.objects.filter(breach__in=pks).update(due_at=now)


def lock_breaches(pks: Collection[int]) -> dict[int, Breach]:
    """Return these breaches as they are now, held until the transaction ends, in order of id."""
    rows = Breach.objects.filter(pk__in=pks).order_by("pk").select_for_update(of=("self",))
    return {row.pk: row for row in rows}


assert set(WRITES) | {"calm"} == {happening for ways in TRANSITIONS.values() for happening in ways}
