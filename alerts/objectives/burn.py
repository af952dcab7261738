"""Error budgets and burn rates: how fast a budget is spent, when a pair of windows fires, and which pairs cannot. Pure.

Source: Google SRE Workbook, chapter "Alerting on SLOs" (table 5-8 and "Low-Traffic Services and Error Budget Alerting").
b = 1 - target is the share of events that may be bad. burn = (bad / total) / b: at 1 the budget lasts exactly as long as the period.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import ROUND_FLOOR, Decimal
from math import ceil, floor

LEAST_BAD = 3  # a page needs at least so many bad events, a ticket one fewer: one alone is no trend
FLOORS = {"page": LEAST_BAD, "ticket": LEAST_BAD - 1}
ROUNDED = 12  # digits of a burn rate
MOST_DIGITS = 6  # of a ratio in per cent, as of a target
SUSTAINED_HOURS = 6
SUSTAINED_IN = 4  # of those hours so many had something bad
SUSTAINED_BAD = 6  # and together so many


def span_text(span: timedelta) -> str:
    """Return a span in its largest whole unit: "5m", "6h", "3d"."""
    minutes = span // timedelta(minutes=1)
    if minutes % 1440 == 0:
        return f"{minutes // 1440}d"
    return f"{minutes // 60}h" if minutes % 60 == 0 else f"{minutes}m"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A long and a short window that must both burn too fast. share: of the period's budget that is gone when the long one fires."""

    severity: str
    long: timedelta
    short: timedelta
    share: float

    @property
    def name(self) -> str:
        """Return how rows and requests name it: "1h-5m"."""
        return f"{span_text(self.long)}-{span_text(self.short)}"


PAIRS = (
    Pair(severity="page", long=timedelta(hours=1), short=timedelta(minutes=5), share=0.02),
    Pair(severity="page", long=timedelta(hours=6), short=timedelta(minutes=30), share=0.05),
    Pair(severity="ticket", long=timedelta(days=1), short=timedelta(hours=2), share=0.10),
    Pair(severity="ticket", long=timedelta(days=3), short=timedelta(hours=6), share=0.10),
)
PAIR_NAMED = {pair.name: pair for pair in PAIRS}


def factor(pair: Pair, period: timedelta) -> float:
    """Return the burn rate above which this pair fires: share × period ÷ long window, e.g. 14.4 for 2 % in 1 h of 30 days."""
    return round(pair.share * (period / pair.long), ROUNDED)


def allowed(target: float) -> float:
    """Return the share that may be bad, rounded: 1 - 0.99 is a little more than 0.01, and 1 - 0.9 a little less than 0.1."""
    return round(1 - target, 8)


def burn_rate(bad: float, total: float, *, target: float) -> float:
    """Return how many times faster than allowed the budget is spent; 0 without traffic. Rounded, so that what is exactly allowed is not more.

    bad, total  counts in one window, 0 <= bad <= total.   target  ratio, 0 < target < 1.
    Raises      ValueError when they are out of range.
    """
    check_target(target)
    if not 0 <= bad <= total:
        raise ValueError("bad events are some of all events")
    return round(bad / total / allowed(target), ROUNDED) if total else 0.0


def check_target(target: float) -> None:
    if not 0 < target < 1:
        raise ValueError("a target lies between 0 and 1, without both")


def is_reached(pair: Pair, *, target: float, period: timedelta) -> bool:
    """Whether the pair can fire at all: no burn rate is above 1 ÷ b, that of nothing but failures."""
    return round(factor(pair, period) * allowed(target), ROUNDED) < 1


def hindrance(pair: Pair, *, target: float, period: timedelta, slice_minutes: int = 0) -> str:
    """Return in words why this pair is of no use for such a promise, nothing when it is.

    slice_minutes  length of a time slice where slices are counted, 0 where events are.
    """
    at = factor(pair, period)
    words = f"the {pair.severity} over {span_text(pair.long)} and {span_text(pair.short)}"
    if not is_reached(pair, target=target, period=period):
        return (
            f"{words} can never fire: it fires above {at:g} times the allowed rate, and with a target of {percent(target)} "
            f"even an outage burns only {1 / allowed(target):.3g} times as fast; leave it out, or promise more than {percent(1 - 1 / at)}"
        )
    if at < 1:
        return (
            f"{words} fires above {at:.3g} times the allowed rate: a flow that keeps its promise would be alarmed; leave it out, "
            "or choose a longer period"
        )
    if slice_minutes and pair.short < timedelta(minutes=slice_minutes):
        return (
            f"{words} cannot be measured with slices of {slice_minutes} min: the short window holds none; leave it out"
        )
    if pair.long > period:
        return f"{words} looks further back than the period; leave it out"
    return ""


def pairs_that_can_fire(*, target: float, period: timedelta, slice_minutes: int = 0) -> tuple[Pair, ...]:
    """Return those of the four pairs that are of use: what an objective has when nobody chose."""
    return tuple(
        pair for pair in PAIRS if not hindrance(pair, target=target, period=period, slice_minutes=slice_minutes)
    )


def least_bad(pair: Pair, *, target: float, period_total: float, floor: int | None = None) -> int:
    """Return how many bad events the long window must hold before the pair may fire: p·b·N of the period, at least the floor.

    Source: pyrra pull request 1602, Sloth pull request 459: the same absolute number whatever the traffic of the hour, so that one
    failure of the ten requests of a quiet night wakes nobody.
    """
    least = FLOORS[pair.severity] if floor is None else floor
    return max(least, ceil(round(pair.share * allowed(target) * period_total, 6)))


