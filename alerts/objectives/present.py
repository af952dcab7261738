"""Objectives as pages and mails say them: the promise and the verdict in a sentence, the chart of the budget, the table of rules."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from alerts.models import Objective, Standing
from alerts.objectives.burn import cut_amount, cut_ratio, left_words, percent, span_text
from alerts.objectives.queries import BudgetLine
from alerts.objectives.shapes import calendar_of, method_of, window_of
from console.core.charts import Chart, Mark, Series, line_chart
from console.core.words import age_words

KIND_WORDS = {
    "success": "success",
    "latency": "latency",
    "freshness": "freshness",
    "volume": "volume",
    "dead_letter_age": "dead letters",
}
OTHER_RULES = {
    "missed": "a period with too few messages",
    "sustained": "failures that go on for hours",
    "exhausted": "the budget is spent",
}
UNITS = {"m": "min", "h": "h", "d": "d"}


def minutes_words(minutes: int | None) -> str:
    return age_words(timedelta(minutes=minutes or 0))


def promise_words(one: Objective) -> str:
    """Return the promise as one sentence: "99.5 % of the messages of orders are processed within 5 min, over 30 days"."""
    target, about = (
        percent(float(one.target)),
        f"of {one.flow.name}" if one.flow else f"that “{one.search or one.q}” finds",
    )
    least = f"at least {one.at_least or 0:,}"
    enough = (
        f"the messages {about} are processed {least} times" if one.flow else f"{least} messages {about} are processed"
    )
    of = f"in {one.flow.name}" if one.flow else f"at messages {about}"
    what = {
        "success": f"{target} of the attempts {of} succeed",
        "latency": f"{target} of the messages {about} are processed in less than {latency_words(one.limit_ms or 0)}",
        "freshness": f"{target} of the messages {about} are processed within {minutes_words(one.limit_minutes)}",
        "volume": f"in {target} of the periods {enough}",
        "dead_letter_age": f"in {target} of the minutes no dead letter {about} is older than {minutes_words(one.limit_minutes)}",
    }[one.kind]
    if one.kind == "volume":
        period = minutes_words(one.limit_minutes) if one.limit_minutes else "working day"
        what += f"; a period is each {period} of {calendar_of(one).words()}"
    method = method_of(one)
    if method.counts_time and one.kind != "volume":
        what += f"; counted in slices of {one.slice_minutes} min"
    return f"{what}, {window_of(one).words()}"


def latency_words(limit_ms: int) -> str:
    return f"{limit_ms:,} ms" if limit_ms < 1024 else f"{limit_ms / 1000:,.3f}".rstrip("0").rstrip(".") + " s"


def unit_words(one: Objective) -> tuple[str, str]:
    """Return what the budget is counted in, singular and plural."""
    if one.kind == "volume":
        return "missed period", "missed periods"
    if one.kind == "dead_letter_age" and not method_of(one).counts_time:
        return "minute", "minutes"
    if method_of(one).counts_time:
        return "bad slice", "bad slices"
    return {"success": ("failure", "failures"), "latency": ("slow message", "slow messages")}.get(
        one.kind, ("late or lost message", "late or lost messages")
    )


def amount_words(amount: float) -> str:
    """Return an amount of a budget, cut: whole from ten on, one decimal below where there is one."""
    return f"{cut_amount(amount):,.1f}".removesuffix(".0")


def verdict(one: Objective, standing: Standing, *, now: datetime) -> dict[str, Any]:
    """Return the first sentence of the page: `look`, `lead` (bold) and `rest`, and when the budget is gone."""
    if standing.problem and standing.state == Standing.State.NO_DATA:
        return {
            "look": "warn",
            "lead": "No data",
            "rest": f": {standing.problem}. What is open stays open, nothing is resolved.",
            "gone": "",
        }
    if standing.adjusted is None:
        rest = ": its history is being counted." if standing.state == Standing.State.FILLING else " in this window."
        return {"look": "", "lead": "Nothing was measured yet", "rest": rest, "gone": ""}
    one_word, many = unit_words(one)
    amount = standing.budget - standing.spent
    count = amount_words(abs(cut_amount(amount)))
    word = one_word if count == "1" else many
    window = (
        f"in {one.days} day{'s' if one.days != 1 else ''}"
        if one.unit == "rolling"
        else f"until {_last_day(one, standing.until):%d %b}"
        if standing.until
        else ""
    )
    if amount <= 0 and standing.spent > 0:
        too_many = f"{count} {word} too many" if amount < 0 else f"not one more {one_word}"
        return {
            "look": "bad",
            "lead": "The budget is spent",
            "rest": f": {too_many} {window if one.unit == 'rolling' else 'in this window'}.",
            "gone": "",
        }
    gone = age_words(standing.gone_at - now) if standing.gone_at and standing.gone_at > now else ""
    look = "bad" if standing.severity == "page" else "warn" if standing.severity else ""
    return {
        "look": look,
        "lead": f"{left_words(standing.left)} of the budget is left",
        "rest": f": {count} more {word} {window}.",
        "gone": gone,
    }


def _last_day(one: Objective, until: datetime) -> date:
    """Return the last day of a calendar's window, as its zone has it."""
    return (until - timedelta(minutes=1)).astimezone(ZoneInfo(one.time_zone)).date()


