"""Changes as charts, journeys, logs and lists say them. No I/O; the caller brings the clock."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.urls import reverse

from console.core.charts import Bar, Mark
from console.core.words import age_words
from messages.changes.items import LONGEST
from messages.models import Change

LOST_AFTER = timedelta(days=1)  # what a pipeline began and did not end within a day has lost its end
JOURNEY_LEAD = timedelta(minutes=30)  # a journey is told of what changed so short before it began
MOST_TOLD = 5
DID = {"deployment": "deployed", "configuration": "configuration changed", "maintenance": "maintenance began"}
FATE = {"failed": "deployment failed", "cancelled": "deployment cancelled", "running": "deploying"}


def label_of(change: Change) -> str:
    """Return what a marker says: system and version of a deployment that tells them, else its title."""
    if change.kind == Change.Kind.DEPLOYMENT and change.version and len(change.systems) == 1:
        return f"{change.systems[0]} {change.version}"
    return change.title


def did(change: Change) -> str:
    """Return what was done, as a verb: "deployed", "deployment failed", "configuration changed", "maintenance began"."""
    if change.kind == Change.Kind.DEPLOYMENT:
        return FATE.get(change.outcome, DID[change.kind])
    return f"{DID[change.kind]}{', cancelled' if change.outcome == 'cancelled' else ''}"


def state_of(change: Change, *, now: datetime) -> str:
    """Return how it stands, a state of words.CHIPS["change"]: withdrawn, planned, running, open, lost, over, done or its outcome."""
    if change.withdrawn_at is not None:
        return "withdrawn"
    if change.outcome in {"succeeded", "failed", "cancelled"}:
        return str(change.outcome)
    if change.started_at > now:
        return "planned"
    if change.kind == Change.Kind.MAINTENANCE:
        if change.ended_at is None:
            return "open" if now - change.started_at < LONGEST else "lost"
        return "open" if change.ended_at > now else "over"
    if change.outcome == Change.Outcome.RUNNING and change.ended_at is None:
        return "running" if now - change.started_at < LOST_AFTER else "lost"
    return "running" if change.ended_at is not None and change.ended_at > now else "done"


def goes_on(change: Change, *, now: datetime) -> bool:
    """Whether it has begun and no end was told: somebody may say that it is over."""
    return state_of(change, now=now) in {"running", "open", "lost"}


def page_of(change: Change) -> str:
    return reverse("change", args=[change.pk])


def lasted_until(change: Change, *, now: datetime) -> datetime:
    """Return when it ended, now when it goes on, its start when it is an instant."""
    if change.ended_at is None and goes_on(change, now=now) and change.started_at < now:
        return now
    return change.ended_at or change.started_at


def marks_of(changes: Sequence[Change], *, now: datetime) -> list[Mark]:
    """Return the marks of a chart: a line at the start, and a band when it lasted."""
    return [
        Mark(
            at=change.started_at,
            until=until if (until := lasted_until(change, now=now)) > change.started_at else None,
            label=label_of(change),
            kind=str(change.kind),
        )
        for change in changes
    ]


def touches(change: Change, *, systems: Collection[str], flows: Collection[str]) -> bool:
    """Whether a change names one of these, or nobody and so all."""
    nobody = not change.systems and not change.flows
    return nobody or not set(systems).isdisjoint(change.systems) or not set(flows).isdisjoint(change.flows)


def before_words(change: Change, at: datetime, *, what: str) -> str:
    """Return when it was, seen from a time: "deployed 12 min before this failed", "maintenance began 2 min before this failed"."""
    if change.kind == Change.Kind.MAINTENANCE and (change.ended_at is None or change.ended_at >= at):
        return f"during maintenance, {age_words(at - change.started_at)} after it began"
    if change.outcome == Change.Outcome.RUNNING and change.ended_at is None:
        return f"{did(change)} for {age_words(at - change.started_at)} when {what}"
    ended_at = change.ended_at if change.ended_at and change.ended_at <= at else change.started_at
    return f"{did(change)} {age_words(at - ended_at)} before {what}"


def suspects_of(changes: Sequence[Change], at: datetime) -> list[dict[str, str]]:
    """Return what a page of something that failed says of the changes before it: words, label, url; a cancelled one explains nothing."""
    return [
        {"words": before_words(change, at, what="this failed"), "label": label_of(change), "url": page_of(change)}
        for change in changes
        if change.outcome != Change.Outcome.CANCELLED
    ]


def bars_of(changes: Sequence[Change], began_at: datetime) -> list[Bar]:
    """Return rows of a waterfall: during the journey at its place, before it at the edge with how long before."""
    bars = []
    for change in changes[-MOST_TOLD:]:
        offset_us = int((change.started_at - began_at) / timedelta(microseconds=1))
        before = f"{age_words(began_at - change.started_at)} before" if offset_us < 0 else ""
        bars.append(
            Bar(
                label=f"{did(change)}: {label_of(change)}",
                offset_us=max(0, offset_us),
                duration_us=0,
                look="change" if not before else "earlier",
                url=page_of(change),
                took=before,
            )
        )
    return bars


def entries_of(changes: Sequence[Change]) -> list[dict[str, Any]]:
    """Return rows of a log, as parts/log.html takes them."""
    return [
        {
            "at": change.started_at,
            "look": "change",
            "strong": f"{did(change)}:",
            "text": label_of(change),
            "url": page_of(change),
            "link": "see the change",
        }
        for change in changes[-MOST_TOLD:]
    ]