def one_failure_fires_below(pair: Pair, *, target: float, period: timedelta) -> float:
    """Return the number of events in the long window below which one failure alone would fire the pair, were it not guarded."""
    return 1 / (factor(pair, period) * allowed(target))


def fires(pair: Pair, *, long_burn: float, short_burn: float, period: timedelta) -> bool:
    """Whether both windows burn faster than the pair's factor; without the guard."""
    at = factor(pair, period)
    return long_burn > at and short_burn > at


def expected_detection(pair: Pair, *, error_ratio: float, target: float, period: timedelta) -> timedelta | None:
    """Return after which time of steady failures at this ratio the pair fires, None when it never does.

    The long window's ratio after a time t is error_ratio · t / long: it passes factor · b after factor · b · long / error_ratio, which
    is share · b · period / error_ratio. The short window, a twelfth, passes earlier. Source: SRE Workbook, "Burn Rate Alerts".
    """
    check_target(target)
    at = factor(pair, period) * allowed(target)
    return pair.long * (at / error_ratio) if error_ratio > at else None


def is_sustained(bad_by_hour: Sequence[float], total_by_hour: Sequence[float], *, target: float) -> bool:
    """Whether failures went on for hours in too small numbers for any pair: something bad in 4 of 6 hours, more than is allowed, at least 6.

    Both sequences are of the last six hours. A trickle below the pairs' guard spends a budget in days without it.
    """
    bad, total = sum(bad_by_hour), sum(total_by_hour)
    lasting = sum(1 for one in bad_by_hour if one) >= SUSTAINED_IN
    return lasting and bad >= SUSTAINED_BAD and burn_rate(bad, total, target=target) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """An error budget: `total` may be bad, `spent` are. In events, or in slices where time is counted. Left may be below zero."""

    total: float
    spent: float

    @property
    def left(self) -> float:
        return self.total - self.spent

    @property
    def left_ratio(self) -> float:
        """Return the share that is left: 1 when nothing is spent, below 0 when too much is; 1 for an empty period."""
        if self.total <= 0:
            return 1.0 if self.spent <= 0 else -1.0
        return self.left / self.total


def budget_of(bad: float, total: float, *, target: float) -> Budget:
    """Return the budget of a period with `total` events, of which `bad` spent some of it; rounded, so that it is spent by its last event."""
    check_target(target)
    return Budget(total=round(total * allowed(target), 6), spent=bad)


def time_to_exhaustion(left_ratio: float, burn: float, *, period: timedelta) -> timedelta | None:
    """Return when the rest of the budget is gone at this pace: left ÷ burn of a period. None at a pace that never spends it."""
    if burn <= 0:
        return None
    return max(timedelta(), period * (left_ratio / burn))


def time_to_exhaustion_of_a_growing(left_ratio: float, burn: float, *, so_far: timedelta) -> timedelta | None:
    """Return when the rest of a budget is gone that grows with what comes, as it grew so far: left ÷ (burn - 1) of that time. None when it grows faster."""
    if burn <= 1:
        return timedelta() if left_ratio < 0 else None
    return max(timedelta(), so_far * (left_ratio / (burn - 1)))


def percent(ratio: float) -> str:
    """Return a ratio as a promise is written: "99.5 %", "99.95 %"; never rounded to another promise."""
    return f"{ratio * 100:.6f}".rstrip("0").rstrip(".") + " %"


def cut_ratio(ratio: float, *, target: float) -> tuple[Decimal, int]:
    """Return an attained ratio as it is shown, and its decimals in per cent: cut and never rounded up.

    Below its target it also reads so, 0.99897 of 0.999 is 99.89 %, and it is not 100 % when it is less.
    """
    exact = Decimal(repr(round(ratio, 12)))
    if exact == 1:
        return exact, 0
    digits = max(2, digits_of(target))
    while digits < MOST_DIGITS and exact >= Decimal("0.99995") and _cut(exact, digits) == _cut(exact, 2):
        digits += 1
    return _cut(exact, digits), digits


def digits_of(ratio: float) -> int:
    """Return how many decimals a ratio has in per cent: 0.999 has 1."""
    text = format(Decimal(repr(round(ratio, 10))) * 100, "f")
    return min(MOST_DIGITS, len(text.partition(".")[2].rstrip("0")))


def _cut(value: Decimal, digits: int) -> Decimal:
    return value.quantize(Decimal(1).scaleb(-digits - 2), rounding=ROUND_FLOOR)


def whole_percent(share: float) -> int:
    """Return a share of a budget in whole per cent, cut: 24.6 % are 24, and at risk."""
    return int(share * 100 + 1e-9)


def cut_amount(amount: float) -> float:
    """Return an amount of a budget as it is shown, cut: whole from ten on, one decimal below.

    Never better than it is: of 10.75 events that are left ten may be bad, and -0.08 are -0.1.
    """
    digits = 0 if abs(amount) >= 10 else 1
    return floor(round(amount * 10**digits, 6)) / 10**digits


def left_words(left: float) -> str:
    """Return the share of a budget that is left, cut as a report does: "12 %", "none"."""
    if left <= 0:
        return "none"
    return f"{whole_percent(left)} %" if whole_percent(left) else "under 1 %"
