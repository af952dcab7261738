"""A report as mail, page, PDF and CSV, all from one content; the same content gives the same bytes, but for the two links of a receiver."""

from __future__ import annotations

import base64
from functools import lru_cache

import css_inline
import msgspec
from django.template.loader import render_to_string
from django.utils.text import slugify

from alerts.reports.content import Cadence, Content
from alerts.reports.drawing import HEIGHT, WIDTH, Drawn, draw
from alerts.reports.face import Face, face_of
from alerts.reports.periods import first_day
from alerts.reports.tables import csv_of
from alerts.reports.texts import text_of

CHART = "chart"  # the picture's Content-ID
SHEET = 620  # px


class Rendered(msgspec.Struct, frozen=True, kw_only=True):
    """A mail. html: its pictures are `cid:` and the name in `images` (PNG).   attachments: (file name, type, bytes)."""

    subject: str
    text: str
    html: str
    images: dict[str, bytes]
    attachments: list[tuple[str, str, bytes]]


def render(content: Content, *, open_url: str, stop_url: str) -> Rendered:
    """Return the report as it is sent. The picture and the PDF are made in a process of their own: a second, once for all receivers.

    open_url, stop_url  of one receiver: they stand in text and html, and nowhere else.
    """
    face, drawn = face_of(content), draw(content)
    attachments = _attachments(content, drawn)
    attached = "PDF and CSV are attached." if drawn.pdf else "A CSV is attached."
    links = {"attached": attached, "open_url": open_url, "stop_url": stop_url}
    return Rendered(
        subject=face.subject,
        text=text_of(face, **links),
        html=_html(face, has_chart=drawn.png is not None, links=links),
        images={CHART: drawn.png} if drawn.png else {},
        attachments=attachments,
    )


def as_page(rendered: Rendered) -> str:
    """Return the same html as a page of its own: each picture stands in it as data."""
    page = rendered.html
    for name, data in rendered.images.items():
        page = page.replace(f'src="cid:{name}"', f'src="data:image/png;base64,{base64.b64encode(data).decode()}"')
    return page


def _html(face: Face, *, has_chart: bool, links: dict[str, str]) -> str:
    context = {
        "face": face,
        "has_chart": has_chart,
        "chart_id": CHART,
        "width": WIDTH,
        "height": HEIGHT,
        "sheet": SHEET,
    }
    return _inliner().inline(render_to_string("emails/report.html", context | links))


@lru_cache(maxsize=1)
def _inliner() -> css_inline.CSSInliner:
    """Return what puts the styles into each element, as mail needs them; those for dark and narrow screens stay rules. Nothing is loaded."""
    return css_inline.CSSInliner(keep_at_rules=True, load_remote_stylesheets=False)


def _attachments(content: Content, drawn: Drawn) -> list[tuple[str, str, bytes]]:
    name = file_name(content)
    found = [(f"{name}.csv", "text/csv", csv_of(content))]
    return [(f"{name}.pdf", "application/pdf", drawn.pdf), *found] if drawn.pdf else found


def file_name(content: Content) -> str:
    """Return "order-team-2026-10", of ASCII letters, digits and hyphens, without its ending."""
    first = first_day(content.period)
    day = f"{first:%Y-%m}" if content.period.cadence is Cadence.MONTHLY else f"{first:%Y-%m-%d}"
    revision = f"-revision-{content.revision}" if content.revision > 1 else ""
    return f"{slugify(content.audience.name)[:60] or 'report'}-{day}{revision}"
