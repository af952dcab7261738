"""Numbers become positions here: sparks, line charts, waterfalls. Pure; the SVG stands in templates/parts/."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil, floor, log10

from console.core.words import duration_words

CHART_HEIGHT = 100.0
THINNEST_PERCENT = 0.6  # below this a bar is drawn 3 px wide, so that it can be seen


@dataclass(frozen=True, slots=True, kw_only=True)
class SparkBar:
    x: int
    y: int
    height: int
    bad: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Spark:
    """Bars of 4 px every 5 px; draw with parts/spark.html."""

    bars: tuple[SparkBar, ...]
    width: int
    height: int
    label: str


def spark(counts: Sequence[int], *, bad: Sequence[bool] | None = None, label: str = "", height: int = 22) -> Spark:
    """Return bars scaled to the largest count, oldest first; `bad` marks the ones drawn in red.

    An empty bucket keeps 1 px, so that the eye can count the buckets.
    """
    top = max(counts, default=0) or 1
    bars = []
    for position, count in enumerate(counts):
        tall = max(1, round(count / top * height))
        bars.append(SparkBar(x=position * 5, y=height - tall, height=tall, bad=bool(bad and bad[position])))
    return Spark(bars=tuple(bars), width=max(1, len(bars) * 5 - 1), height=height, label=label)


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line of a chart: its name, its look (good, bad, move, warn, idle) and one value a bucket."""

    name: str
    look: str
    values: Sequence[float]
    area: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A dashed line across the chart at an instant: a deployment, a replay, a switch."""

    at: datetime
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    name: str
    look: str
    points: str
    area: str
    total: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """An invisible column over one bucket; its title says the bucket's figures."""

    x: str
    width: str
    at: datetime
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A line chart ready to draw with parts/chart.html; x and y in per cent."""

    lines: tuple[Line, ...]
    columns: tuple[Column, ...]
    ticks: tuple[datetime, ...]
    marks: tuple[tuple[str, str, str], ...]  # x, text-anchor, label
    top: str
    middle: str
    label: str
    empty: bool


def _ceiling(value: float) -> float:
    """Return the next 1, 2, 4, 5 or 10 × 10ⁿ at or above a value: the chart's top."""
    if value <= 0:
        return 1.0
    unit = 10.0 ** floor(log10(value))
    return next(step * unit for step in (1, 2, 4, 5, 10) if value <= step * unit * 1.000001)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def line_chart(
    instants: Sequence[datetime], series: Sequence[Series], *, label: str, marks: Sequence[Mark] = (), ticks: int = 5
) -> Chart:
    """Return a chart of one or more series over the same buckets.

    instants  start of each bucket, oldest first; every series has as many values, each >= 0.
    label     read aloud in place of the picture, e.g. "Messages a minute, last 24 hours".
    Raises    ValueError when a series has another length.
    """
    count = len(instants)
    if any(len(one.values) != count for one in series):
        raise ValueError("every series needs one value for each instant")
    top = _ceiling(max((value for one in series for value in one.values), default=0))
    step = 100 / max(1, count - 1)
    lines = tuple(_line(one, top, step) for one in series)
    wide = 100 / max(1, count)
    columns = tuple(
        Column(
            x=f"{i * wide:.3f}%",
            width=f"{wide:.3f}%",
            at=at,
            words=", ".join(f"{_number(one.values[i])} {one.name}" for one in series),
        )
        for i, at in enumerate(instants)
    )
    shown = min(ticks, count)
    tick_at = tuple(instants[round(i * (count - 1) / max(1, shown - 1))] for i in range(shown))
    return Chart(
        lines=lines,
        columns=columns,
        ticks=tick_at,
        marks=tuple(_placed(mark, instants) for mark in marks if count > 1 and instants[0] <= mark.at <= instants[-1]),
        top=_number(top),
        middle=_number(top / 2),
        label=label,
        empty=not any(value for one in series for value in one.values),
    )


def _line(one: Series, top: float, step: float) -> Line:
    points = " ".join(
        f"{i * step:.2f},{CHART_HEIGHT - value / top * CHART_HEIGHT:.2f}" for i, value in enumerate(one.values)
    )
    area = f"0,100 {points} {(len(one.values) - 1) * step:.2f},100" if one.area and one.values else ""
    return Line(name=one.name, look=one.look, points=points, area=area, total=sum(one.values))


def _placed(mark: Mark, instants: Sequence[datetime]) -> tuple[str, str, str]:
    share = (mark.at - instants[0]) / (instants[-1] - instants[0]) * 100
    return f"{share:.2f}%", "end" if share > 60 else "start", mark.label


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One row of a waterfall as the caller knows it; times in microseconds from the journey's start.

    look  ok, bad, moving, unset, or queue (hatched: nobody worked, it waited).   tie  the evidence, e.g. "trace".
    """

    label: str
    offset_us: int
    duration_us: int
    look: str = "ok"
    tie: str = ""
    url: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FallRow:
    label: str
    look: str
    tie: str
    url: str
    note: str
    took: str
    x: str
    width: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Waterfall:
    """Rows and axis ready to draw with parts/waterfall.html."""

    rows: tuple[FallRow, ...] = ()
    ticks: tuple[str, ...] = field(default=())  # words at 0, 25, 50 and 75 per cent


def waterfall(bars: Sequence[Bar]) -> Waterfall:
    """Return bars placed on one scale from 0 to the latest end; an instant (0 µs) is drawn 3 px wide."""
    took = max((bar.offset_us + bar.duration_us for bar in bars), default=0)
    rows = tuple(_fallen(bar, took or 1) for bar in bars)
    # Instants alone have no scale: "0 ms" three times over would be no help.
    later = tuple(duration_words(took * quarter / 4000) if took else "" for quarter in (1, 2, 3))
    return Waterfall(rows=rows, ticks=("0", *later))


def _fallen(bar: Bar, span: int) -> FallRow:
    width = bar.duration_us / span * 100
    x = min(max(0.0, bar.offset_us / span * 100), 99.4 if width < THINNEST_PERCENT else 100.0)
    return FallRow(
        label=bar.label,
        look=bar.look,
        tie=bar.tie,
        url=bar.url,
        note=bar.note,
        took=duration_words(bar.duration_us / 1000) if bar.duration_us else "",
        x=f"{x:.2f}%",
        width="3" if width < THINNEST_PERCENT else f"{width:.2f}%",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A piece of a stacked bar: how many, how it looks, what it is."""

    name: str
    look: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    name: str
    look: str
    count: int
    x: str
    width: str


def stacked(shares: Sequence[Share]) -> tuple[Piece, ...]:
    """Return pieces that fill 100 per cent between them, in the given order; draw with parts/stacked.html."""
    total = sum(share.count for share in shares) or 1
    pieces, x = [], 0.0
    for share in shares:
        width = share.count / total * 100
        pieces.append(Piece(name=share.name, look=share.look, count=share.count, x=f"{x:.2f}%", width=f"{width:.2f}%"))
        x += width
    return tuple(pieces)


def meter(value: float, of: float) -> str:
    """Return the width of a meter's filled part, "0%" to "100%"."""
    return f"{min(100, max(0, ceil(value / of * 100))) if of > 0 else 0}%"
