"""Reads of changes: the list, what happened around a time on some systems and flows, what came last before something failed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q, QuerySet

from console.core.paging import Page, decode_time_cursor, encode_cursor
from console.identity.actor import Actor
from console.identity.models import Environment
from messages.access import hidden_flow_names, visible_changes, without_hidden_flows
from messages.changes.asking import condition_of
from messages.changes.items import LONGEST
from messages.changes.present import LOST_AFTER
from messages.models import Change, Flow, System
from messages.search.query import Query
from messages.search.window import Window

MOST_MARKED = 200
ALL_CHANGES = Query()
JUST_BEFORE = timedelta(hours=6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What a list of changes is narrowed to. ahead_at: only what goes on then or begins later."""

    kind: str = ""
    system: str = ""
    flow: str = ""
    withdrawn: bool = False
    ahead_at: datetime | None = None


def find_changes(
    actor: Actor,
    *,
    environments: Sequence[Environment],
    query: Query = ALL_CHANGES,
    only: Filter | None = None,
    window: Window | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page[Change]:
    """Return changes, the latest start first, planned ones at the top; without a window all of them. Raises BadQuery, InvalidCursor."""
    only = only or Filter()

    def is_hidden(name: str) -> bool:
        return bool(hidden_flow_names(actor, [name], [environment.pk for environment in environments]))

    rows = visible_changes(actor).filter(environment__in=environments, withdrawn_at__isnull=not only.withdrawn)
    rows = rows.filter(condition_of(query, is_hidden=is_hidden))
    if only.kind:
        rows = rows.filter(kind=only.kind)
    if only.system:
        rows = rows.filter(systems__contains=[only.system])
    if only.flow:
        rows = rows.none() if is_hidden(only.flow) else rows.filter(flows__contains=[only.flow])
    if only.ahead_at is not None:
        rows = rows.filter(_ahead(only.ahead_at))
    if window is not None:
        rows = rows.filter(_touching(window.since, window.until))
    if cursor:
        at, pk = decode_time_cursor(cursor)
        rows = rows.filter(Q(started_at__lt=at) | Q(started_at=at, pk__lt=pk))
    found = list(rows.order_by("-started_at", "-id")[: limit + 1])
    more = encode_cursor(found[limit - 1].started_at, found[limit - 1].pk) if len(found) > limit else None
    return Page(without_hidden_flows(actor, found[:limit]), more)


def _touching(since: datetime, until: datetime) -> Q:
    """What started in this time, or lasted into it: a window, or a change that goes on."""
    began = Q(started_at__gte=since - LONGEST, started_at__lte=until)  # the range that change_by_start reads
    return began & (Q(started_at__gte=since) | Q(ended_at__gte=since) | _going_on(since))


def _going_on(at: datetime) -> Q:
    """A window that nobody closed, and what a pipeline began within a day: later its end was lost, and it marks nothing any more."""
    began = Q(outcome=Change.Outcome.RUNNING, started_at__gte=at - LOST_AFTER)
    return Q(ended_at__isnull=True) & (began | Q(kind=Change.Kind.MAINTENANCE))


def _ahead(at: datetime) -> Q:
    return Q(started_at__gte=at - LONGEST) & (Q(started_at__gt=at) | Q(ended_at__gt=at) | _going_on(at))


def changes_between(
    actor: Actor,
    environments: Sequence[Environment],
    *,
    since: datetime,
    until: datetime,
    systems: Collection[str] | None = None,
    flows: Collection[str] | None = None,
    most: int = MOST_MARKED,
) -> list[Change]:
    """Return the changes that started in this time or lasted into it, oldest first, the latest `most` of them.

    systems, flows  only what names one of these, or no system and flow at all; None for everything.
    """
    rows = visible_changes(actor).filter(environment__in=environments, withdrawn_at__isnull=True)
    rows = _about(rows.filter(_touching(since, until)), systems, flows)
    return without_hidden_flows(actor, list(rows.order_by("-started_at", "-id")[:most])[::-1])


def changes_before(
    actor: Actor,
    environment: Environment,
    at: datetime,
    *,
    systems: Collection[str],
    flows: Collection[str],
    within: timedelta = JUST_BEFORE,
    most: int = 3,
) -> list[Change]:
    """Return the last changes to these systems and flows that began before a time, or went on then, the latest first.

    What a page of something that failed (a dead letter, later a group of failures) asks with its own first time.
    """
    found = changes_between(actor, [environment], since=at - within, until=at, systems=systems, flows=flows, most=most)
    return found[::-1]


def _about(rows: QuerySet[Change], systems: Collection[str] | None, flows: Collection[str] | None) -> QuerySet[Change]:
    if systems is None and flows is None:
        return rows
    named = Q(systems__overlap=list(systems or ())) | Q(flows__overlap=list(flows or ()))
    return rows.filter(named | Q(systems=[], flows=[]))


def unknown_names(change: Change) -> tuple[list[str], list[str]]:
    """Return (systems, flows) that a change names and that are not here yet, so that a slip of the pen can be seen."""
    systems = set(
        System.objects.filter(environment_id=change.environment_id, name__in=change.systems).values_list(
            "name", flat=True
        )
    )
    flows = set(
        Flow.objects.filter(environment_id=change.environment_id, name__in=change.flows).values_list("name", flat=True)
    )
    return [name for name in change.systems if name not in systems], [
        name for name in change.flows if name not in flows
    ]
