"""Whether agents are silent that bring what a search finds: then its objective has no data, as one on a flow.

Which flows a search finds no row says: it is asked, of those flows alone of which an agent is silent, and the answer is kept for a while.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from alerts.breaches.access import OBJECTIVE
from alerts.breaches.states import OPEN
from alerts.models import Breach, FlowAgent, Objective, Standing
from alerts.objectives.agents import Agents, Heard, agents_heard, silent_agents, silent_words, unheard_agents
from alerts.objectives.asking import SEARCH_PROBLEM, CannotAsk, found_flow, shift_of
from alerts.objectives.counters import minute_of
from alerts.objectives.volumes import newest_found
from alerts.objectives.windows import MINUTE, Span, merge
from console.core.kept import keep, kept
from messages.queries import Searched

LOOKED_BACK = timedelta(days=3)  # before an agent fell silent, as burn rates look back
KEPT_S = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Silences:
    """{environment id: {flow id: agents that bring it}}, of those silent, and of those unheard for minutes.

    open  objectives with a breach.   newest  {objective id: the last minute in which something was counted; of a volume, found}.
    """

    silent: Mapping[int, Agents] = field(default_factory=dict)
    unheard: Mapping[int, Agents] = field(default_factory=dict)
    open: frozenset[int] = frozenset()
    newest: Mapping[int, datetime | None] = field(default_factory=dict)


def silences_of(searches: Sequence[Objective], now: datetime) -> Silences:
    """Return who is silent in the environments of these objectives; six queries, three where nobody is."""
    environments = {one.environment_id for one in searches}
    flows: dict[int, int] = dict(
        FlowAgent.objects.filter(flow__environment__in=environments).values_list("flow_id", "flow__environment_id")
    )
    heard = agents_heard(flows) if flows else []
    unheard = unheard_agents(heard, now)
    if not unheard:
        return Silences()
    keys = [str(one.pk) for one in searches]
    rows = Breach.objects.filter(source=OBJECTIVE, key__in=keys, state__in=OPEN).values_list("key", flat=True)
    silent = silent_agents(heard, now)
    volumes = [one.pk for one in searches if one.kind == Objective.Kind.VOLUME]
    others = Standing.objects.filter(objective__in=searches).exclude(objective__in=volumes)
    newest = {**dict(others.values_list("objective_id", "last_event_at")), **newest_found(volumes)}
    return Silences(
        silent=_parted(silent, flows), unheard=_parted(unheard, flows), open=frozenset(map(int, rows)), newest=newest
    )


def _parted(agents: Agents, flows: Mapping[int, int]) -> dict[int, dict[int, Sequence[Heard]]]:
    found: dict[int, dict[int, Sequence[Heard]]] = {}
    for flow_id, of_flow in agents.items():
        found.setdefault(flows[flow_id], {})[flow_id] = of_flow
    return found


def silence_words(one: Objective, asked: Searched, silences: Silences) -> str:
    """Return why a search has no data though it was counted, "" when it has: what is open would else be resolved by silence.

    While something is counted there are data: a search of many flows is not held back by one that is quiet.
    """
    told = dict(silences.silent.get(one.environment_id, {}))
    if one.pk in silences.open and one.kind != Objective.Kind.VOLUME:
        told |= silences.unheard.get(one.environment_id, {})  # which has the silent ones, too
    newest = silences.newest.get(one.pk)
    if newest is None:
        return ""
    agents = {
        flow_id: missed[0]
        for flow_id, of_flow in told.items()
        if (missed := [each for each in of_flow if _is_missed(each, one, newest)])
    }
    return _words(one, asked, agents) if agents else ""


def _is_missed(agent: Heard, one: Objective, newest: datetime) -> bool:
    return agent.missed and bool(silent_words(agent, one)) and newest <= agent.at + shift_of(one)


def _words(one: Objective, asked: Searched, agents: Mapping[int, Heard]) -> str:
    """Return which of these agents brought what a search finds before it fell silent, "" when none did; that it cannot be asked holds as long."""
    words = {flow_id: silent_words(agent, one) for flow_id, agent in sorted(agents.items())}
    about = hashlib.sha256(repr((one.meant, words)).encode()).hexdigest()
    name = f"objective-silence:{one.pk}:{about}"
    if (known := kept(name)) is not None:
        return known.decode()
    try:
        flow_id = found_flow(asked, list(agents), merge(_spans({minute_of(agent.at) for agent in agents.values()})))
        found = f"{SEARCH_PROBLEM} finds what an agent brings that is silent: {words[flow_id]}" if flow_id else ""
    except CannotAsk as error:
        found = (
            f"{error}; nobody knows whether it finds what an agent brings that is silent: {next(iter(words.values()))}"
        )
    keep(name, found.encode(), KEPT_S)
    return found


def _spans(ends: Collection[datetime]) -> list[Span]:
    return [Span(since=at - LOOKED_BACK, until=at + MINUTE) for at in ends]