def meter_look(standing: Standing) -> str:
    if standing.state == Standing.State.SPENT or standing.left <= 0:
        return "bad"
    return "warn" if standing.left < 0.25 or standing.severity else "good"


def budget_chart(line: BudgetLine, marks: Sequence[Mark] = ()) -> Chart:
    """Return the chart of the budget that was left, in per cent; a budget that is overspent lies at the bottom."""
    values = [max(0.0, min(1.0, left)) * 100 for left in line.left]
    out = [Mark(at=span.since, until=span.until, label="excluded", kind="exclusion") for span in line.excluded[-20:]]
    look = "bad" if values and values[-1] <= 25 else "good"
    return line_chart(
        line.steps,
        [Series(name="% left", look=look, values=values, area=True)],
        ticks=3,
        label="Error budget left, in per cent",
        marks=[*out, *marks],
    )


def rule_rows(standing: Standing) -> list[dict[str, Any]]:
    """Return the rules as the table shows them: windows in words, figures as text, a chip."""
    paging = standing.severity == "page"
    rows = []
    for rule in standing.rules:
        ticket = rule["severity"] == "ticket"
        held_back = rule["holds"] and ticket and paging
        state = (
            ("warn", "firing, held back by page")
            if held_back
            else ("bad", "firing")
            if rule["holds"]
            else ("idle", rule["words"])
        )
        if state[1].startswith("held back"):
            state = ("warn", state[1])
        windows = OTHER_RULES.get(rule["rule"]) or f"{_span(rule['long_minutes'])} and {_span(rule['short_minutes'])}"
        is_pair = rule["rule"] not in OTHER_RULES
        rows.append(
            {
                "severity": rule["severity"],
                "windows": windows,
                "at": f"{rule['at']:.3g}" if is_pair else "",
                "long": f"{rule['long']:.3g}" if is_pair else "",
                "short": f"{rule['short']:.3g}" if is_pair else "",
                "look": state[0],
                "words": state[1],
            }
        )
    return rows


def _span(minutes: int) -> str:
    text = span_text(timedelta(minutes=minutes))
    return f"{text[:-1]} {UNITS[text[-1]]}"


def ratio_words(ratio: float | None, target: float) -> str:
    """Return an attained ratio as a report says it: "99.56 %", cut, and never 100 % for what is not."""
    if ratio is None:
        return "not measured"
    cut, digits = cut_ratio(ratio, target=target)
    return f"{cut * 100:.{digits}f} %"


def data_words(standing: Standing, *, now: datetime | None = None) -> str:
    """Return how complete the figures are."""
    now = now or datetime.now(UTC)
    if standing.problem:
        return standing.problem
    if standing.last_event_at is None:
        return "nothing in the last three days"
    ago = now - standing.last_event_at
    return (
        "complete, the last event within a minute"
        if ago < timedelta(minutes=2)
        else f"complete, the last event {age_words(ago)} ago"
    )
