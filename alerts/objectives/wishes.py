"""What an objective may be: a wish becomes the columns of its row, or a sentence that says what to change. No reads, no writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from alerts.models import Objective
from alerts.objectives.budgeting import METHODS, OCCURRENCES, SLICES
from alerts.objectives.burn import PAIR_NAMED, hindrance, pairs_that_can_fire
from alerts.objectives.calendars import Calendar
from alerts.objectives.sources import bucket_of
from alerts.objectives.windows import NOMINAL_DAYS, ROLLING, UNITS
from console.core.calendars import zone_of
from console.core.errors import Invalid

Kind = Objective.Kind
MOST_MINUTES = 90 * 24 * 60
LONGEST_LATENCY = 2**23  # of a flow: the last bucket has no upper bound, and nothing would be too slow for it
FOLDED_ANEW = ("method", "slice_minutes", "slice_target", "empty_is_good")


class ObjectiveInvalid(Invalid):
    """A promise that cannot be kept count of, or whose alerts could never fire; the sentence says what to change."""

    code = "objective_invalid"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewObjective:
    """A promise as it is wished. target: a ratio, e.g. "0.995". pairs None: every one that can fire. See the model for the others."""

    name: str
    kind: str
    target: str | Decimal | float
    description: str = ""
    limit_ms: int | None = None
    limit_minutes: int | None = None
    recover_minutes: int | None = None
    at_least: int | None = None
    method: str = OCCURRENCES
    slice_minutes: int = 1
    slice_target: float = 0.95
    empty_is_good: bool = False
    unit: str = ROLLING
    days: int = 30
    time_zone: str = "UTC"
    work_days: Sequence[int] = ()
    from_minute: int = 0
    until_minute: int = 1440
    holidays: Sequence[date] = ()
    pairs: Sequence[str] | None = None
    guarded: bool = True
    sustained: bool = True
    exhausted: bool = True


def checked(said: NewObjective, *, searched: bool) -> dict[str, Any]:
    """Return the columns of a checked promise; raises ObjectiveInvalid. searched: it is about a saved search."""
    name = " ".join(said.name.replace("\x00", "").split())[:120]
    if not name:
        raise ObjectiveInvalid("give the objective a name, such as “Orders delivered in 5 min”")
    zone_of(said.time_zone)
    target = parse_target(said.target)
    columns: dict[str, Any] = {
        "name": name,
        "description": said.description.replace("\x00", "").strip()[:1050],
        "kind": said.kind,
        "target": target,
        **_limits(said, searched=searched),
        **_counting(said),
        **_window(said),
        "guarded": said.guarded,
        "sustained": said.sustained,
        "exhausted": said.exhausted,
    }
    columns["pairs"] = _pairs(said, float(target), columns)
    return columns


def parse_target(target: str | Decimal | float) -> Decimal:
    """Return a ratio strictly between 0 and 1 with at most 8 digits; raises ObjectiveInvalid."""
    try:
        found = Decimal(str(target)).quantize(Decimal("0.00000001"))
    except (InvalidOperation, ValueError) as error:
        raise ObjectiveInvalid("a target is a number such as 99.5 %") from error
    if not found.is_finite() or not Decimal("0.00000001") <= found <= Decimal("0.99999999"):
        raise ObjectiveInvalid("a target lies between 0 and 100 %, without both: of 100 % nothing could ever be spent")
    return found


def _limits(said: NewObjective, *, searched: bool) -> dict[str, Any]:
    columns: dict[str, Any] = dict.fromkeys(("limit_ms", "limit_minutes", "recover_minutes", "at_least"))
    columns |= {"work_days": [], "from_minute": 0, "until_minute": 1440, "holidays": []}
    match said.kind:
        case Kind.SUCCESS:
            return columns
        case Kind.LATENCY:
            return columns | {"limit_ms": _latency(said, searched=searched)}
        case Kind.FRESHNESS:
            limit = _minutes(said.limit_minutes, "the time in which a message is processed")
            recover = max(limit, 1440) if said.recover_minutes is None else said.recover_minutes
            recover = _minutes(recover, "the time after which a message is lost")
            if recover < limit:
                raise ObjectiveInvalid("a message is lost no sooner than its time is up")
            return columns | {"limit_minutes": limit, "recover_minutes": recover}
        case Kind.VOLUME:
            return columns | _volume(said)
        case Kind.DEAD_LETTER_AGE:
            if searched:
                raise ObjectiveInvalid("the age of dead letters is of a flow, not of a search")
            return columns | {"limit_minutes": _minutes(said.limit_minutes, "the age that a dead letter may reach")}
    raise ObjectiveInvalid(f"an objective is one of: {', '.join(Kind.values)}")


def _latency(said: NewObjective, *, searched: bool) -> int:
    limit = said.limit_ms or 0
    if not 1 <= limit <= 2**24:
        raise ObjectiveInvalid("latency has a limit from 1 ms to 4.6 hours")
    if not searched:
        if limit > LONGEST_LATENCY:
            raise ObjectiveInvalid("latency of a flow has a limit up to 2.3 hours: what took longer is counted as one")
        try:
            bucket_of(limit)
        except ValueError as error:
            low = 1 << (limit.bit_length() - 1)
            raise ObjectiveInvalid(
                f"latency of a flow is counted in buckets of 1, 2, 4, 8 … ms: choose {low:,} or {low * 2:,} ms instead of {limit:,}"
            ) from error
    return limit


def _volume(said: NewObjective) -> dict[str, Any]:
    period = said.limit_minutes or 0
    if not 1 <= (said.at_least or 0) <= 2_000_000_000:
        raise ObjectiveInvalid("a volume is at least one message a period")
    if period and not 1 <= period <= 1440:
        raise ObjectiveInvalid("a period is of 1 to 1,440 minutes of working time, or the whole working day: 0")
    calendar: dict[str, Any] = {
        "work_days": sorted(set(said.work_days or range(1, 8))),
        "from_minute": said.from_minute,
        "until_minute": said.until_minute,
        "holidays": sorted(set(said.holidays)),
    }
    try:
        Calendar(
            days=frozenset(calendar["work_days"]),
            from_minute=said.from_minute,
            until_minute=said.until_minute,
            holidays=frozenset(said.holidays),
        )
    except Invalid as error:
        raise ObjectiveInvalid(str(error)) from error
    return calendar | {"limit_minutes": period, "at_least": said.at_least}


def _minutes(found: int | None, what: str) -> int:
    if not found or not 1 <= found <= MOST_MINUTES:
        raise ObjectiveInvalid(f"{what} is 1 minute to 90 days")
    return found


def _counting(said: NewObjective) -> dict[str, Any]:
    if said.method not in METHODS:
        raise ObjectiveInvalid(f"a budget counts one of: {', '.join(METHODS)}")
    if said.kind == Kind.VOLUME and said.method != OCCURRENCES:
        raise ObjectiveInvalid("a volume counts its periods already: leave time slices out")
    if said.slice_minutes not in SLICES:
        raise ObjectiveInvalid(f"a time slice parts an hour evenly: {', '.join(map(str, SLICES))} minutes")
    if not 0 < said.slice_target <= 1:
        raise ObjectiveInvalid("a slice is good from a ratio above 0 and up to 100 %")
    return {name: getattr(said, name) for name in FOLDED_ANEW}


def _window(said: NewObjective) -> dict[str, Any]:
    if said.unit not in UNITS:
        raise ObjectiveInvalid(f"a window is one of: {', '.join(UNITS)}")
    if said.unit == ROLLING and not 1 <= said.days <= 366:
        raise ObjectiveInvalid("a rolling window is of 1 to 366 days")
    days = said.days if said.unit == ROLLING else NOMINAL_DAYS[said.unit]
    return {"unit": said.unit, "days": days, "time_zone": said.time_zone}


def _pairs(said: NewObjective, target: float, columns: dict[str, Any]) -> list[str]:
    """Return the pairs of an objective; raises ObjectiveInvalid for a chosen one that cannot fire, or would for nothing."""
    if said.kind == Kind.VOLUME:
        return []  # a missed period is told at once
    slices = said.slice_minutes if said.method != OCCURRENCES else 0
    about: dict[str, Any] = {"target": target, "period": timedelta(days=columns["days"]), "slice_minutes": slices}
    if said.pairs is None:
        return [pair.name for pair in pairs_that_can_fire(**about)]
    chosen = list(dict.fromkeys(said.pairs))
    for name in chosen:
        if name not in PAIR_NAMED:
            raise ObjectiveInvalid(f"a pair of windows is one of: {', '.join(PAIR_NAMED)}")
        if why := hindrance(PAIR_NAMED[name], **about):
            raise ObjectiveInvalid(why)
    return chosen
