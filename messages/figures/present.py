"""Figures as the page draws them: pictures of lines that need no script, and the data of the interactive ones."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from math import ceil
from typing import Any
from urllib.parse import urlencode

from django.contrib.staticfiles.storage import staticfiles_storage
from django.urls import reverse

from console.core.charts import Chart, Mark, Series, line_chart
from console.core.words import duration_words, exact_words
from messages.changes.present import did, label_of, lasted_until, marks_of, page_of
from messages.figures.asking import stamp
from messages.figures.queries import SHARES, Figures, ReplayRun, Step, joined, replay_runs
from messages.figures.vega import chart_specs
from messages.models import Change, Flow
from messages.search.quoting import quoted

BUNDLE = "vega/vega.js"
SHOWN_FAILED_STEPS = 50
MOST_POINTS = 100
LOOKS = {"p50": "good", "p95": "warn", "p99": "bad"}


def bundle_address() -> str:
    """Return the address of the Vega bundle, nothing where set-up could not make it: the plain pictures stay then."""
    try:
        return staticfiles_storage.url(BUNDLE)
    except ValueError:
        return ""


def drawn(figures: Figures, changes: Sequence[Change], *, flow: Flow | None, now: datetime) -> dict[str, Any]:
    """Return what messaging/_figures.html draws: three charts, what happened among them, the steps in which something failed."""
    runs = replay_runs(figures)
    marks = [*marks_of(changes, now=now), *replay_marks(figures)]
    charts = _charts(figures, marks)
    failed = [step for step in figures.steps if step.failed]
    return {
        "figures": figures,
        "latency": {name: figures.total.latency_ms(name) for name in SHARES},
        "charts": charts,
        "data": {
            "step_ms": figures.range.step // timedelta(milliseconds=1),
            "steps": [_row(step) for step in figures.steps],
            "marks": [*_changed(changes, figures, now), *(_replayed(run, flow) for run in runs)],
            "charts": chart_specs(),
            "failures": _messages_address(_via(flow)),
        },
        "bundle": bundle_address(),
        "runs": [(run, replays_address(flow)) for run in runs],
        "failed_steps": [
            (step, step.at + figures.range.step, failures_address(flow, step.at, step.at + figures.range.step))
            for step in failed[::-1][:SHOWN_FAILED_STEPS]
        ],
        "more_failed_steps": max(0, len(failed) - SHOWN_FAILED_STEPS),
    }


def _charts(figures: Figures, marks: Sequence[Mark]) -> list[tuple[str, str, Chart]]:
    """Return the plain pictures, of at most a hundred points each: several steps are drawn as one."""
    together = ceil(len(figures.steps) / MOST_POINTS)
    parts = [figures.steps[at : at + together] for at in range(0, len(figures.steps), together)]
    points = [joined(part) for part in parts]
    minutes = figures.range.step / timedelta(minutes=1)
    rates = [point.delivered / (len(part) * minutes) for point, part in zip(points, parts, strict=True)]
    delivered = Series(name="delivered a minute", look="move", values=rates)
    failed = Series(name="failed", look="bad", values=[point.failed for point in points], area=True)
    took = [Series(name=name, look=LOOKS[name], values=[point.latency_ms(name) for point in points]) for name in SHARES]
    instants = [point.at for point in points]
    timed = line_chart(instants, took, label="How long receivers took", marks=marks, words=duration_words)
    return [
        (name, title, line_chart(instants, [series], label=label, marks=marks))
        for name, title, series, label in (
            ("throughput", "Delivered a minute", delivered, "Messages delivered a minute"),
            ("failures", "Failures", failed, "Failures by step"),
        )
    ] + [("latency", "Time to process", timed)]


def _row(step: Step) -> dict[str, Any]:
    """Return a step as the charts' data has it; without percentiles where nothing was processed."""
    row: dict[str, Any] = {"at": _ms(step.at), "delivered": step.delivered, "failed": step.failed}
    for name in SHARES:
        took = step.latency_ms(name)
        if took is not None:
            row[name] = max(0.1, round(took, 1))
    return row


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def _via(flow: Flow | None) -> str:
    """Return the words that find what a flow's figures count: events that name it, whatever flow told of the message first."""
    return f"via:{quoted(flow.name)} " if flow else ""


def failures_address(flow: Flow | None, since: datetime, until: datetime) -> str:
    """Return the search for the messages of which an event failed in a step; static/js/figures.js adds the time in the same words."""
    return _messages_address(f'{_via(flow)}failed:["{stamp(since)}" TO "{stamp(until)}"}}')


def _messages_address(q: str) -> str:
    return f"{reverse('messages')}?{urlencode({'q': q})}"


def replays_address(flow: Flow | None) -> str:
    """Return the list of dead letters that a replay closed or will close."""
    q = "status:(replaying OR processed OR failed_again)"
    return f"{reverse('dead-letters')}?{urlencode({'q': f'flow:{quoted(flow.name)} {q}' if flow else q})}"


def replay_marks(figures: Figures) -> list[Mark]:
    """Return the marks of replays: one, with a band, for neighbouring steps that had some."""
    return [
        Mark(at=run.at, until=run.until, label=replays_words(run), kind="replay run") for run in replay_runs(figures)
    ]


def replays_words(run: ReplayRun) -> str:
    return f"{run.count:,} replay{'s' * (run.count > 1)}"


def _replayed(run: ReplayRun, flow: Flow | None) -> dict[str, Any]:
    return {"at": _ms(run.at), "until": _ms(run.until), "words": replays_words(run), "url": replays_address(flow)}


def _changed(changes: Sequence[Change], figures: Figures, now: datetime) -> list[dict[str, Any]]:
    """Return changes as the charts' data has them: what lasts longer than the chart is drawn as far as it reaches."""
    first, last = figures.range.since, figures.range.until
    return [
        {
            "at": _ms(max(change.started_at, first)),
            "until": _ms(min(until, last)) if (until := lasted_until(change, now=now)) > change.started_at else None,
            "words": f"{did(change)}: {label_of(change)}, {exact_words(change.started_at)}",
            "url": page_of(change),
        }
        for change in changes
        if change.started_at < last
    ]
