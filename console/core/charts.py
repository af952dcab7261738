"""Numbers become positions here: sparks, line charts, waterfalls. Pure; the SVG stands in templates/parts/."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from math import ceil, floor, log10

from console.core.words import duration_words, exact_words

CHART_HEIGHT = 100.0
THINNEST_PERCENT = 0.6  # below this a bar is drawn 3 px wide, so that it can be seen
TOGETHER_PERCENT = 2.0  # marks closer than this are one: "3 deployments"
LETTER_PERCENT = 1.0  # about what one letter of a mark's label takes of the narrowest chart that shows labels
AXIS_PERCENT = 4.0  # the figure at the top of the axis stands left of that
MOST_IN_TITLE = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Spark:
    """Bars of 4 px every 5 px; draw with parts/spark.html.

    path, bad  all bars as one SVG path each, the ordinary ones and those in red: a list has fifty sparks of two dozen bars.
    """

    path: str
    bad: str
    width: int
    height: int
    label: str
    marks: tuple[tuple[int, str], ...] = ()  # x, what happened there


def spark(
    counts: Sequence[int],
    *,
    bad: Sequence[bool] | None = None,
    label: str = "",
    height: int = 22,
    marks: Sequence[tuple[int, str]] = (),
) -> Spark:
    """Return bars scaled to the largest count, oldest first; `bad` marks the ones drawn in red.

    An empty bucket keeps 1 px, so that the eye can count the buckets.
    marks  (position of a bucket, words): a line at the beginning of that bucket; several at one place are one line.
    """
    top = max(counts, default=0) or 1
    paths: dict[bool, list[str]] = {False: [], True: []}
    for position, count in enumerate(counts):
        tall = max(1, round(count / top * height))
        paths[bool(bad and bad[position])].append(f"M{position * 5} {height}v-{tall}h4v{tall}z")
    placed: dict[int, list[str]] = {}
    for position, words in marks:
        if 0 <= position < len(counts):
            placed.setdefault(position * 5, []).append(words)
    return Spark(
        path="".join(paths[False]),
        bad="".join(paths[True]),
        width=max(1, len(counts) * 5 - 1),
        height=height,
        label=label,
        marks=tuple((x, "\n".join(words[:MOST_IN_TITLE])) for x, words in sorted(placed.items())),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line of a chart: its name, its look (good, bad, move, warn, idle) and one value a bucket, None where it has a gap."""

    name: str
    look: str
    values: Sequence[float | None]
    area: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A dashed line across the chart at an instant, with a band when it lasted: a deployment, a maintenance window.

    kind  what several together are called: "3 deployments", and "3 changes" when they are of different kinds.
    """

    at: datetime
    label: str
    until: datetime | None = None
    kind: str = "change"


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Marks that fall together. `label` is empty where another one stands already; `words` say each with its exact instant."""

    x: str
    anchor: str
    label: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """How long something lasted, as far as the chart reaches."""

    x: str
    width: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    name: str
    look: str
    path: str
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
    marks: tuple[Placed, ...]
    bands: tuple[Band, ...]
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
    if value >= 10 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def line_chart(
    instants: Sequence[datetime],
    series: Sequence[Series],
    *,
    label: str,
    marks: Sequence[Mark] = (),
    ticks: int = 5,
    words: Callable[[float], str] = _number,
) -> Chart:
    """Return a chart of one or more series over the same buckets.

    instants  start of each bucket, oldest first; every series has as many values, each >= 0 or None.
    label     read aloud in place of the picture, e.g. "Messages a minute, last 24 hours".
    words     says a value, with its unit.
    Raises    ValueError when a series has another length.
    """
    count = len(instants)
    if any(len(one.values) != count for one in series):
        raise ValueError("every series needs one value for each instant")
    top = _ceiling(max((value or 0 for one in series for value in one.values), default=0))
    step = 100 / max(1, count - 1)
    lines = tuple(_line(one, top, step) for one in series)
    wide = 100 / max(1, count)
    columns = tuple(
        Column(
            x=f"{i * wide:.3f}%",
            width=f"{wide:.3f}%",
            at=at,
            words=", ".join(f"{words(value)} {one.name}" for one in series if (value := one.values[i]) is not None)
            or "nothing",
        )
        for i, at in enumerate(instants)
    )
    reached = [mark for mark in marks if count > 1 and _reaches(mark, instants)]
    shown = min(ticks, count)
    tick_at = tuple(instants[round(i * (count - 1) / max(1, shown - 1))] for i in range(shown))
    return Chart(
        lines=lines,
        columns=columns,
        ticks=tick_at,
        marks=_placed(reached, instants),
        bands=tuple(_band(mark, instants) for mark in reached if mark.until is not None),
        top=words(top),
        middle=words(top / 2),
        label=label,
        empty=not any(value for one in series for value in one.values),
    )


