"""What one report says: the shape that is gathered once, frozen as JSON when it is sent, and rendered as mail, page, PDF and CSV."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Any

import msgspec


class Cadence(StrEnum):
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"


class Stands(StrEnum):
    """How a promise stands at the end of the period; worst first."""

    MISSED = "missed"
    AT_RISK = "at_risk"
    NO_DATA = "no_data"
    KEPT = "kept"


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """Whole local days: [since, until) in UTC, which begin and end at midnight in `zone`, an IANA name."""

    cadence: Cadence
    since: datetime
    until: datetime
    zone: str


class Audience(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a report is for. name "Order team"; language: a BCP 47 tag of which Babel knows the dates and numbers, "en-GB", "de-DE".

    noun, nouns  what it calls a message, and several: order, orders.
    environment  id.   flow_ids, objective_ids  only these objectives; both empty: all that `gather`'s actor sees in the environment.
    """

    name: str
    environment: int
    language: str
    zone: str
    flow_ids: tuple[int, ...] = ()
    objective_ids: tuple[int, ...] = ()
    noun: str = "message"
    nouns: str = "messages"


class Promise(msgspec.Struct, frozen=True, kw_only=True):
    """An objective in the period. Ratios 0 to 1, None where nothing was measured; counts are raw, without exclusions taken out.

    target_before  where the target was changed since the period began.   changed  a sentence for each change of the promise since then.
    left  of the budget, in `unit` ("events", "minutes" or "periods"), may be negative.
    previous  adjusted ratio of the period before.   waiting  dead letters of its flow that came until the period ended, and wait.
    replayed  of the dead letters that came in the period: those that a replay delivered.
    kind  of the objective: success, latency, freshness, volume, dead_letter_age.
    over  "" where the period is judged; "30 days" where it is too small for that, and the promise's own window that ends with it is: then
    attained, adjusted, previous, budget and left are of that window, and the counts are of the period all the same.
    judged_since, judged_until  the time that is judged, by whole hours; None in reports of before 2026-11-27.
    counted  its events are in `days` and in the first sentence: each flow is once.   counting  its history is still being counted.
    missed_before  beginning of the last period before that was missed, as far as earlier reports know; missed_in_a_row  of those just before.
    known  how many reports just before this one had it.
    """

    objective: int
    name: str
    words: str
    flow: str
    stands: Stands
    target: float
    target_before: float | None = None
    attained: float | None
    adjusted: float | None
    previous: float | None
    good: int
    late: int
    lost: int
    budget: float
    left: float
    left_ratio: float
    unit: str
    waiting: int = 0
    replayed: int = 0
    kind: str = ""
    over: str = ""
    judged_since: datetime | None = None
    judged_until: datetime | None = None
    counted: bool = False
    counting: bool = False
    missed_before: datetime | None = None
    missed_in_a_row: int = 0
    known: int = 0
    changed: tuple[str, ...] = ()


class Removed(msgspec.Struct, frozen=True, kw_only=True):
    """A promise that was removed since the period began: of which flow, when, and what is still known of it, as a sentence."""

    objective: int
    flow: int
    name: str
    at: datetime
    words: str


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """A failure group's part: title in plain words, `count` failures in the period, and what became of its letters; the counts add up.

    gone  somebody took them from the queue elsewhere.   without_letter  failed messages of which no dead letter came.
    later  of failures whose dead letter came after the period: what became of it is in the next report.
    late_by_s  mean time from a failure to its delivery by replay.   groups  how many causes this row stands for.   path  of the group's page.
    """

    title: str
    flow: str
    count: int
    replayed: int
    compensated: int
    discarded: int
    failed_again: int
    waiting: int
    late_by_s: float | None = None
    path: str = ""
    gone: int = 0
    without_letter: int = 0
    later: int = 0
    groups: int = 1


class Day(msgspec.Struct, frozen=True, kw_only=True):
    """A local day, all promises that are `counted` together; counts are raw. excluded: something of it does not count."""

    day: date
    good: int
    late: int
    lost: int
    excluded: bool = False


class Excluded(msgspec.Struct, frozen=True, kw_only=True):
    """Time of the period that did not count. events: of those promises that it was about, flows once; None where that
    is not known any more, long after. about: a flow or a promise."""

    since: datetime
    until: datetime
    reason: str
    by: str
    events: int | None
    about: str = ""


class Letters(msgspec.Struct, frozen=True, kw_only=True):
    """Dead letters of the period: those that came in, and what became of them; these add up to `came`.

    older  that came before the period and wait now.   oldest  when the first of these failed that wait now.
    """

    came: int
    replayed: int
    failed_again: int
    compensated: int
    discarded: int
    waiting: int
    oldest: datetime | None = None
    gone: int = 0
    older: int = 0


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """Minutes of the period, and in how many of them every agent reported and everything is counted.

    by_events  no agent is known that was there then: the minutes of hours in which something happened.
    """

    minutes: int
    covered: int
    by_events: bool = False


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """A whole report. breaches  how many alerts fired.   quality  sentences on gaps, silent agents, low traffic.
    coverage  None where no agent is known that brings the flows.

    frozen_at  when it was gathered; revision 1, 2, … of the same audience and period; corrects  what the revision says it corrects.
    colour  of the environment.   attained, previous  adjusted ratio of all that is counted, in this period and the one before.
    trend  the days just before the period, for its chart.
    """

    audience: Audience
    environment: str
    period: Period
    promises: tuple[Promise, ...]
    causes: tuple[Cause, ...]
    days: tuple[Day, ...]
    letters: Letters
    breaches: int
    exclusions: tuple[Excluded, ...]
    quality: tuple[str, ...]
    frozen_at: datetime
    revision: int = 1
    corrects: str = ""
    colour: str = "red"
    attained: float | None = None
    previous: float | None = None
    trend: tuple[Day, ...] = ()
    coverage: Coverage | None = None
    removed: tuple[Removed, ...] = ()


def as_json(content: Content) -> dict[str, Any]:
    """Return what is stored; `from_json` gives the same content back."""
    return dict(msgspec.to_builtins(content))


def from_json(stored: dict[str, Any]) -> Content:
    """Return a stored content. Raises msgspec.ValidationError for what is none."""
    return msgspec.convert(stored, Content)
