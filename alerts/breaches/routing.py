"""What somebody is owed about a breach, and when. Pure: a breach, what was told of it, the policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from alerts.notices import Happening
from console.core.calendars import WorkingTime

KNOWS = ("firing", "acknowledged")  # what is said of a breach to those who are owed its end


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Whom to tell when nobody has acknowledged it for so long after it was first told. channels: their ids."""

    after: timedelta
    channels: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """How a policy tells.

    channels  by severity.   wait  for more of the same flow before the first notice.   repeat  while firing; zero: never.
    quiet     between two first notices of one breach that comes and goes.   working  tickets wait for it; None: always.
    ends_only  others tell of it by now: who was told hears that somebody has it, and of the end.
    """

    page_channels: tuple[int, ...]
    ticket_channels: tuple[int, ...]
    wait: timedelta
    repeat: timedelta
    quiet: timedelta
    steps: tuple[Step, ...] = ()
    working: WorkingTime | None = None
    ends_only: bool = False

    def channels_for(self, severity: str) -> tuple[int, ...]:
        return self.page_channels if severity == "page" else self.ticket_channels


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A breach as routing sees it. held: by a worse one, a silent agent or a silence."""

    state: str
    severity: str
    fired_at: datetime
    held: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a policy's people know. said: "", firing, acknowledged or resolved; began_at: first told since it fired.

    step  the next one.   stepped_at  when the one before was told.
    """

    said: str = ""
    began_at: datetime | None = None
    told_at: datetime | None = None
    step: int = 0
    stepped_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """A notice that is due at `at`. channels: whom; of an end, or that somebody has it, empty: who was told before. first: it begins a round of telling."""

    happening: Happening
    at: datetime
    channels: tuple[int, ...] = ()
    first: bool = False


def owed(case: Case, told: Told, route: Route, now: datetime) -> Owed | None:
    """Return the next notice about a breach, None when nothing is owed until its state changes."""
    knows = told.said in KNOWS
    if case.state == "resolved":
        return Owed(happening=Happening.RESOLVED, at=now) if knows else None
    if case.state == "acknowledged":
        return Owed(happening=Happening.ACKNOWLEDGED, at=now) if told.said == "firing" else None
    if case.state != "firing" or case.held or route.ends_only:
        return None
    return _further(case, told, route) if told.said == "firing" else _first(case, told, route)


def _first(case: Case, told: Told, route: Route) -> Owed:
    at = case.fired_at + route.wait
    if told.began_at is not None:
        at = max(at, told.began_at + route.quiet)
    channels = route.channels_for(case.severity)
    return Owed(happening=Happening.FIRING, at=_open(case, route, at), channels=channels, first=True)


def _further(case: Case, told: Told, route: Route) -> Owed | None:
    assert told.began_at is not None
    assert told.told_at is not None
    found: list[Owed] = []
    if told.step < len(route.steps):
        step = route.steps[told.step]
        at = _open(case, route, _step_at(told.began_at, told, route))
        found.append(Owed(happening=Happening.ESCALATED, at=at, channels=step.channels))
    knows = {
        *route.channels_for(case.severity),
        *(channel for one in route.steps[: told.step] for channel in one.channels),
    }
    if route.repeat and knows:
        at = _open(case, route, told.told_at + route.repeat)
        found.append(Owed(happening=Happening.FIRING, at=at, channels=tuple(sorted(knows))))
    return min(found, key=lambda one: one.at, default=None)


def _step_at(began_at: datetime, told: Told, route: Route) -> datetime:
    """Return when the next step is due: so long after the first notice and, however late the step before was, so long after that."""
    after = route.steps[told.step].after
    if not told.step or told.stepped_at is None:
        return began_at + after
    return max(began_at + after, told.stepped_at + after - route.steps[told.step - 1].after)


def _open(case: Case, route: Route, at: datetime) -> datetime:
    return route.working.next_opening(at) if route.working and case.severity == "ticket" else at


def steps_words(steps: Sequence[Step]) -> str:
    return ", then ".join(f"after {one.after // timedelta(minutes=1)} min" for one in steps)
