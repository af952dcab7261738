"""The first sentences of a report: what was kept, what was missed and since when not, better or worse than before. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from alerts.reports.content import Cadence, Content, Period, Promise, Removed, Stands
from alerts.reports.periods import before, first_day, last_day
from alerts.reports.saying import Says, clean, listed

PERIOD_WORDS = {Cadence.DAILY: "day", Cadence.WEEKLY: "week", Cadence.MONTHLY: "month"}
MOST_NAMED = 2
MOST_NOUN = 40
SHORT_NAME = 60
SAME = 0.00005  # of all events: a change below that is none
SLIGHT, MUCH = 1.25, 2.0  # times as many bad events a hundred
FEW = 20  # events: below that nothing is said to be better or worse


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """What all counted promises add up to; bad is late or lost."""

    good: int
    late: int
    lost: int

    @property
    def total(self) -> int:
        return self.good + self.late + self.lost


def says_of(content: Content) -> Says:
    """Return how this audience is written for."""
    told = content.audience
    return Says(told.language, content.period.zone, clean(told.noun, MOST_NOUN), clean(told.nouns, MOST_NOUN))


def sums_of(content: Content) -> Sums:
    counted = [one for one in content.promises if one.counted]
    return Sums(
        good=sum(one.good for one in counted),
        late=sum(one.late for one in counted),
        lost=sum(one.lost for one in counted),
    )


def of_stands(content: Content, *stands: Stands) -> list[Promise]:
    return [one for one in content.promises if one.stands in stands]


def verdict(content: Content, says: Says) -> str:
    """Return what was kept and what was not: "Two of three promises were kept. “Invoices” was missed for the first time since May."."""
    if not content.promises:
        return _removed(content.removed, says) if content.removed else "Nothing was promised in this period."
    sentences = [kept_words(content, says)]
    missed, risky = of_stands(content, Stands.MISSED), of_stands(content, Stands.AT_RISK)
    if missed:
        once = _how_often(missed[0], content.period, says) if len(missed) == 1 else ""
        if len(content.promises) == 1:
            return " ".join([f"The promise was missed{once}.", *_altered(content, says)])
        sentences.append(f"{_names(missed, says)} {'was' if len(missed) == 1 else 'were'} missed{once}.")
    if silent := of_stands(content, Stands.NO_DATA):
        if len(silent) < len(content.promises):
            sentences += _without_data(silent, says)
    elif risky and not missed:
        sentences.append(_at_risk(risky, says))
    return " ".join([*sentences, *_altered(content, says)])


def _altered(content: Content, says: Says) -> Iterator[str]:
    """Yield which promises are not those that they were when the period began: what is kept now may have been missed by then."""
    if changed := [one for one in content.promises if one.changed]:
        which = "It" if len(content.promises) == 1 else _names(changed, says)
        yield f"{which} {_was(changed)} changed since the period began."
    if content.removed:
        yield _removed(content.removed, says)


def _removed(removed: Sequence[Removed], says: Says) -> str:
    return f"{_names(removed, says)} {_was(removed)} removed{f' on {says.at(removed[0].at)}' if len(removed) == 1 else ''}."


def _was(many: Sequence[object]) -> str:
    return "was" if len(many) == 1 else "were"


def kept_words(content: Content, says: Says) -> str:
    """Return the first sentence."""
    whole = len(content.promises)
    kept = len(of_stands(content, Stands.KEPT, Stands.AT_RISK))
    if kept == whole:
        return (
            "The promise was kept."
            if whole == 1
            else "Both promises were kept."
            if whole == 2
            else f"All {says.count(whole)} promises were kept."
        )
    if whole == len(of_stands(content, Stands.NO_DATA)):
        counting = all(one.counting for one in content.promises)
        return "What there is to judge by is still being counted." if counting else "There are no data to judge by."
    if not kept:
        return "The promise was missed." if whole == 1 else f"None of the {says.count(whole)} promises was kept."
    first = says.count(kept)
    return f"{first[:1].upper()}{first[1:]} of {says.count(whole)} promises {'was' if kept == 1 else 'were'} kept."


def short_verdict(content: Content, says: Says) -> str:
    """Return the verdict as a subject has it: "two of three promises kept"."""
    words = kept_words(content, says).rstrip(".").replace(" were kept", " kept").replace(" was kept", " kept")
    words = words.replace(" was missed", " missed") if content.promises else "nothing promised"
    words = words.removeprefix("The ")
    counts = {"changed": sum(bool(one.changed) for one in content.promises), "removed": len(content.removed)}
    altered = ", ".join(f"{says.count(count)} {what}" for what, count in counts.items() if count)
    return f"{words[:1].lower()}{words[1:]}{f' ({altered})' if altered else ''}"


def _names(promises: Sequence[Promise | Removed], says: Says) -> str:
    names = [f"“{clean(one.name, SHORT_NAME)}”" for one in promises]
    if len(names) > MOST_NAMED + 1:
        names = [*names[:MOST_NAMED], f"{says.count(len(names) - MOST_NAMED)} more"]
    return listed(names)


def _without_data(silent: Sequence[Promise], says: Says) -> list[str]:
    counting = [one for one in silent if one.counting]
    others = [one for one in silent if not one.counting]
    told = [f"{_names(others, says)} {_has(others)} no data."] if others else []
    are = "is" if len(counting) == 1 else "are"
    return [*told, f"{_names(counting, says)} {are} still being counted."] if counting else told


def _has(promises: Sequence[Promise]) -> str:
    return "has" if len(promises) == 1 else "have"


def _at_risk(risky: Sequence[Promise], says: Says) -> str:
    if len(risky) == 1:
        return f"{_names(risky, says)} is close: {says.share(max(0.0, risky[0].left_ratio))} of its budget is left."
    return f"{_names(risky, says)} are close: little of their budgets is left."


def _how_often(one: Promise, period: Period, says: Says) -> str:
    """Return " for the first time since May", as far as earlier reports know."""
    word = PERIOD_WORDS[period.cadence]
    if one.missed_in_a_row:
        return f" for the {says.ordinal(one.missed_in_a_row + 1)} {word} in a row"
    if one.missed_before is not None:
        first = says.local(one.missed_before).date()
        return f" for the first time since {_since(first, period, says)}"
    return f" for the first time in {says.count(one.known + 1)} {word}s" if one.known >= 2 else ""


def _since(first: date, period: Period, says: Says) -> str:
    this_year = first.year == first_day(period).year
    match period.cadence:
        case Cadence.MONTHLY:
            return says.month(first, year=not this_year)
        case Cadence.WEEKLY:
            return f"the week of {says.day(first) if this_year else says.full_day(first)}"
        case Cadence.DAILY:
            return says.day(first) if this_year else says.full_day(first)


def cost(content: Content) -> str:
    """Return what came and how much of it was late or lost, as one sentence; "" where nothing is added up."""
    says = says_of(content)
    sums, kinds = sums_of(content), {one.kind for one in content.promises if one.counted}
    if not sums.total:
        return ""
    total, good, late, lost = (says.number(count) for count in (sums.total, sums.good, sums.late, sums.lost))
    what = says.noun if sums.total == 1 else says.nouns
    if kinds == {"success"}:
        bad = f"{lost} failed" if sums.lost else "none failed"
        return f"Of {total} attempt{'s' if sums.total != 1 else ''}, {good} succeeded, {bad}."
    if kinds == {"latency"}:
        bad = f"{late} took longer" if sums.late else "none took longer"
        return f"Of {total} {what}, {good} {'was' if sums.good == 1 else 'were'} processed in the promised time, {bad}."
    if kinds == {"freshness"}:
        have = "has" if sums.lost == 1 else "have"
        return f"Of {total} {what}, {good} arrived in time, {_parts(sums, late, f'{lost} {have} not arrived')}."
    return f"Of {total} {says.nouns} and attempts, {good} {'was' if sums.good == 1 else 'were'} good, {_parts(sums, late, f'{lost} lost')}."


def _parts(sums: Sums, late: str, lost: str) -> str:
    if not sums.late and not sums.lost:
        return "none was late or lost"
    return ", ".join(part for part, count in ((f"{late} late", sums.late), (lost, sums.lost)) if count)


def change(content: Content) -> str:
    """Return whether that is better or worse than the period before, with its figure; "" where there is nothing to compare with."""
    says = says_of(content)
    now, then = content.attained, content.previous
    if now is None or then is None:
        return ""
    period = before_words(content.period, says)
    if sums_of(content).total < FEW:
        return f"{period[:1].upper()}{period[1:]} had {says.ratio(then)}; these are too few to compare."
    how = compared(now, then)
    return (
        f"That is {how} than {period} ({says.ratio(then)})."
        if how
        else f"That is the same as {period} ({says.ratio(then)})."
    )


def compared(now: float, then: float) -> str:
    """Return "slightly worse", "much better": how a ratio differs from another one; "" for the same."""
    if abs(now - then) < SAME:
        return ""
    word = "better" if now > then else "worse"
    less, more = sorted((1 - now, 1 - then))
    if less <= 0 or more / less >= MUCH:
        return f"much {word}" if more >= 10 * SAME else f"slightly {word}"
    return f"slightly {word}" if more / less < SLIGHT else word


def before_words(period: Period, says: Says) -> str:
    """Return what the period before is called: "September", "the week before", "the day before"."""
    if period.cadence is Cadence.MONTHLY:
        return says.month(first_day(before(period)))
    return f"the {PERIOD_WORDS[period.cadence]} before"


def period_words(period: Period, says: Says) -> str:
    """Return "1 to 31 October 2026"."""
    return says.days(first_day(period), last_day(period))


def short_period(period: Period, says: Says) -> str:
    """Return the period as a subject has it: "in October 2026", "in the week of 16 November 2026", "on 24 November 2026"."""
    first = first_day(period)
    match period.cadence:
        case Cadence.MONTHLY:
            return f"in {says.month(first, year=True)}"
        case Cadence.WEEKLY:
            return f"in the week of {says.full_day(first)}"
        case Cadence.DAILY:
            return f"on {says.full_day(first)}"


def subject(content: Content, says: Says) -> str:
    """Return the subject of the mail, one line: "Order team: two of three promises kept in October 2026"."""
    name = clean(content.audience.name, SHORT_NAME) or "Waybill"
    revised = f"Revision {content.revision}: " if content.revision > 1 else ""
    return f"{revised}{name}: {short_verdict(content, says)} {short_period(content.period, says)}"
