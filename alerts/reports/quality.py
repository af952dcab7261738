"""How far the figures of a report can be trusted: what was silent, whose history is short, where one failure decides. Sentences."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from django.db.models import Q

from alerts.models import Breach, FlowAgent, Standing
from alerts.objectives.queries import ROUNDING
from alerts.reports.content import Period, Stands
from alerts.reports.measuring import NAME, Measured, is_silent, stands_of
from alerts.reports.saying import Says, clean, listed

MOST_NAMED = 3
MOST_SILENCES = 5


def quality_of(measured: Sequence[Measured], period: Period, says: Says) -> list[str]:
    """Return what is to be said of these figures, gaps first; nothing when data are complete. Queries: what was silent, once."""
    flows = {found.one.flow_id for found in measured if found.one.flow_id}
    return [
        *silences(flows, period, says),
        *_silent_still(measured, period),
        *_short(measured, period, says),
        *_nothing(measured, period),
        *_low(measured, period),
    ]


def silences(flow_ids: Collection[int], period: Period, says: Says) -> list[str]:
    """Return when agents that bring these flows were silent in the period, as breaches of silence know it; one query."""
    agents = FlowAgent.objects.filter(flow__in=flow_ids).values_list("agent_id", flat=True)
    keys = [str(pk) for pk in sorted(set(agents))] if flow_ids else []
    if not keys:
        return []
    rows = Breach.objects.filter(source="agent", key__in=keys, opened_at__lt=period.until).exclude(state="pending")
    rows = rows.filter(Q(resolved_at=None) | Q(resolved_at__gt=period.since)).order_by("opened_at", "pk")
    found = list(rows[: MOST_SILENCES + 1])
    said = [_silence(row, period, says) for row in found[:MOST_SILENCES]]
    return [*said, "There were more such times."] if len(found) > MOST_SILENCES else said


def _silence(row: Breach, period: Period, says: Says) -> str:
    name = clean(str(row.labels.get("agent", "")) or row.title, NAME)
    if row.resolved_at is None or row.resolved_at > period.until:
        return f"Nothing came from the agent {name} since {says.at(row.opened_at)}."
    return f"Nothing came from the agent {name} from {says.between(row.opened_at, row.resolved_at)}."


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
        if since > period.since and one.period.raw.total:
            found.setdefault(since, []).append(one.one.name)
    return [
        f"{_named(names)} {_are(names)} counted from {says.at(since)} on." for since, names in sorted(found.items())
    ]


def _nothing(measured: Iterable[Measured], period: Period) -> list[str]:
    names = [one.one.name for one in measured if one.judged.adjusted is None and not is_silent(one.one, period)]
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
