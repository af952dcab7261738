"""The charts of figures as Vega-Lite: one definition for the page and for pictures in mail. Pure; plain dicts.

Not built with Altair, which costs a web process 42 MB and a quarter of a second: tests build each with Altair's own schema instead.
Colours are names of tokens.css, "var(--bad)": the page puts in those of its theme (static/js/figures.js), a picture those of light paper.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

Spec = dict[str, Any]

STEPS, MARKS = {"name": "steps"}, {"name": "marks"}
END = {"calculate": "datum.at + step_ms", "as": "end"}
LABEL = "timeFormat(datum.value, hours(datum.value) + minutes(datum.value) == 0 ? '%-d %b' : '%H:%M')"
TIME = {
    "field": "at",
    "type": "temporal",
    "title": None,
    "axis": {"labelExpr": LABEL, "labelOverlap": True, "grid": False, "tickCount": 7},
}
SHOWN_TIME = {"field": "at", "type": "temporal", "title": "from", "format": "%-d %b %H:%M"}
CHOSEN = {"fill": "var(--accent)", "fillOpacity": 0.15, "stroke": "var(--accent)"}
BRUSH = {"name": "brush", "select": {"type": "interval", "encodings": ["x"], "mark": CHOSEN}}
COLUMN = {"type": "rect", "fill": "var(--ink)", "fillOpacity": 0.001, "cursor": "crosshair"}
HEIGHT = 160
ROUND_MS = [
    0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000, 10_000, 30_000, 60_000, 300_000, 1_800_000, 7_200_000, 18_000_000,
]  # fmt: skip
BELOW = reduce(lambda others, ms: f"datum.least >= {ms} ? {ms} : {others}", ROUND_MS[1:-1], str(ROUND_MS[0]))
ABOVE = reduce(lambda others, ms: f"datum.most < {ms} ? {ms} : {others}", ROUND_MS[-2:0:-1], str(ROUND_MS[-1]))
MS = (
    "datum.value >= 3600000 ? datum.value / 3600000 + ' h' : datum.value >= 60000 ? datum.value / 60000 + ' min' : "
    "datum.value >= 1000 ? datum.value / 1000 + ' s' : datum.value + ' ms'"
)
COUNT = "format(datum.value, datum.value < 1 ? '.3~g' : '~s')"  # 0.2, 15, 1.5k: below 1 the prefix m would be read as millions


def chart_specs() -> dict[str, Spec]:
    """Return the charts by name; their data sets are `steps` (at, delivered, failed, p50, p95, p99) and `marks` (at, until, words,
    url), which page and picture put in, with times in ms since 1970, and the parameter `step_ms`.
    """
    return {"throughput": _throughput(), "failures": _failures(), "latency": _latency()}


def outcomes_spec() -> Spec:
    """Return the chart of a plan's outcomes; its `steps` have at, processed, sent and failed, how many in each step."""
    names = ["processed", "sent", "failed"]
    colours = {"domain": names, "range": ["var(--good)", "var(--accent)", "var(--bad)"]}
    dashes = {"domain": names, "range": [[1, 0], [6, 3], [2, 2]]}
    lines = {
        "data": STEPS,
        "transform": [{"fold": names, "as": ["outcome", "items"]}],
        "mark": {"type": "line", "strokeWidth": 1.75, "interpolate": "linear"},
        "encoding": {
            "x": TIME,
            "y": _count("items", "items"),
            "color": {"field": "outcome", "type": "nominal", "legend": None, "scale": colours},
            "strokeDash": {"field": "outcome", "type": "nominal", "legend": None, "scale": dashes},
        },
    }
    told = [("sent", "sent"), ("processed", "processed"), ("failed", "failed again")]
    spec = _chart("What became of a plan's items", [lines], told)
    # without bands, for no mark of it lasts, and without the brush, for no time is chosen in it
    return spec | {"layer": [{name: one[name] for name in one if name != "params"} for one in spec["layer"][1:]]}


def _throughput() -> Spec:
    line = {
        "data": STEPS,
        "transform": [{"calculate": "datum.delivered / step_ms * 60000", "as": "per_minute"}],
        "mark": {"type": "line", "strokeWidth": 1.75, "color": "var(--accent)", "interpolate": "linear"},
        "encoding": {"x": TIME, "y": _count("per_minute", "a minute")},
    }
    return _chart("Messages delivered a minute", [line], [("delivered", "delivered"), ("failed", "failed")])


def _failures() -> Spec:
    bars = {
        "data": STEPS,
        "transform": [{"filter": "datum.failed > 0"}, END],
        "mark": {"type": "rect", "color": "var(--bad)"},
        "encoding": {"x": TIME, "x2": {"field": "end"}, "y": _count("failed", "failed"), "y2": {"datum": 0}},
    }
    return _chart("Failures by step", [bars], [("failed", "failed"), ("delivered", "delivered")])


