"""For how much of a period there are data: the minutes in which every agent that brings its flows reported, and that are counted, of all of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from django.db.models import Max, Q, QuerySet

from alerts.breaches.rules import HOLD_DOWN
from alerts.breaches.watching import COME_BACK, SILENT_AFTER
from alerts.models import Breach, BreachEntry, FlowAgent
from alerts.objectives.agents import harvesters_heard
from alerts.objectives.windows import MINUTE, Span, clipped, merge
from alerts.reports.content import Coverage, Period
from alerts.reports.measuring import NAME, Measured, span_of
from alerts.reports.saying import clean
from console.identity.models import Key
from messages.queries import OTHERS_SILENT, hours_with_events


@dataclass(frozen=True, slots=True, kw_only=True)
class Brings:
    """An agent that brought a flow in the period, or that nobody took over from. heard_at: the last time, None for never.

    last        no other agent brought one of its flows later. Of one that is not, and sends no heartbeats, silence says nothing.
    retired_at  the last of its keys ended then, and others bring all of its flows since.
    """

    pk: int
    name: str
    heard_at: datetime | None
    beats: bool
    last: bool = True
    retired_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Nothing came from an agent from then on; until: None while that is so."""

    agent: str
    since: datetime
    until: datetime | None


def agents_of(flow_ids: Collection[int], period: Period, *, letters_of: Collection[int] = ()) -> list[Brings]:
    """Return the agents that bring these flows, without those from which others had taken over before the period; five queries.

    letters_of  flows of which an age of dead letters is promised: what harvests them is among the agents, as where objectives freeze.
    """
    rows = FlowAgent.objects.filter(flow__in=flow_ids, agent__created_at__lt=period.until).order_by()
    newest = dict(rows.values_list("flow_id").annotate(Max("seen_at")))
    found, alone = {}, set()
    columns = ("agent_id", "agent__name", "agent__last_seen_at", "agent__heartbeat_at")
    for flow_id, seen_at, pk, name, last_seen_at, heartbeat_at in rows.values_list("flow_id", "seen_at", *columns):
        alone |= {pk} if seen_at == newest[flow_id] else set()
        if seen_at >= period.since or seen_at == newest[flow_id]:
            heard = max(filter(None, (last_seen_at, heartbeat_at)), default=None)
            found[pk] = Brings(pk=pk, name=clean(name, NAME), heard_at=heard, beats=heartbeat_at is not None)
    for one in harvesters_heard(letters_of):
        if one.expected and one.made_at < period.until and one.agent_id not in found:
            found[one.agent_id] = Brings(pk=one.agent_id, name=clean(one.name, NAME), heard_at=one.at, beats=True)
            alone.add(one.agent_id)
    ended = _ends_of_keys(found.keys() - alone)
    return [replace(found[pk], last=pk in alone, retired_at=ended.get(pk)) for pk in sorted(found)]


def _ends_of_keys(agents: Collection[int]) -> dict[int, datetime]:
    """Return {agent: when the last of its keys was revoked or expires}, of those each of whose keys has an end."""
    ends: dict[int, list[datetime | None]] = defaultdict(list)
    for pk, *said in Key.objects.filter(agent__in=agents).values_list("agent_id", "revoked_at", "expires_at"):
        ends[pk].append(min(filter(None, said), default=None))
    return {pk: max(filter(None, mine)) for pk, mine in ends.items() if None not in mine}


