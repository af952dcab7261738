"""The map of a graph: what is shown of it, where, and how it looks. Pure; the SVG stands in templates/messaging/_map.html."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from console.core.charts import cut
from console.core.words import count_words
from messages.topology.graph import ORDER, Edge, Graph, Node, health_of, worst_first
from messages.topology.layout import HEIGHT, WIDTH, lay_out

MOST_BOXES, MOST_LINES = 40, 120
LETTERS = 21  # of a name in a box
LOOKS = {"well": "good", "failures": "warn", "failing": "bad", "quiet": "idle"}


@dataclass(frozen=True, slots=True, kw_only=True)
class MapBox:
    """A box as it is drawn: x, y, width and height in px, `note` its second line, `words` all that is known of it."""

    x: int
    y: int
    name: str
    note: str
    kind: str
    look: str
    url: str
    words: str
    focus: bool
    width: int = WIDTH
    height: int = HEIGHT


@dataclass(frozen=True, slots=True, kw_only=True)
class MapLine:
    """A line as it is drawn: `weight` 1 to 3 by how much goes along it, x and y of the mark in its middle."""

    path: str
    x: int
    y: int
    look: str
    weight: int
    url: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Map:
    """A picture of `width` × `height` px; `hidden` systems did not fit."""

    boxes: tuple[MapBox, ...]
    lines: tuple[MapLine, ...]
    width: int
    height: int
    hidden: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where a click leads: from a system, and from all that goes from one node to another."""

    system: Callable[[Node], str]
    line: Callable[[list[Edge]], str]


def draw_map(graph: Graph, *, minutes: float, addresses: Addresses, focus: str = "") -> Map:
    """Return the map of the worst 40 boxes and the worst and busiest 120 lines between them.

    minutes  of the range, for rates.   focus  key of the node that the reader looks at; it is always shown.
    """
    shown = sorted(
        graph.nodes.values(), key=lambda node: (node.key != focus, node.kind == "unknown", worst_first(node))
    )
    boxes = {node.key: node for node in shown[:MOST_BOXES]}
    together: dict[tuple[str, str], list[Edge]] = defaultdict(list)
    for edge in graph.edges:
        if edge.source in boxes and edge.target in boxes and edge.source != edge.target:
            together[(edge.source, edge.target)].append(edge)
    pairs = sorted(together, key=lambda pair: _line_rank(together[pair], pair))[:MOST_LINES]
    layout = lay_out(list(boxes), pairs)
    return Map(
        boxes=tuple(_box(boxes[one.key], one.x, one.y, minutes, addresses, focus) for one in layout.boxes),
        lines=tuple(
            _line(together[(one.source, one.target)], boxes, one.path, (one.x, one.y), minutes, addresses)
            for one in layout.curves
        ),
        width=layout.width,
        height=layout.height,
        hidden=sum(node.kind == "system" for node in shown[MOST_BOXES:]),
    )


def _line_rank(edges: list[Edge], pair: tuple[str, str]) -> tuple[int, int, int, tuple[str, str]]:
    count, failed = _sums(edges)
    return ORDER.index(health_of(count, failed)), -failed, -count, pair


def _sums(edges: list[Edge]) -> tuple[int, int]:
    return sum(edge.count for edge in edges), sum(edge.failed for edge in edges)


def _box(node: Node, x: int, y: int, minutes: float, addresses: Addresses, focus: str) -> MapBox:
    if node.kind == "system":
        through = max(node.sent, node.taken, node.count if not (node.sent or node.taken) else 0)
        note = f"{count_words(node.waiting)} waiting" if node.waiting else f"{rate_words(through, minutes)} a minute"
        words = f"{node.name}: {_node_words(node, minutes)}"
    elif node.kind == "destination":
        note, words = "where many meet", f"{node.name}: a destination where many send and take"
    else:
        note, words = "nobody reported it", f"no {node.name} of this was ever reported"
        if node.waiting:
            note, words = (
                f"{count_words(node.waiting)} waiting",
                f"{words}; {count_words(node.waiting)} dead letters wait",
            )
    return MapBox(
        x=x,
        y=y,
        name=cut(node.name if node.kind != "unknown" else f"unknown {node.name}", LETTERS),
        note=note,
        kind=node.kind,
        look=LOOKS[node.health] if node.kind == "system" or node.waiting else "idle",
        url=addresses.system(node) if node.kind == "system" else "",
        words=words,
        focus=node.key == focus,
    )


def _node_words(node: Node, minutes: float) -> str:
    parts = [f"{rate_words(node.sent, minutes)} sent and {rate_words(node.taken, minutes)} taken a minute"]
    if node.failed:
        parts.append(f"{count_words(node.failed)} of {count_words(node.count)} events failed")
    if node.waiting:
        parts.append(f"{count_words(node.waiting)} dead letters wait")
    if node.quiet:
        parts.append("the agents that report it are silent")
    return "; ".join(parts)


def _line(
    edges: list[Edge], boxes: dict[str, Node], path: str, at: tuple[int, int], minutes: float, addresses: Addresses
) -> MapLine:
    count, failed = _sums(edges)
    flows = len({edge.flow_id for edge in edges})
    ends = f"{boxes[edges[0].source].name} to {boxes[edges[0].target].name}"
    about = "about " * any(edge.about for edge in edges)
    words = f"{ends}: {about}{rate_words(count, minutes)} tries a minute in {flows} flow{'s' * (flows > 1)}"
    if failed:
        words += f", {about}{count_words(failed)} failed"
    rate = count / max(1.0, minutes)
    return MapLine(
        path=path,
        x=at[0],
        y=at[1],
        look=LOOKS[health_of(count, failed)] if edges[0].tie != "nobody" or failed else "idle",
        weight=1 if rate < 1 else 2 if rate < 100 else 3,
        url=addresses.line(edges),
        words=words,
    )


def rate_words(count: int, minutes: float) -> str:
    """Return a rate: "0", "0.04", "1.2", "12", "4,711"; what is above nothing never looks like nothing."""
    rate = count / max(1.0, minutes)
    if rate >= 10:
        return f"{rate:,.0f}"
    if rate >= 0.1 or not rate:
        return f"{rate:.1f}".removesuffix(".0")
    return f"{rate:.2f}" if rate >= 0.01 else "<0.01"