def _latency() -> Spec:
    names = ["p50", "p95", "p99"]
    took = {"fold": names, "as": ["percentile", "took"]}
    y = {
        "type": "quantitative",
        "title": None,
        "scale": {"type": "log", "nice": False},
        "axis": {"values": ROUND_MS, "labelExpr": MS, "labelOverlap": True},
    }
    lines = {
        "data": STEPS,
        "transform": [took],
        "mark": {
            "type": "line",
            "strokeWidth": 1.75,
            "point": {"size": 8, "filled": True},
            "invalid": "break-paths-filter-domains",
        },
        "encoding": {
            "x": TIME,
            "y": {"field": "took", **y},
            "color": {
                "field": "percentile", "type": "nominal", "legend": None,
                "scale": {"domain": names, "range": ["var(--good)", "var(--warn)", "var(--bad)"]},
            },
            "strokeDash": {
                "field": "percentile", "type": "nominal", "legend": None,
                "scale": {"domain": names, "range": [[1, 0], [6, 3], [2, 2]]},
            },
        },
    }  # fmt: skip
    return _chart(
        "How long receivers took",
        [_round_ends(took, y), lines],
        [(name, f"{name}, ms") for name in names],
        format=",.4~r",
    )


def _round_ends(took: Spec, y: Spec) -> Spec:
    """Return an unseen layer that has the axis begin and end at round values: between two of them a steady flow would have none in sight."""
    least, most = ({"op": op, "field": "took", "as": name} for op, name in (("min", "least"), ("max", "most")))
    return {
        "data": STEPS,
        "transform": [
            took,
            {"filter": "isValid(datum.took)"},
            {"aggregate": [least, most]},
            {"calculate": BELOW, "as": "below"},
            {"calculate": ABOVE, "as": "above"},
            {"fold": ["below", "above"], "as": ["end", "round_ms"]},
        ],
        "mark": {"type": "point", "opacity": 0},
        "encoding": {"x": {"value": 0}, "y": {"field": "round_ms", **y}},
    }


def _count(field: str, title: str) -> Spec:
    return {
        "field": field,
        "type": "quantitative",
        "title": None,
        "axis": {"tickCount": 3, "labelExpr": COUNT},
        "scale": {"domainMin": 0},
    }


def _chart(description: str, layers: list[Spec], told: list[tuple[str, str]], format: str = ",~f") -> Spec:
    """Return a chart of these layers, with the marks behind, and columns in front that tell their figures and can be brushed."""
    tooltip = [SHOWN_TIME] + [
        {"field": field, "type": "quantitative", "title": title, "format": format} for field, title in told
    ]
    columns = {
        "data": STEPS,
        "transform": [END],
        "params": [BRUSH],
        "mark": COLUMN,
        "encoding": {
            "x": TIME,
            "x2": {"field": "end"},
            "y": {"value": 0},
            "y2": {"value": "height"},
            "tooltip": tooltip,
        },
    }
    return {
        "description": description,
        "width": "container",
        "height": HEIGHT,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "params": [{"name": "step_ms", "value": 60000}],
        "layer": [_bands(), *layers, columns, *_rules()],
        "resolve": {"scale": {"x": "shared"}},
        "config": CONFIG,
    }


def _bands() -> Spec:
    return {
        "data": MARKS,
        "transform": [{"filter": "isValid(datum.until)"}],
        "mark": {"type": "rect", "color": "var(--idle-wash)"},
        "encoding": {"x": TIME, "x2": {"field": "until"}, "y": {"value": 0}, "y2": {"value": "height"}},
    }


def _rules() -> list[Spec]:
    """Return the dashed lines of what happened, and broad invisible ones over them that a pointer can hit."""
    told = {"x": TIME, "tooltip": [SHOWN_TIME, {"field": "words", "type": "nominal", "title": "what"}]}
    return [
        {
            "data": MARKS,
            "mark": {"type": "rule", "color": "var(--ink-3)", "strokeDash": [3, 3]},
            "encoding": {"x": TIME},
        },
        {
            "data": MARKS,
            "mark": {"type": "rule", "color": "var(--ink-3)", "opacity": 0.001, "strokeWidth": 11, "cursor": "pointer"},
            "encoding": told,
        },
    ]


CONFIG: Spec = {
    "background": "transparent",
    "font": "Inter, system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--ink-2)",
        "labelFontSize": 11,
        "domainColor": "var(--line-strong)",
        "gridColor": "var(--line)",
        "tickColor": "var(--line-strong)",
        "ticks": False,
        "labelPadding": 6,
    },
    "axisY": {"domain": False},
    "aria": False,
}
