"""What a report says otherwise than the one before, in words. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from math import floor

from msgspec.structs import replace

from alerts.objectives.burn import cut_amount, percent
from alerts.reports.content import Content, Excluded, Promise

STANDS = {"missed": "missed", "at_risk": "at risk", "no_data": "no data", "kept": "kept"}
MOST = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that is otherwise: of what, before and now, as people read it; "" where there was, or is, nothing."""

    what: str
    before: str
    now: str


def figures_that_differ(before: Content, now: Content) -> list[Change]:
    """Return what late events, exclusions or another target changed of the period's own figures.

    What became of dead letters since is no change of them: it goes on after every report. Of what is being counted at this moment nobody knows.
    """
    counting = {one.objective for one in now.promises if one.counting}
    kept = tuple(one for one in before.promises if one.objective not in counting)
    known = tuple(one for one in now.promises if one.objective not in counting)
    return list(_figures(replace(before, promises=kept), replace(now, promises=known)))[:MOST]


def changes_between(before: Content, now: Content) -> list[Change]:
    """Return everything that a revision says otherwise than the report that it corrects."""
    return [*_figures(before, now), *_since(before, now)][:MOST]


def _figures(before: Content, now: Content) -> Iterator[Change]:
    earlier, later = ({one.objective: one for one in content.promises} for content in (before, now))
    for pk, one in earlier.items():
        if pk not in later:
            yield Change(what=one.name, before=STANDS[one.stands], now="")
    for pk, new in later.items():
        old = earlier.get(pk)
        if old is None:
            yield Change(what=new.name, before="", now=STANDS[new.stands])
        else:
            yield from _promise(old, new)
    yield from _exclusions(before.exclusions, now.exclusions)


def _promise(old: Promise, new: Promise) -> Iterator[Change]:
    shown = {
        "": (STANDS[old.stands], STANDS[new.stands]),
        "target": (percent(old.target), percent(new.target)),
        "attained": (_percent(old.attained), _percent(new.attained)),
        "adjusted": (_percent(old.adjusted), _percent(new.adjusted)),
        "good": (_count(old.good), _count(new.good)),
        "late": (_count(old.late), _count(new.late)),
        "lost": (_count(old.lost), _count(new.lost)),
        "budget left": (f"{_amount(old.left)} {old.unit}", f"{_amount(new.left)} {new.unit}"),
    }
    for what, (one, other) in shown.items():
        if one != other:
            yield Change(what=f"{new.name}: {what}" if what else new.name, before=one, now=other)


def _exclusions(before: tuple[Excluded, ...], now: tuple[Excluded, ...]) -> Iterator[Change]:
    earlier, later = ([_excluded(one) for one in many] for many in (before, now))
    for what, span in earlier:
        if (what, span) not in later:
            yield Change(what=what, before=span, now="")
    for what, span in later:
        if (what, span) not in earlier:
            yield Change(what=what, before="", now=span)


def _excluded(one: Excluded) -> tuple[str, str]:
    about = f" ({one.about})" if one.about else ""
    return f"Excluded: {one.reason}{about}", _span(one.since, one.until)


def _since(before: Content, now: Content) -> Iterator[Change]:
    names = {
        "came": "came",
        "replayed": "replayed",
        "failed_again": "failed again",
        "compensated": "compensated",
        "discarded": "discarded",
        "gone": "taken elsewhere",
        "older": "still wait from before the period",
        "waiting": "still wait",
    }
    for name, words in names.items():
        one, other = getattr(before.letters, name), getattr(now.letters, name)
        if one != other:
            yield Change(what=f"Dead letters: {words}", before=_count(one), now=_count(other))
    earlier_promises = {one.objective: one for one in before.promises}
    for new in now.promises:
        old = earlier_promises.get(new.objective, new)
        for what, one, other in (
            ("dead letters that wait", old.waiting, new.waiting),
            ("delivered by replay", old.replayed, new.replayed),
        ):
            if one != other:
                yield Change(what=f"{new.name}: {what}", before=_count(one), now=_count(other))
    if before.breaches != now.breaches:
        yield Change(what="Alerts that fired", before=_count(before.breaches), now=_count(now.breaches))
    earlier, later = (_failures(content) for content in (before, now))
    for title, flow in sorted(earlier.keys() | later.keys()):
        one, other = earlier[title, flow], later[title, flow]
        if one != other:
            yield Change(what=f"Cause: {title}{f' ({flow})' if flow else ''}", before=_count(one), now=_count(other))


def _failures(content: Content) -> Counter[tuple[str, str]]:
    """Return how many failures each cause has, by its title and flow: several may be called the same."""
    found: Counter[tuple[str, str]] = Counter()
    for one in content.causes:
        found[one.title, one.flow] += one.count
    return found


def _percent(ratio: float | None) -> str:
    """Return an attained ratio with four digits, cut as the report cuts it: what is less than all is not 100 %."""
    return "not measured" if ratio is None else percent(floor(round(ratio * 1e6, 4)) / 1e6)


def _count(count: int) -> str:
    return f"{count:,}"


def _amount(amount: float) -> str:
    return f"{cut_amount(amount):,.1f}".removesuffix(".0")


def _span(since: datetime, until: datetime) -> str:
    return f"{since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC"
