"""Reports against an oracle that goes through what was stored with the words of docs/reports.md alone; and each way of reading one against the others."""

from __future__ import annotations

import csv
import html
import io
import random
import re
from datetime import UTC, datetime, timedelta
from decimal import ROUND_FLOOR, Decimal
from zoneinfo import ZoneInfo

import pytest

from alerts.objectives.excluding import NewExclusion, add_exclusion
from alerts.reports.content import Cadence, Content
from alerts.reports.gathering import gather
from alerts.reports.periods import last_period
from alerts.reports.rendering import render
from tests.factories import ROOT
from tests.objectives.stored import HOUR, MINUTE, looked, message, promised, rolled
from tests.objectives.test_against_an_oracle import minutes
from tests.reports.stored import audience
from tests.services.reconciling import flow

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("drawn_once")]
NOW = datetime(
    2026, 11, 2, 12, 0, 30, tzinfo=UTC
)  # a Monday; the clocks went back in Berlin on 25 October, in New York on 1 November
TARGET = Decimal("0.95")
CASES = [
    (Cadence.MONTHLY, "Europe/Berlin", NOW, "de-DE"),
    (Cadence.MONTHLY, "America/New_York", NOW, "en-GB"),
    (Cadence.WEEKLY, "Europe/Berlin", datetime(2026, 10, 26, 7, tzinfo=UTC), "en-GB"),
    (Cadence.WEEKLY, "America/New_York", NOW, "de-DE"),
    (Cadence.DAILY, "Europe/Berlin", datetime(2026, 10, 26, 7, tzinfo=UTC), "de-DE"),
    (Cadence.DAILY, "America/New_York", NOW, "en-GB"),
]
Event = tuple[datetime, str, int]  # when it counts, as what, how many


def local(year: int, month: int, day: int, zone: str) -> datetime:
    return datetime(year, month, day, tzinfo=ZoneInfo(zone)).astimezone(UTC)


def period(cadence: Cadence, zone: str, now: datetime, back: int = 0) -> tuple[datetime, datetime]:
    """Where the last whole period, or one before it, begins and ends."""
    day = now.astimezone(ZoneInfo(zone)).date()
    for _ in range(back + 1):
        if cadence is Cadence.MONTHLY:
            until = day.replace(day=1)
            since = (until - timedelta(days=1)).replace(day=1)
        elif cadence is Cadence.WEEKLY:
            until = day - timedelta(days=day.weekday())
            since = until - timedelta(days=7)
        else:
            until, since = day, day - timedelta(days=1)
        day = since
    return local(since.year, since.month, since.day, zone), local(until.year, until.month, until.day, zone)


def stored() -> tuple[list[Event], list[Event], set[datetime]]:
    """Fill two flows; return what counts of attempts, of messages, and which minutes are excluded."""
    chance, attempts, messages = random.Random(11), [], []
    orders, stock = flow("orders"), flow("stock")
    edges = [end for cadence, zone, now, _ in CASES for back in (0, 1) for end in period(cadence, zone, now, back)]
    times = [edge + shift for edge in edges for shift in (-MINUTE, 0 * MINUTE)]
    times += [NOW.replace(second=0) - timedelta(minutes=chance.randrange(60, 62 * 1440)) for _ in range(500)]
    for at in sorted(set(times)):
        good, failed = chance.randrange(1, 60), chance.choice((0, 0, 0, 1, 5))
        rolled(at, good, failed, of=orders)
        attempts += [(at, "good", good), (at, "lost", failed)]
    for at in sorted({*times[::3]}):
        took = timedelta(minutes=chance.choice((1, 15, 16, 119, 121)))
        arrives = chance.random() < 0.9
        message(at, took=took if arrives else None, of=stock)
        what = "lost" if not arrives or took > 120 * MINUTE else "good" if took <= 15 * MINUTE else "late"
        messages.append((at + 15 * MINUTE, what, 1))
    once = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    again = datetime(2026, 9, 7, 2, 0, tzinfo=ZoneInfo("Europe/Berlin"))
    out = set(minutes(once, once + 3 * HOUR))
    for _ in range(9):
        out |= set(minutes(again.astimezone(UTC), again.astimezone(UTC) + HOUR))
        again += timedelta(days=7)
    return attempts, messages, out


def sums(events: list[Event], since: datetime, until: datetime, out: set[datetime]) -> dict[str, int]:
    found = dict.fromkeys(("good", "late", "lost"), 0)
    for at, what, count in events:
        if since <= at < until and at not in out:
            found[what] += count
    return found


def share(counts: dict[str, int]) -> float | None:
    total = sum(counts.values())
    return counts["good"] / total if total else None


