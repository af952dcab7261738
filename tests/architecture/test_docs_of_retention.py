"""docs/retention.md says the defaults and bounds that the rules have."""

from __future__ import annotations

import re
from dataclasses import astuple
from pathlib import Path

from messages.retention.rules import BOUNDS, Policy

PAGE = Path(__file__).resolve().parents[2] / "docs" / "retention.md"


def test_the_table_of_kinds_has_the_defaults_and_bounds_of_the_rules():
    rows = re.findall(
        r"^\| (?:payloads|metadata|rollups|dead letters|refused [^|]+|reconciliations|reports) \|.*\| (\d+) \| (\d+) to ([\d,]+)",
        PAGE.read_text(),
        re.M,
    )

    documented = [tuple(int(figure.replace(",", "")) for figure in row) for row in rows]
    assert documented == [
        (default, bound.least, bound.most) for default, bound in zip(astuple(Policy()), BOUNDS.values(), strict=True)
    ]


def test_every_metric_of_retention_is_named():
    gauges = (PAGE.parents[1] / "console" / "health" / "gauges.py").read_text()

    names = set(re.findall(r'"(waybill_(?:retention|stored)\w+)"', gauges))
    assert names
    assert {name for name in names if name not in PAGE.read_text()} == set()