def silences_of(agents: Sequence[Brings], period: Period) -> list[Silence]:
    """Return when these were silent in the period, oldest first, as breaches of silence know it and as they are now; two queries.

    An agent that sends heartbeats is missed when its breach has fired, another one after an hour and when no other one brings its flows: it may just
    have nothing to say.
    """
    agents = [one for one in agents if one.beats or one.last]
    if not agents:
        return []
    keys = {str(one.pk): one for one in agents}
    rows = Breach.objects.filter(source="agent", key__in=list(keys), opened_at__lt=period.until + SILENT_AFTER)
    rows = rows.filter(Q(resolved_at=None) | Q(resolved_at__gt=period.since + HOLD_DOWN)).exclude(state="pending")
    found, known = [], set()
    for row, noticed, until in _times_of(rows):
        one = keys[row.key]
        known |= {one.pk} if until is None else set()
        # the console may have been away when it fell silent
        since = noticed if until or one.heard_at is None else min(noticed, one.heard_at)
        if since >= period.until or (until is not None and until <= period.since):
            continue
        if one.beats or until is None or until - since >= OTHERS_SILENT:
            found.append(Silence(agent=one.name, since=since, until=until))
    for one in agents:  # of one whose key does not hold any more there is no breach
        longest = SILENT_AFTER if one.beats else OTHERS_SILENT
        ends = min(one.retired_at or period.until, period.until)
        if one.pk not in known and one.heard_at is not None and one.heard_at + longest < ends:
            found = [said for said in found if said.agent != one.name or said.since < one.heard_at]  # it is the same
            found.append(Silence(agent=one.name, since=one.heard_at, until=one.retired_at))
    return sorted(found, key=lambda silence: silence.since)


def _times_of(rows: QuerySet[Breach]) -> Iterator[tuple[Breach, datetime, datetime | None]]:
    """Yield (breach of silence, since, until): one that came back was silent several times. It was well for a while before it was over."""
    breaches = list(rows.order_by("opened_at", "pk"))
    turns = BreachEntry.objects.filter(breach__in=breaches, kind__in=("resolved", "flapped")).order_by("at", "pk")
    of_each: dict[int, list[BreachEntry]] = defaultdict(list)
    for turn in turns:
        of_each[turn.breach_id].append(turn)
    for row in breaches:
        since: datetime | None = row.opened_at - SILENT_AFTER
        for turn in of_each[row.pk]:
            if turn.kind == "flapped":
                since = turn.at - COME_BACK - SILENT_AFTER
            elif since is not None:
                yield row, since, turn.at - HOLD_DOWN
                since = None
        if since is not None:
            yield row, since, row.resolved_at - HOLD_DOWN if row.resolved_at else None


def coverage_of(
    measured: Iterable[Measured], agents: Sequence[Brings], silences: Iterable[Silence], period: Period
) -> Coverage | None:
    """Return in how many minutes of the period every agent reported and everything is counted.

    Where no agent is known, as of a history that was brought in later: in how many hours something happened; None when nothing did.
    """
    if not agents:
        return _by_events(measured, period)
    whole = Span(since=period.since, until=period.until)
    gaps = [Span(since=one.since, until=one.until or period.until) for one in silences if one.since < period.until]
    for one in measured:
        gaps += uncounted(one, period)
    minutes = whole.length // MINUTE
    missing = sum(-((one.since - one.until) // MINUTE) for one in merge(clipped(gaps, whole)))
    return Coverage(minutes=minutes, covered=max(0, minutes - missing))


def _by_events(measured: Iterable[Measured], period: Period) -> Coverage | None:
    flows, span = sorted({one.one.flow_id for one in measured if one.one.flow_id}), span_of(period)
    hours = hours_with_events(flows, span.since, span.until) if flows else 0
    minutes = (period.until - period.since) // MINUTE
    return Coverage(minutes=minutes, covered=min(minutes, 60 * hours), by_events=True) if hours else None


def uncounted(one: Measured, period: Period) -> list[Span]:
    """Return what of the period is not counted yet: of a promise whose history is still being counted, and where counting is behind."""
    found = [Span(since=period.since, until=period.until)] if one.behind else []
    if one.counting and one.one.filled_since > period.since:
        found.append(Span(since=period.since, until=min(one.one.filled_since, period.until)))
    counted_to = one.one.counted_to
    if counted_to is not None and counted_to < period.until:
        found.append(Span(since=max(counted_to, period.since), until=period.until))
    return found
