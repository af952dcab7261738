"""From a window to the steps of a chart, and to the rollup that they are read from. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from messages.search.window import BadWindow, Window

MOST_STEPS = 400
BY_MINUTES = timedelta(hours=48)  # what is longer is read by the hour
LONGEST = timedelta(days=1100)  # the most that retention keeps of rollups
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
FINE = (MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE)
COARSE = (HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 3 * DAY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """since <= time < until, both at the beginning of a step. Steps of hours are read from the hourly rollups, shorter ones from those by minute."""

    since: datetime
    until: datetime
    step: timedelta

    @property
    def by_hour(self) -> bool:
        return self.step >= HOUR

    @property
    def steps(self) -> list[datetime]:
        """Return the beginning of each step, oldest first: 1 to 400 of them."""
        return [self.since + number * self.step for number in range((self.until - self.since) // self.step)]

    def position(self, at: datetime) -> int:
        """Return which step a time falls into; below 0 or past the last one when it is outside."""
        return (at - self.since) // self.step


def range_of(window: Window, *, now: datetime) -> Range:
    """Return the range that shows a window with the shortest steps of which there are at most 400; raises BadWindow.

    A step that still fills is left out, or every line would fall at its end; there is at least one step.
    """
    since, until = window.since.astimezone(UTC), min(window.until.astimezone(UTC), now)
    if since >= until:
        raise BadWindow("a range begins before it ends, and not in the future")
    if until - since > LONGEST:
        raise BadWindow(f"a range is at most {LONGEST.days} days long")
    step = _step_for(until - since)
    first, last = _floor(since, step), _floor(until, step)
    if window.until.astimezone(UTC) < now and last < until:
        last += step  # an end in the past lies in its step
    if last > now:
        last -= step
    last = max(last, first + step)
    if last - first > MOST_STEPS * step:
        first = last - MOST_STEPS * step  # both ends fell into a step: one more than fits
    return Range(since=first, until=last, step=step)


def _step_for(span: timedelta) -> timedelta:
    return next(step for step in (FINE if span <= BY_MINUTES else COARSE) if span <= MOST_STEPS * step)


def _floor(at: datetime, step: timedelta) -> datetime:
    return EPOCH + (at - EPOCH) // step * step
