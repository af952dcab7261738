"""Whether one message is the trouble or everything, in one sentence. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """kind: poison (one document, again and again), outage (nearly all fail), some (part of them), "" when too little is known."""

    kind: str = ""
    words: str = ""


SEVERAL = 3
FEW = 3  # keys that fail again and again while all others pass
MANY = 10  # times as many have to pass
NEARLY_NOTHING = 0.1  # of what came


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What came of a flow in the last hours. failed, otherwise: messages and letters of the group, of other groups. passed: processed.

    recovered  of the failed, of those that failed otherwise: passed after all, and counted in `passed` too.   is_most  there may be more.
    station    the system at which it is counted, "" for all systems of the flow.   flows  ids of the flows in which.
    anywhere   passed at any system of these.   meanwhile  passed since the first of few keys failed, None where nobody asked; perhaps fewer
               where it is not exact.
    """

    failed: int
    otherwise: int
    passed: int
    recovered: int = 0
    recovered_otherwise: int = 0
    is_most: bool = False
    station: str = ""
    flows: tuple[int, ...] = ()
    anywhere: int = 0
    meanwhile: int | None = None
    is_exact: bool = True

    @property
    def passed_meanwhile(self) -> int:
        return self.passed if self.meanwhile is None else self.meanwhile

    @property
    def at_once(self) -> int:
        """Return how many passed that had not failed before."""
        return max(0, self.passed - self.recovered - self.recovered_otherwise)

    @property
    def all(self) -> int:
        return self.failed + self.otherwise + self.at_once

    @property
    def through(self) -> int:
        return self.at_once + self.recovered + self.recovered_otherwise


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """How often few documents passed in the last hours, as other messages. is_since: each of them, after the last of them had failed."""

    times: int = 0
    is_since: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """How often each of the few keys of all that waits was tried in vain.

    times  {document, or "message=…" where none is named: letters, and attempts of messages without one in the last hours}
    standing  the letters and messages that wait.   is_least  there were more attempts than were looked at.
    """

    times: Mapping[str, int]
    standing: int
    is_least: bool = False

    @property
    def times_in_all(self) -> int:
        return sum(self.times.values())


def may_be_few(keys: int, standing: int, tried: Tried | None) -> bool:
    """Whether so few keys fail, and so much passes the station where they do, that attempts can tell them from an outage.

    What failed this way in the last hours and does not stand any more counts as a key: of an outage that is over a few may still wait.
    """
    if tried is None or not tried.station or not 0 < keys <= FEW:
        return False
    gone = max(0, tried.failed - standing)
    return tried.passed_meanwhile >= MANY * (keys + gone) and tried.passed_meanwhile > tried.otherwise


def spread_of(
    documents: Mapping[str, int], tried: Tried | None, again: Again | None = None, passed: Passed = Passed()
) -> Spread:
    """Return whether one message is the trouble or everything.

    documents  {document: how often it failed} of all that waits; empty when not each names one, or was looked at.
    tried  None when no event told of the flow.   again  None when it was not asked for.   passed  of the few documents of either.
    """
    is_alone = len(documents) == 1 and max(documents.values()) >= SEVERAL and (tried is None or tried.meanwhile != 0)
    are_few = (
        again is not None
        and may_be_few(len(again.times), again.standing, tried)
        and min(again.times.values()) >= SEVERAL
    )
    if is_alone or are_few:
        words = _words_of_few(again or Again(times=documents, standing=0), tried, passed)
        return Spread(kind="" if passed.is_since else "poison", words=words)
    if tried is None or not tried.failed or tried.failed + tried.otherwise < SEVERAL:
        return Spread()
    where = tried.station or "the flow"
    if tried.through <= NEARLY_NOTHING * tried.all:
        return Spread(kind="outage", words=_words_of_outage(tried, where))
    if tried.failed < SEVERAL:
        return Spread()
    return Spread(kind="some", words=_words_of_some(tried, where))


def _words_of_some(tried: Tried, where: str) -> str:
    """Return "25% of what came to erp in the last hours failed this way: 20 of 80, 19 of them passed since, 60 passed at once."."""
    share = tried.failed / tried.all
    percent = f"{share:.0%}" if share >= 0.01 else f"{share:.1%}" if tried.is_most else "less than 1%"
    least, most = ("at least ", "at most ") if tried.is_most else ("", "")
    since = f"{least}{tried.recovered:,} of them passed since, " if tried.recovered else ""
    otherwise = f"{tried.otherwise:,} failed otherwise, " if tried.otherwise else ""
    at_once = " at once" if tried.recovered or tried.recovered_otherwise or tried.is_most else ""
    words = (
        f"{least}{percent} of what came to {where} in the last hours failed this way: {tried.failed:,} of "
        f"{most}{tried.all:,}, {since}{otherwise}{most}{tried.at_once:,} passed{at_once}. {_whole(tried)}"
    )
    return words[0].upper() + words[1:]


def _whole(tried: Tried) -> str:
    if tried.at_once > NEARLY_NOTHING * tried.all:
        return "It is neither one message alone nor everything."
    return f"{'Nearly everything' if tried.at_once else 'Everything'} failed at first, and some of it passed since."


def _words_of_outage(tried: Tried, where: str) -> str:
    whole = (
        f"Only {tried.through:,} of {'at most ' if tried.is_most else ''}{tried.all:,}" if tried.through else "Nothing"
    )
    ways = f"; {tried.failed:,} failed this way, {tried.otherwise:,} otherwise" if tried.otherwise else ""
    return f"{whole} passed {where} in the last hours{ways}: the destination or what leads to it is the trouble."


def _words_of_few(again: Again, tried: Tried | None, passed_too: Passed) -> str:
    """Return "One order, 4711, failed 20 times, while 400 others passed: look at it alone."."""
    names = [key.partition("=") for key in again.times]
    nouns = {
        "message" if name == "message" else name.rpartition("_")[0].replace("_", " ") or "document"
        for name, *_ in names
    }
    noun = nouns.pop() if len(nouns) == 1 else "document"
    if len(names) == 1:
        what, them = f"One {noun}" if noun == "message" else f"One {noun}, {names[0][2]},", "it"
    else:
        what, them = f"{len(names)} {noun}s", "them"
    least = "at least " if again.is_least else ""
    if passed_too.is_since:
        have = "has" if len(names) == 1 else "have"
        return f"{what} failed {least}{again.times_in_all:,} times and {have} passed since, as another message: what waits may be superseded."
    passed = max(0, tried.passed_meanwhile - passed_too.times) if tried else 0
    count = f"{passed:,} other{'' if passed == 1 else 's'}" if tried and tried.is_exact else "others"
    others = f", while {count} passed" if passed else ""
    return f"{what} failed {least}{again.times_in_all:,} times{others}: look at {them} alone."
