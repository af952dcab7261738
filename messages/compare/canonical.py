"""A body as lines that can be compared: JSON with its members in order, XML and CSV without what only their writers chose. Pure.

Numbers stay as they were written (1284.50 is not 1284.5: a receiver may care), texts and names as they are.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lxml import etree

from console.core.nesting import deeper_than
from console.core.tables import rows_of_csv

MOST_BYTES = 4 * 1024 * 1024
MOST_LINES = 60_000
MOST_DEPTH = 64
MOST_PREFIXES = 100
HEX_BYTES = 32 * 1024
SHORTEST_LINE = 16
STEP = "  "


class Number(str):
    """A JSON number as it was written: 4711 is not the text "4711", in lists and objects neither."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Number) and str.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__


@dataclass(frozen=True, slots=True, kw_only=True)
class Canonical:
    """kind: json, xml, csv, text, hex or empty. tree: of JSON, of XML lxml's root, else None. cut: there is more than is compared."""

    kind: str
    lines: list[str]
    tree: Any = None
    cut: bool = False


class _NotThis(Exception):
    """It does not read as this kind."""


def canonical(body: bytes, content_type: str, *, cut: bool = False, lines: bool = True) -> Canonical:
    """Return a body for comparing; what does not read as its type says is text, what is no text is a hex dump.

    cut  it was already.   lines  False leaves them out, for whoever wants kind and tree alone.
    """
    if not body:
        return Canonical(kind="empty", lines=[], cut=cut)
    cut = cut or len(body) > MOST_BYTES
    body = body[:MOST_BYTES]
    text = _text_of(body)
    if text is None:
        return Canonical(kind="hex", lines=list(_hex(body[:HEX_BYTES])), cut=cut or len(body) > HEX_BYTES)
    kind, begin = content_type.lower(), text.lstrip()[:1]
    try:
        if not cut and ("json" in kind or begin in ("{", "[")):
            tree = _json(text, body)
            return _limited("json", _json_lines(tree, "", "") if lines else iter(()), tree=tree)
        if not cut and ("xml" in kind or begin == "<"):
            tree = _xml(body)
            return _limited("xml", _xml_lines(tree, 0) if lines else iter(()), tree=tree)
        if "csv" in kind:
            return _limited("csv", _csv_lines(text) if lines else iter(()), cut=cut)
    except _NotThis:
        pass
    return _limited("text", iter(text.splitlines() if lines else ()), cut=cut)


def _limited(kind: str, lines: Iterator[str], *, tree: Any = None, cut: bool = False) -> Canonical:
    taken: list[str] = []
    for line in lines:
        if len(taken) == MOST_LINES:
            return Canonical(kind=kind, lines=taken, tree=tree, cut=True)
        taken.append(line)
    return Canonical(kind=kind, lines=taken, tree=tree, cut=cut)


def _text_of(body: bytes) -> str | None:
    for short in range(4):  # the limit may have split the last character
        try:
            text = body[: len(body) - short].decode("utf-8-sig")
        except UnicodeDecodeError:
            continue
        return None if "\x00" in text else text
    return None


def _json(text: str, body: bytes) -> Any:
    if deeper_than(MOST_DEPTH, body):
        raise _NotThis
    try:
        return json.loads(
            text, parse_int=Number, parse_float=Number, parse_constant=_refuse, object_pairs_hook=_members
        )
    except (ValueError, RecursionError) as error:
        raise _NotThis from error


def _refuse(name: str) -> None:
    raise ValueError(name)


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("two members of one name: as text none of them is lost")
    return found


def scalar(value: Any) -> str:
    """Return a JSON value that holds no others as it is written; half of a surrogate pair, which no page can carry, as "?"."""
    if isinstance(value, Number):
        return str(value)
    written = json.dumps(value, ensure_ascii=False)
    return written if written.isascii() else written.encode("utf-8", "replace").decode()


def _json_lines(value: Any, indent: str, name: str) -> Iterator[str]:
    """Yield the lines of a tree, members in order and no commas: the last of them is no other line when one more follows it."""
    if isinstance(value, dict) and value:
        yield f"{indent}{name}{{"
        for member in sorted(value):
            yield from _json_lines(value[member], indent + STEP, f"{scalar(member)}: ")
        yield f"{indent}}}"
    elif isinstance(value, list) and value:
        yield f"{indent}{name}["
        for one in value:
            yield from _json_lines(one, indent + STEP, "")
        yield f"{indent}]"
    else:
        yield f"{indent}{name}{scalar(value)}"


def _xml(body: bytes) -> Any:
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, recover=False, strip_cdata=True
    )
    try:
        root = etree.fromstring(body, parser)
    except (etree.XMLSyntaxError, ValueError, LookupError) as error:
        raise _NotThis from error
    if root.getroottree().docinfo.internalDTD is not None:
        raise _NotThis  # entities are compared as they were written, never expanded
    if _most_prefixes(root) > MOST_PREFIXES:
        raise _NotThis
    return root


def _most_prefixes(root: Any) -> int:
    """Return how many namespaces one place of the document knows at most: each element is asked for all of its own."""
    most = known = 0
    for event, _ in etree.iterwalk(root, events=("start-ns", "end-ns")):
        known += 1 if event == "start-ns" else -1
        most = max(most, known)
    return most


def _xml_lines(root: Any, depth: int) -> Iterator[str]:
    """Yield one line for each tag and text: attributes in order, no white space between elements. libxml2 stops at a depth of 256."""
    indent = STEP * depth
    if not isinstance(root.tag, str):
        yield f"{indent}{etree.tostring(root, encoding='unicode', with_tail=False)}"
        return
    known, above = root.nsmap, _namespaces_above(root)
    declared = [(f"xmlns:{p}" if p else "xmlns", uri) for p, uri in known.items() if above.get(p) != uri]
    named = sorted(declared, key=lambda one: one[0]) + sorted((_name(known, at), value) for at, value in root.items())
    name = _name(known, root.tag)
    attributes = "".join(f" {at}={json.dumps(value, ensure_ascii=False)}" for at, value in named)
    text = (root.text or "").strip()
    if len(root) == 0:
        yield f"{indent}<{name}{attributes}>{text}</{name}>" if text else f"{indent}<{name}{attributes}/>"
        return
    yield f"{indent}<{name}{attributes}>"
    if text:
        yield f"{indent}{STEP}{text}"
    for child in root:
        yield from _xml_lines(child, depth + 1)
        if tail := (child.tail or "").strip():
            yield f"{indent}{STEP}{tail}"
    yield f"{indent}</{name}>"


def _namespaces_above(element: Any) -> dict[str | None, str]:
    above = element.getparent()
    return {} if above is None else above.nsmap


def _name(known: dict[str | None, str], tag: str) -> str:
    """Return a tag or attribute with the prefix that the document gives its namespace."""
    if not tag.startswith("{"):
        return tag
    uri, _, local = tag[1:].partition("}")
    prefix = next((one for one, of in known.items() if of == uri), None)
    return f"{prefix}:{local}" if prefix else local


def _csv_lines(text: str) -> Iterator[str]:
    try:
        for row in rows_of_csv(text):
            yield " │ ".join(cell.strip().replace("\n", "⏎") for cell in row)
    except csv.Error as error:
        raise _NotThis from error


def _hex(body: bytes) -> Iterator[str]:
    for offset in range(0, len(body), SHORTEST_LINE):
        row = body[offset : offset + SHORTEST_LINE]
        printable = "".join(chr(byte) if 32 <= byte < 127 else "·" for byte in row)
        yield f"{offset:08x}  {row.hex(' '):<47}  {printable}"
