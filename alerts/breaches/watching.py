"""Watchers: each says what is wrong of one kind, and is the source of its breaches. What it says no more of is over.

A watcher that fails says nothing: its breaches stay as they are, and are flagged when it is silent for long.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

import structlog
from django.utils.module_loading import import_string

from alerts.breaches.moves import now_utc
from alerts.breaches.services import observe
from alerts.breaches.states import OPEN
from alerts.conditions import Condition, Holds, Severity
from alerts.models import Breach, GroupWatch
from messages.queries import (
    MOST_TROUBLED,
    Troubled,
    full_disks,
    overdue_replays,
    raised_checks,
    silent_agents,
    troubled_compensations,
    troubled_groups,
)

log = structlog.get_logger(__name__)
SILENT_AFTER = timedelta(minutes=10)
COME_BACK = timedelta(minutes=2)  # what agents have to reach a console that was away itself

# source → function (now) → what is wrong. One that takes its source from elsewhere calls `observe` itself and is not here.
WATCHERS = {
    "group": "alerts.breaches.watching.groups",
    "replay": "alerts.breaches.watching.replays",
    "compensation": "alerts.breaches.watching.compensations",
    "check": "alerts.breaches.watching.checks",
    "agent": "alerts.breaches.watching.agents",
    "ingest": "alerts.breaches.watching.ingest",
}


def groups(now: datetime) -> list[Condition]:
    """Failure groups that are new, came back or grow, of the classes that somebody wants to be told of."""
    watched: dict[int, dict[str, tuple[str, datetime]]] = defaultdict(dict)
    for row in GroupWatch.objects.all():
        watched[row.environment_id][row.failure_class] = (row.severity, row.since)
    return conditions_of("group", troubled_groups(watched)) if watched else []


def replays(now: datetime) -> list[Condition]:
    """What was sent again and is not proved to be processed for too long."""
    return conditions_of("replay", overdue_replays(now))


def compensations(now: datetime) -> list[Condition]:
    """Compensations that have needed a person for too long: what did not happen stays so until somebody comes."""
    return conditions_of("compensation", troubled_compensations(now))


def checks(now: datetime) -> list[Condition]:
    """Scheduled checks of reconciliations that were not well at their last occurrence, until one is."""
    return conditions_of("check", raised_checks())


def agents(now: datetime) -> list[Condition]:
    """Agents that were heard and are silent."""
    return conditions_of("agent", silent_agents(now, SILENT_AFTER), pending=COME_BACK)


def ingest(now: datetime) -> list[Condition]:
    """A disk so full that ingest refuses, or soon will."""
    return conditions_of("ingest", full_disks())


def conditions_of(source: str, troubled: Iterable[Troubled], *, pending: timedelta = timedelta()) -> list[Condition]:
    return [
        Condition(
            environment_id=one.environment_id, source=source, key=one.key, severity=Severity(one.severity), holds=Holds.YES,
            title=one.title, summary=one.summary, url=one.url, pending=pending, flow_ids=one.flow_ids, labels=one.labels,
        )
        for one in troubled
    ]  # fmt: skip


def look(*, now: datetime | None = None) -> None:
    """Ask every watcher and take what it says. May run twice at once, and die anywhere."""
    for source, path in WATCHERS.items():
        at = now or now_utc()
        try:
            watcher: Callable[[datetime], Sequence[Condition]] = import_string(path)
            wrong = watcher(at)
            observe([*wrong, *the_rest(source, wrong)], now=now)
        except Exception:  # a watcher that fails must not keep the others from looking
            log.exception("watcher_failed", source=source)


def the_rest(source: str, wrong: Sequence[Condition]) -> list[Condition]:
    """Return that what is open of this source, and not among what is wrong, holds no more; nothing where more is wrong than was said."""
    if len(wrong) >= MOST_TROUBLED:
        return []
    said = {(one.environment_id, one.key, one.severity.value) for one in wrong}
    rows = Breach.objects.filter(source=source, state__in=OPEN).order_by("pk")
    return [
        Condition(
            environment_id=row.environment_id, source=source, key=row.key, severity=Severity(row.severity), holds=Holds.NO,
            title=row.title, summary=row.summary, url=row.url, flow_ids=tuple(row.flow_ids), labels=row.labels,
        )
        for row in rows
        if (row.environment_id, row.key, row.severity) not in said
    ]  # fmt: skip
