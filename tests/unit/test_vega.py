"""Our charts are Vega-Lite as Altair knows it, and name only colours that the stylesheet has."""

from __future__ import annotations

import json
import re
from pathlib import Path

import altair
import pytest
import vl_convert
from jsonschema import ValidationError

from messages.figures.vega import chart_specs, outcomes_spec

TOKENS = Path(__file__).resolve().parents[2] / "static/css/tokens.css"
ROW = {"at": 1_790_000_000_000, "delivered": 1, "failed": 2, "p50": 1.5, "sent": 2, "processed": 1}
CHARTS = chart_specs() | {"outcomes": outcomes_spec()}
MARK = {"at": 1_790_000_000_000, "until": 1_790_000_060_000, "words": "deployed: erp", "url": "/changes/1/"}


@pytest.mark.parametrize("name", sorted(CHARTS))
def test_altair_accepts_every_chart(name):
    spec = CHARTS[name] | {"datasets": {"steps": [ROW], "marks": [MARK]}}

    found = altair.LayerChart.from_dict(spec)

    assert found.to_dict()["layer"]


@pytest.mark.parametrize("broken", [{"mark": "no such mark"}, {"encoding": {"x": {"type": "no such type"}}}])
def test_altair_would_refuse_a_wrong_one(broken):
    spec = chart_specs()["throughput"]

    with pytest.raises(ValidationError):
        altair.LayerChart.from_dict(spec | {"layer": [spec["layer"][1] | broken]})


def test_every_colour_is_a_token():
    named = set(re.findall(r"var\((--[\w-]+)\)", json.dumps(CHARTS)))

    assert named
    assert named <= set(re.findall(r"^\s*(--[\w-]+):", TOKENS.read_text(), re.M))
    assert not re.findall(r'"#[0-9a-f]{3,8}"', json.dumps(CHARTS))


@pytest.mark.parametrize(
    ("delivered", "labels"), [((6, 36, 24), {"0.2", "0.4", "0.6"}), ((90_000, 60_000, 0), {"500", "1k", "1.5k"})]
)
def test_an_axis_below_one_a_minute_has_no_prefix_that_reads_as_millions(delivered, labels):
    spec = chart_specs()["throughput"]
    hour = 3_600_000
    steps = [{"at": at * hour, "delivered": count, "failed": 0} for at, count in enumerate(delivered)]
    params = [one | {"value": hour} if one["name"] == "step_ms" else one for one in spec["params"]]

    svg = vl_convert.vegalite_to_svg(spec | {"params": params, "datasets": {"steps": steps, "marks": []}})

    assert labels <= set(re.findall(">([^<>]+)</text>", svg))


@pytest.mark.parametrize(
    ("took", "labels"),
    [
        ((192, 250, 255.5), ["100 ms", "300 ms"]),
        ((3100, 3900, 4100), ["3 s", "10 s"]),
        ((1, 1, 1), ["1 ms", "3 ms"]),
        ((0.1, 0.1, 0.1), ["0.1 ms", "0.3 ms"]),
        ((0.5, 40, 95), ["0.3 ms", "1 ms", "3 ms", "10 ms", "30 ms", "100 ms"]),
        ((7_000_000, 8_400_000, 16_760_000), ["30 min", "2 h", "5 h"]),
    ],
)
def test_the_axis_of_times_begins_and_ends_at_round_ones_whatever_they_are(took, labels):
    steps = [{"at": at * 60_000, **dict(zip(("p50", "p95", "p99"), took, strict=True))} for at in range(3)]
    steps.append({"at": 180_000, "delivered": 0, "failed": 0})

    svg = vl_convert.vegalite_to_svg(chart_specs()["latency"] | {"datasets": {"steps": steps, "marks": [MARK]}})

    shown = re.findall(r">([\d.]+ (?:ms|s|min|h))</text>", svg)
    assert sorted(shown, key=labels.index) == labels


def test_lines_of_times_break_where_nothing_was_processed_and_one_value_alone_is_a_point():
    took = [700, 700, None, None, 5000, None, 3000, 3000]
    steps = [{"at": at * 60_000} | ({"p50": ms} if ms else {}) for at, ms in enumerate(took)]

    svg = vl_convert.vegalite_to_svg(chart_specs()["latency"] | {"datasets": {"steps": steps, "marks": []}})

    [line] = [path for path in re.findall(r'<path d="([^"]+)"[^>]* stroke-width="1.75"', svg) if "L" in path]
    assert [part.count("L") for part in line.split("M")[1:]] == [1, 0, 1]
    points = re.search(r'<g class="mark-symbol role-mark layer_\d+_layer_1_marks"[^>]*>(.*?)</g>', svg)
    assert points[1].count("<path") == 5


def test_a_count_is_told_to_its_last_digit():
    told = {one["field"]: one["format"] for one in chart_specs()["throughput"]["layer"][2]["encoding"]["tooltip"]}
    text = {"field": "delivered", "type": "quantitative", "format": told["delivered"]}
    spec = {"data": {"values": [{"delivered": 1_234_567}]}, "mark": "text", "encoding": {"text": text}}

    assert ">1,234,567</text>" in vl_convert.vegalite_to_svg(spec)


@pytest.mark.parametrize(
    ("took", "words"), [(49_152.3, "49,150"), (0.1, "0.1"), (384.5, "384.5"), (7_000_000, "7,000,000")]
)
def test_a_time_is_told_in_digits_however_long_it_is(took, words):
    told = {one["field"]: one["format"] for one in chart_specs()["latency"]["layer"][3]["encoding"]["tooltip"][1:]}
    spec = {
        "data": {"values": [{"p50": took}]},
        "mark": "text",
        "encoding": {"text": {"field": "p50", "type": "quantitative", "format": told["p50"]}},
    }

    assert f">{words}</text>" in vl_convert.vegalite_to_svg(spec)


def test_no_web_process_imports_altair_or_the_engine_of_vl_convert():
    root = TOKENS.parents[2]
    importing = {
        str(path.relative_to(root))
        for folder in ("console", "messages", "alerts")
        for path in (root / folder).rglob("*.py")
        if re.search(r"^\s*(import|from) (altair|vl_convert)", path.read_text(), re.M)
    }

    assert importing == {"console/core/bundles.py", "alerts/reports/drawing_child.py"}
    for path in importing:  # when it is called; the child is a process of its own, which nothing imports
        assert re.search(r"^    +import vl_convert$", (root / path).read_text(), re.M)
