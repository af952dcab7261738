"""A body made readable, and safe: pretty-printed, highlighted by Pygments, one HTML line each. Pure.

Pygments escapes what it prints; nothing of a body ever reaches a page as markup.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from itertools import islice

import msgspec
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from lxml import etree
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexer import Lexer
from pygments.lexers import JavaLexer, JsonLexer, PythonTracebackLexer, TextLexer, XmlLexer
from pygments.lexers.special import OutputLexer

from console.core.nesting import deeper_than
from console.core.tables import rows_of_csv

SHOWN_BYTES = 256 * 1024
SHOWN_LINES = 5_000
MOST_DEPTH = 64  # indenting deeper JSON makes hundreds of MB out of a few KB
LONGEST_TRACE_LINE = 300  # characters: Pygments' Java patterns take time by the square of a line's words
_formatter: HtmlFormatter[str] = HtmlFormatter(nowrap=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedBody:
    """kind is json, xml, csv, text, hex or empty; lines are safe HTML; truncated when not all of it is shown."""

    kind: str
    lines: list[SafeString]
    truncated: bool


def render_body(body: bytes, content_type: str, *, cut: bool = False) -> RenderedBody:
    """Return a body as lines to show; what cannot be read as its type says is shown as text, what is no text as hex.

    cut  there is more of it than came here.
    """
    if not body:
        return RenderedBody(kind="empty", lines=[], truncated=False)
    shown, truncated = body[:SHOWN_BYTES], cut or len(body) > SHOWN_BYTES
    text = _decoded(shown)
    if text is None:
        return _rendered("hex", _hex_dump(shown[: SHOWN_BYTES // 8]), TextLexer(), len(body) > SHOWN_BYTES // 8)
    kind = content_type.lower()
    if (
        not truncated
        and ("json" in kind or text.lstrip()[:1] in ("{", "["))
        and (pretty := _pretty_json(text)) is not None
    ):
        return _rendered("json", pretty, JsonLexer(), truncated)
    if not truncated and ("xml" in kind or text.lstrip()[:1] == "<") and (pretty := _pretty_xml(body)) is not None:
        return _rendered("xml", pretty, XmlLexer(), truncated)
    if "csv" in kind and (table := _aligned_csv(text)) is not None:
        return _rendered("csv", table, TextLexer(), truncated)
    return _rendered("text", text, TextLexer(), truncated)


def _decoded(body: bytes) -> str | None:
    for cut in range(4):  # the cap may have split the last character
        try:
            text = body[: len(body) - cut].decode("utf-8-sig")
        except UnicodeDecodeError:
            continue
        return None if "\x00" in text else text
    return None


def _pretty_json(text: str) -> str | None:
    if deeper_than(MOST_DEPTH, text.encode()):
        return None
    try:  # re-indents tokens as they are: 1284.50 stays 1284.50, and long numbers keep every digit
        msgspec.json.decode(text)
        return msgspec.json.format(text, indent=2)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return None


def _pretty_xml(body: bytes) -> str | None:
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_blank_text=True, recover=False
    )
    try:
        root = etree.fromstring(body, parser)
    except (etree.XMLSyntaxError, ValueError):
        return None
    if root.getroottree().docinfo.internalDTD is not None:
        return None  # entities are shown as they were written, never expanded
    return etree.tostring(root, pretty_print=True, encoding="unicode")


def _aligned_csv(text: str) -> str | None:
    try:
        rows = list(islice(rows_of_csv(text), SHOWN_LINES))
    except csv.Error:
        return None
    if not rows or len(rows[0]) < 2:
        return None
    widths = [0] * max(map(len, rows))
    for row in rows:
        for i, cell in enumerate(row):
            widths[i] = min(40, max(widths[i], len(cell)))
    return "\n".join(
        "  ".join(cell.replace("\n", "⏎").ljust(widths[i]) for i, cell in enumerate(row)).rstrip() for row in rows
    )


def _hex_dump(body: bytes) -> str:
    lines = []
    for offset in range(0, len(body), 16):
        row = body[offset : offset + 16]
        printable = "".join(chr(byte) if 32 <= byte < 127 else "·" for byte in row)
        lines.append(f"{offset:08x}  {row[:8].hex(' '):<23}  {row[8:].hex(' '):<23}  {printable}")
    return "\n".join(lines)


def _rendered(kind: str, text: str, lexer: Lexer, truncated: bool) -> RenderedBody:
    lines = text.splitlines()
    shown = _lines("\n".join(lines[:SHOWN_LINES]), lexer)
    return RenderedBody(kind=kind, lines=shown[:SHOWN_LINES], truncated=truncated or len(lines) > SHOWN_LINES)


def _lines(text: str, lexer: Lexer) -> list[SafeString]:
    if isinstance(lexer, TextLexer | OutputLexer):
        return [escape(line) for line in text.splitlines()]
    # Pygments prints one line per line of text and closes its spans at the end of each.
    return [mark_safe(line) for line in highlight(text, lexer, _formatter).splitlines()]  # noqa: S308  escaped by Pygments


PYTHON = re.compile(r"^Traceback \(most recent call last\)|^\s+File \"", re.M)


def render_stack(stack: str) -> list[SafeString]:
    """Return a stack trace as safe HTML lines, highlighted as Python's or Java's."""
    shown = stack[:SHOWN_BYTES]
    if PYTHON.search(shown):
        return _lines(shown, PythonTracebackLexer())[:SHOWN_LINES]
    if "\tat " not in shown:
        return _lines(shown, TextLexer())[:SHOWN_LINES]
    return [_java_line(line) for line in shown.splitlines()[:SHOWN_LINES]]


def _java_line(line: str) -> SafeString:
    """Highlight one line alone: the frames of a trace do not depend on each other, and a long line is no frame."""
    if len(line) > LONGEST_TRACE_LINE:
        return escape(line)
    return next(iter(_lines(line, JavaLexer(stripnl=False))), SafeString(""))
