"""Which breaches are held back now, by a worse one, a silent agent or a silence: worked out anew whenever one of them comes or goes."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from django.db import connection
from django.db.models import CharField, Q
from django.db.models.functions import Cast

from alerts.breaches.holding import AGENT, Matcher, Standing, holders, silenced
from alerts.breaches.moves import look_at_tellings
from alerts.breaches.reference import reference_of
from alerts.breaches.states import FIRED
from alerts.models import Breach, BreachEntry, FlowAgent, Silence
from console.identity.models import Agent
from messages.queries import flows_of_agents


def hold_back(environment_id: int, *, now: datetime) -> None:
    """Write by what each breach that fired is held back. Call it under the environment's lock.

    What is held back no more is looked at, so that it is told; a silence that just ended is kept for the next notice.
    """
    rows = list(Breach.objects.filter(environment=environment_id, state__in=FIRED).order_by("pk"))
    standing = standing_of(rows)
    by_breach, by_silence = holders(standing), silenced(standing, running_silences(environment_id, now))
    changed = [
        row for row in rows if (row.inhibited_by_id, row.silenced_by_id) != (by_breach.get(row.pk), by_silence.get(row.pk))
    ]  # fmt: skip
    if not changed:
        return
    said = Silence.objects.in_bulk(set(by_silence.values()))
    entries: list[BreachEntry] = []
    for row in changed:
        inhibited_by, silenced_by = by_breach.get(row.pk), by_silence.get(row.pk)
        lines = [*_held_lines(row, inhibited_by), *_silence_lines(row, said.get(silenced_by or 0))]
        entries += [BreachEntry(breach=row, at=now, kind=kind, text=text) for kind, text in lines]
        row.silence_over_id = None if silenced_by else row.silenced_by_id or row.silence_over_id
        row.inhibited_by_id, row.silenced_by_id = inhibited_by, silenced_by
    BreachEntry.objects.bulk_create(entries, batch_size=1000)
    _write(changed)
    look_at_tellings([row.pk for row in changed], now)


HOLD = """
UPDATE alerts_breach b SET inhibited_by_id = v.inhibited_by, silenced_by_id = v.silenced_by, silence_over_id = v.silence_over
FROM jsonb_to_recordset(%s::jsonb) AS v(id bigint, inhibited_by bigint, silenced_by bigint, silence_over bigint) WHERE b.id = v.id
"""


def _write(rows: Iterable[Breach]) -> None:
    """Write by what these are held back: one statement, where bulk_update made a CASE of a thousand branches."""
    said = [
        {"id": row.pk, "inhibited_by": row.inhibited_by_id, "silenced_by": row.silenced_by_id, "silence_over": row.silence_over_id}
        for row in rows
    ]  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(HOLD, [json.dumps(said)])


def _held_lines(row: Breach, holder: int | None) -> list[tuple[BreachEntry.Kind, str]]:
    if row.inhibited_by_id == holder:
        return []
    if holder is not None:
        return [(BreachEntry.Kind.HELD, f"held back by {reference_of(holder)}")]
    return [(BreachEntry.Kind.HEARD, f"no longer held back by {reference_of(row.inhibited_by_id or 0)}")]


def _silence_lines(row: Breach, silence: Silence | None) -> list[tuple[BreachEntry.Kind, str]]:
    if row.silenced_by_id == (silence.pk if silence else None):
        return []
    return [
        (BreachEntry.Kind.SILENCED, silence_words(silence))
        if silence
        else (BreachEntry.Kind.HEARD, "its silence is over")
    ]


def silence_words(silence: Silence) -> str:
    return f"silenced by {silence.author} until {silence.expires_at:%d %b %Y, %H:%M} UTC: {silence.comment}"


def standing_of(rows: Iterable[Breach]) -> list[Standing]:
    """Return breaches as the rules see them; of silent agents with the flows of which they report."""
    rows = list(rows)
    missed = {int(row.key): row.fired_at or row.opened_at for row in rows if row.source == AGENT and row.key.isascii() and row.key.isdigit()}  # fmt: skip
    scopes = _brought_by_them_alone(flows_of_agents(missed), missed) if missed else {}
    return [
        Standing(
            pk=row.pk, source=row.source, key=row.key, severity=row.severity, flow_ids=frozenset(row.flow_ids), labels=row.labels,
            scope=_scope(row, scopes),
        )
        for row in rows
    ]  # fmt: skip


def _brought_by_them_alone(
    scopes: Mapping[int, Collection[int]], missed: Mapping[int, datetime]
) -> dict[int, set[int]]:
    """Return these flows, of one that sends no heartbeats without those that another agent brought since it was heard.

    It may just have nothing to say: a script that was heard once would keep back every page of its flow, and for ever. One that is heard
    again takes nothing back. missed: since when each is.
    """
    told = Agent.objects.filter(pk__in=scopes, heartbeat_at=None).values_list("pk", "last_seen_at")
    heard = {pk: at for pk, at in told if at is not None}
    flows = {pk for flow_ids in scopes.values() for pk in flow_ids}
    rows = list(FlowAgent.objects.filter(flow__in=flows).values_list("flow_id", "agent_id", "seen_at"))
    for flow_id, agent_id, seen_at in rows:
        if agent_id in heard and flow_id in scopes[agent_id]:
            heard[agent_id] = max(heard[agent_id], seen_at)
    found = {agent_id: set(flow_ids) for agent_id, flow_ids in scopes.items()}
    for agent_id, at in heard.items():
        since = min(at, missed[agent_id])
        found[agent_id] -= {flow_id for flow_id, other, seen_at in rows if other != agent_id and seen_at > since}
    return found


def _scope(row: Breach, scopes: Mapping[int, Collection[int]]) -> frozenset[int]:
    if row.source != AGENT:
        return frozenset()
    reported = scopes.get(int(row.key), ()) if row.key.isascii() and row.key.isdigit() else ()
    return frozenset(row.flow_ids) | frozenset(reported)


def matcher_of(silence: Silence) -> Matcher:
    return Matcher(
        flow_id=silence.flow_id, source=silence.source, key=silence.key, severity=silence.severity, labels=silence.labels
    )  # fmt: skip


def running_silences(environment_id: int, now: datetime) -> dict[int, Matcher]:
    """Return the silences that hold now, the one that ends last first."""
    rows = Silence.objects.filter(environment=environment_id, ended_at=None, starts_at__lte=now, expires_at__gt=now)
    return {row.pk: matcher_of(row) for row in rows.order_by("-expires_at", "pk")}


def environments_to_look_at(now: datetime) -> list[int]:
    """Return the environments where a silence that holds may have begun, or one that held may have ended.

    And where a silent agent without heartbeats holds something back: another one may bring its flows by now.
    """
    running = Q(ended_at=None, starts_at__lte=now, expires_at__gt=now)
    begun = Silence.objects.filter(running).order_by().values_list("environment_id", flat=True).distinct()
    silent = Agent.objects.filter(heartbeat_at=None).values_list(Cast("pk", CharField()))
    held = Q(silenced_by__isnull=False) | Q(inhibited_by__source=AGENT, inhibited_by__key__in=silent)
    holding = Breach.objects.filter(held, state__in=FIRED).order_by()
    return sorted({*begun, *holding.values_list("environment_id", flat=True).distinct()})
