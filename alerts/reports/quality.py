"""How far the figures of a report can be trusted: what was silent, whose history is short, where one failure decides. Sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from alerts.models import Standing
from alerts.objectives.queries import ROUNDING
from alerts.reports.content import Period, Stands
from alerts.reports.coverage import Silence
from alerts.reports.measuring import Measured, is_silent, stands_of
from alerts.reports.saying import Says, clean, listed

MOST_NAMED = 3
MOST_SILENCES = 5


def quality_of(measured: Sequence[Measured], found: Sequence[Silence], period: Period, says: Says) -> list[str]:
    """Return what is to be said of these figures, gaps first. silences: of the agents that bring them, oldest first."""
    return [
        *_counting(measured, says),
        *silence_words(found, period, says),
        *_silent_still(measured, period),
        *_short(measured, period, says),
        *_behind(measured, period, says),
        *_nothing(measured, period),
        *_low(measured, period),
    ]


def silence_words(silences: Sequence[Silence], period: Period, says: Says) -> list[str]:
    said = [_silence(one, period, says) for one in silences[:MOST_SILENCES]]
    return [*said, "There were more such times."] if len(silences) > MOST_SILENCES else said


def _silence(one: Silence, period: Period, says: Says) -> str:
    if one.until is None or one.until > period.until:
        return f"Nothing came from the agent {one.agent} since {says.at(one.since)}."
    return f"Nothing came from the agent {one.agent} from {says.between(one.since, one.until)}."


def _counting(measured: Iterable[Measured], says: Says) -> list[str]:
    """Those whose history is still being counted, a day at a time, from now backwards."""
    found: dict[datetime, list[str]] = {}
    for one in measured:
        if one.counting and not one.behind:
            found.setdefault(one.one.filled_since, []).append(one.one.name)
    late = [one.one.name for one in measured if one.behind and one.one.flow_id]
    searches = [one.one.name for one in measured if one.behind and not one.one.flow_id]
    told = [
        f"{_named(names)} {_are(names)} still being counted: {why}; a revision will have it all."
        for names, why in (
            (late, "much of the period came after its time, which takes up to three hours"),
            (searches, "minutes of the period wait until its search has counted them"),
        )
        if names
    ]
    return told + [
        f"{_named(names)} {_are(names)} still being counted, back to {says.at(since)} by now; a revision will have it all."
        for since, names in sorted(found.items())
    ]


def _behind(measured: Iterable[Measured], period: Period, says: Says) -> list[str]:
    found: dict[datetime, list[str]] = {}
    for one in measured:
        if (counted_to := one.one.counted_to) is not None and counted_to < period.until:
            found.setdefault(counted_to, []).append(one.one.name)
    return [
        f"{_named(names)} {_are(names)} counted up to {says.at(until)} only." for until, names in sorted(found.items())
    ]


def _silent_still(measured: Iterable[Measured], period: Period) -> list[str]:
    found: dict[str, list[str]] = {}
    for one in measured:
        standing: Standing | None = getattr(one.one, "standing", None)
        if standing is not None and is_silent(one.one, period):
            found.setdefault(clean(standing.problem, 200), []).append(one.one.name)
    return [f"{_named(names)}: no data, {why}." for why, names in found.items()]


def _short(measured: Iterable[Measured], period: Period, says: Says) -> list[str]:
    """Those that are counted from later on than the period begins."""
    found: dict[datetime, list[str]] = {}
    for one in measured:
        since = one.one.filled_since
        if since > period.since and one.period.raw.total and not one.counting:
            found.setdefault(since, []).append(one.one.name)
    return [
        f"{_named(names)} {_are(names)} counted from {says.at(since)} on." for since, names in sorted(found.items())
    ]


def _nothing(measured: Iterable[Measured], period: Period) -> list[str]:
    names = [
        one.one.name
        for one in measured
        if one.judged.adjusted is None and not one.counting and not is_silent(one.one, period)
    ]
    return [f"Nothing was measured of {_named(names)}."] if names else []


def _low(measured: Iterable[Measured], period: Period) -> list[str]:
    """Where a single bad event breaks the promise, or would have broken it in so short a time."""
    wide = [one.one.name for one in measured if one.over]
    few = [one.one.name for one in measured if _decides(one) and stands_of(one, period) is not Stands.NO_DATA]
    said = [f"Low traffic: {_named(wide)} {_are(wide)} judged over a longer time than this period."] if wide else []
    return [*said, f"Low traffic: one failure alone is more than {_named(few)} allow{_s(few)}."] if few else said


def _decides(one: Measured) -> bool:
    return one.judged.adjusted is not None and one.judged.budget.total < 1 - ROUNDING


def _named(names: Sequence[str]) -> str:
    shown = [f"“{clean(name, 60)}”" for name in names[:MOST_NAMED]]
    return listed([*shown, f"{len(names) - MOST_NAMED} more"] if len(names) > MOST_NAMED else shown)


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _s(names: Sequence[str]) -> str:
    return "s" if len(names) == 1 else ""
