"""From minutes to what a budget counts: events, good time slices, or the mean ratio of time slices. Pure.

The three methods of OpenSLO v1 (`budgetingMethod` Occurrences, Timeslices, RatioTimeslices). OpenSLO leaves open what a slice without events
is; here an objective says it: good, or left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

HOUR_MINUTES = 60
OCCURRENCES, TIMESLICES, RATIO_TIMESLICES = "occurrences", "timeslices", "ratio_timeslices"
METHODS = (OCCURRENCES, TIMESLICES, RATIO_TIMESLICES)
SLICES = (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30, 60)  # minutes: what parts an hour evenly
EMPTY = (0,) * HOUR_MINUTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """How a budget counts. slice_target: the ratio from which a slice is good. empty_is_good: a slice without events is good, else left out."""

    name: str = OCCURRENCES
    slice_minutes: int = 1
    slice_target: float = 0.0
    empty_is_good: bool = False

    @property
    def counts_time(self) -> bool:
        return self.name != OCCURRENCES


@dataclass(frozen=True, slots=True, kw_only=True)
class Minutes:
    """Counts of up to an hour, minute by minute; three sequences of one length."""

    good: Sequence[int]
    late: Sequence[int]
    lost: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """What some time adds up to. good, late, lost: events.   slices: slices with events; slices_good of them, or the sum of their ratios."""

    good: int = 0
    late: int = 0
    lost: int = 0
    slices: int = 0
    slices_good: float = 0.0

    @property
    def total(self) -> int:
        return self.good + self.late + self.lost

    @property
    def bad(self) -> int:
        return self.late + self.lost

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            good=self.good + other.good,
            late=self.late + other.late,
            lost=self.lost + other.lost,
            slices=self.slices + other.slices,
            slices_good=self.slices_good + other.slices_good,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What the budget of some time is made of, in events or slices."""

    bad: float
    total: float

    @property
    def attained(self) -> float | None:
        """Return the ratio that was good, None when nothing was measured."""
        return (self.total - self.bad) / self.total if self.total else None


def fold(minutes: Minutes, method: Method, *, excluded: Sequence[bool] | None = None, over: int | None = None) -> Sums:
    """Return the sums of minutes that begin with a slice.

    over      the slices of the first so many minutes count, the events of all; None: all of them.
    excluded  a flag for each minute: these are as if they had not been. A slice is judged by what is left of it.
    """
    good, late, lost = (_kept(one, excluded) for one in (minutes.good, minutes.late, minutes.lost))
    slices, slices_good = 0, 0.0
    if method.counts_time:
        for first in range(0, len(good) if over is None else over, method.slice_minutes):
            part = slice(first, first + method.slice_minutes)
            well = sum(good[part])
            total = well + sum(late[part]) + sum(lost[part])
            if total:
                slices += 1
                slices_good += _of_slice(well / total, method)
    return Sums(good=sum(good), late=sum(late), lost=sum(lost), slices=slices, slices_good=slices_good)


def _kept(counts: Sequence[int], excluded: Sequence[bool] | None) -> Sequence[int]:
    return counts if excluded is None else [0 if out else one for one, out in zip(counts, excluded, strict=True)]


def _of_slice(ratio: float, method: Method) -> float:
    if method.name == RATIO_TIMESLICES:
        return ratio
    return 1.0 if ratio >= method.slice_target else 0.0


def counted(sums: Sums, method: Method, *, slices_in_time: float = 0) -> Counted:
    """Return what the budget counts of these sums.

    slices_in_time  how many slices the time holds, without those that are excluded: what empty ones are known by, where they are good.
    """
    if not method.counts_time:
        return Counted(bad=sums.bad, total=sums.total)
    bad = sums.slices - sums.slices_good
    total = max(sums.slices, slices_in_time) if method.empty_is_good else sums.slices
    return Counted(bad=max(0.0, bad), total=total)
