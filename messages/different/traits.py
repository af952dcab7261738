"""What failed messages have and delivered ones do not: traits, their shares on both sides, ranked. Pure; it never says why.

A trait is a yes or no of one message: a place is missing, a value is so, a number is over so much. Shares are of the messages whose bodies
(or events) were looked at. Traits are ranked by the least that their share can be larger among the failed (statistics.py); of traits of
exactly the same messages the plainest is told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import floor, log10

from console.core.words import share_words
from messages.compare.lines import Work
from messages.different.features import MASKED, Features, Value
from messages.different.statistics import is_more_than_chance, least_difference

MOST_TOLD = 20
MOST_PLACES = 600
MOST_TESTED = 8_000_000
MOST_ALIKE = 8  # values of a place that are looked at, the most frequent among the failed first
LEAST_LARGER = 0.15  # a share that is 15 points larger is worth telling
SMALL_FAILED, SMALL_DELIVERED = 20, 40
PREFIXES = (1, 2, 3, 4, 6, 8)

Test = Callable[[Sequence[Value]], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """`customer.vat` `is missing` in `failed` of `of_failed` and in `delivered` of `of_delivered`; least: how much larger at least, 0 to 1."""

    place: str
    words: str
    failed: int
    of_failed: int
    delivered: int
    of_delivered: int
    least: float
    also: tuple[str, ...] = ()  # what is the same of exactly the same messages

    @property
    def failed_share(self) -> float:
        return self.failed / self.of_failed

    @property
    def delivered_share(self) -> float:
        return self.delivered / self.of_delivered


@dataclass(frozen=True, slots=True)
class _Trait:
    place: str
    words: str
    plain: int  # the lower, the sooner it is told of several of the same messages
    failed: int  # bit masks of messages
    delivered: int


def differences_of(
    failed: Sequence[Features], delivered: Sequence[Features], work: Work | None = None
) -> list[Difference]:
    """Return the traits that are more frequent among the failed than chance makes them, the clearest first.

    work  how many values may be tested, about two seconds of them without it; spent, not every place was looked at.
    """
    if not failed or not delivered:
        return []
    traits = list(_traits(failed, delivered, work or Work(left=MOST_TESTED)))
    tried = len({(one.failed, one.delivered) for one in traits})
    told: dict[tuple[int, int], list[_Trait]] = {}
    for one in traits:
        a, b = one.failed.bit_count(), one.delivered.bit_count()
        if a / len(failed) - b / len(delivered) < LEAST_LARGER:
            continue
        same = told.setdefault((one.failed, one.delivered), [])
        if same or is_more_than_chance(a, len(failed), b, len(delivered), tried):
            same.append(one)
    found = [_told(same, len(failed), len(delivered)) for same in told.values() if same]
    found.sort(key=lambda one: (-one.least, one.place))
    return _one_a_place(found)[:MOST_TOLD]


def _told(same: list[_Trait], of_failed: int, of_delivered: int) -> Difference:
    same.sort(key=lambda one: (one.plain, len(one.place), one.place))
    first = same[0]
    a, b = first.failed.bit_count(), first.delivered.bit_count()
    others = dict.fromkeys(f"{one.place} {one.words}" for one in same[1:] if one.place != first.place)
    return Difference(
        place=first.place, words=first.words, failed=a, of_failed=of_failed, delivered=b, of_delivered=of_delivered,
        least=max(0.0, least_difference(a, of_failed, b, of_delivered)), also=tuple(others)[:5],
    )  # fmt: skip


def _one_a_place(found: Iterable[Difference]) -> list[Difference]:
    """Return the clearest difference of each place, and a second of it only where it says something else of other messages."""
    kept: list[Difference] = []
    places: set[str] = set()
    for one in found:
        if one.place not in places:
            places.add(one.place)
            kept.append(one)
    return kept


def _traits(failed: Sequence[Features], delivered: Sequence[Features], work: Work) -> Iterator[_Trait]:
    parents: dict[str, str | None] = {}
    for one in (*failed, *delivered):
        for path, parent in one.parents.items():
            if path not in parents and len(parents) < MOST_PLACES:
                parents[path] = parent
    for place, parent in parents.items():
        if work.spent:
            return
        yield from _of_place(place, parent, failed, delivered, work)


def _of_place(
    place: str, parent: str | None, failed: Sequence[Features], delivered: Sequence[Features], work: Work
) -> Iterator[_Trait]:
    if parent is not None:
        missing = "is missing in one or more items" if "[]" in place else "is missing"
        one = _mask(each.is_missing(place, parent) for each in failed)
        other = _mask(each.is_missing(place, parent) for each in delivered)
        yield _Trait(place, missing, 0, one, other)
    here = [each.values.get(place, []) for each in failed]
    there = [each.values.get(place, []) for each in delivered]
    if not any(here):
        return
    of_a_test = len(here) + len(there) + sum(map(len, here)) + sum(map(len, there))
    for words, plain, test in _tests(here, there):
        if not work.take(of_a_test):
            return
        yield _Trait(place, words, plain, _mask(map(test, here)), _mask(map(test, there)))


def _mask(answers: Iterable[bool]) -> int:
    return sum(1 << at for at, yes in enumerate(answers) if yes)


def _tests(here: Sequence[Sequence[Value]], there: Sequence[Sequence[Value]]) -> Iterator[tuple[str, int, Test]]:
    yield "is there", 1, bool
    kinds = Counter(value.kind for values in here for value in values)
    for kind in kinds:
        words = {"null": "is null", MASKED: "is masked"}.get(kind, f"is {'an' if kind[0] in 'ao' else 'a'} {kind}")
        yield words.replace("a true or false", "true or false"), 2, _kind(kind)
    if kinds["text"]:
        yield "is empty", 2, _any(lambda value: value.kind == "text" and value.length == 0)
    yield from _of_values(here)
    yield from _of_numbers(here, there, "number", "is", lambda value: value.number)
    yield from _of_numbers(here, there, "text", "in characters is", _length("text"))
    yield from _of_numbers(here, there, "array", "in items is", _length("array"))


def _any(test: Callable[[Value], bool]) -> Test:
    return lambda values: any(test(value) for value in values)


def _kind(kind: str) -> Test:
    return _any(lambda value: value.kind == kind)


def _text(text: str) -> Test:
    return _any(lambda value: value.text == text)


def _start(start: str) -> Test:
    return _any(lambda value: value.text.startswith(start))


def _length(kind: str) -> Callable[[Value], float | None]:
    return lambda value: value.length if value.kind == kind else None


def _of_values(here: Sequence[Sequence[Value]]) -> Iterator[tuple[str, int, Test]]:
    """Yield tests for the values, and the beginnings of texts, that are most frequent among the failed."""
    counted = Counter(text for values in here for text in {value.text for value in values if value.text})
    for text, times in counted.most_common(MOST_ALIKE):
        if times > 1:
            yield f"is {text}", 3, _text(text)
    for length in PREFIXES:
        starts = Counter(
            start
            for values in here
            for start in {
                v.text[:length] for v in values if v.kind == "text" and len(v.text) > length + 1
            }  # a code of two letters is told whole
        )
        for start, times in starts.most_common(2):
            if times > 1:
                yield f"begins with {start}", 4 + length, _start(start)


def _of_numbers(
    here: Sequence[Sequence[Value]],
    there: Sequence[Sequence[Value]],
    kind: str,
    words: str,
    number_of: Callable[[Value], float | None],
) -> Iterator[tuple[str, int, Test]]:
    """Yield "is over 10,000" and "is at most 3": at the border where the shares differ most."""
    most = [_extreme(values, number_of, max) for values in here], [_extreme(values, number_of, max) for values in there]
    least = (
        [_extreme(values, number_of, min) for values in here],
        [_extreme(values, number_of, min) for values in there],
    )
    if (border := _border(*most, over=True)) is not None:
        yield f"{words} over {_figure(border)}", 3, _any(lambda v: (n := number_of(v)) is not None and n > border)
    if (border_below := _border(*least, over=False)) is not None:
        yield (
            f"{words} at most {_figure(border_below)}", 3,
            _any(lambda v: (n := number_of(v)) is not None and n <= border_below),
        )  # fmt: skip


def _extreme(
    values: Sequence[Value], number_of: Callable[[Value], float | None], pick: Callable[[list[float]], float]
) -> float | None:
    numbers = [number for value in values if (number := number_of(value)) is not None]
    return pick(numbers) if numbers else None


def _border(here: Sequence[float | None], there: Sequence[float | None], *, over: bool) -> float | None:
    """Return the number that parts the failed from the delivered best, a round one where there is room; None when none does."""
    marks: list[tuple[float, int, int]] = sorted(
        [(number, 1, 0) for number in here if number is not None]
        + [(number, 0, 1) for number in there if number is not None]
    )
    one, other = sum(mark[1] for mark in marks), sum(mark[2] for mark in marks)
    if not one or not other or len({mark[0] for mark in marks}) < 3:
        return None
    best, border = 0.0, None
    below_one = below_other = 0
    for at, (number, mine, theirs) in enumerate(marks[:-1]):
        below_one, below_other = below_one + mine, below_other + theirs
        following = marks[at + 1][0]
        if following == number:
            continue
        shares = (one - below_one) / len(here) - (other - below_other) / len(there)
        if not over:
            shares = below_one / len(here) - below_other / len(there)
        if shares > best:
            best, border = shares, round_between(number, following)
    return border


def round_between(low: float, high: float) -> float:
    """Return the number with the fewest digits that is at least `low` and below `high`."""
    if not low < high:
        return low
    if low <= 0 < high:
        return 0.0
    for power in range(floor(log10(max(abs(low), abs(high)))) + 1, -12, -1):
        step = 10.0**power
        candidate = step * -floor(-low / step)
        if low <= candidate < high:
            return candidate
    return low


def _figure(number: float) -> str:
    return f"{number:,.0f}" if number == int(number) else f"{number:,.10g}"


def in_words(one: Difference) -> str:
    """Return "customer.vat is missing in 98 % of failed, 0.1 % of delivered"."""
    return f"{one.place} {one.words} in {share_words(one.failed_share)} of failed, {share_words(one.delivered_share)} of delivered"
