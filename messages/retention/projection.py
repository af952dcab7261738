"""What a policy will take on disk. Pure: measured bytes of each day go in, three figures come out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

RATE_DAYS = 7
HORIZON_DAYS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Projected:
    """Bytes of one kind: now, a day's worth, in 30 days, and when as much goes as comes."""

    now_bytes: int
    per_day_bytes: int
    in_30_days_bytes: int
    steady_bytes: int


def per_day(by_day: Mapping[date, int], today: date) -> int:
    """Return the mean bytes of the last seven full days that data is there for; today's, when there is no other."""
    full = [by_day[day] for back in range(1, RATE_DAYS + 1) if (day := today - timedelta(days=back)) in by_day]
    return sum(full) // len(full) if full else by_day.get(today, 0)


def project(by_day: Mapping[date, int], *, days: int, today: date) -> Projected:
    """Return what a kind that is kept `days` full days, and the running one, will take when as much comes as came lately.

    by_day  measured bytes by day.
    """
    rate = per_day(by_day, today)
    oldest = today + timedelta(days=HORIZON_DAYS - days)
    remaining = sum(size for day, size in by_day.items() if oldest <= day < today)
    return Projected(
        now_bytes=sum(by_day.values()),
        per_day_bytes=rate,
        in_30_days_bytes=remaining + rate * (min(HORIZON_DAYS, days) + 1),
        steady_bytes=rate * (days + 1),
    )


def project_rows(*, now_bytes: int, waiting_bytes: int, per_day_bytes: int, days: int) -> Projected:
    """The same for rows that go one by one: those that wait stay, and `per_day_bytes` are closed or come each day."""
    steady = waiting_bytes + per_day_bytes * (days + 1)
    grown = now_bytes + per_day_bytes * HORIZON_DAYS
    return Projected(
        now_bytes=now_bytes, per_day_bytes=per_day_bytes, in_30_days_bytes=min(grown, steady), steady_bytes=steady
    )