def _line(one: Series, top: float, step: float) -> Line:
    """Return the line of a series; a value alone between two gaps is a dash."""
    points = [
        "" if value is None else f"{i * step:.2f},{CHART_HEIGHT - value / top * CHART_HEIGHT:.2f}"
        for i, value in enumerate(one.values)
    ]
    runs = [list(run) for there, run in groupby(points, key=bool) if there]
    path = "".join(f"M{' '.join(run)}" if len(run) > 1 else f"M{run[0]}m-0.25,0h0.5" for run in runs)
    end = (len(one.values) - 1) * step
    area = f"0,100 {' '.join(filter(None, points))} {end:.2f},100" if one.area and one.values else ""
    return Line(name=one.name, look=one.look, path=path, area=area, total=sum(value or 0 for value in one.values))


def _reaches(mark: Mark, instants: Sequence[datetime]) -> bool:
    """Whether a mark is on the chart; what happened after the newest bucket began, or in the one that still fills, is at its end."""
    return mark.at < instants[-1] + 2 * (instants[-1] - instants[-2]) and (mark.until or mark.at) >= instants[0]


def _share(at: datetime, instants: Sequence[datetime]) -> float:
    """Return where an instant lies on the chart, in per cent; what is outside lies at its edge."""
    return min(100.0, max(0.0, (at - instants[0]) / (instants[-1] - instants[0]) * 100))


def _band(mark: Mark, instants: Sequence[datetime]) -> Band:
    x = _share(mark.at, instants)
    width = _share(mark.until or mark.at, instants) - x
    return Band(x=f"{x:.2f}%", width=f"{width:.2f}%", words=_mark_words(mark))


def _mark_words(mark: Mark) -> str:
    until = f" to {exact_words(mark.until)}" if mark.until else ""
    return f"{mark.label}, {exact_words(mark.at)}{until}"


def _placed(marks: Sequence[Mark], instants: Sequence[datetime]) -> tuple[Placed, ...]:
    """Return marks from left to right: those that fall together as one, labels only where they meet no other label and no other line."""
    groups: list[tuple[float, list[Mark]]] = []
    for mark in sorted(marks, key=lambda mark: mark.at):
        x = _share(mark.at, instants)
        if groups and x - groups[-1][0] <= TOGETHER_PERCENT:
            groups[-1][1].append(mark)
        else:
            groups.append((x, [mark]))
    xs = [x for x, _ in groups]
    placed: list[Placed] = []
    free_to = 100.0
    for at in range(len(groups) - 1, -1, -1):  # the newest first: its label is the one that must not be missing
        x, together = groups[at]
        label = _label_of(together)
        width = len(label) * LETTER_PERCENT
        fits = {
            "start": x >= AXIS_PERCENT and x + width <= free_to,
            "end": x - width >= (xs[at - 1] if at else AXIS_PERCENT),
        }
        anchor = next((one for one in (("end", "start") if x > 60 else ("start", "end")) if fits[one]), "")
        free_to = x - width if anchor == "end" else x
        placed.append(
            Placed(
                x=f"{x:.2f}%",
                anchor=anchor or "start",
                label=label if anchor else "",
                words="\n".join(_mark_words(mark) for mark in together[:MOST_IN_TITLE]),
            )
        )
    return tuple(reversed(placed))


def _label_of(together: Sequence[Mark]) -> str:
    if len(together) == 1:
        return cut(together[0].label)
    kinds = {mark.kind for mark in together}
    mixed = "mark" if "replay run" in kinds else "change"
    return f"{len(together)} {kinds.pop() if len(kinds) == 1 else mixed}s"


def cut(label: str, most: int = 24) -> str:
    """Return words that fit into so many letters, with … where something is missing."""
    return label if len(label) <= most else f"{label[: most - 1].rstrip()}…"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One row of a waterfall as the caller knows it; times in microseconds from the journey's start.

    look  ok, bad, moving, unset, queue (hatched: nobody worked, it waited), change (a line through all rows) or earlier (one before
          the start).   tie  the evidence, e.g. "trace".   took  words in place of the duration.
    end   of the label, what stays where the label is too long: "× 1,500".
    """

    label: str
    offset_us: int
    duration_us: int
    end: str = ""
    look: str = "ok"
    tie: str = ""
    url: str = ""
    note: str = ""
    took: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FallRow:
    label: str
    end: str
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
    marks: tuple[str, ...] = ()  # x of the lines through all rows


def waterfall(bars: Sequence[Bar]) -> Waterfall:
    """Return bars placed on one scale from 0 to the latest end; an instant (0 µs) is drawn 3 px wide."""
    took = max((bar.offset_us + bar.duration_us for bar in bars), default=0)
    rows = tuple(_fallen(bar, took or 1) for bar in bars)
    # Instants alone have no scale: "0 ms" three times over would be no help.
    later = tuple(duration_words(took * quarter / 4000) if took else "" for quarter in (1, 2, 3))
    marks = tuple(row.x for row in rows if row.look == "change")
    return Waterfall(rows=rows, ticks=("0", *later), marks=marks)


def _fallen(bar: Bar, span: int) -> FallRow:
    width = bar.duration_us / span * 100
    x = min(max(0.0, bar.offset_us / span * 100), 99.4 if width < THINNEST_PERCENT else 100.0)
    return FallRow(
        label=bar.label,
        end=bar.end,
        look=bar.look,
        tie=bar.tie,
        url=bar.url,
        note=bar.note,
        took=bar.took or (duration_words(bar.duration_us / 1000) if bar.duration_us else ""),
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
