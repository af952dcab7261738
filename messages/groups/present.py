"""Failure groups as pages and REST say them. No I/O but the next breach of a group of which nobody asked it; the caller brings the clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from console.core.charts import Chart, Mark, Series, Spark, line_chart, spark
from console.core.words import age_words
from messages.groups.breaching import next_breach_of
from messages.groups.classes import CLASSES
from messages.groups.figures import amount_pieces, reach_words
from messages.groups.states import WORDS
from messages.models import FailureGroup


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A group as a row of the list."""

    group: FailureGroup
    spark: Spark
    reach: str
    amounts: Sequence[str]  # pieces that lines may part
    next_breach: str


def reach_said(group: FailureGroup) -> str:
    """Return "181 orders of 63 customers, €74,912", "nothing waits" when that is so, and that it is not known when that is so."""
    if group.figures_at is None and group.merged_into_id is None:
        return "being counted"
    if not group.waiting:
        return "more failed than was looked through, and some of it may wait" if group.blast else "nothing waits"
    return reach_words(
        waiting=group.waiting,
        customers=group.customers,
        documents=group.documents,
        amounts=group.amounts,
        word=group.word,
        capped=group.capped,
        failed_capped=group.failed_capped,
        customers_partial=group.customers_partial,
        documents_partial=group.documents_partial,
        amounts_partial=group.amounts_partial,
    )


def line_of(group: FailureGroup, hours: Sequence[int], *, now: datetime) -> Line:
    label = f"failed by hour, last {len(hours)} hours: {sum(hours)}"
    return Line(
        group=group,
        spark=spark(hours, bad=[count > 0 for count in hours], label=label),
        reach=reach_said(group),
        amounts=amount_pieces(group.amounts, at_least=group.amounts_partial or group.capped),
        next_breach=breach_words(next_breach_of(group), now=now),
    )


def breach_words(at: datetime | None, *, now: datetime) -> str:
    """Return "next breach in 42 min", "" when none is to be expected."""
    return f"next breach in {age_words(max(at - now, timedelta()))}" if at else ""


def trend_chart(hours: Sequence[int], marks: Sequence[Mark], *, now: datetime) -> Chart:
    """Return the failures by hour with what changed meanwhile."""
    this_hour = now.replace(minute=0, second=0, microsecond=0)
    instants = [this_hour - timedelta(hours=len(hours) - 1 - at) for at in range(len(hours))]
    series = Series(name="failed", look="bad", values=list(hours), area=True)
    return line_chart(instants, [series], label=f"Failures an hour, last {len(hours)} hours", marks=marks)


def sentence_of(group: FailureGroup, *, now: datetime) -> str:
    """Return what a tired person needs first: how much, since when, whether it still comes."""
    waits = reach_said(group)
    told = f"{waits[:1].upper()}{waits[1:]}"
    if group.waiting and group.oldest_at:
        told += f", the oldest for {age_words(now - group.oldest_at, long=True)}"
    quiet = now - group.last_seen_at
    last = (
        "it still fails" if quiet < timedelta(minutes=5) else f"the last one failed {age_words(quiet, long=True)} ago"
    )
    breach = breach_words(next_breach_of(group), now=now)
    return f"{told}; {last}{f'; {breach}' if breach else ''}."


def words_of_state(group: FailureGroup) -> str:
    return WORDS[group.state]


def action_of(group: FailureGroup) -> str:
    """Return what is usually done first about failures of this class."""
    return CLASSES[group.failure_class].action


def meaning_of(group: FailureGroup) -> str:
    return CLASSES[group.failure_class].words
