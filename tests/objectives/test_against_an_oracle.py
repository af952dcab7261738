"""Figures against an oracle that knows no counters: it goes through all minutes of the window with the words of docs/objectives.md alone."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from alerts.models import Standing
from alerts.objectives.burn import PAIRS
from alerts.objectives.excluding import NewExclusion, add_exclusion
from tests.factories import ROOT
from tests.objectives.stored import DAY, HOUR, MINUTE, looked, promised, rolled
from tests.services.reconciling import flow

pytestmark = pytest.mark.django_db
# Each a full hour; the clocks change in New York on 1 November, in Berlin on 28 March and in Auckland on 4 April.
NOWS = (
    datetime(2026, 11, 26, 13, tzinfo=UTC),
    datetime(2026, 11, 2, 3, tzinfo=UTC),
    datetime(2027, 4, 6, 20, tzinfo=UTC),
)
WINDOWS = (
    ("rolling", "UTC"), ("week", "Pacific/Auckland"), ("week", "Asia/Kathmandu"), ("month", "Europe/Berlin"),
    ("month", "America/New_York"), ("month", "Asia/Kathmandu"), ("quarter", "America/New_York"),
)  # fmt: skip
METHODS: tuple[dict[str, Any], ...] = (
    {"method": "occurrences"},
    {"method": "timeslices", "slice_minutes": 5, "slice_target": 0.9},
    {"method": "timeslices", "slice_minutes": 60, "slice_target": 0.95, "empty_is_good": True},
    {"method": "ratio_timeslices", "slice_minutes": 10},
)  # fmt: skip
TARGET = 0.97
Cells = dict[datetime, tuple[int, int]]


@dataclass
class Found:
    """What a time adds up to, in what the budget counts."""

    bad: float = 0.0
    total: float = 0.0

    @property
    def attained(self) -> float | None:
        return (self.total - self.bad) / self.total if self.total else None


def minutes(since: datetime, until: datetime) -> Iterator[datetime]:
    while since < until:
        yield since
        since += MINUTE


def begins(unit: str, zone: str, now: datetime) -> datetime:
    """The full hour before the window begins."""
    if unit == "rolling":
        return now - 30 * DAY
    day = now.astimezone(ZoneInfo(zone)).date()
    first = {"week": day - timedelta(days=day.weekday()), "month": day.replace(day=1),
             "quarter": day.replace(month=(day.month - 1) // 3 * 3 + 1, day=1)}[unit]  # fmt: skip
    midnight = datetime(first.year, first.month, first.day, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    return midnight.replace(minute=0)


def said(how: dict[str, Any], cells: Cells, out: set[datetime], since: datetime, until: datetime) -> Found:
    if how["method"] == "occurrences":
        inside = [cells[at] for at in minutes(since, until) if at in cells and at not in out]
        return Found(bad=sum(lost for _, lost in inside), total=sum(map(sum, inside)))
    found, length = Found(), how["slice_minutes"] * MINUTE
    since -= (since - datetime(2020, 1, 1, tzinfo=UTC)) % length
    while since < until:
        part = [at for at in minutes(since, since + length) if at not in out]
        good, lost = (sum(cells.get(at, (0, 0))[which] for at in part) for which in (0, 1))
        if good + lost:
            ratio = good / (good + lost)
            found.total += 1
            found.bad += 1 - ratio if how["method"] == "ratio_timeslices" else float(ratio < how["slice_target"])
        elif how.get("empty_is_good") and part:
            found.total += 1
        since += length
    return found


def over(how: dict[str, Any], at: datetime) -> datetime:
    """The end of the minute that runs, or of the last slice that does not run any more."""
    if how["method"] == "occurrences":
        return at.replace(second=0) + MINUTE
    return at - (at - datetime(2020, 1, 1, tzinfo=UTC)) % (how["slice_minutes"] * MINUTE)


def excluded(now: datetime) -> set[datetime]:
    """An afternoon, and every second Sunday morning in New York."""
    once = now.replace(hour=12) - 9 * DAY
    first = datetime(2026, 8, 2, 3, tzinfo=ZoneInfo("America/New_York"))
    add_exclusion(NewExclusion(starts_at=once, minutes=180, reason="maintenance"), flow=flow(), by=ROOT)
    rule = "FREQ=WEEKLY;INTERVAL=2;BYDAY=SU"
    again = NewExclusion(starts_at=first, minutes=120, reason="again", rule=rule, time_zone="America/New_York")
    add_exclusion(again, flow=flow(), by=ROOT)
    found = set(minutes(once, once + 3 * HOUR))
    while first.astimezone(UTC) < now:
        begun = first.astimezone(UTC)
        found |= set(minutes(begun, begun + 2 * HOUR))
        first += timedelta(days=14)  # of local time
    return found


@pytest.mark.parametrize("now", NOWS, ids=lambda now: f"{now:%Y-%m-%d}")
def test_every_window_zone_and_method_is_counted_as_the_words_say(now: datetime):
    chance = random.Random(now.day)
    cells: Cells = {}
    for _ in range(700):
        # more of it lately, so that the short windows have some
        at = now - timedelta(minutes=1 + int(95 * 1440 * chance.random() ** 4))
        cells[at] = (chance.randrange(40), chance.choice((0, 0, 0, 1, 9)))
    for at, (good, lost) in cells.items():
        rolled(at, good, lost)
    asked = {
        f"{unit} {zone} {number}": (unit, zone, how) for unit, zone in WINDOWS for number, how in enumerate(METHODS)
    }
    at = now - timedelta(seconds=30)  # the minute that runs ends at the full hour
    for name, (unit, zone, how) in asked.items():
        promised(name, now=at, target=str(TARGET), unit=unit, time_zone=zone, **how)
    out = excluded(now)

    looked(at)

    for name, (unit, zone, how) in asked.items():
        row = Standing.objects.get(objective__name=name)
        since, ends = begins(unit, zone, now), over(how, at)
        raw, kept = said(how, cells, set(), since, ends), said(how, cells, out, since, ends)
        inside = [cells[one] for one in minutes(since, now) if one in cells]
        assert (row.good, row.lost) == tuple(map(sum, zip(*inside, strict=True))), name
        assert (row.attained, row.adjusted) == pytest.approx((raw.attained, kept.attained), abs=1e-9), name
        assert row.spent == pytest.approx(kept.bad), name
        if not how.get("empty_is_good"):  # whose budget is of the whole window
            assert row.budget == pytest.approx(kept.total * (1 - TARGET), abs=1e-5), name
        rules = {rule["rule"]: rule for rule in row.rules}
        for pair in PAIRS:
            for window, burns in ((pair.long, "long"), (pair.short, "short")):
                part = said(how, cells, out, (now if window > 6 * HOUR else ends) - window, ends)
                burn = part.bad / part.total / (1 - TARGET) if part.total else 0
                if pair.name in rules:
                    assert rules[pair.name][burns] == pytest.approx(burn, abs=2e-4), (name, pair.name, burns)
