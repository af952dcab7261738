"""The plain text of a report, complete on its own: what a reader without HTML, a screen or a picture gets. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from alerts.reports.face import CauseLine, Face, PromiseLine

WIDTH = 76


def text_of(face: Face, *, attached: str, open_url: str, stop_url: str) -> str:
    """Return the mail as text. attached: what lies beside it, "PDF and CSV are attached"."""
    parts = [
        face.crumb,
        face.verdict,
        face.corrects,
        face.lead,
        "\n".join(_filled(line) for one in face.promises for line in _promise(one)),
        face.more,
        face.removed,
        _heading("Why, and what was done"),
        "\n".join(_filled(_cause(one)) for one in face.causes),
        face.letters,
        f"{face.chart.title}, {face.chart.first} to {face.chart.last}: {face.chart.peak}." if face.chart else "",
        f"Open the report: {open_url}\n{attached}",
        *face.notes,
        f"Change or stop this report: {stop_url}",
    ]
    return "\n\n".join(_filled(part) if "\n" not in part else part for part in parts if part) + "\n"


def _filled(text: str) -> str:
    """Return text in lines of 76 characters; what hangs below a mark is moved in, and no address is broken."""
    hanging = "  " if text[:2].strip() == "" or text[1:2] == " " else ""
    return textwrap.fill(text, WIDTH, subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False)


def _heading(text: str) -> str:
    return f"{text}\n{'-' * len(text)}"


def _promise(one: PromiseLine) -> Iterator[str]:
    before = f"; {one.before}" if one.before else ""
    stands = f"{one.stands}; " if one.stands != one.attained else ""  # "no data" is said once
    yield f"{one.mark} {one.name}: {one.attained} ({stands}{one.promised}{before})"
    yield f"  {one.detail}"


def _cause(one: CauseLine) -> str:
    flow = f" ({one.flow})" if one.flow else ""
    return f"- {one.title}{flow}: {one.count}, {one.became}"
