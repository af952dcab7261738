"""The verdict on one objective from what was read of it: budget, burn rates, which rules hold. Pure but for the row it is about."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any

from alerts.models import Objective
from alerts.objectives.budgeting import Counted
from alerts.objectives.burn import (
    FLOORS,
    SUSTAINED_HOURS,
    Pair,
    budget_of,
    burn_rate,
    factor,
    fires,
    is_sustained,
    least_bad,
    time_to_exhaustion,
    time_to_exhaustion_of_a_growing,
)
from alerts.objectives.reading import Burn, Read, budgeted, count_kept, counted_in
from alerts.objectives.shapes import method_of, pairs_of, window_of
from alerts.objectives.windows import MINUTE, Span

HOUR = timedelta(hours=1)
TICKET, PAGE = "ticket", "page"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule as it stands. at: fires above it; long, short: burn rates; bad: in the long window, of which `needs` are needed."""

    rule: str
    severity: str
    long_minutes: int
    short_minutes: int
    at: float
    long: float
    short: float
    bad: float
    needs: float
    holds: bool
    words: str

    def as_json(self) -> dict[str, Any]:
        return {
            name: round(value, 4) if isinstance(value, float) else value
            for name in RULE_FIELDS
            if (value := getattr(self, name)) is not None
        }


RULE_FIELDS = [one.name for one in fields(Rule)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one look says of an objective; the columns of Standing, see there.

    unmeasured  severities of which a rule could not be measured, because what it looks at first is excluded whole.
    """

    span: Span
    good: int
    late: int
    lost: int
    out: int
    attained: float | None
    adjusted: float | None
    budget: float
    spent: float
    left: float
    burn: float
    gone_at: datetime | None
    rules: list[Rule] = field(default_factory=list)
    unmeasured: frozenset[str] = frozenset()

    @property
    def severity(self) -> str:
        """Return the worst severity that holds, "" when none does."""
        held = {rule.severity for rule in self.rules if rule.holds}
        return PAGE if PAGE in held else TICKET if TICKET in held else ""


def judge(one: Objective, read: Read, span: Span, *, now: datetime) -> Verdict:
    """Return the verdict on an objective. span: the window of its promise, which may end in the future."""
    target, window = float(one.target), window_of(one)
    raw = count_kept(one, read.period.raw, span, [], now=now)
    kept = count_kept(one, read.period.kept, span, read.excluded, now=now)
    budget = budget_of(kept.bad, budgeted(one, kept, span, read.excluded), target=target)
    counted = counted_in(one, read, now=now)
    an_hour = counted(HOUR)
    burn = burn_rate(an_hour.bad, an_hour.total, target=target)
    if one.unit == "rolling" or (one.empty_is_good and method_of(one).counts_time):
        gone = time_to_exhaustion(budget.left_ratio, burn, period=window.period)
    else:
        gone = time_to_exhaustion_of_a_growing(budget.left_ratio, burn, so_far=now - span.since)
    nominal = read.nominal if read.nominal is not None else read.period.kept
    in_period = count_kept(one, nominal, Span(since=now - window.period, until=now), [], now=now)
    period_total = in_period.total * _not_counted_yet(one, read, now)
    rules = [_pair_rule(one, pair, counted, period_total) for pair in pairs_of(one)]
    rules += _other_rules(one, read, kept, budget.left_ratio, counted)
    before, after = read.period.raw, read.period.kept
    return Verdict(
        span=span,
        good=before.good,
        late=before.late,
        lost=before.lost,
        out=before.total - after.total,
        attained=raw.attained,
        adjusted=kept.attained,
        budget=budget.total,
        spent=budget.spent,
        left=budget.left_ratio,
        burn=burn,
        gone_at=now + gone if gone is not None and _matters(now + gone, one, span, now) else None,
        rules=rules,
        unmeasured=_unmeasured(one, read),
    )


def _unmeasured(one: Objective, read: Read) -> frozenset[str]:
    """Return the severities of the rules whose short window is excluded whole; that of failures that go on is an hour."""
    short = [(pair.severity, pair.short // MINUTE) for pair in pairs_of(one)]
    if one.sustained and one.kind != Objective.Kind.VOLUME:
        short.append((TICKET, 60))
    return frozenset(severity for severity, minutes in short if read.near.is_out(minutes))


def _matters(at: datetime, one: Objective, span: Span, now: datetime) -> bool:
    """Whether a budget that is gone then is worth saying: before the calendar begins anew, or within twice a rolling window."""
    return at < (span.until if one.unit != "rolling" else now + 2 * window_of(one).period)


def _not_counted_yet(one: Objective, read: Read, now: datetime) -> float:
    """Return how many times longer the period is than what is counted of it: the guard would else let a few failures page on the first day.

    What is counted anew while its old figures stand is whole.
    """
    if read.stood or not one.is_filling:
        return 1.0
    return max(1.0, window_of(one).period / max(now - one.filled_since, MINUTE))


def _pair_rule(one: Objective, pair: Pair, counted: Burn, period_total: float) -> Rule:
    target, period = float(one.target), window_of(one).period
    long, short = counted(pair.long), counted(pair.short)
    long_burn, short_burn = (burn_rate(min(part.bad, part.total), part.total, target=target) for part in (long, short))
    needs = least_bad(pair, target=target, period_total=period_total) if one.guarded else 1
    burning = fires(pair, long_burn=long_burn, short_burn=short_burn, period=period)
    holds = burning and long.bad >= needs
    words = "firing" if holds else f"held back: {needs:,} bad are needed" if burning else "quiet"
    return Rule(
        rule=pair.name,
        severity=pair.severity,
        long_minutes=pair.long // MINUTE,
        short_minutes=pair.short // MINUTE,
        at=factor(pair, period),
        long=long_burn,
        short=short_burn,
        bad=long.bad,
        needs=needs,
        holds=holds,
        words=words,
    )


def _other_rules(one: Objective, read: Read, kept: Counted, left: float, counted: Burn) -> list[Rule]:
    rules, target = [], float(one.target)
    least = FLOORS[TICKET]
    if one.kind == Objective.Kind.VOLUME:
        rules.append(_plain("missed", PAGE, read.missed, "the last period had too few messages"))
        least = 1
    elif one.sustained:
        hours = [read.near.counted(60, until=60 * number) for number in range(SUSTAINED_HOURS)]
        bad, total = [part.bad for part in hours], [part.total for part in hours]
        held = is_sustained(bad, total, target=target)
        rules.append(
            _plain("sustained", TICKET, held, f"{sum(bad):,.0f} bad in six hours, in most of them", bad=sum(bad))
        )
    if one.exhausted:
        gone = left <= 0 and kept.bad >= least and not one.is_filling
        rules.append(_plain("exhausted", TICKET, gone, "the budget is spent", bad=kept.bad))
    return rules


def _plain(name: str, severity: str, holds: bool, words: str, *, bad: float = 0) -> Rule:
    return Rule(
        rule=name, severity=severity, long_minutes=0, short_minutes=0, at=0, long=0, short=0, bad=bad, needs=0, holds=holds,
        words=words if holds else "quiet",
    )  # fmt: skip


def rule_words(rule: Rule, target_words: str) -> str:
    """Return one rule that holds as a sentence with numbers, without its stop: "93 bad in the last hour, 231 times what 99.9 % allows"."""
    if not rule.long_minutes:
        return rule.words
    hours = rule.long_minutes // 60
    last = "hour" if hours == 1 else f"{hours} hours" if hours <= 24 else f"{hours // 24} days"
    return f"{rule.bad:,.0f} bad in the last {last}, {rule.long:,.3g} times what {target_words} allows"
