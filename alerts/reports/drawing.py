"""The picture and the PDF of a report, made in a process of their own: its engine takes 150 MB, and goes with it. See drawing_child.py."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import structlog

from alerts.reports.content import Content, Day
from alerts.reports.face import bad_of, face_of

log = structlog.get_logger(__name__)
CHILD = Path(__file__).with_name("drawing_child.py")
DOCUMENT = Path(__file__).with_name("report.typ")
KILLED_AFTER_S = 90.0
WIDTH, HEIGHT = 556, 84  # of the picture, in px of the mail
BAD, QUIET = "#c8352c", "#a39d92"  # seen on white and on black
THIN = 0.4  # of the place of a bar: days before the period


class Drawn(msgspec.Struct, frozen=True, kw_only=True):
    """png, pdf: None where this machine cannot make them, or did not in time."""

    png: bytes | None = None
    pdf: bytes | None = None


class NotDrawn(Exception):
    """Something of it could not be made; `drawn` has the rest."""

    def __init__(self, drawn: Drawn, why: str) -> None:
        super().__init__(why)
        self.drawn = drawn


def draw(content: Content) -> Drawn:
    """Return picture and PDF of this content, the same bytes for the same content; kept for the receivers of one report. Takes a second.

    A report leaves without what cannot be made, and then does not speak of it: log `report_not_drawn`.
    """
    try:
        return _drawn(content)
    except NotDrawn as why:
        log.warning("report_not_drawn", reason=str(why)[:300])
        return why.drawn


@lru_cache(maxsize=4)
def _drawn(content: Content) -> Drawn:
    face = face_of(content)
    asked = {
        "chart": chart_spec(content) if face.chart else None,
        "document": DOCUMENT.read_text(),
        "data": msgspec.to_builtins(face),
        "at": int(content.frozen_at.timestamp()),
    }
    answer = _told(asked)
    png, pdf = (base64.b64decode(answer[name]) if answer[name] else None for name in ("png", "pdf"))
    if answer["log"]:
        raise NotDrawn(Drawn(png=png, pdf=pdf), answer["log"])  # what is raised is not kept: it is tried again
    return Drawn(png=png, pdf=pdf)


def forget() -> None:
    """Forget what was drawn: for tests."""
    _drawn.cache_clear()


def _told(asked: dict[str, Any]) -> dict[str, Any]:
    try:
        with tempfile.TemporaryDirectory() as empty:
            done = subprocess.run(
                [sys.executable, "-I", str(CHILD)], input=json.dumps(asked | {"root": empty}).encode(), capture_output=True,
                timeout=KILLED_AFTER_S, env={"LANG": "C.UTF-8"}, cwd=empty, check=False,
            )  # fmt: skip
        answer: dict[str, Any] = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return {"png": None, "pdf": None, "log": f"no answer within {KILLED_AFTER_S:.0f} s"}
    except ValueError:
        return {"png": None, "pdf": None, "log": f"it ended with code {done.returncode}"}
    return answer


def allowed_bad(content: Content) -> float:
    """Return the share of events that the counted promises allow to be bad, all together."""
    counted = [one for one in content.promises if one.counted]
    total = sum(one.good + one.late + one.lost for one in counted)
    return sum((one.good + one.late + one.lost) * (1 - one.target) for one in counted) / total if total else 0.0


def chart_spec(content: Content) -> dict[str, Any]:
    """Return Vega-Lite of the bars: a day's late and lost events, in red where more than is promised; framed where something is excluded.

    It has no words: those stand in the mail, where they can be read aloud, and are as dark as the text around them. Nothing in it is half
    transparent: vl-convert writes such colours darker than they are (1.9.0, premultiplied).
    """
    allowed = allowed_bad(content)
    rows = [_row(day, allowed, earlier=True) for day in content.trend]
    rows += [_row(day, allowed, earlier=False) for day in content.days]
    scale = {"domain": [row["day"] for row in rows], "paddingInner": 0.28, "paddingOuter": 0}
    x = {"field": "day", "type": "ordinal", "axis": None, "scale": scale}
    y = {"field": "height", "type": "quantitative", "axis": None, "scale": {"domain": [0, _top(rows)], "nice": False}}
    looks = {"domain": ["bad", "quiet"], "range": [BAD, QUIET]}
    encoding = {"x": x, "y": y, "color": {"field": "look", "type": "nominal", "legend": None, "scale": looks}}
    layers = [
        {
            "transform": [{"filter": "!datum.earlier"}],
            "mark": {"type": "bar", "cornerRadiusEnd": 2},
            "encoding": encoding,
        },
        {
            "transform": [{"filter": "datum.earlier"}],
            "mark": {"type": "bar", "width": {"band": THIN}},
            "encoding": encoding,
        },
        {
            "transform": [{"filter": "datum.excluded"}],
            "mark": {"type": "bar", "filled": False, "stroke": QUIET, "strokeWidth": 1.2, "strokeDash": [3, 2]},
            "encoding": {"x": x, "y": {"value": HEIGHT - 0.6}, "y2": {"value": 0.6}},
        },
    ]
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "width": WIDTH,
        "height": HEIGHT,
        "padding": 0,
        "background": None,
        "config": {"view": {"stroke": None}},
        "data": {"values": rows},
        "layer": layers,
    }


def _row(day: Day, allowed: float, *, earlier: bool) -> dict[str, Any]:
    bad, total = bad_of(day), day.good + day.late + day.lost
    look = "bad" if bad > allowed * total else "quiet"
    return {"day": day.day.isoformat(), "height": bad, "look": look, "excluded": day.excluded, "earlier": earlier}


def _top(rows: list[dict[str, Any]]) -> int:
    """Return the top of the scale; a day without anything keeps a hair, so that the eye can count the days."""
    top = max([int(row["height"]) for row in rows] + [1])
    for row in rows:
        row["height"] = max(row["height"], top * 0.018)
    return top
