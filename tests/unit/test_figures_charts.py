"""The plain pictures of figures: several steps are drawn as one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from messages.figures import present
from messages.figures.queries import Figures, Step
from messages.figures.ranges import range_of
from messages.search.window import Window


def test_the_last_point_is_of_as_many_minutes_as_it_has(monkeypatch: pytest.MonkeyPatch):
    now = datetime(2026, 11, 28, 12, 0, 30, tzinfo=UTC)
    span = range_of(Window(since=now - timedelta(minutes=101), until=now), now=now)
    steps = [Step(at=at, delivered=60) for at in span.steps]
    drawn: dict[str, list[float | None]] = {}
    monkeypatch.setattr(
        present, "line_chart", lambda at, series, *, label, **_: drawn.update({label: list(series[0].values)})
    )

    present._charts(Figures(range=span, steps=steps, total=steps[0]), [])

    delivered = drawn["Messages delivered a minute"]
    assert len(delivered) < len(steps)
    assert set(delivered) == {60.0}


def test_where_nothing_was_processed_no_time_to_process_is_drawn():
    now = datetime(2026, 11, 28, 12, 0, 30, tzinfo=UTC)
    span = range_of(Window(since=now - timedelta(minutes=5), until=now), now=now)
    steps = [
        Step(at=at, processed=number % 2, buckets={8: 1} if number % 2 else {}) for number, at in enumerate(span.steps)
    ]

    charts = {name: chart for name, _, chart in present._charts(Figures(range=span, steps=steps, total=steps[0]), [])}

    assert [column.words.startswith("nothing") for column in charts["latency"].columns] == [True, False] * 2 + [True]
    assert charts["throughput"].columns[0].words == "0 delivered a minute"
