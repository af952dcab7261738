"""Which agents bring which flows, and whether they are silent: then nothing is known of what is promised about these flows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db.models import Exists, OuterRef

from alerts.models import FlowAgent, Objective
from alerts.objectives.asking import shift_of
from console.identity.keys import alive
from console.identity.models import Agent, Key
from messages.queries import HEARTBEAT_SILENT, OTHERS_SILENT, agents_of_flows, late_agents, letters_brought_by

UNHEARD = timedelta(minutes=3)  # less than it takes to empty the shortest window: nothing is called well by it
LATELY = timedelta(minutes=2)
READ = ("name", "created_at", "last_seen_at", "heartbeat_at")
TAKEN_OVER = timedelta(days=1)  # an agent that another one took over from so long ago is no matter any more
# known without an agent that only speaks when it has something: silence is what is asked for, and letters are here
KNOWN_HERE = (Objective.Kind.VOLUME, Objective.Kind.DEAD_LETTER_AGE)


def learn_agents(now: datetime) -> None:
    """Note which agents bring which flows, from the newest events of environments with objectives."""
    environments = Objective.objects.values_list("environment_id", flat=True).distinct()
    brought = {pair for pk in environments.order_by("environment_id") for pair in _brought(pk, now)}
    rows = [FlowAgent(flow_id=flow_id, agent_id=agent_id, seen_at=now) for flow_id, agent_id in sorted(brought)]
    FlowAgent.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["flow", "agent"], update_fields=["seen_at"]
    )


def _brought(environment_id: int, now: datetime) -> set[tuple[int, int]]:
    """Return (flow id, agent id) of who was heard lately: events are as old as who brings them is late, or a clock is behind."""
    found = set(agents_of_flows(environment_id, now - LATELY, now))
    for late in late_agents(environment_id, now - LATELY):
        then = agents_of_flows(environment_id, now - late.most - LATELY, now - late.least)
        found |= {pair for pair in then if pair[1] in late.agents}
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """When an agent that brings a flow was heard last. expected: it sends heartbeats, so silence says that it is down.

    missed  of one that is late: it is expected, or every agent of its flow is late. Another one may just have nothing to say.
    """

    flow_id: int
    agent_id: int
    name: str
    made_at: datetime
    at: datetime
    expected: bool
    missed: bool = False


Agents = Mapping[int, Sequence[Heard]]  # {flow id: agents}, those that send heartbeats first, then the last heard first


def agents_heard(flow_ids: Collection[int]) -> list[Heard]:
    """Return the agents that bring these flows, but those that another one took over from, and those none of whose keys holds any more.

    The only one is not forgotten by time. One that never had a key is waited for.
    """
    rows = FlowAgent.objects.filter(flow__in=flow_ids).order_by("flow_id", "agent_id")
    return _heard(list(rows.values_list("flow_id", "agent_id", "seen_at")))


def harvesters_heard(flow_ids: Collection[int]) -> list[Heard]:
    """Return the agents that brought the newest dead letters of these flows, as agents_heard: a harvester brings no event that would tell.

    Letters are rare: one that is heard was not taken over from because another one brought a letter later.
    """
    return _heard(letters_brought_by(flow_ids), rare=True) if flow_ids else []


def _heard(brought: Sequence[tuple[int, int, datetime]], *, rare: bool = False) -> list[Heard]:
    """brought: (flow id, agent id, when)."""
    keys = Key.objects.filter(agent=OuterRef("pk"))
    agents = Agent.objects.filter(pk__in={agent_id for _, agent_id, _ in brought})
    holding = {one.pk: one for one in agents.exclude(Exists(keys) & ~Exists(keys.filter(alive()))).only(*READ)}
    newest: dict[int, datetime] = {}
    for flow_id, _, at in brought:
        newest[flow_id] = max(at, newest.get(flow_id, at))
    found = []
    for flow_id, agent_id, at in brought:
        one = holding.get(agent_id)
        if one is None:
            continue
        last = max(filter(None, (at, one.last_seen_at, one.heartbeat_at)))
        if (last if rare else at) >= newest[flow_id] - TAKEN_OVER:
            beats, made_at = one.heartbeat_at is not None, one.created_at
            found.append(
                Heard(flow_id=flow_id, agent_id=agent_id, name=one.name, made_at=made_at, at=last, expected=beats)
            )
    return found


def silent_agents(heard: Sequence[Heard], now: datetime) -> Agents:
    """Return those of these agents that are silent."""
    return _late(heard, lambda one: now - one.at > (HEARTBEAT_SILENT if one.expected else OTHERS_SILENT))


def unheard_agents(heard: Sequence[Heard], now: datetime) -> Agents:
    """Return those of these agents that were not heard for minutes: of flows that miss one nobody knows how they are now."""
    return _late(heard, lambda one: now - one.at > UNHEARD)


def late_of(heard: Sequence[Heard], now: datetime) -> tuple[Agents, Agents]:
    """Return those that are silent, and those that were not heard for minutes."""
    return silent_agents(heard, now), unheard_agents(heard, now)


def _late(heard: Sequence[Heard], is_late: Callable[[Heard], bool]) -> Agents:
    others = {one.flow_id for one in heard if not is_late(one)}
    found: dict[int, list[Heard]] = {}
    for one in sorted(filter(is_late, heard), key=lambda one: (one.expected, one.at), reverse=True):
        missed = one.expected or one.flow_id not in others
        found.setdefault(one.flow_id, []).append(replace(one, missed=missed))
    return found


def silent_words(silent: Heard, one: Objective) -> str:
    """Return why there are no data, "" when there are."""
    if one.kind in KNOWN_HERE and not silent.expected:
        return ""
    return f"the agent {silent.name} has been silent since {silent.at:%Y-%m-%d %H:%M} UTC"


def silence_words(silent: Sequence[Heard], one: Objective, newest: datetime | None) -> str:
    """Return why an objective on a flow has no data, "" when it has.

    newest  when something was counted last: with nothing since an agent was heard, it is missed though others of its flow are heard.
    """
    missed = (each for each in silent if each.missed or newest is None or newest <= each.at + shift_of(one))
    return next(filter(None, (silent_words(each, one) for each in missed)), "")


def is_unheard(late: Sequence[Heard], one: Objective) -> bool:
    """Whether nobody knows how an objective on a flow is now."""
    return any(each.missed and silent_words(each, one) for each in late)
