"""Reads of the map: the hourly counts of the flows that the reader may see, what waits at each system, whose agents are silent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import Count, Max, Q, Sum

from console.identity.access import visible_agents
from console.identity.actor import Actor
from console.identity.models import Environment
from messages.access import visible_dead_letters, visible_flows, visible_hours
from messages.figures.ranges import LONGEST
from messages.models import ClockReading, Flow, System
from messages.models.stream import Outcome
from messages.search.window import BadWindow, Window
from messages.topology.graph import OURS, Graph, build_graph
from messages.topology.sides import Cell
from messages.topology.ties import Ties, sending_and_fed, ties_of

MOST_CELLS = 50_000  # 1,000 flows have some 4,000; memory and time stay bounded whatever names senders make up
SILENT = timedelta(minutes=10)
HOUR, RESOLUTION = timedelta(hours=1), timedelta(microseconds=1)
DAY = timedelta(days=1)
SLICES, MOST_OF_SLICE = 12, 1_000  # of the time, and messages that are read of each: its newest
# What is read is bounded before it is looked at: where no message is of two flows, a slice would be read to its end for nothing.
SHARED = """
SELECT read.flow_id, read.also_in, count(*)
FROM unnest(%(begins)s::timestamptz[], %(ends)s::timestamptz[]) AS slice (since, until)
CROSS JOIN LATERAL (
    SELECT flow_id, also_in FROM messaging_message
    WHERE environment_id = %(environment)s AND first_seen_at >= slice.since AND first_seen_at < slice.until
      AND first_seen_on BETWEEN %(first)s AND %(last)s
    ORDER BY first_seen_at DESC LIMIT %(most)s
) AS read WHERE read.also_in IS NOT NULL OR read.flow_id = ANY(%(fed)s) GROUP BY read.flow_id, read.also_in"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """A graph with what names and measures it. The times are whole hours: since <= hour < until.

    waiting  dead letters by flow id.   cut  more than 50,000 combinations of flow, system and destination: the busiest are here.
    """

    graph: Graph
    flows: dict[int, Flow]
    waiting: dict[int, int]
    since: datetime
    until: datetime
    cut: bool

    @property
    def minutes(self) -> float:
        return (self.until - self.since) / timedelta(minutes=1)


def read_topology(actor: Actor, environment: Environment, window: Window, *, now: datetime) -> Topology:
    """Return who sent what to whom in a window; six queries whatever the number of systems. Raises BadWindow.

    Only flows that the actor may see are counted, in every total too. The hour that still fills is in it, as long as it is.
    """
    if window.since >= min(window.until, now):
        raise BadWindow("a range begins before it ends, and not in the future")
    if min(window.until, now) - window.since > LONGEST:
        raise BadWindow(f"a range is at most {LONGEST.days} days long")
    since, until = _hour_of(window.since), min(_hour_of(window.until + HOUR - RESOLUTION), now)
    cells = _cells(actor, environment, since, until)
    waiting = _waiting(actor, environment)
    systems = {cell.system_id for cell in cells} | {system_id for _, system_id in waiting if system_id}
    names = dict(System.objects.filter(pk__in=systems, environment=environment).values_list("pk", "name"))
    flow_ids = {cell.flow_id for cell in cells} | {flow_id for flow_id, _ in waiting}
    by_flow: dict[int, int] = {}
    for (flow_id, _), count in waiting.items():
        by_flow[flow_id] = by_flow.get(flow_id, 0) + count
    ours = next((system_id for system_id, name in names.items() if name == OURS), None)
    graph = build_graph(
        cells[:MOST_CELLS],
        names=names,
        waiting=waiting,
        quiet=_quiet_systems(actor, environment, now=now),
        ties=_ties(environment, cells[:MOST_CELLS], since, until, ours=ours),
    )
    flows = visible_flows(actor).filter(environment=environment, pk__in=flow_ids)
    return Topology(
        graph=graph,
        flows={flow.pk: flow for flow in flows},
        waiting=by_flow,
        since=since,
        until=until,
        cut=len(cells) > MOST_CELLS,
    )


def _hour_of(at: datetime) -> datetime:
    """Return the beginning of the hour that a time lies in: of an hour in UTC, as it is counted, whatever zone the time is told in."""
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _cells(actor: Actor, environment: Environment, since: datetime, until: datetime) -> list[Cell]:
    rows = (
        visible_hours(actor)
        .filter(environment=environment, hour__gte=since, hour__lt=until)
        .values_list("flow_id", "system_id", "destination", "operation")
        .annotate(total=Sum("count"), failed=Sum("count", filter=Q(outcome=Outcome.ERROR)))
        .order_by("-total", "flow_id", "system_id", "destination", "operation")
    )
    return [
        Cell(flow_id, system_id, destination, operation, total, failed or 0)
        for flow_id, system_id, destination, operation, total, failed in rows[: MOST_CELLS + 1]
    ]


def _ties(
    environment: Environment, cells: Sequence[Cell], since: datetime, until: datetime, *, ours: int | None
) -> Ties:
    """Return in which flows the messages were sent that these flows took though nobody sent them there, from up to 12,000 messages of the time.

    Of the flows of the cells alone: what the reader may not see ties nothing.
    """
    sending, fed = sending_and_fed(cells, ours)
    if not sending or not fed:
        return {}
    step = (until - since) / SLICES
    bounds = [since + step * number for number in range(SLICES)] + [until]
    asked: dict[str, Any] = {
        "begins": bounds[:-1], "ends": bounds[1:], "environment": environment.pk, "most": MOST_OF_SLICE,
        "first": (since - DAY).date(), "last": (until + DAY).date(), "fed": list(fed),
    }  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(SHARED, asked)
        shared = [({flow_id, *(also_in or ())}, count) for flow_id, also_in, count in cursor.fetchall()]
    return ties_of(cells, shared, ours)


def _waiting(actor: Actor, environment: Environment) -> dict[tuple[int, int | None], int]:
    """Return {(flow id, system id): dead letters that wait}; served by the index dead_letter_waiting."""
    rows = visible_dead_letters(actor).filter(environment=environment, closed_at=None).order_by()
    counted = rows.values_list("flow_id", "system_id").annotate(Count("pk"))
    return {(flow_id, system_id): count for flow_id, system_id, count in counted}


def _quiet_systems(actor: Actor, environment: Environment, *, now: datetime) -> set[int]:
    """Return the systems all of whose agents of the last day have been silent for ten minutes.

    Which agent reports which system is known from the readings of their clocks, of which each pair makes one an hour.
    """
    agents = visible_agents(actor).filter(environment=environment).order_by()
    heard = (
        ClockReading.objects.filter(agent__in=agents.values("pk"), hour__gt=now - timedelta(days=1) - HOUR, system__isnull=False)
        .values_list("system_id")
        .annotate(Max("agent__last_seen_at"), Max("agent__heartbeat_at"))
    )  # fmt: skip
    return {
        system_id
        for system_id, *times in heard
        if (last := max((at for at in times if at), default=None)) is None or now - last > SILENT
    }


def system_named(topology: Topology, name: str) -> str:
    """Return the key of a system by its name, nothing when it is not there."""
    return next((node.key for node in topology.graph.nodes.values() if node.kind == "system" and node.name == name), "")