def percent(ratio: float, language: str) -> str:
    cut = (Decimal(repr(round(ratio, 12))) * 100).quantize(Decimal("0.01"), rounding=ROUND_FLOOR)
    text = f"{cut:f}" if cut != 100 else "100"
    return f"{text.replace('.', ',')}\u00a0%" if language == "de-DE" else f"{text}\u00a0%"


def number(count: int, language: str) -> str:
    return f"{count:,}".replace(",", ".") if language == "de-DE" else f"{count:,}"


def test_every_number_of_a_report_is_what_was_stored():
    attempts, messages, out = stored()
    for name, of, kind in (("Attempts", "orders", "success"), ("In time", "stock", "freshness")):
        more = {"limit_minutes": 15, "recover_minutes": 120} if kind == "freshness" else {}
        promised(name, of=flow(of), kind=kind, target=str(TARGET), days=65, now=NOW, **more)
    for of in ("orders", "stock"):
        said = {"reason": "moves", "category": "maintenance"}
        add_exclusion(
            NewExclusion(starts_at=datetime(2026, 10, 25, 0, 30, tzinfo=UTC), minutes=180, **said),
            flow=flow(of),
            by=ROOT,
        )
        weekly = datetime(2026, 9, 7, 2, 0, tzinfo=ZoneInfo("Europe/Berlin"))
        add_exclusion(
            NewExclusion(starts_at=weekly, minutes=60, rule="FREQ=WEEKLY;COUNT=9", time_zone="Europe/Berlin", **said),
            flow=flow(of),
            by=ROOT,
        )
    looked(NOW)

    for cadence, zone, now, language in CASES:
        case = f"{cadence} {zone}"
        content = gather(audience(zone=zone, language=language), last_period(cadence, zone, now), actor=ROOT, now=NOW)
        since, until = period(cadence, zone, now)
        before = period(cadence, zone, now, 1)
        assert (content.period.since, content.period.until) == (since, until), case
        told = {one.name: one for one in content.promises}
        for name, events in (("Attempts", attempts), ("In time", messages)):
            one, raw, kept = told[name], sums(events, since, until, set()), sums(events, since, until, out)
            assert {part: getattr(one, part) for part in raw} == raw, (case, name)
            if one.over:
                continue
            assert one.attained == pytest.approx(share(raw)), (case, name)
            assert one.adjusted == pytest.approx(share(kept)), (case, name)
            assert one.previous == pytest.approx(share(sums(events, *before, out))), (case, name)
            budget = sum(kept.values()) * float(1 - TARGET)
            assert (one.budget, one.left) == pytest.approx((budget, budget - kept["late"] - kept["lost"]), abs=1e-5), (
                case,
                name,
            )
        together = [sums(events, since, until, set()) for events in (attempts, messages)]
        for day in (*content.trend, *content.days):
            ends = [local(*one.timetuple()[:3], zone) for one in (day.day, day.day + timedelta(days=1))]
            of_day = [sums(events, *ends, set()) for events in (attempts, messages)]
            assert (day.good, day.late, day.lost) == tuple(
                sum(one[part] for one in of_day) for part in ("good", "late", "lost")
            ), (case, day)
            assert day.excluded is any(ends[0] <= at < ends[1] for at in out), (case, day)
        for one in content.exclusions:
            of = attempts if one.about == "orders" else messages
            assert one.events == sum(sums(of, one.since, one.until, set()).values()), (case, one)
        every_way_says_the_same(content, together, language)


def every_way_says_the_same(content: Content, together: list[dict[str, int]], language: str) -> None:
    drawn = render(content, open_url="http://x/o", stop_url="http://x/s")
    page = " ".join(html.unescape(re.sub(r"<style.*?</style>|<[^>]+>", " ", drawn.html, flags=re.S)).split(" "))
    page, text = (re.sub(r"[ \n]+", " ", one) for one in (page, drawn.text))
    rows = list(
        csv.DictReader(io.StringIO(next(body for name, _, body in drawn.attachments if name.endswith(".csv")).decode()))
    )
    total = sum(sum(one.values()) for one in together)
    assert (
        f"Of {number(total, language)} messages and attempts, {number(sum(one['good'] for one in together), language)} were good"
        in page
    )
    for one in content.promises:
        row = next(row for row in rows if (row["row"], row["name"]) == ("promise", one.name))
        assert [int(row[part]) for part in ("good", "late", "lost")] == [one.good, one.late, one.lost]
        assert [float(row[part]) for part in ("attained", "adjusted")] == [one.attained, one.adjusted]
        assert float(row["left"]) - float(row["overspent"]) == one.left
        for words in (percent(ratio, language) for ratio in (one.adjusted, one.previous) if ratio is not None):
            assert words in page, (one.name, words)
            assert words in text, (one.name, words)
    days = [row for row in rows if row["row"] == "day"]
    assert [(int(row["good"]), int(row["late"]), int(row["lost"])) for row in days] == [
        (one.good, one.late, one.lost) for one in content.days
    ]
