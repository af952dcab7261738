"""Everything that a report says as finished text, once for mail, plain text, page and PDF, so that none of them says something else. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

import msgspec

from alerts.objectives.burn import cut_amount
from alerts.reports.content import Cadence, Cause, Content, Day, Excluded, Letters, Promise, Removed, Stands
from alerts.reports.saying import Says, clean, is_known, listed, sentence
from alerts.reports.verdicts import before_words, change, cost, period_words, says_of, subject, sums_of, verdict
from console.core.words import age_words

MARKS = {Stands.MISSED: "◆", Stands.AT_RISK: "▲", Stands.NO_DATA: "○", Stands.KEPT: "●"}  # never by colour alone
LOOKS = {Stands.MISSED: "bad", Stands.AT_RISK: "warn", Stands.NO_DATA: "idle", Stands.KEPT: "good"}
STANDS_WORDS = {Stands.MISSED: "missed", Stands.AT_RISK: "at risk", Stands.NO_DATA: "no data", Stands.KEPT: "kept"}
COLOURS = ("red", "amber", "green", "blue", "violet", "teal")
MOST_PROMISES = 40  # told in the mail, the riskiest; the CSV has all. Gmail cuts a mail at 102 KB
MOST_EXCLUDED = MOST_REMOVED = 6  # told in the mail
HOW = {
    "freshness": "in time is processed within the promised time of a message’s beginning, proved by the receiver’s own event; what a replay delivered is late",
    "success": "success counts attempts, as senders and receivers report them",
    "latency": "latency counts processed messages, those that took longer than promised are late",
    "volume": "volume counts periods of working time in which enough was processed, on a flow by every station and each time, "
    "on a saved search each message once",
    "dead_letter_age": "dead-letter age counts minutes, bad is one in which a letter had waited too long",
}


class PromiseLine(msgspec.Struct, frozen=True, kw_only=True):
    """mark, look: how it stands, by shape and by colour. left_percent: of the budget, 0 to 100; None without data."""

    name: str
    stands: str
    mark: str
    look: str
    detail: str
    attained: str
    promised: str
    before: str
    left_percent: int | None


class CauseLine(msgspec.Struct, frozen=True, kw_only=True):
    title: str
    flow: str
    count: str
    became: str


class ChartLine(msgspec.Struct, frozen=True, kw_only=True):
    """Words around the picture. alt: the picture in a sentence.   note: what a frame or a thin bar means."""

    title: str
    first: str
    last: str
    peak: str
    note: str
    alt: str


class Face(msgspec.Struct, frozen=True, kw_only=True):
    subject: str
    crumb: str
    verdict: str
    lead: str
    corrects: str
    promises: tuple[PromiseLine, ...]
    more: str
    removed: str
    causes: tuple[CauseLine, ...]
    letters: str
    chart: ChartLine | None
    notes: tuple[str, ...]
    colour: str


def face_of(content: Content) -> Face:
    """Return what this content says; the same for the same content."""
    says = says_of(content)
    zone = clean(content.period.zone, 60)
    who = (clean(content.audience.name, 80), period_words(content.period, says))
    return Face(
        subject=subject(content, says),
        crumb=" · ".join(["Waybill", clean(content.environment, 60), who[0], f"{who[1]}, {zone}"]),
        verdict=verdict(content, says),
        lead=_lead(content),
        corrects=_corrects(content),
        promises=tuple(promise_line(one, content, says) for one in content.promises[:MOST_PROMISES]),
        more=more_words(content.promises[MOST_PROMISES:], says),
        removed=removed_words(content.removed, says),
        causes=tuple(cause_line(one, says) for one in content.causes),
        letters=letters_words(content.letters, content.breaches, says),
        chart=chart_line(content, says),
        notes=tuple(notes_of(content, says)),
        colour=content.colour if content.colour in COLOURS else "",
    )


def is_counting(content: Content) -> bool:
    """Whether something of what is added up is still being counted: then nothing is."""
    return any(one.counting and one.counted for one in content.promises)


def _lead(content: Content) -> str:
    if is_counting(content):
        return "What came is still being counted, so nothing is added up yet."
    return " ".join(part for part in (cost(content), change(content)) if part)


def _corrects(content: Content) -> str:
    if content.revision <= 1:
        return ""
    said = clean(content.corrects, 500)
    what = f" It corrects: {said}{'' if said.endswith('.') else '.'}" if said else ""
    return f"Revision {content.revision} of this report.{what}"


def promise_line(one: Promise, content: Content, says: Says) -> PromiseLine:
    changed = f", was {says.promised(one.target_before)}" if one.target_before is not None else ""
    previous = one.previous is not None and one.stands is not Stands.NO_DATA
    monthly = content.period.cadence is Cadence.MONTHLY and not one.over
    when = before_words(content.period, says) if monthly else "before"
    left = None if one.stands is Stands.NO_DATA else round(100 * min(1.0, max(0.0, one.left_ratio)))
    return PromiseLine(
        name=clean(one.name, 120),
        stands=STANDS_WORDS[one.stands],
        mark=MARKS[one.stands],
        look=LOOKS[one.stands],
        detail=" ".join(_details(one, says)),
        attained="no data" if one.adjusted is None or one.counting else says.ratio(one.adjusted, target=one.target),
        promised=f"promised {says.promised(one.target)}{changed}",
        before=f"{when}: {says.ratio(one.previous, target=one.target)}" if previous else "",
        left_percent=left,
    )


def more_words(rest: Sequence[Promise], says: Says) -> str:
    """Return how the promises stand that the mail does not list: "260 more: 2 at risk, 258 kept. The CSV has them all."."""
    if not rest:
        return ""
    counts = {stands: sum(one.stands is stands for one in rest) for stands in Stands}
    told = [f"{says.number(count)} {STANDS_WORDS[stands]}" for stands, count in counts.items() if count]
    changed = sum(bool(one.changed) for one in rest)
    told += [f"{says.number(changed)} of these changed since the period began"] if changed else []
    return f"{says.number(len(rest))} more: {', '.join(told)}. The CSV has them all."


def removed_words(removed: Sequence[Removed], says: Says) -> str:
    """Return which promises were removed since the period began; the CSV has them all."""
    more = len(removed) - MOST_REMOVED
    told = [one.words for one in removed[:MOST_REMOVED]]
    return " ".join([*told, f"{says.number(more)} more were removed. The CSV has them all."] if more > 0 else told)


def _details(one: Promise, says: Says) -> Iterator[str]:
    if one.adjusted is None and not one.counting:
        yield "Nothing was measured."
    elif one.counting:
        yield "It is still being counted."
    elif one.stands is Stands.NO_DATA:
        yield "Its data ended before the period did."
    elif one.left < -1e-6:
        yield f"Budget used up: {_amount(-cut_amount(one.left), one, says)} more than the {says.amount(one.budget)} allowed{_over(one)}."
    elif one.budget < 0.1 and one.adjusted == 1:  # less than is written as 0.1: "0 of 0 failures" says nothing
        yield f"Of so few not one may be bad{_over(one)}."
    else:
        yield f"Budget {says.share(one.left_ratio)} left, {says.amount(one.left)} of {_amount(one.budget, one, says)}{_over(one)}."
    if one.replayed and one.late:
        were = "was" if one.replayed == 1 else "were"
        yield f"{says.number(one.replayed)} {were} delivered by replay."
    if one.waiting:
        yield f"{says.number(one.waiting)} still wait{'s' if one.waiting == 1 else ''}."
    raw = says.ratio(one.attained, target=one.target)
    if one.attained is not None and raw != says.ratio(one.adjusted, target=one.target):
        yield f"{raw} with what is excluded."
    yield from one.changed


def _amount(amount: float, one: Promise, says: Says) -> str:
    single, many = ("minute", "minutes") if one.unit == "minutes" else _nouns(says).get(one.kind, ("event", "events"))
    said = says.amount(amount)
    return f"{said} {single if said == says.amount(1) else many}"


def _nouns(says: Says) -> dict[str, tuple[str, str]]:
    return {
        "success": ("failure", "failures"),
        "latency": (f"slow {says.noun}", f"slow {says.nouns}"),
        "freshness": (says.noun, says.nouns),
        "volume": ("missed period", "missed periods"),
    }


def _over(one: Promise) -> str:
    return f", over {one.over}" if one.over else ""


def cause_line(one: Cause, says: Says) -> CauseLine:
    return CauseLine(
        title=clean(one.title, 160),
        flow=clean(one.flow, 120),
        count=says.number(one.count),
        became=became_words(one, says),
    )


def became_words(one: Cause | Letters, says: Says) -> str:
    """Return what became of the letters: "31 delivered by replay, 29 still wait", "all compensated"."""
    parts = [
        (one.replayed, "delivered by replay"),
        (one.compensated, "compensated"),
        (one.discarded, "discarded"),
        (one.failed_again, "failed again"),
        (one.gone, "taken from the queue elsewhere"),
        (one.waiting, "still waits" if one.waiting == 1 else "still wait"),
        (getattr(one, "later", 0), "came as a dead letter after the period"),
        (getattr(one, "without_letter", 0), "failed without a dead letter"),
    ]
    whole = sum(count for count, _ in parts)
    told = [
        words if whole == 1 else f"all {words}" if count == whole else f"{says.number(count)} {words}"
        for count, words in parts
        if count
    ]
    late = getattr(one, "late_by_s", None)
    if late is not None and one.replayed:
        told[0] += f", {'' if one.replayed == 1 else 'on average '}{_age(late)} late"
    return ", ".join(told)


def _age(seconds: float) -> str:
    return age_words(timedelta(seconds=seconds)).replace(" ", "\u00a0")


def letters_words(letters: Letters, breaches: int, says: Says) -> str:
    """Return the dead letters of the period and how often somebody was called, in sentences."""
    told = []
    if letters.came:
        came = f"{says.number(letters.came)} dead letter{'s' if letters.came != 1 else ''} came in"
        link = " and" if letters.came == letters.waiting == 1 else ":"
        told.append(f"{came}{link} {became_words(letters, says)}.")
    else:
        told.append("No dead letter came in.")
    if letters.older:
        told.append(f"{says.number(letters.older)} from before still wait{'s' if letters.older == 1 else ''}.")
    if letters.oldest is not None and letters.waiting + letters.older:
        told.append(f"The oldest that waits failed on {says.at(letters.oldest)}.")
    if breaches:
        told.append(f"{sentence(says.count(breaches)).rstrip('.')} alert{'s' if breaches != 1 else ''} fired.")
    return " ".join(told)


def bad_of(day: Day) -> int:
    return day.late + day.lost


def chart_line(content: Content, says: Says) -> ChartLine | None:
    """Return the words of the chart, None where there are no days to compare."""
    days = [*content.trend, *content.days]
    if len(days) < 2 or not sums_of(content).total or is_counting(content):
        return None
    kinds = {one.kind for one in content.promises if one.counted}
    what = {"success": "Failed attempts", "latency": f"Slow {says.nouns}", "freshness": f"Late or lost {says.nouns}"}
    title = what[kinds.pop()] if len(kinds) == 1 else "Late, lost or failed"
    worst = max(days, key=bad_of)
    peak = f"most on {says.day(worst.day)}: {says.number(bad_of(worst))}" if bad_of(worst) else "none at all"
    return ChartLine(
        title=f"{title} a day",
        first=says.day(days[0].day),
        last=says.day(days[-1].day),
        peak=peak,
        note=" ".join(_marks(content)),
        alt=f"{title} a day from {says.day(days[0].day)} to {says.day(days[-1].day)}; {peak}.",
    )


def _marks(content: Content) -> Iterator[str]:
    if content.trend:
        yield "Thin bars: before this period."
    if any(day.excluded for day in (*content.trend, *content.days)):
        yield "Framed: something of the day is excluded."


def notes_of(content: Content, says: Says) -> Iterator[str]:
    """Yield what stands at the end: exclusions, quality of data, method, when it was frozen."""
    yield from exclusion_notes(content.exclusions, says)
    told = [coverage_words(content, says), *(clean(one, 600) for one in content.quality)]
    yield " ".join(part for part in told if part)
    yield method_words(content)
    frozen = f"Frozen on {says.at(content.frozen_at)} as revision {content.revision}."
    language = says.name() if is_known(content.audience.language) else "English (United Kingdom)"
    yield f"{frozen} Dates and numbers are written in {language}, the words in English; times are those of {clean(says.zone, 60)}."


def coverage_words(content: Content, says: Says) -> str:
    """Return for how much of the period there are data: "Data cover 98.61 % of the period: …"."""
    found = content.coverage
    if not content.promises:
        return ""
    if found is None:
        return "How complete the data are is not known: no agent is known that brings them."
    share = says.ratio(found.covered / found.minutes if found.minutes else 1.0)
    if found.by_events:
        hours = f"{says.number(found.covered // 60)} of {says.number(found.minutes // 60)}"
        return f"Data cover {share} of the period: something happened in {hours} hours; no agent is known that was there then."
    if found.covered == found.minutes:
        return f"Data are complete: every agent reported in {share} of the period."
    missing = says.number(found.minutes - found.covered)
    return f"Data cover {share} of the period: in {missing} of {says.number(found.minutes)} minutes an agent was silent or something is not counted yet."


def exclusion_notes(exclusions: tuple[Excluded, ...], says: Says) -> Iterator[str]:
    """Yield a sentence for each reason; what recurs is one."""
    if not exclusions:
        yield "Nothing is excluded."
        return
    groups: dict[tuple[str, str, str], list[Excluded]] = {}
    for one in exclusions:
        groups.setdefault((one.reason, one.by, one.about), []).append(one)
    told = [_excluded(times, says) for times in list(groups.values())[:MOST_EXCLUDED]]
    more = len(groups) - MOST_EXCLUDED
    told += [f"{says.number(more)} more"] if more > 0 else []
    which = "One time is" if len(exclusions) == 1 else f"{sentence(says.count(len(exclusions))).rstrip('.')} times are"
    yield f"{which} excluded: {'; '.join(told)}."


def _excluded(times: list[Excluded], says: Says) -> str:
    first = times[0]
    known = [one.events for one in times if one.events is not None]
    when = says.between(first.since, first.until)
    often = f"{says.count(len(times))} times, first {when}" if len(times) > 1 else when
    about = f" ({clean(first.about, 80)})" if first.about else ""
    events = f"{says.number(sum(known))} event{'s' if sum(known) != 1 else ''}"
    if len(known) < len(times):
        events = "how many events is not known any more"
    return f"{clean(first.reason, 300)}{about}, {often}, {events}, by {clean(first.by, 80) or 'the console'}"


def method_words(content: Content) -> str:
    kinds = [kind for kind in HOW if any(one.kind == kind for one in content.promises)]
    if not kinds:
        return ""
    told = "; ".join(HOW[kind] for kind in kinds)
    wide = [f"“{clean(one.name, 60)}”" for one in content.promises if one.over]
    judged = "Promises are judged over this period, and budgets are those of it, without what is excluded"
    if wide:
        judged += f"; {listed(wide[:3])}{' and others' if len(wide) > 3 else ''} over the promised window, for too little came to judge by"
    covered = "Data cover the minutes in which every agent that brings these flows reported; one is missed after 12 minutes, without heartbeats after an hour"
    return f"How this is counted: {told}. {judged}. {covered}. Each flow counts once in what is added up."
