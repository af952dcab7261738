"""Which agents bring which flows, and whether they are silent: then nothing is known of what is promised about these flows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Exists, OuterRef

from alerts.models import FlowAgent, Objective
from console.identity.keys import alive
from console.identity.models import Key
from messages.queries import HEARTBEAT_SILENT, OTHERS_SILENT, agents_of_flows

UNHEARD = timedelta(minutes=3)  # less than it takes to empty the shortest window: nothing is called well by it
TAKEN_OVER = timedelta(days=1)  # an agent that another one took over from so long ago is no matter any more


def learn_agents(now: datetime) -> None:
    """Note which agents bring which flows, from the newest events of environments with objectives."""
    environments = Objective.objects.values_list("environment_id", flat=True).distinct()
    rows = [
        FlowAgent(flow_id=flow_id, agent_id=agent_id, seen_at=now)
        for environment_id in environments.order_by("environment_id")
        for flow_id, agent_id in agents_of_flows(environment_id, now - timedelta(minutes=2), now)
    ]
    rows.sort(key=lambda row: (row.flow_id, row.agent_id))
    FlowAgent.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["flow", "agent"], update_fields=["seen_at"]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """When an agent that brings a flow was heard last. expected: it sends heartbeats, so silence says that it is down."""

    flow_id: int
    name: str
    at: datetime
    expected: bool


def agents_heard(flow_ids: Collection[int]) -> list[Heard]:
    """Return the agents that bring these flows, but those that another one took over from, and those none of whose keys holds any more.

    The only one is not forgotten by time. One that never had a key is waited for.
    """
    keys = Key.objects.filter(agent=OuterRef("agent"))
    rows = list(
        FlowAgent.objects.filter(flow__in=flow_ids)
        .annotate(gone=Exists(keys) & ~Exists(keys.filter(alive())))
        .order_by("flow_id", "agent_id")
        .values_list("flow_id", "seen_at", "gone", "agent__name", "agent__last_seen_at", "agent__heartbeat_at")
    )
    newest: dict[int, datetime] = {}
    for flow_id, seen_at, *_ in rows:
        newest[flow_id] = max(seen_at, newest.get(flow_id, seen_at))
    return [
        Heard(flow_id=flow_id, name=name, at=max(filter(None, (seen_at, *told))), expected=told[-1] is not None)
        for flow_id, seen_at, gone, name, *told in rows
        if not gone and seen_at >= newest[flow_id] - TAKEN_OVER
    ]


def silent_agents(heard: Sequence[Heard], now: datetime) -> dict[int, Heard]:
    """Return {flow id: an agent that brings it and is silent}, one that sends heartbeats before others."""
    found: dict[int, Heard] = {}
    for one in heard:
        if now - one.at > (HEARTBEAT_SILENT if one.expected else OTHERS_SILENT) and (
            one.flow_id not in found or one.expected
        ):
            found[one.flow_id] = one
    return found


def unheard_flows(heard: Sequence[Heard], now: datetime) -> dict[int, Heard]:
    """Return {flow id: an agent that brings it} of which nobody was heard for minutes, or not one that sends heartbeats: nobody knows how they are now."""
    late = [one for one in heard if now - one.at > UNHEARD]
    others = {one.flow_id for one in heard if now - one.at <= UNHEARD}
    return {one.flow_id: one for one in late if one.expected or one.flow_id not in others}


def silent_words(silent: Heard | None, one: Objective) -> str:
    """Return why there are no data, "" when there are. Where silence is what the promise is about, only one that sends heartbeats is missed."""
    if silent is None or (one.kind == Objective.Kind.VOLUME and not silent.expected):
        return ""
    return f"the agent {silent.name} has been silent since {silent.at:%Y-%m-%d %H:%M} UTC"
