"""Each kind but success, see test_against_an_oracle, against an oracle that goes through what was stored with the words of docs/objectives.md alone."""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from alerts.models import Objective, Standing
from alerts.objectives.excluding import NewExclusion, add_exclusion
from messages.models import DeadLetter
from tests.factories import ROOT, stored_letter
from tests.objectives.stored import DAY, HOUR, MINUTE, looked, message, promised, rolled
from tests.objectives.test_against_an_oracle import NOWS, minutes

pytestmark = pytest.mark.django_db
DAYS = 8
Decided = tuple[datetime, str]  # a minute, and what is counted in it


def judged(one: Objective, decided: Iterable[Decided], now: datetime, out: Iterable[datetime] = ()) -> Standing:
    """Assess, compare what stands with what was decided in the window, and return what stands. out: minutes that do not count."""
    looked(now - timedelta(seconds=30))
    row, gone = Standing.objects.get(objective=one), set(out)
    inside = [(at, what) for at, what in decided if now - DAYS * DAY <= at < now]
    counts = {what: sum(said == what for _, said in inside) for what in ("good", "late", "lost")}
    assert {"good": row.good, "late": row.late, "lost": row.lost} == counts
    kept = [what for at, what in inside if at not in gone]
    assert row.out == len(inside) - len(kept)
    assert row.spent == sum(what != "good" for what in kept)
    assert row.adjusted == (pytest.approx(kept.count("good") / len(kept)) if kept else None)
    return row


def excluded(one: Objective, since: datetime, hours: int) -> set[datetime]:
    said = NewExclusion(starts_at=since, minutes=hours * 60, reason="maintenance")
    add_exclusion(said, objective=one, by=ROOT)
    return set(minutes(since, since + hours * HOUR))


@pytest.fixture(params=NOWS, ids=lambda now: f"{now:%Y-%m-%d}")
def now(request: pytest.FixtureRequest) -> datetime:
    found: datetime = request.param
    return found


def test_freshness_is_decided_when_the_time_of_each_message_is_up(now: datetime):
    chance, decided = random.Random(now.day), []
    one = promised(kind="freshness", limit_minutes=15, recover_minutes=120, days=DAYS, now=now - 30 * MINUTE)
    for _ in range(400):
        began = now - timedelta(seconds=chance.randrange(1, 9 * 86_400))
        took = timedelta(minutes=chance.choice((1, 14, 15, 16, 100, 120, 121, 600)))
        arrives = chance.random() < 0.8 and began + took < now - MINUTE
        message(began, took=took if arrives else None)
        due = (began + 15 * MINUTE).replace(second=0, microsecond=0)
        what = "lost" if not arrives or took > 120 * MINUTE else "good" if took <= 15 * MINUTE else "late"
        if due < now - MINUTE:  # the minute that runs is not over
            decided.append((due, what))

    judged(one, decided, now)
    gone = excluded(one, now - 3 * DAY, 5)
    row = judged(one, decided, now, gone)

    assert row.late
    assert row.out


def test_latency_is_of_the_bucket_of_each_processed_event(now: datetime):
    chance, decided = random.Random(now.day), []
    one = promised(kind="latency", limit_ms=64, days=DAYS, now=now - 30 * MINUTE)
    for _ in range(300):
        at = now - timedelta(minutes=chance.randrange(1, 9 * 1440))
        bucket, count = chance.randrange(12), chance.randrange(1, 9)
        rolled(at, count, chance.randrange(3), bucket=bucket)
        decided += [(at, "good" if 2**bucket <= 64 else "late")] * count  # a bucket holds what took less than 2ⁿ ms

    judged(one, decided, now)
    judged(one, decided, now, excluded(one, now - 2 * DAY, 24))


def test_an_age_of_dead_letters_is_judged_at_the_beginning_of_each_minute(now: datetime):
    chance, waits = random.Random(now.day), []
    one = promised(kind="dead_letter_age", limit_minutes=90, days=DAYS, now=now - 30 * MINUTE)
    for number in range(12):
        failed = now - timedelta(seconds=chance.randrange(86_400, 9 * 86_400))
        came = failed + timedelta(minutes=chance.choice((0, 1, 300)))
        closed = came + timedelta(seconds=chance.randrange(60, 20_000)) if number else None  # the first waits still
        ended: dict[str, Any] = {"state": "closed", "resolution": "processed", "closed_at": closed} if closed else {}
        letter = stored_letter(origin="orders")
        DeadLetter.objects.filter(pk=letter.pk).update(failed_at=failed, received_at=came, **ended)
        waits.append((max(failed + 90 * MINUTE, came), closed or now))

    decided = [
        (at, "lost" if any(begins <= at < ends for begins, ends in waits) else "good")
        for at in minutes(now - DAYS * DAY, now)
    ]
    judged(one, decided, now)
    judged(one, decided, now, excluded(one, now - 2 * DAY, 24))


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Pacific/Auckland", "America/New_York"])
@pytest.mark.parametrize("length", [0, 90, 240])
def test_a_volume_is_judged_at_the_end_of_each_period(now: datetime, zone: str, length: int):
    chance, came = random.Random(now.day), {}
    said = {"at_least": 30, "limit_minutes": length, "from_minute": 8 * 60, "until_minute": 18 * 60}
    one = promised(
        kind="volume", days=DAYS, time_zone=zone, work_days=[1, 2, 3, 4, 5, 7], now=now - 30 * MINUTE, **said
    )
    for at in minutes(now - 9 * DAY, now):
        if chance.random() < 0.01:
            came[at] = chance.randrange(1, 20)
            rolled(at, came[at], chance.randrange(2))

    decided, periods = [], []
    today = now.astimezone(ZoneInfo(zone)).date()
    for ago in range(10, -1, -1):
        day = today - timedelta(days=ago)
        if day.isoweekday() == 6:
            continue
        opens, closes = (
            datetime(day.year, day.month, day.day, hour, tzinfo=ZoneInfo(zone)).astimezone(UTC) for hour in (8, 18)
        )
        while opens < closes:
            until = opens + length * MINUTE if length else closes
            if closes - until < length * MINUTE / 2:
                until = closes
            periods.append((opens, until))
            if until < now:
                enough = sum(came.get(at, 0) for at in minutes(opens, until)) >= 30
                decided.append((until - MINUTE, "good" if enough else "lost"))
            opens = until

    judged(one, decided, now)
    out = excluded(one, now.replace(hour=11) - 2 * DAY, 5)
    whole = {
        until - MINUTE for opens, until in periods if any(at in out for at in minutes(opens, until))
    }  # a period of which any minute is excluded is not judged
    judged(one, decided, now, whole)
