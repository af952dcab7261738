"""What another target would have meant: the history of an objective replayed, minute by minute. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import accumulate, islice, repeat

from alerts.objectives.budgeting import Method, Minutes, counted, fold
from alerts.objectives.burn import (
    SUSTAINED_BAD,
    SUSTAINED_HOURS,
    SUSTAINED_IN,
    Pair,
    allowed,
    factor,
    is_reached,
    least_bad,
    pairs_that_can_fire,
)
from alerts.objectives.windows import MINUTE

LADDER = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9999, 0.99999)
ROUNDING = 1e-6  # sums of floats: what is exactly allowed is not more
TOGETHER = 15  # minutes: what fires again so soon is one alert


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """At this target there would have been so many pages and tickets; found_after: the median time from the first failure to the page."""

    target: float
    now: bool
    pages: int
    tickets: int
    found_after: timedelta | None


def targets_around(target: float) -> list[float]:
    """Return three targets to compare: the next looser one that people promise, this one, the next stricter one."""
    looser = [one for one in LADDER if one < target - 1e-9][-1:]
    stricter = [one for one in LADDER if one > target + 1e-9][:1]
    return [*looser, target, *stricter]


def series_of(
    good: Sequence[int], late: Sequence[int], lost: Sequence[int], method: Method, out: Sequence[bool] | None = None
) -> tuple[list[float], list[float]]:
    """Return (bad, total) by minute in what the budget counts; a time slice counts in its last minute. The minutes begin at a full hour.

    out  which minutes are excluded, as in an assessment: the counts have nothing of them, and a slice without messages is less of one.
    """
    if not method.counts_time:
        bad = [late_one + lost_one for late_one, lost_one in zip(late, lost, strict=True)]
        return [float(one) for one in bad], [float(one + well) for one, well in zip(bad, good, strict=True)]
    bad_of, total_of = [0.0] * len(good), [0.0] * len(good)
    for first in range(0, len(good), method.slice_minutes):
        part = slice(first, first + method.slice_minutes)
        sums = fold(Minutes(good=good[part], late=late[part], lost=lost[part]), method)
        gone = sum(out[part]) / method.slice_minutes if out else 0.0
        one = counted(sums, method, slices_in_time=1 - gone)
        last = min(first + method.slice_minutes, len(good)) - 1
        bad_of[last], total_of[last] = one.bad, one.total
    return bad_of, total_of


def what_if(
    bad: Sequence[float],
    total: Sequence[float],
    *,
    targets: Sequence[float],
    current: float,
    period: timedelta,
    guarded: bool = True,
    chosen: Sequence[Pair] | None = None,
    slice_minutes: int = 0,
    missed: bool = False,
    sustained: bool = False,
    out: Sequence[bool] | None = None,
) -> list[WhatIf]:
    """Return what each target would have meant over these minutes, oldest first.

    chosen  the objective's own pairs, at its own target; at another one those of them that can fire there, else all that can. Who chose none
            is told by none; None: all that can fire.
    missed  of a volume: it pages from a missed period to the next that is kept, whatever the target.
    sustained  whether failures that go on for hours are a ticket. A spent budget is none here: that takes the history of two windows.
    out  which minutes are excluded: what fires when the short window of a rule is excluded whole is not over, as in an assessment.
    The guard reckons with the events of all these minutes as those of a period.
    """
    sums = _Sums(bad, total, slice_minutes or 1)
    volume = sum(total) * (period / (len(total) * MINUTE)) if total else 0.0
    found = []
    for target in targets:
        firing = {
            "page": _missing(bad, total) if missed else [False] * len(bad),
            "ticket": sums.sustained(target) if sustained else [False] * len(bad),
        }
        pairs: Sequence[Pair] = [one for one in chosen or () if is_reached(one, target=target, period=period)]
        if not pairs and (chosen is None or chosen):
            pairs = pairs_that_can_fire(target=target, period=period, slice_minutes=slice_minutes)
        for pair in pairs:
            needs = least_bad(pair, target=target, period_total=volume) if guarded else 1
            mine = sums.firing(pair, factor(pair, period) * allowed(target), needs)
            firing[pair.severity] = [one or other for one, other in zip(firing[pair.severity], mine, strict=True)]
        short = {severity: [pair.short // MINUTE for pair in pairs if pair.severity == severity] for severity in firing}
        if sustained:
            short["ticket"].append(60)
        alerts = {severity: _episodes(one, _unmeasured(out, short[severity])) for severity, one in firing.items()}
        found.append(
            WhatIf(
                target=target,
                now=target == current,
                pages=len(alerts["page"]),
                tickets=len(alerts["ticket"]),
                found_after=_found_after(alerts["page"], bad),
            )
        )
    return found


def _missing(bad: Sequence[float], total: Sequence[float]) -> list[bool]:
    """Return for each minute whether the last period of a volume that ended by then was missed."""
    firing, now = [], False
    for lost, ended in zip(bad, total, strict=True):
        now = lost > 0 if ended else now
        firing.append(now)
    return firing


class _Sums:
    """Running sums, and the windows that were summed already, of whole slices: three targets ask for the same."""

    def __init__(self, bad: Sequence[float], total: Sequence[float], slice_minutes: int = 1):
        self.slice_minutes = slice_minutes
        self.bad, self.total = list(accumulate(bad, initial=0.0)), list(accumulate(total, initial=0.0))
        self.windows: dict[int, tuple[list[float], list[float]]] = {}

    def window(self, minutes: int) -> tuple[list[float], list[float]]:
        minutes += -minutes % self.slice_minutes
        if minutes not in self.windows:
            self.windows[minutes] = _windowed(self.bad, minutes), _windowed(self.total, minutes)
        return self.windows[minutes]

    def firing(self, pair: Pair, ratio: float, needs: float) -> list[bool]:
        long_bad, long_total = self.window(pair.long // MINUTE)
        short_bad, short_total = self.window(pair.short // MINUTE)
        return [
            bad >= needs and bad > ratio * total + ROUNDING and near > ratio * near_total + ROUNDING
            for bad, total, near, near_total in zip(long_bad, long_total, short_bad, short_total, strict=True)
        ]

    def sustained(self, target: float) -> list[bool]:
        """Return for each minute what burn.is_sustained says of the six hours that end with it."""
        bad_of, total_of = self.window(SUSTAINED_HOURS * 60)
        in_an_hour, _ = self.window(60)
        return [
            bad >= SUSTAINED_BAD
            and bad > allowed(target) * total + ROUNDING
            and sum(in_an_hour[at] > 0 for at in range(minute, max(-1, minute - SUSTAINED_HOURS * 60), -60))
            >= SUSTAINED_IN
            for minute, (bad, total) in enumerate(zip(bad_of, total_of, strict=True))
        ]


def _windowed(sums: Sequence[float], minutes: int) -> list[float]:
    """Return the sum of the last so many minutes at the end of each minute."""
    before = [0.0] * min(minutes, len(sums) - 1) + list(sums[: max(0, len(sums) - 1 - minutes) + 1])[1:]
    return [now - then for now, then in zip(sums[1:], before, strict=True)]


def _unmeasured(out: Sequence[bool] | None, windows: Sequence[int]) -> Iterable[bool]:
    """Return for each minute whether one of these windows, in minutes, that end with it is excluded whole."""
    if not out or not windows:
        return repeat(False)
    length = accumulate(out, lambda before, gone: before + 1 if gone else 0, initial=0)
    return (one >= min(windows) for one in islice(length, 1, None))


def _episodes(firing: Sequence[bool], unmeasured: Iterable[bool]) -> list[int]:
    """Return the minutes at which an alert began; none is over while it is not measured."""
    found, last = [], -TOGETHER - 1
    for minute, (one, unknown) in enumerate(zip(firing, unmeasured, strict=False)):
        if one and minute - last > TOGETHER:
            found.append(minute)
        if one or (unknown and minute - last <= TOGETHER):
            last = minute
    return found


def _found_after(pages: Sequence[int], bad: Sequence[float]) -> timedelta | None:
    """Return the median time from the first failure of what a page was about, after an hour without any, to the page."""
    waited = []
    for page in pages:
        first = clean = page
        while clean >= 0 and first - clean <= 60:
            if bad[clean]:
                first = clean
            clean -= 1
        waited.append(page + 1 - first)
    return sorted(waited)[(len(waited) - 1) // 2] * MINUTE if waited else None
