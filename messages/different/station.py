"""The station: where messages fail, and where others have to have passed to be compared with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection
from django.db.models import OuterRef, Subquery

from messages.models import DeadLetter, Event, FailureGroup, Flow, System
from messages.models.stream import Outcome
from messages.search.window import Window

MOST_PLACES = 20  # where they failed most

PASSED = "(operation = 4 AND outcome <> 2 OR operation = 5 AND outcome = 1)"  # as ingest.status decides: a message is delivered
WENT_ON = "outcome <> 2"
HOURS = """
SELECT h.hour, p.flow, p.system FROM generate_series(%(first)s::timestamptz, %(until)s::timestamptz, interval '1 hour') AS h (hour)
CROSS JOIN unnest(%(flows)s::int8[], %(systems)s::int8[]) AS p (flow, system)
CROSS JOIN LATERAL (
    SELECT 1 FROM messaging_rollup_hour r
    WHERE r.hour = h.hour AND r.flow_id = p.flow AND (p.system IS NULL OR r.system_id = p.system) AND {passed} LIMIT 1
) AS there
ORDER BY h.hour"""

Place = tuple[int, int | None]  # a flow, and a system or None for all of them


class Station(NamedTuple):
    """Where these failed and others pass: flows, the systems there or None for all, and the hours in which something passed.

    ends  whether messages are processed there; else they only go on from there, and were delivered elsewhere.
    """

    flows: list[int]
    systems: list[int] | None
    hours: list[datetime]
    ends: bool

    def has(self, event: Event) -> bool:
        return event.flow_id in self.flows and (self.systems is None or event.system_id in self.systems)


def station_of(
    flow: Flow,
    letters: Sequence[DeadLetter],
    messages: Mapping[UUID, int | None],
    events: Mapping[UUID, Sequence[Event]],
    window: Window,
) -> Station:
    """Return where messages pass that fail where these did: a message may be of the flow of an exchange, and fail in that of a queue.

    Each failed at the system that its letter names, else its group: that it failed at another as well says nothing of these failures.
    Where none is named, or nothing is known to pass that one, it is that of the places where it failed, in the letter's queue before
    others, at which most of these did; where nothing passes such a system, every one there. Where nothing at all is processed, it is what went on in this flow.

    messages  {message without a letter: its group}
    events    {message: those of its events that the caller may see}
    """
    failures = _failures(flow, letters, messages, events)
    busy = Counter(place for one in failures for place in one.places)
    most = [place for place, _ in busy.most_common(MOST_PLACES)]
    hours = _hours(list(dict.fromkeys([(flow.pk, None), *((at, None) for at, _ in most), *most])), window, PASSED)
    if not hours:
        return Station([flow.pk], None, _hours([(flow.pk, None)], window, WENT_ON).get((flow.pk, None), []), ends=False)
    found = {place for one in failures if (place := one.best_of(hours, busy))} or {(flow.pk, None)}
    chosen = {place for place in found if place[1] is not None} or found
    systems = {system for _, system in chosen if system is not None}
    named = {letter.system_id for letter in letters if letter.system_id is not None}
    return Station(
        flows=sorted({flow_id for flow_id, _ in chosen}),
        systems=sorted(systems | named) if systems else None,
        hours=sorted({hour for place in chosen for hour in hours.get(place, [])}),
        ends=True,
    )


class Failure(NamedTuple):
    """Where one message failed, as far as it is known.

    system  that its letter names, else its group.   flows  where it is looked for before others.
    """

    system: int | None
    flows: set[int]
    places: list[Place]

    def best_of(self, hours: Collection[Place], busy: Mapping[Place, int]) -> Place | None:
        """Return the place to compare with, of those where anything passed: that of the system that is named, else where most failed."""
        flows = dict.fromkeys([*(flow_id for flow_id, _ in self.places), *self.flows])
        known = [place for place in [*self.places, *((one, None) for one in flows)] if place in hours]
        return max(known, key=lambda place: self._rank(place, busy), default=None)

    def _rank(self, place: Place, busy: Mapping[Place, int]) -> tuple[bool, bool, bool, int]:
        flow_id, system = place
        is_one = system is not None
        return is_one and system == self.system, flow_id in self.flows, is_one, busy.get(place, 0)


def _failures(
    flow: Flow,
    letters: Sequence[DeadLetter],
    messages: Mapping[UUID, int | None],
    events: Mapping[UUID, Sequence[Event]],
) -> list[Failure]:
    """Return where each failed: a letter died in this flow, a message failed where its events say; of these at the system that is named."""
    steps = _steps({one.group_id for one in letters if one.system_id is None} | set(messages.values()))
    found = []
    for letter in letters:
        told = _failed(events, letter.message_uid)
        system = letter.system_id or steps.get(letter.group_id)
        there = _at(told, system) or [one for one in told if one.destination == letter.origin]
        found.append(Failure(system, {flow.pk}, _places(flow, system, there or told)))
    for uid, group in messages.items():
        told = _failed(events, uid)
        system = steps.get(group)
        there = _at(told, system) or told
        found.append(Failure(system, {one.flow_id for one in there} or {flow.pk}, _places(flow, system, there)))
    return found


def _failed(events: Mapping[UUID, Sequence[Event]], uid: UUID | None) -> list[Event]:
    return [one for one in events.get(uid, ()) if one.outcome == Outcome.ERROR] if uid else []


def _at(events: Sequence[Event], system: int | None) -> list[Event]:
    return [one for one in events if one.system_id == system]


def _places(flow: Flow, system: int | None, events: Sequence[Event]) -> list[Place]:
    """Return where these events are, each once, and this flow's system where it is named."""
    places: list[Place] = [(one.flow_id, one.system_id) for one in events]
    return list(dict.fromkeys([*places, (flow.pk, system)] if system else places))


def _steps(groups: Collection[int | None]) -> dict[int | None, int]:
    """Return {group: the system at which its failures are}; without those where a rule leaves that out, or no event told."""
    system = System.objects.filter(environment=OuterRef("environment"), name=OuterRef("step")).values("pk")
    rows = FailureGroup.objects.filter(pk__in=[one for one in groups if one is not None]).exclude(step="").order_by()
    return {group: system for group, system in rows.values_list("pk", Subquery(system)) if system is not None}


def _hours(places: Sequence[Place], window: Window, passed: str) -> dict[Place, list[datetime]]:
    """Return {place: the hours of the window in which anything passed there}; of a place without a system, at any."""
    values: dict[str, Any] = {
        "first": window.since.replace(minute=0, second=0, microsecond=0), "until": window.until,
        "flows": [flow for flow, _ in places], "systems": [system for _, system in places],
    }  # fmt: skip
    found: dict[Place, list[datetime]] = {}
    with connection.cursor() as cursor:
        for hour, flow, system in cursor.execute(HOURS.format(passed=passed), values).fetchall():
            found.setdefault((flow, system), []).append(hour)
    return found
